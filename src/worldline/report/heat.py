"""A heat map is a table: every cell says its number, and its colour is one of few that the style
sheet knows.
"""

from __future__ import annotations

from worldline.report.page import HEAT_STEPS

__all__ = ["heat_cells", "widest"]

Table = list[list[float | None]]
Cells = list[list[tuple[str, str]]]


def heat_cells(table: Table, span: tuple[float, float], *, diverging: bool = False) -> Cells:
    """Text and class of each cell; null cells have neither number nor colour.

    Args:
        table: numbers or null.
        span: lowest and highest colour.
        diverging: whether the middle of the span is nothing.
    """
    low, high = span
    letter = "d" if diverging else "h"

    def cell(value: float | None) -> tuple[str, str]:
        if value is None:
            return "–", "none"
        part = min(1.0, max(0.0, (value - low) / (high - low or 1.0)))
        return f"{value:.2f}".replace("0.", ".", 1), f"{letter}{round(part * (HEAT_STEPS - 1))}"

    return [[cell(value) for value in row] for row in table]


def widest(tables: list[Table], least: float) -> tuple[float, float]:
    """A span around 0 that holds all numbers of some tables."""
    values = [abs(value) for table in tables for row in table for value in row if value is not None]
    reach = max([*values, least])
    return -reach, reach
