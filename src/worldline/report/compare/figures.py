"""Heat maps of transfer and the tree of models, as Bokeh models. Every cell also says its number."""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, Model
from bokeh.models.annotations import ColorBar
from bokeh.palettes import Cividis256, RdBu11
from bokeh.transform import transform

from worldline.report.colours import BLUE, GREY
from worldline.report.plots import new_plot

__all__ = ["build_figures"]

LARGEST_WITH_NUMBERS = 16
CELL = 46


def build_figures(summary: dict[str, Any]) -> dict[str, Model]:
    """Figure by the id of its place in the page."""
    figures = {
        "tree": _tree(summary),
        "similarity": _heat(summary, "similarity", "displacement entanglement", (-0.2, 1.0)),
    }
    figures["predicted"] = _heat(summary, "predicted", "predicted score", _range(summary["predicted"]))
    if summary["measured"] is not None:
        figures["measured"] = _heat(summary, "measured", "measured rate", (0.0, 1.0))
        gap = {**summary, "difference": _difference(summary)}
        figures["difference"] = _heat(gap, "difference", "measured − fitted", (-0.5, 0.5), diverging=True)
    return figures


def _range(table: list[list[float | None]]) -> tuple[float, float]:
    values = [value for row in table for value in row if value is not None]
    return min([*values, 0.0]), max([*values, 0.01])


def _difference(summary: dict[str, Any]) -> list[list[float | None]]:
    """Measured rate less the line fitted through the prediction; nothing on the diagonal, which the fit leaves out."""
    return [
        [
            None if source == target or fitted is None or rate is None else rate - fitted
            for target, (rate, fitted) in enumerate(zip(rates, fits, strict=True))
        ]
        for source, (rates, fits) in enumerate(zip(summary["measured"], summary["fitted"], strict=True))
    ]


def _heat(summary: dict[str, Any], key: str, what: str, span: tuple[float, float], *, diverging: bool = False) -> Any:
    """A square of cells, sources downwards and targets to the right, both in the order of the tree."""
    names = [summary["models"][place] for place in summary["order"]]
    table, spread = summary[key], summary.get(f"{key}_interval")
    low, high = span
    cells: dict[str, list[Any]] = {"source": [], "target": [], "value": [], "text": [], "interval": [], "ink": []}
    for source in summary["order"]:
        for target in summary["order"]:
            value = table[source][target]
            ends = spread[source][target] if spread else None
            cells["source"].append(summary["models"][source])
            cells["target"].append(summary["models"][target])
            cells["value"].append(value)
            cells["text"].append("" if value is None else f"{value:.2f}".replace("0.", "."))
            cells["interval"].append("–" if not ends or ends[0] is None else f"{ends[0]:.2f} to {ends[1]:.2f}")
            part = 0.0 if value is None else (value - low) / (high - low)
            cells["ink"].append("#1b1b1f" if (0.2 < part < 0.8 if diverging else part > 0.55) else "#ffffff")
    palette = list(RdBu11) if diverging else list(Cividis256)
    colours = LinearColorMapper(palette=palette, low=low, high=high, nan_color="#e6e6e6")
    plot = new_plot(
        what,
        160 + CELL * min(len(names), 14),
        x_range=names,
        y_range=names[::-1],
        x_axis_label="target",
        y_axis_label="source",
    )
    plot.xaxis.major_label_orientation = 0.9
    plot.grid.grid_line_color = None
    source_data = ColumnDataSource(cells)
    drawn = plot.rect(
        "target", "source", 1, 1, source=source_data, fill_color=transform("value", colours), line_color="#ffffff"
    )
    if len(names) <= LARGEST_WITH_NUMBERS:
        plot.text("target", "source", "text", source=source_data, text_color="ink", text_align="center", text_baseline="middle",
                  text_font_size="11px")  # fmt: skip
    plot.add_tools(
        HoverTool(
            renderers=[drawn],
            tooltips=[
                ("source", "@source"),
                ("target", "@target"),
                (what, "@value{0.000}"),
                ("95% interval", "@interval"),
            ],
        )
    )
    plot.add_layout(ColorBar(color_mapper=colours, title=what, title_text_font_style="normal"), "right")
    return plot


def _tree(summary: dict[str, Any]) -> Any:
    """The dendrogram: models that share displacements join low."""
    order, count = summary["order"], len(summary["models"])
    place: dict[int, tuple[float, float]] = {leaf: (position, 0.0) for position, leaf in enumerate(order)}
    xs, ys = [], []
    for number, (left, right, height) in enumerate(summary["tree"]):
        (x1, y1), (x2, y2) = place[left], place[right]
        xs.append([x1, x1, x2, x2])
        ys.append([y1, height, height, y2])
        place[count + number] = ((x1 + x2) / 2, height)
    plot = new_plot("", 300, y_axis_label="1 − mean cosine of displacements")
    plot.multi_line(xs, ys, color=BLUE, width=2)
    plot.scatter(list(range(count)), [0.0] * count, color=GREY, size=6)
    plot.xaxis.ticker = list(range(count))
    plot.xaxis.major_label_overrides = {position: summary["models"][leaf] for position, leaf in enumerate(order)}
    plot.xaxis.major_label_orientation = 0.9
    plot.xgrid.grid_line_color = None
    return plot
