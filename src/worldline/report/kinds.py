"""What a kind of run offers to the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from worldline.report.views import View

__all__ = ["Attached", "Document"]


@dataclass(frozen=True)
class Document:
    """What a page says, without its markup: title, sentences, views with their tables."""

    title: str
    findings: tuple[str, ...]
    views: dict[str, View]
    summary: dict[str, Any] | None = None


@dataclass(frozen=True)
class Attached:
    """The sections of another run, to stand on the page of an exploration.

    Attributes:
        title: the other page's headline.
        sections: markup whose ids start with a prefix of their own.
    """

    title: str
    sections: Markup
