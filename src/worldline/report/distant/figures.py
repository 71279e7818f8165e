"""The class map of a layer and the way of a made pair, as Bokeh models."""

from __future__ import annotations

from typing import Any

from bokeh.models import Model

from worldline.plot.colours import BLUE, GREY, VERMILLION
from worldline.report.heat import cell_columns, heat_map
from worldline.report.plots import new_plot, place_legend

__all__ = ["build_figures", "class_cells"]


def build_figures(summary: dict[str, Any]) -> dict[str, Model]:
    """Figure by the id of its place in the page."""
    figures: dict[str, Model] = {}
    if summary["classes"] is not None:
        figures["classes"] = heat_map(
            class_names(summary),
            _at(summary, summary["layer_index"]),
            "median rapidity φ",
            _span(summary),
            down="class",
            across="other class",
            diverging=True,
            name="classes",
        )
    if summary["made"] is not None:
        figures["path"] = _path(summary["made"])
    return figures


def class_names(summary: dict[str, Any]) -> list[str]:
    """Names of the classes in the map; equal names are numbered, so that each has its place."""
    known = summary["class_names"]
    labels = summary["classes"]["labels"]
    names = [str(known[label]) if known and 0 <= label < len(known) else str(label) for label in labels]
    return (
        names
        if len(set(names)) == len(names)
        else [f"{name} ({label})" for name, label in zip(names, labels, strict=True)]
    )


def class_cells(summary: dict[str, Any]) -> list[dict[str, list[Any]]]:
    """The map's columns for each layer, for the page's script to change."""
    if summary["classes"] is None:
        return []
    span = _span(summary)
    return [cell_columns(_at(summary, layer), span, diverging=True) for layer in range(len(summary["layers"]))]


def _at(summary: dict[str, Any], layer: int) -> list[list[float | None]]:
    return [[cell[layer] for cell in row] for row in summary["classes"]["median"]]


def _span(summary: dict[str, Any]) -> tuple[float, float]:
    values = [value for row in summary["classes"]["median"] for cell in row for value in cell if value is not None]
    reach = max([*(abs(value) for value in values), 0.1])
    return -reach, reach


def _path(made: dict[str, Any]) -> Any:
    steps = list(range(len(made["path_distance"])))
    plot = new_plot("", 320, x_axis_label="step", y_axis_label="distance at the layer to what is aimed at")
    plot.line(steps, made["path_distance"], color=VERMILLION, width=2.5, legend_label="the moved sample")
    low, middle, _ = made["same_class_distance"]
    plot.line(
        [0, steps[-1]],
        [middle, middle],
        color=BLUE,
        line_dash="dashed",
        legend_label="two samples of one class, median",
    )
    plot.line(
        [0, steps[-1]],
        [low, low],
        color=GREY,
        line_dash="dotted",
        legend_label="nearest tenth of them: success is below",
    )
    plot.y_range.start = 0
    place_legend(plot, 3)
    return plot
