"""The page of an exploration, from its stored results; other runs join it as further models or as
sections.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from worldline import plot
from worldline.plot.names import tidy_name
from worldline.report.complexity.page import model_markup, model_views
from worldline.report.explore.content import Model, read_model
from worldline.report.explore.side import side_by_side
from worldline.report.guide import guide
from worldline.report.kinds import Document
from worldline.report.page import Attached, render_page
from worldline.report.views import View
from worldline.runs import RunFolder

__all__ = ["describe", "draw", "render"]

SCRIPTS = tuple(
    f"explore/{name}"
    for name in ("choice", "samples", "layers", "pictures", "worldlines", "map", "classes", "page")
)
SECTIONS = (
    "trust",
    "layers",
    "turn",
    "sample",
    "map",
    "classes",
    "flow",
    "gallery",
    "curve",
)  # each a template


def render(
    run: RunFolder, beside: tuple[RunFolder, ...] = (), attached: tuple[Attached, ...] = ()
) -> tuple[str, dict[str, bytes]]:
    """The page; its pictures are all inside."""
    models = _read((run, *beside))
    first, summary = models[0], models[0].explored.summary
    page = render_page(
        "explore/page.html.j2",
        scripts=SCRIPTS,
        versions=summary["versions"],
        data={"models": [_data(model) for model in models]},
        summary=summary,
        first=first,
        models=models,
        side=side_by_side(models),
        attached=attached,
        complexities=_complexities(models),
        section_names=[
            name
            for name in SECTIONS
            if name != "curve" or any("curve" in it.views for it in models)
        ],
        guide=guide(),
    )
    return page, {}


def describe(run: RunFolder, beside: tuple[RunFolder, ...] = ()) -> Document:
    """What the page says, as a document of every model."""
    models = _read((run, *beside))
    parts: dict[str, View] = {}
    for model in models:
        prefix = f"{model.name}: " if len(models) > 1 else ""
        document = model.explored.summary.get("complexity")
        views = {
            **model.views,
            **(
                {f"complexity {name}": it for name, it in model_views(document).items()}
                if document
                else {}
            ),
        }
        parts |= {f"{prefix}{name}": view for name, view in views.items()}
    side = side_by_side(models)
    findings = (
        *([side.title, side.sentence] if side else ()),
        *(it for model in models for it in model.findings),
    )
    return Document(
        title=models[0].headline,
        findings=tuple(findings),
        views={**({"models": side} if side else {}), **parts},
    )


def draw(run: RunFolder) -> dict[str, Figure]:
    """Figures by name."""
    data = plot.read_explored(run)
    drawers: dict[str, Any] = {
        "rapidity": plot.rapidity_by_layer,
        "sides": plot.changed_sides,
        "boosts": plot.excess_boost,
        "spacetime": plot.spacetime,
        "map": plot.sample_map,
        "classes": plot.class_accuracy,
        "flow": plot.class_flow,
    }
    if data.summary.get("curve"):
        drawers["curve"] = plot.accuracy_curve
    if data.summary.get("complexity"):
        document = data.summary["complexity"]
        drawers["waterfall"] = lambda _: plot.boost_waterfall(document)
        drawers["limits"] = lambda _: plot.speed_limit_use(document)
    figures = {name: drawer(data).get_figure() for name, drawer in drawers.items()}
    return {name: figure for name, figure in figures.items() if isinstance(figure, Figure)}


def _read(runs: tuple[RunFolder, ...]) -> list[Model]:
    """Models with names of their own: equal ones are told apart by their folders."""
    named = [str(it.read_json("summary.json").get("model")) for it in runs]
    unique = [
        name if named.count(name) == 1 else f"{name} ({run.path.name})"
        for name, run in zip(named, runs, strict=True)
    ]
    return [
        read_model(run, name=tidy_name(name), share_of_page=len(runs))
        for name, run in zip(unique, runs, strict=True)
    ]


def _complexities(models: list[Model]) -> list[tuple[int, Markup]]:
    """Place and markup of each model whose run measured its complexity."""
    documents = [
        (place, model.explored.summary.get("complexity")) for place, model in enumerate(models)
    ]
    return [
        (place, model_markup(it, prefix=f"complexity{place}-", guide=True))
        for place, it in documents
        if it
    ]


def _data(model: Model) -> dict[str, Any]:
    return {
        **model.drawn,
        "name": model.name,
        "headline": model.headline,
        "attack": model.attack,
        "findings": model.findings,
        "merits": model.merits,
        "views": {name: asdict(view) for name, view in model.views.items()},
    }
