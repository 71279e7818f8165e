"""The page of a search for distant pairs, from its stored results."""

from __future__ import annotations

from typing import Any

from worldline.report.distant.content import HEIGHT, WIDTH, read_cards, read_path
from worldline.report.distant.figures import build_figures, class_cells
from worldline.report.page import as_json, render_page
from worldline.report.plots import as_figure_data, page_scripts
from worldline.runs import RunFolder, distant_findings

__all__ = ["render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    summary = run.read_json("summary.json")
    merged, opposed = read_cards(run, summary)
    page = render_page(
        "distant/page.html.j2",
        scripts=page_scripts("distant"),
        summary=summary,
        headline=_headline(summary),
        findings=distant_findings(summary),
        merged=merged,
        opposed=opposed,
        path=read_path(run, summary),
        size=(WIDTH, HEIGHT),
        page_data=as_json({"cells": class_cells(summary), "layer": summary["layer_index"]}),
        figure_data=as_figure_data(build_figures(summary)),
    )
    return page, {}


def _headline(summary: dict[str, Any]) -> str:
    if not summary["merged"]:
        return f"{summary['model']} has merged no distant pair at {summary['layer']}"
    beyond = summary["merged_beyond_untrained"]
    pairs = f"{len(summary['merged'])} pairs of strangers"
    if beyond is None:
        return f"{summary['model']} brings {pairs} together at {summary['layer']}"
    return f"{summary['model']} brings {pairs} together at {summary['layer']}; {beyond} of them beyond any untrained network"
