"""The page of a search for distant pairs, from its stored results."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from worldline import plot
from worldline.plot.names import tidy
from worldline.report.distant.content import HEIGHT, WIDTH, read_cards, read_path
from worldline.report.distant.tables import class_names, path_picture
from worldline.report.heat import heat_cells, widest
from worldline.report.kinds import Document
from worldline.report.page import Attached, as_json, fill_template, render_page
from worldline.report.views import Table, View
from worldline.runs import RunFolder, distant_findings

__all__ = ["attach", "describe", "draw", "render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    page = render_page(
        "distant/page.html.j2",
        versions=tidy(run.read_json("summary.json")["versions"]),
        **_context(run),
    )
    return page, {}


def attach(run: RunFolder, *, prefix: str) -> Attached:
    """Its sections for another page."""
    context = _context(run)
    sections = fill_template("distant/sections.html.j2", **{**context, "prefix": prefix})
    return Attached(context["headline"], Markup(sections))


def describe(run: RunFolder) -> Document:
    """What the page says."""
    summary = tidy(run.read_json("summary.json"))
    names = [layer["name"] for layer in summary["layers"]]
    views = {}
    for side, sign in (("merged", "+"), ("opposed", "−")):
        rows = tuple(
            (
                " and ".join(map(str, pair["samples"])),
                f"{pair['input_distance']:.2f}",
                f"{pair['matched_p']:.2g}",
                *(f"{sign}∞" if value is None else f"{value:+.2f}" for value in pair["worldline"]),
            )
            for pair in summary[side]
        )
        table = Table(("samples", "distance at the input", "p at that distance", *names), rows)
        views[side] = View(
            f"Pairs that were {side}",
            "Rapidity φ by layer.",
            f"{summary['counts']['pairs']:,} pairs searched",
            table,
        )
    return Document(_headline(summary), distant_findings(summary), views)


def draw(run: RunFolder) -> dict[str, Figure]:
    """Figures by name."""
    figure = plot.pair_worldlines(run).get_figure()
    return {"pairs": figure} if isinstance(figure, Figure) else {}


def _context(run: RunFolder) -> dict[str, Any]:
    summary = tidy(run.read_json("summary.json"))
    merged, opposed = read_cards(run, summary)
    classes, cells = summary["classes"], []
    if classes is not None:
        tables = [
            [[cell[layer] for cell in row] for row in classes["median"]]
            for layer in range(len(summary["layers"]))
        ]
        cells = [heat_cells(table, widest(tables, 0.1), diverging=True) for table in tables]
    return {
        "summary": summary,
        "prefix": "",
        "headline": _headline(summary),
        "findings": distant_findings(summary),
        "merged": merged,
        "opposed": opposed,
        "path": read_path(run, summary),
        "way": path_picture(summary["made"]) if summary["made"] is not None else None,
        "size": (WIDTH, HEIGHT),
        "names": class_names(summary) if classes is not None else [],
        "cells": cells,
        "cell_data": as_json(cells),
    }


def _headline(summary: dict[str, Any]) -> str:
    if not summary["merged"]:
        return f"{summary['model']} has merged no distant pair at {summary['layer']}"
    beyond = summary["merged_beyond_untrained"]
    pairs = f"{len(summary['merged'])} pairs of strangers"
    if beyond is None:
        return f"{summary['model']} brings {pairs} together at {summary['layer']}"
    return (
        f"{summary['model']} brings {pairs} together at {summary['layer']}; {beyond} of them "
        f"beyond any untrained network"
    )
