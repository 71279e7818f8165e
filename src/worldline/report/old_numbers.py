"""What pages not yet moved to ``commands`` still call; goes with the last of them."""

from __future__ import annotations

from worldline.report import numbers

__all__ = ["interval", "number"]


def number(value: float | None, status: str = "", places: int = 2) -> str:
    """A number, or ∞ where the status says so, or –."""
    return "∞" if value is None and status == "infinite" else numbers.number(value, places)


def interval(ends: tuple[float, float] | list[float] | None) -> str:
    """A 95 % interval of a share."""
    return numbers.interval((ends[0], ends[1]) if ends else None, numbers.share)
