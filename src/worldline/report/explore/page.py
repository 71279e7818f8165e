"""The page of an exploration, from its stored results."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from worldline.report.explore.content import PAIRS, TWINS, Content, read_content
from worldline.report.explore.figures import build_figures
from worldline.report.explore.words import headline, sentences, titles
from worldline.report.page import as_json, render_page
from worldline.report.plots import as_figure_data, page_scripts
from worldline.runs import RunFolder

__all__ = ["render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    content = read_content(run)
    summary = content.summary
    page = render_page(
        "explore/page.html.j2",
        scripts=page_scripts("explore"),
        content=content,
        summary=summary,
        headline=headline(summary),
        titles=titles(content),
        sentences=sentences(content),
        warned=[check for check in summary["checks"] if check["status"] == "warned"],
        pairs=PAIRS,
        twins=TWINS,
        positions={sample.number: position for position, sample in enumerate(content.samples)},
        page_data=as_json(_page_data(content)),
        figure_data=as_figure_data(build_figures(content)),
    )
    return page, {}


def _page_data(content: Content) -> dict[str, Any]:
    return {
        "layers": [layer["name"] for layer in content.summary["layers"]],
        "twins": list(TWINS),
        "samples": [asdict(sample) for sample in content.samples],
        "worldlines": content.worldlines,
        "chosen": content.chosen,
        "states": sorted({sample.state for sample in content.samples}),
    }
