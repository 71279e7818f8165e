"""A square of coloured cells, each of which also says its number."""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper
from bokeh.models.annotations import ColorBar
from bokeh.palettes import Cividis256, RdBu11
from bokeh.transform import transform

from worldline.report.plots import new_plot

__all__ = ["cell_columns", "heat_map"]

LARGEST_WITH_NUMBERS = 16
CELL = 46
Table = list[list[float | None]]


def heat_map(
    names: list[str],
    table: Table,
    what: str,
    span: tuple[float, float],
    *,
    down: str,
    across: str,
    intervals: list[list[Any]] | None = None,
    diverging: bool = False,
    name: str | None = None,
) -> Any:
    """A table (M, M) in the order of its names; null cells are grey.

    Args:
        names: of rows and columns, from above and from the left.
        table: numbers or null.
        what: they are.
        span: lowest and highest colour.
        down, across: what rows and columns are.
        intervals: [low, high] or null for each cell.
        diverging: whether the middle of the span is nothing.
        name: of the data source, by which a page's script finds it.
    """
    colours = LinearColorMapper(
        palette=list(RdBu11) if diverging else list(Cividis256), low=span[0], high=span[1], nan_color="#e6e6e6"
    )
    plot = new_plot(
        what,
        160 + CELL * min(len(names), 14),
        x_range=names,
        y_range=names[::-1],
        x_axis_label=across,
        y_axis_label=down,
    )
    plot.xaxis.major_label_orientation = 0.9
    plot.grid.grid_line_color = None
    places = {
        "down": [name for name in names for _ in names],
        "across": [name for _ in names for name in names],
        "interval": [
            _told(intervals[row][column] if intervals else None)
            for row in range(len(names))
            for column in range(len(names))
        ],
    }
    source = ColumnDataSource({**places, **cell_columns(table, span, diverging=diverging)}, name=name)
    drawn = plot.rect(
        "across", "down", 1, 1, source=source, fill_color=transform("value", colours), line_color="#ffffff"
    )
    if len(names) <= LARGEST_WITH_NUMBERS:
        style = {"text_align": "center", "text_baseline": "middle", "text_font_size": "11px"}
        plot.text("across", "down", "text", source=source, text_color="ink", **style)
    tooltips = [(down, "@down"), (across, "@across"), (what, "@value{0.000}")]
    if intervals:
        tooltips.append(("95% interval", "@interval"))
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tooltips))
    plot.add_layout(ColorBar(color_mapper=colours, title=what, title_text_font_style="normal"), "right")
    return plot


def cell_columns(table: Table, span: tuple[float, float], *, diverging: bool = False) -> dict[str, list[Any]]:
    """Value, its text and the ink that can be read on its colour, cell by cell."""
    low, high = span
    columns: dict[str, list[Any]] = {"value": [], "text": [], "ink": []}
    for row in table:
        for value in row:
            part = 0.0 if value is None else (value - low) / (high - low)
            columns["value"].append(value)
            columns["text"].append("" if value is None else f"{value:.2f}".replace("0.", "."))
            columns["ink"].append("#1b1b1f" if (0.2 < part < 0.8 if diverging else part > 0.55) else "#ffffff")
    return columns


def _told(interval: Any) -> str:
    return "–" if not interval or interval[0] is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
