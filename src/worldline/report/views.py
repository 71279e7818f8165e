"""What a view says: the same words and tables on the page, in Markdown and in JSON."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cell", "Table", "View", "count", "interval", "number", "share"]

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """The twin of a figure; ``words``: how many of the first columns are words."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


@dataclass(frozen=True)
class View:
    """One view of one model.

    Attributes:
        title: the finding; ``sentence``: what the numbers say; ``basis``: over how many samples,
            with which interval.
        table: the figure's twin.
        by_layer: (title, sentence) for each layer, where the view follows the chosen layer.
    """

    title: str
    sentence: str
    basis: str
    table: Table | None = None
    by_layer: tuple[tuple[str, str], ...] = ()


def number(value: float | None, status: str = "", places: int = 2) -> str:
    """A number, or ∞ where the status says so, or –."""
    if value is None:
        return "∞" if status == "infinite" else "–"
    return f"{value:.{places}f}"


def share(value: float | None) -> str:
    """A share in per cent; never rounded to 0 or 100 unless it is."""
    if value is None:
        return "–"
    if 0 < value < 0.005 or 0.995 < value < 1:
        return f"{value:.1%}"
    return f"{value:.0%}"


def interval(ends: tuple[float, float] | list[float] | None) -> str:
    """A 95 % interval of a share."""
    return "–" if ends is None else f"{share(ends[0])} to {share(ends[1])}"


def count(value: int, what: str) -> str:
    """A number of things: 1 sample, 2 samples."""
    return f"{value:,} {what}{'' if value == 1 else 's'}"
