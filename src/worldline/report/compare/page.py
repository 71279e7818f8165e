"""The page of a comparison, from its stored results."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from worldline import plot
from worldline.plot.names import tidy
from worldline.report.compare.tree import tree_of
from worldline.report.heat import heat_cells, widest
from worldline.report.kinds import Document
from worldline.report.page import Attached, fill_template, render_page
from worldline.report.views import Table, View
from worldline.runs import RunFolder, comparison_findings, norm_sign

__all__ = ["attach", "describe", "draw", "render"]

MATRICES = {
    "similarity": "displacement entanglement (mean cosine of displacements)",
    "predicted": "predicted score",
    "measured": "measured rate",
    "same_mistake": "same mistake as the source, beyond noise",
    "noise_rate": "lost to noise of the same size",
}


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    summary = tidy(run.read_json("summary.json"))
    return render_page(
        "compare/page.html.j2",
        versions=tidy(run.read_json("summary.json")["versions"]),
        **_context(summary),
    ), {}


def attach(run: RunFolder, *, prefix: str) -> Attached:
    """Its sections for another page."""
    summary = tidy(run.read_json("summary.json"))
    sections = fill_template("compare/sections.html.j2", **{**_context(summary), "prefix": prefix})
    return Attached(_headline(summary), Markup(sections))


def describe(run: RunFolder) -> Document:
    """What the page says."""
    summary = tidy(run.read_json("summary.json"))
    views = {}
    for key, label in MATRICES.items():
        if summary.get(key) is not None:
            rows = tuple(
                (
                    summary["models"][row],
                    *(
                        "–" if value is None else f"{value:.3f}"
                        for value in _ordered(summary, key)[place]
                    ),
                )
                for place, row in enumerate(summary["order"])
            )
            table = Table(
                ("source", *(summary["models"][place] for place in summary["order"])), rows
            )
            views[key] = View(
                label,
                "Sources down, targets across.",
                f"{summary['probed_samples']} probed samples",
                table,
            )
    return Document(_headline(summary), comparison_findings(summary), views)


def draw(run: RunFolder) -> dict[str, Figure]:
    """Figures by name."""
    summary = run.read_json("summary.json")
    known = [key for key in MATRICES if summary.get(key) is not None]
    figures = {key: plot.transfer(run, which=key).get_figure() for key in known}
    return {key: figure for key, figure in figures.items() if isinstance(figure, Figure)}


def _context(summary: dict[str, Any]) -> dict[str, Any]:
    spans = {"similarity": (-0.2, 1.0), "predicted": _range(summary["predicted"])}
    heats = {
        key: heat_cells(_ordered(summary, key), spans.get(key, (0.0, 1.0)))
        for key in MATRICES
        if summary.get(key)
    }
    if summary["measured"] is not None:
        gap = _ordered({**summary, "difference": _difference(summary)}, "difference")
        heats["difference"] = heat_cells(gap, widest([gap], 0.1), diverging=True)
        heats["fitted"] = heat_cells(_ordered(summary, "fitted"), (0.0, 1.0))
    return {
        "summary": summary,
        "prefix": "",
        "findings": comparison_findings(summary),
        "headline": _headline(summary),
        "norm": norm_sign(summary["norm"]),
        "ordered": [summary["models"][place] for place in summary["order"]],
        "heats": heats,
        "labels": MATRICES,
        "tree": tree_of(summary),
    }


def _headline(summary: dict[str, Any]) -> str:
    """The pair that shares most; not called so where the next pair's interval overlaps its own."""
    names, table, spread = summary["models"], summary["similarity"], summary["similarity_interval"]
    pairs = sorted(((table[a][b], b, a) for a in range(len(names)) for b in range(a)), reverse=True)
    value, one, two = pairs[0]
    level = [pair for pair in pairs[1:] if spread[pair[2]][pair[1]][1] >= spread[two][one][0]]
    shared = f"a mean cosine of {value:.2f}"
    if level:
        return (
            f"Of {len(names)} models, {names[one]} and {names[two]} are among those that share "
            f"most: {shared}"
        )
    return f"Of {len(names)} models, {names[one]} and {names[two]} share most: {shared}"


def _ordered(summary: dict[str, Any], key: str) -> list[list[float | None]]:
    order, table = summary["order"], summary[key]
    return [[table[source][target] for target in order] for source in order]


def _range(table: list[list[float | None]]) -> tuple[float, float]:
    values = [value for row in table for value in row if value is not None]
    return min([*values, 0.0]), max([*values, 0.01])


def _difference(summary: dict[str, Any]) -> list[list[float | None]]:
    """Measured rate less the line fitted through the prediction; nothing on the diagonal, which the
    fit leaves out.
    """
    return [
        [
            None if source == target or fitted is None or rate is None else rate - fitted
            for target, (rate, fitted) in enumerate(zip(rates, fits, strict=True))
        ]
        for source, (rates, fits) in enumerate(
            zip(summary["measured"], summary["fitted"], strict=True)
        )
    ]
