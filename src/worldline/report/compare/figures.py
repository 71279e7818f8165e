"""Heat maps of transfer and the tree of models, as Bokeh models. Every cell also says its number."""

from __future__ import annotations

from typing import Any

from bokeh.models import Model

from worldline.plot.colours import BLUE, GREY
from worldline.report.heat import heat_map
from worldline.report.plots import new_plot

__all__ = ["build_figures"]


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
    """Sources downwards and targets to the right, both in the order of the tree."""
    order, table, spread = summary["order"], summary[key], summary.get(f"{key}_interval")
    return heat_map(
        [summary["models"][place] for place in order],
        [[table[source][target] for target in order] for source in order],
        what,
        span,
        down="source",
        across="target",
        intervals=[[spread[source][target] for target in order] for source in order] if spread else None,
        diverging=diverging,
    )


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
