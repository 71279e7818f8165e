"""The page of a comparison, from its stored results."""

from __future__ import annotations

from typing import Any

from worldline.report.compare.figures import build_figures
from worldline.report.page import render_page
from worldline.report.plots import as_figure_data, page_scripts
from worldline.runs import RunFolder, comparison_findings, norm_sign

__all__ = ["render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    summary = run.read_json("summary.json")
    page = render_page(
        "compare/page.html.j2",
        scripts=page_scripts("compare"),
        summary=summary,
        findings=comparison_findings(summary),
        headline=_headline(summary),
        norm=norm_sign(summary["norm"]),
        ordered=[summary["models"][place] for place in summary["order"]],
        figure_data=as_figure_data(build_figures(summary)),
    )
    return page, {}


def _headline(summary: dict[str, Any]) -> str:
    names, table = summary["models"], summary["similarity"]
    value, one, two = max((table[a][b], b, a) for a in range(len(names)) for b in range(a))
    return f"Of {len(names)} models, {names[one]} and {names[two]} share most: a mean cosine of {value:.2f}"
