"""What pages not yet moved to ``commands`` still offer; goes with the last of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worldline.report.views import View

__all__ = ["Document"]


@dataclass(frozen=True)
class Document:
    """What a page says, without its markup: title, sentences, views with their tables."""

    title: str
    findings: tuple[str, ...]
    views: dict[str, View]
    summary: dict[str, Any] | None = None
