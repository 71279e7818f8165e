"""The page's figures, as Bokeh models. Colour never stands alone: markers and dashes say the same."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, Model, Range1d, TapTool

from worldline.report.colours import BLUE, GREEN, GREY, PURPLE, VERMILLION
from worldline.report.explore.content import PAIRS, TWINS, Content
from worldline.report.plots import new_plot, place_legend

__all__ = ["build_figures"]

STYLE = {
    "adversarial_clean": (VERMILLION, "circle"),
    "noise_clean": (BLUE, "square"),
    "adversarial_true": (GREEN, "triangle"),
    "adversarial_wrong": (PURPLE, "diamond"),
    "clean_true": (GREEN, "triangle"),
    "clean_wrong": (PURPLE, "diamond"),
}
MARKER_SIZE = 8


def build_figures(content: Content) -> dict[str, Model]:
    """Figure by the id of its place in the page."""
    layers = content.summary["layers"]
    if not content.summary["fooled"]:
        return {"spacetime": _spacetime(content), "map": _map(content)}
    left = _bands("Beside its own clean twin", ("adversarial_clean", "noise_clean"), layers)
    right = _bands("Beside the class means", ("adversarial_true", "adversarial_wrong"), layers)
    return {
        "leaving": left,
        "joining": right,
        "swapped": _swapped(layers),
        "spacetime": _spacetime(content),
        "map": _map(content),
    }


def _name_layers(axis: Any, layers: list[dict[str, Any]], offset: int = 0) -> None:
    step = -(-len(layers) // 16)  # at most sixteen names
    shown = [layer for layer in layers if layer["index"] % step == 0 or layer is layers[-1]]
    axis.ticker = [layer["index"] + offset for layer in shown]
    axis.major_label_overrides = {layer["index"] + offset: _short(layer["name"]) for layer in shown}


def _short(name: str) -> str:
    return name if len(name) <= 22 else "…" + name[-21:]


def _bands(title: str, names: tuple[str, ...], layers: list[dict[str, Any]]) -> Any:
    """Median rapidity by layer with the middle 80%, and the untrained null as a dashed line."""
    plot = new_plot(
        title,
        360,
        x_axis_label="layer",
        y_axis_label="rapidity φ = artanh ρ (Fisher z)",
        y_range=_rapidity_range(layers),
    )
    lines = []
    for name in names:
        color, marker = STYLE[name]
        rows = [layer for layer in layers if layer["rapidity"][name]["median"] is not None]
        source = ColumnDataSource(
            {
                "x": [layer["index"] for layer in rows],
                "layer": [layer["name"] for layer in rows],
                **{part: [layer["rapidity"][name][part] for layer in rows] for part in ("median", "q10", "q90")},
            }
        )
        plot.varea("x", "q10", "q90", source=source, color=color, alpha=0.16)
        plot.line("x", "median", source=source, color=color, width=2.5, legend_label=PAIRS[name])
        lines.append(
            plot.scatter(
                "x",
                "median",
                source=source,
                color=color,
                marker=marker,
                size=MARKER_SIZE,
                legend_label=PAIRS[name],
            )
        )
        null = [
            layer
            for layer in layers
            if layer["untrained_rapidity"] and layer["untrained_rapidity"][name]["median"] is not None
        ]
        if null:
            plot.line(
                [layer["index"] for layer in null],
                [layer["untrained_rapidity"][name]["median"] for layer in null],
                color=color,
                width=1.5,
                line_dash="dashed",
                legend_label=f"{PAIRS[name]}, untrained",
            )
    plot.add_tools(
        HoverTool(
            renderers=lines,
            tooltips=[
                ("layer", "@layer"),
                ("median φ", "@median{0.00}"),
                ("middle 80%", "@q10{0.00} to @q90{0.00}"),
            ],
        )
    )
    _name_layers(plot.xaxis, layers)
    place_legend(plot, 2)
    return plot


def _rapidity_range(layers: list[dict[str, Any]]) -> Range1d:
    """One range for all panels, so that they can be compared by eye."""
    values = [
        summary[part]
        for layer in layers
        for summary in (*layer["rapidity"].values(), *(layer["untrained_rapidity"] or {}).values())
        for part in ("q10", "median", "q90")
        if summary[part] is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.05 * (high - low) or 0.5
    return Range1d(start=low - margin, end=high + margin)


def _swapped(layers: list[dict[str, Any]]) -> Any:
    """Share of twins nearer to the wrong class, with intervals, beside its two controls."""
    plot = new_plot(
        "",
        320,
        x_axis_label="layer",
        y_axis_label="share nearer to the wrong class",
        y_range=Range1d(start=-0.02, end=1.02),
    )
    kinds = (
        ("swapped", "adversarial twins", VERMILLION, "circle"),
        ("noise_swapped", "noise twins (control)", BLUE, "square"),
        ("misclassified_swapped", "clean samples misclassified by themselves (control)", GREY, "triangle"),
    )
    points = []
    for key, label, color, marker in kinds:
        rows = [layer for layer in layers if layer[key]["value"] is not None]
        if not rows:
            continue
        source = ColumnDataSource(
            {
                "x": [layer["index"] for layer in rows],
                "layer": [layer["name"] for layer in rows],
                "share": [layer[key]["value"] for layer in rows],
                "low": [layer[key]["interval"][0] for layer in rows],
                "high": [layer[key]["interval"][1] for layer in rows],
            }
        )
        plot.segment("x", "low", "x", "high", source=source, color=color, width=2, alpha=0.6)
        plot.line(
            "x",
            "share",
            source=source,
            color=color,
            width=2,
            legend_label=f"{label}, n = {rows[0][key]['count']:,}",
        )
        points.append(
            plot.scatter(
                "x",
                "share",
                source=source,
                color=color,
                marker=marker,
                size=MARKER_SIZE,
                legend_label=f"{label}, n = {rows[0][key]['count']:,}",
            )
        )
    plot.line([layers[0]["index"], layers[-1]["index"]], [0.5, 0.5], color=GREY, line_dash="dotted")
    plot.add_tools(
        HoverTool(
            renderers=points,
            tooltips=[
                ("layer", "@layer"),
                ("share", "@share{0.0%}"),
                ("95% interval", "@low{0.0%} to @high{0.0%}"),
            ],
        )
    )
    _name_layers(plot.xaxis, layers)
    place_legend(plot, 3)
    return plot


def _spacetime(content: Content) -> Any:
    """The chosen sample's worldlines: depth upward, Σρ sideways, the light cone |Σρ| = depth."""
    layers = content.summary["layers"]
    top = len(layers)
    ends = [sum(value or 0.0 for value in line) for table in content.worldlines.values() for line in table]
    left = max(-top, min(-0.25 * top, *ends))
    plot = new_plot(
        "",
        460,
        x_axis_label="Σ ρ with the clean sample: right edge = the same, middle = unrelated, left edge = opposite",
        y_axis_label="depth (layers passed)",
        x_range=Range1d(start=1.05 * left, end=1.05 * top),
        y_range=Range1d(start=0, end=1.04 * top),
    )
    plot.patch([0, top, -top], [0, top, top], color="#f0c808", alpha=0.12)
    plot.line(
        [-top, 0, top],
        [top, 0, top],
        color="#8a6d00",
        width=2,
        line_dash="dashed",
        legend_label="light cone (ρ = ±1)",
    )
    points = []
    for name, label in TWINS.items():
        color, marker = STYLE[name]
        line = content.worldlines[name][content.chosen]
        source = ColumnDataSource(worldline(line, [layer["name"] for layer in layers]), name=f"worldline-{name}")
        plot.line("x", "t", source=source, color=color, width=2.5, legend_label=label)
        points.append(
            plot.scatter("x", "t", source=source, color=color, marker=marker, size=MARKER_SIZE, legend_label=label)
        )
    plot.add_tools(
        HoverTool(
            renderers=points,
            tooltips=[
                ("after layer", "@layer"),
                ("ρ here", "@rho{0.000}"),
                ("proper depth so far", "@proper{0.00}"),
            ],
        )
    )
    _name_layers(plot.yaxis, layers, offset=1)
    place_legend(plot, 5)
    return plot


def worldline(correlations: list[float | None], layers: list[str]) -> dict[str, list[Any]]:
    """Columns of a worldline: it moves with velocity ρ, so its proper time is the proper depth Σ √(1−ρ²)."""
    rho = [value or 0.0 for value in correlations]
    return {
        "x": [0.0, *accumulate(rho)],
        "t": list(range(len(rho) + 1)),
        "rho": [None, *correlations],
        "proper": [0.0, *accumulate(max(0.0, 1 - value**2) ** 0.5 for value in rho)],
        "layer": ["(start)", *layers],
    }


def _map(content: Content) -> Any:
    """Every sample: how near its twin still is, against how near it came to the wrong class; pictures on hover.

    The pictures are in the page once, as its data; the page's script puts them into these sources.
    """
    plot = new_plot(
        "",
        420,
        x_axis_label="φ(adversarial, clean) at the last layer: still beside its twin →",
        y_axis_label="φ(adversarial, wrong class) at the last layer",
    )
    kinds = (
        ("fooled", VERMILLION, "circle"),
        ("held", BLUE, "square"),
        ("misclassified by itself", GREY, "triangle"),
    )
    points = []
    for state, color, marker in kinds:
        rows = [
            (position, sample)
            for position, sample in enumerate(content.samples)
            if sample.state == state and sample.near_twin is not None and sample.near_wrong is not None
        ]
        if not rows:
            continue
        source = ColumnDataSource(
            {
                "x": [sample.near_twin for _, sample in rows],
                "y": [sample.near_wrong for _, sample in rows],
                "position": [position for position, _ in rows],
                **{
                    key: [getattr(sample, key) for _, sample in rows]
                    for key in (
                        "number",
                        "label",
                        "clean_prediction",
                        "noise_prediction",
                        "adversarial_prediction",
                    )
                },
                **{key: [""] * len(rows) for key in ("clean", "noise", "adversarial", "change")},  # page.js fills them
            },
            name=f"map-{state}",
        )
        points.append(
            plot.scatter(
                "x",
                "y",
                source=source,
                color=color,
                marker=marker,
                size=MARKER_SIZE,
                alpha=0.55,
                line_color="white",
                legend_label=f"{state} ({len(rows):,})",
                nonselection_alpha=0.35,
                selection_line_color="black",
            )
        )
    plot.add_tools(
        HoverTool(renderers=points, tooltips=TOOLTIP, point_policy="snap_to_data"), TapTool(renderers=points)
    )
    place_legend(plot, 3)
    return plot


def _tooltip_cell(name: str, said: str) -> str:
    style = "width:56px;height:56px;image-rendering:pixelated;display:block;border:1px solid #999"
    return f'<td style="padding:2px;font-size:11px">{name}<br>{said}<img src="@{name}" alt="" style="{style}"></td>'


TOOLTIP = (
    '<div style="font-size:12px">sample @number, label @label<table><tr>'
    + _tooltip_cell("clean", "→ @clean_prediction")
    + _tooltip_cell("noise", "→ @noise_prediction")
    + _tooltip_cell("adversarial", "→ @adversarial_prediction")
    + _tooltip_cell("change", "&nbsp;")
    + "</tr></table></div>"
)
