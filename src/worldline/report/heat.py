"""A heat map is a table: each cell has its number, and one of the style sheet's few colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worldline.report.numbers import cell
from worldline.report.page import HEAT_STEPS

__all__ = ["Heat", "HeatMap", "heat_cells", "widest"]

Rows = Sequence[Sequence[float | None]]
Heat = list[list[tuple[str, str]]]


@dataclass(frozen=True)
class HeatMap:
    """Numbers of one kind of thing by the same kind of thing, for the page and for papers.

    Attributes:
        names: of the rows and of the columns.
        rows, span, diverging: as for :func:`heat_cells`.
        down, across: what rows and columns are.
    """

    names: tuple[str, ...]
    rows: Rows
    span: tuple[float, float]
    diverging: bool = False
    down: str = ""
    across: str = ""

    @property
    def cells(self) -> Heat:
        """Text and class of each cell."""
        return heat_cells(self.rows, self.span, diverging=self.diverging)


def heat_cells(
    rows: Rows, span: tuple[float, float], *, diverging: bool = False, places: int = 2
) -> Heat:
    """Text and class of each cell; those without a value have neither number nor colour.

    Args:
        rows: numbers, ±∞ among them, or None.
        span: lowest and highest colour.
        diverging: whether the middle of the span is nothing.
        places: decimals.
    """
    low, high = span
    letter = "d" if diverging else "h"

    def one(value: float | None) -> tuple[str, str]:
        if value is None or math.isnan(value):
            return cell(None), "none"
        part = min(1.0, max(0.0, (value - low) / (high - low or 1.0)))
        return cell(value, places), f"{letter}{round(part * (HEAT_STEPS - 1))}"

    return [[one(value) for value in row] for row in rows]


def widest(tables: Iterable[Rows], least: float) -> tuple[float, float]:
    """A span around 0 that holds all finite numbers of some tables."""
    values = [value for rows in tables for row in rows for value in row if value is not None]
    reach = max([*(abs(value) for value in values if math.isfinite(value)), least])
    return -reach, reach
