"""The page of the encoder's experiments, from their stored results."""

from __future__ import annotations

import base64
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from worldline.plot.names import tidy
from worldline.report.encode.figures import draw as draw_experiment
from worldline.report.encode.figures import figure_of
from worldline.report.kinds import Document
from worldline.report.page import Attached, fill_template, render_page
from worldline.report.views import Table, View
from worldline.runs import RunFolder

__all__ = ["attach", "describe", "draw", "render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page, and the figure of each experiment as PNG by the name of its file; the page holds
    them too.
    """
    context, pictures = _context(run)
    return render_page(
        "encode/page.html.j2", versions=tidy(run.read_json("summary.json")["versions"]), **context
    ), pictures


def attach(run: RunFolder, *, prefix: str) -> Attached:
    """Its sections for another page."""
    context, _ = _context(run)
    sections = fill_template("encode/sections.html.j2", **{**context, "prefix": prefix})
    return Attached(context["headline"], Markup(sections))


def describe(run: RunFolder) -> Document:
    """What the page says."""
    documents = _documents(run)
    views = {
        it["experiment"]: View(
            it["title"],
            f"{it['claim']} {it['verdict']}",
            f"{it['replicas']:,} independent encoders; standard errors",
            Table(
                ("quantity", "measured", "law", "standard error", "unit"),
                tuple(
                    (
                        row["quantity"],
                        *(_told(row[key]) for key in ("measured", "predicted", "standard_error")),
                        row["unit"],
                    )
                    for row in it["measurements"]
                ),
            ),
        )
        for it in documents
    }
    return Document(_headline(documents), tuple(it["verdict"] for it in documents), views)


def draw(run: RunFolder) -> dict[str, Figure]:
    """Figures by name."""
    return {
        it["experiment"]: figure_of(it, run.read_table(it["table"]).to_pydict())
        for it in _documents(run)
    }


def _documents(run: RunFolder) -> list[dict[str, Any]]:
    summary = run.read_json("summary.json")
    documents: list[dict[str, Any]] = tidy(summary.get("experiments") or [summary])
    return documents


def _context(run: RunFolder) -> tuple[dict[str, Any], dict[str, bytes]]:
    documents = _documents(run)
    pictures = {
        it["figure"]: draw_experiment(it, run.read_table(it["table"]).to_pydict())
        for it in documents
    }
    context = {
        "summary": run.read_json("summary.json"),
        "prefix": "",
        "documents": documents,
        "pictures": {
            name: base64.b64encode(picture).decode() for name, picture in pictures.items()
        },
        "headline": _headline(documents),
    }
    return context, pictures


def _headline(documents: list[dict[str, Any]]) -> str:
    if len(documents) == 1:
        it = documents[0]
        return f"{it['title']}: {'as the law says' if it['agrees'] else 'not as the law says'}"
    agreeing = sum(it["agrees"] for it in documents)
    return (
        f"The selecting encoder: {agreeing} of {len(documents)} experiments come out as the "
        f"exact law says"
    )


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
