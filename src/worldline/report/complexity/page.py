"""The page of a run of ``worldline complexity``, and the section that an exploration shows of its
own model.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from worldline import plot
from worldline.plot.names import tidy
from worldline.report.complexity import tables
from worldline.report.complexity.pictures import limit_bars, ranking_bars, waterfall
from worldline.report.kinds import Document
from worldline.report.numbers import count
from worldline.report.page import Attached, fill_template, render_page
from worldline.report.views import View
from worldline.runs import RunFolder, complexity_findings, complexity_sentences

__all__ = ["attach", "describe", "draw", "model_markup", "model_views", "render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    return render_page(
        "complexity/page.html.j2",
        versions=tidy(run.read_json("summary.json")["versions"]),
        **_context(run),
    ), {}


def attach(run: RunFolder, *, prefix: str) -> Attached:
    """Its sections for another page."""
    context = _context(run, prefix)
    return Attached(
        context["headline"], Markup(fill_template("complexity/sections.html.j2", **context))
    )


def describe(run: RunFolder) -> Document:
    """What the page says."""
    summary = tidy(run.read_json("summary.json"))
    views = {"ranking": _ranking_view(summary)}
    for place in summary["ranking"]:
        document = summary["models"][place]
        views |= {
            f"{document['model']}: {name}": view for name, view in model_views(document).items()
        }
    return Document(_headline(summary), complexity_findings(summary), views)


def draw(run: RunFolder) -> dict[str, Figure]:
    """Figures by name, of the most fragile model."""
    drawn = {
        "waterfall": plot.boost_waterfall(run),
        "strangers": plot.boost_waterfall(run, kind="strangers"),
        "limits": plot.speed_limit_use(run),
        "ranking": plot.fragility_ranking(run),
    }
    figures = {name: axes.get_figure() for name, axes in drawn.items()}
    return {name: figure for name, figure in figures.items() if isinstance(figure, Figure)}


def model_markup(document: dict[str, Any], *, prefix: str, guide: bool = False) -> Markup:
    """The views of one model; ids start with the prefix. ``guide``: the page carries one to point
    at.
    """
    return Markup(
        fill_template(
            "complexity/model.html.j2",
            prefix=prefix,
            guide=guide,
            document=document,
            views=model_views(document),
            falls=[(kind, waterfall(document, kind)) for kind in ("noise", "strangers")],
            bars=limit_bars(document),
        )
    )


def model_views(document: dict[str, Any]) -> dict[str, View]:
    """Boosts, limits, spectrum and known measures in words, with their tables."""
    sentences = complexity_sentences(document)
    pairs = ", ".join(
        f"{number:,} pairs of {kind.replace('_', ' ')}"
        for kind, number in document["pairs"].items()
    )
    basis = (
        f"n = {count(document['samples'], 'sample')}; {pairs}; intervals are 95% bootstrap "
        f"intervals"
    )
    used = [it for it in sentences if "speed limit" in it]
    return {
        "boosts": View(
            _boost_title(document),
            " ".join(it for it in sentences if it not in used),
            basis,
            tables.layers(document),
        ),
        "limits": View(
            "How much of its speed limit each linear layer uses",
            used[0]
            if used
            else "The model has no linear or convolutional layer that runs, so there is no speed "
            "limit to use.",
            basis,
            tables.limits(document),
        ),
        "spectrum": View(
            "How far the input moves the output: singular values of the Jacobian",
            _spectrum_sentence(document),
            f"n = {count(document['spectrum']['samples'], 'sample')}; medians over samples with "
            f"95% bootstrap intervals",
            tables.spectrum(document),
        ),
        "known": View(
            "The measures that people know",
            "Beside ours, for this model and for the same architecture with its weights drawn "
            "again.",
            basis,
            tables.known(document),
        ),
    }


def _context(run: RunFolder, prefix: str = "") -> dict[str, Any]:
    summary = tidy(run.read_json("summary.json"))
    models, order = summary["models"], summary["ranking"]
    return {
        "summary": summary,
        "prefix": prefix,
        "headline": _headline(summary),
        "findings": complexity_findings(summary),
        "notes": list(dict.fromkeys(note for it in models for note in it["notes"])),
        "ranking": _ranking_view(summary),
        "rank": ranking_bars(models, order),
        "parts": [
            (models[place]["model"], model_markup(models[place], prefix=f"{prefix}model{place}-"))
            for place in order
        ],
    }


def _headline(summary: dict[str, Any]) -> str:
    ranked = [summary["models"][place] for place in summary["ranking"]]
    first = ranked[0]
    if len(ranked) == 1:
        changed = first["fragility"]["changed"]["value"]
        return f"Noise changes {changed:.0%} of the answers of {first['model']}"
    gap = (
        first["fragility"]["changed"]["interval"][0]
        > ranked[1]["fragility"]["changed"]["interval"][1]
    )
    if gap:
        return f"{first['model']} seems the most fragile of {len(ranked)} models, before any attack"
    return (
        f"{first['model']} and {ranked[1]['model']} seem the most fragile of {len(ranked)} "
        f"models, not told apart"
    )


def _ranking_view(summary: dict[str, Any]) -> View:
    models, order = summary["models"], summary["ranking"]
    first = models[order[0]]
    return View(
        "Which model is the most fragile, estimated without an attack"
        if len(order) > 1
        else "How fragile it is, estimated without an attack",
        complexity_findings(summary)[0],
        f"n = {count(first['samples'], 'sample')}, two forward passes each; 95% intervals over "
        f"samples",
        tables.ranking(models, order),
    )


def _boost_title(document: dict[str, Any]) -> str:
    total = document["total_boost"].get("noise")
    if not total or total["median"] is None:
        return "Rapidity from layer to layer"
    way = "apart" if total["median"] >= 0 else "together"
    return (
        f"{document['model']} drives noise twins {abs(total['median']):.2f} nats {way} from "
        f"input to output"
    )


def _spectrum_sentence(document: dict[str, Any]) -> str:
    it, fresh = document["spectrum"], document["untrained_spectrum"]
    if not it["singular_values"] or it["singular_values"][0]["median"] is None:
        return str(it["status"])
    largest = it["singular_values"][0]["median"]
    null = fresh["singular_values"][0]["median"] if fresh and fresh["singular_values"] else None
    beside = "" if null is None else f"; untrained, {null:.3g}"
    return (
        f"At the worst direction the output {it['layer']} moves {largest:.3g} times as far as "
        f"the input (median over samples){beside}."
    )
