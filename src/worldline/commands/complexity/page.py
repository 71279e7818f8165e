"""The page of ``worldline complexity``, its figures, and what shows one model on any page.

Each figure is declared once: the page's script draws it, and Matplotlib for papers.
"""

from __future__ import annotations

import math

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.commands.complexity.words import model_views, ranking_view
from worldline.errors import UsageError
from worldline.explain import ByKind, LimitUse
from worldline.plot.axes import figure_of
from worldline.report.drawn import draw
from worldline.report.figures import Bar, Bars, Lines, Role, Series, Waterfall
from worldline.report.numbers import share, significant
from worldline.report.page import fill_template

__all__ = [
    "boost_waterfall",
    "context",
    "figures",
    "fragility_ranking",
    "model_markup",
    "speed_limit_use",
]

MOST_LAYERS = 20
LOOKS: dict[str, tuple[Role, str]] = {
    "noise": ("noise", "noise twins"),
    "strangers": ("wrong", "strangers"),
}
BY_LAYER = "median rapidity φ (nats) by layer"


def context(result: Result[ComplexityReport], prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    return {
        "ranking": ranking_view(record),
        "bars": _ranking(record),
        "models": [
            (it.model, model_markup(it, prefix=f"{prefix}model{place}-"))
            for place, it in enumerate(record.ranked)
        ],
    }


def model_markup(it: ModelComplexity, *, prefix: str, guide: bool = False) -> Markup:
    """The views of one model; ids start with the prefix.

    Args:
        guide: whether the page carries the guide, to point at.
    """
    return fill_template(
        "complexity/model.html.j2",
        prefix=prefix,
        guide=guide,
        views=model_views(it),
        falls={kind: _waterfall(it, kind) for kind in LOOKS},
        shares={"share": _limits(it, whole=True), "plane_share": _limits(it, whole=False)},
        predicted=_prediction(it),
    )


def figures(result: Result[ComplexityReport]) -> dict[str, Figure]:
    """Figures for papers by name: the ranking, and the first model of it."""
    record, first = result.record, result.record.ranked[0]
    drawn = {
        "waterfall": boost_waterfall(first),
        "strangers": boost_waterfall(first, kind="strangers"),
        "ranking": fragility_ranking(record),
    }
    if first.limits:
        drawn["limits"] = speed_limit_use(first)
    return {name: figure_of(ax) for name, ax in drawn.items()}


def fragility_ranking(record: ComplexityReport, *, ax: Axes | None = None) -> Axes:
    """Share of answers that noise changes, by model, with 95 % intervals: an estimate."""
    return draw(_ranking(record), ax)


def _ranking(record: ComplexityReport) -> Bars:
    shares = {it.model: it.fragility.changed for it in record.ranked}
    bars = (
        Bar(name, it.value, share(it.value), interval=it.interval) for name, it in shares.items()
    )
    sigma = significant(record.models[0].fragility.sigma)
    label = f"share of answers that noise of σ = {sigma} changes"
    return Bars(tuple(bars), share=True, label=label)


def boost_waterfall(it: ModelComplexity, *, kind: str = "noise", ax: Axes | None = None) -> Axes:
    """Median rapidity φ from layer to layer as a waterfall; the untrained network dashed.

    Args:
        it: a model's complexity: of ``report.models``, or of an exploration.
        kind: ``noise``, ``strangers`` or, where twins were made, ``adversarial`` or
            ``matched_noise``.
        ax: where to draw.

    Returns:
        The axes. A column from φ before to φ here: downwards, the layer drives such pairs apart;
        upwards, together. The last column is φ at the output, from 0.

    Raises:
        UsageError: no such kind of pairs.
    """
    if kind not in it.pairs:
        raise UsageError(f"There are no pairs of kind {kind!r}: name one of {', '.join(it.pairs)}.")
    return draw(_waterfall(it, kind), ax, title=f"{it.model}: {kind.replace('_', ' ')}")


def _waterfall(it: ModelComplexity, kind: str) -> Waterfall:
    null = tuple(_median(layer.untrained_rapidity, kind) for layer in it.layers)
    return Waterfall(
        tuple(layer.name for layer in it.layers),
        tuple(_median(layer.rapidity, kind) for layer in it.layers),
        null if any(layer.untrained_rapidity for layer in it.layers) else (),
        BY_LAYER,
    )


def speed_limit_use(it: ModelComplexity, *, whole: bool = True, ax: Axes | None = None) -> Axes:
    """Median share of its speed limit that each linear layer uses, with 95 % intervals.

    Args:
        it: a model's complexity.
        whole: of the layer's limit ln κ, where it has one, else of ln(σ₁/σ₂) on each pair's own
            plane.
        ax: where to draw.
    """
    return draw(_limits(it, whole=whole), ax, title=f"{it.model}: share that the median pair uses")


def _limits(it: ModelComplexity, *, whole: bool) -> Bars:
    """Share of the layer's limit, or of that of the pair's plane: noise twins above strangers."""
    bars: list[Bar] = []
    for limit in _most_used(it):
        used, fresh = limit.plane_share, limit.untrained_plane_share
        if whole:
            used, fresh = limit.share, limit.untrained_share
        if whole and limit.limit == math.inf:
            continue
        kinds = [kind for kind in LOOKS if used[kind].median is not None]
        bars += (
            Bar(
                limit.name if kind == kinds[0] else "",
                used[kind].median,
                share(used[kind].median),
                LOOKS[kind][0],
                used[kind].interval,
                _median(fresh, kind),
            )
            for kind in kinds
        )
    label = "of ln κ, the layer's limit" if whole else "of ln(σ₁/σ₂), the limit on the pair's plane"
    most = None if whole else 1.0
    return Bars(tuple(bars), most, share=True, label=label, legend=tuple(LOOKS.values()))


def _most_used(it: ModelComplexity) -> tuple[LimitUse, ...]:
    """The linear layers in their order; of many, the twenty that noise twins use most."""

    def used(place: int) -> float:
        return it.limits[place].plane_share["noise"].median or 0.0

    places = sorted(range(len(it.limits)), key=used, reverse=True)[:MOST_LAYERS]
    return tuple(it.limits[place] for place in sorted(places))


def _prediction(it: ModelComplexity) -> Lines:
    """φ through the layers at random weights: predicted dashed, drawn with markers."""
    known = [layer for layer in it.layers if layer.predicted_rapidity is not None]
    series = []
    for kind, (role, name) in LOOKS.items():
        predicted = tuple(_median(layer.predicted_rapidity, kind) for layer in known)
        drawn = tuple(_median(layer.untrained_raw_rapidity, kind) for layer in known)
        series += [
            Series(f"{name}, predicted", role, predicted, dashed=True),
            Series(f"{name}, drawn", role, drawn),
        ]
    return Lines(tuple(layer.name for layer in known), tuple(series), label=BY_LAYER)


def _median(parts: ByKind | None, kind: str) -> float | None:
    return parts[kind].median if parts else None
