"""The page of ``worldline complexity``, and the sections that show one model on any page."""

from __future__ import annotations

from markupsafe import Markup

from worldline.commands.base import Result
from worldline.commands.complexity import tables
from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.commands.complexity.words import (
    boost_words,
    changed_words,
    limit_words,
    null_words,
    ranking_words,
    spectrum_words,
)
from worldline.explain import ByKind, LimitUse
from worldline.report.figures import Bar, Bars, Lines, Role, Series, Waterfall
from worldline.report.numbers import count, share
from worldline.report.page import fill_template
from worldline.report.views import View

__all__ = ["context", "model_markup", "model_views", "most_used", "views"]

MOST_LAYERS = 20
ONE_LAYER = "Only one layer was traced, so nothing can change on the way."
LOOKS: tuple[tuple[str, Role, str], ...] = (
    ("noise", "noise", "noise twins"),
    ("strangers", "wrong", "strangers"),
)
BY_LAYER = "median rapidity φ (nats) by layer"


def context(result: Result[ComplexityReport], prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    return {
        "ranking": _ranking_view(record),
        "bars": _ranking_bars(record),
        "models": [
            (it.model, model_markup(it, prefix=f"{prefix}model{place}-"))
            for place, it in enumerate(record.ranked)
        ],
    }


def views(result: Result[ComplexityReport]) -> dict[str, View]:
    """The ranking, then the views of each model, in that order."""
    record = result.record
    each = {
        f"{it.model}: {name}": view
        for it in record.ranked
        for name, view in model_views(it).items()
    }
    return {"ranking": _ranking_view(record), **each}


def model_markup(it: ModelComplexity, *, prefix: str, guide: bool = False) -> Markup:
    """The views of one model; ids start with the prefix.

    Args:
        guide: whether the page carries the guide, to point at.
    """
    return Markup(
        fill_template(
            "complexity/model.html.j2",
            prefix=prefix,
            guide=guide,
            views=model_views(it),
            falls={kind: _waterfall(it, kind) for kind in ("noise", "strangers")},
            shares={
                "share": _limit_bars(it, whole=True),
                "plane_share": _limit_bars(it, whole=False),
            },
            predicted=_prediction_lines(it),
        )
    )


def model_views(it: ModelComplexity) -> dict[str, View]:
    """Boosts, limits, the null, the spectrum and known measures, in words with their tables."""
    pairs = ", ".join(f"{many:,} pairs of {tables.KINDS[kind]}" for kind, many in it.pairs.items())
    samples = count(it.samples, "sample")
    basis = f"n = {samples}; {pairs}; intervals are 95% bootstrap intervals"
    no_limits = "The model has no linear or convolutional layer that runs, so there is no limit."
    return {
        "boosts": View(
            "What the layers do to pairs",
            f"{changed_words(it)} {boost_words(it) or ONE_LAYER}",
            basis,
            tables.layers(it),
        ),
        "limits": View(
            "How much of its speed limit each linear layer uses",
            limit_words(it) or no_limits,
            basis,
            tables.limits(it),
        ),
        "null": View(
            "What random weights alone would do",
            null_words(it),
            "raw frame; at most 100 pairs of each kind; the theory is of infinite width",
            tables.null(it),
        ),
        "spectrum": View(
            "How far the input moves the output: singular values of the Jacobian",
            spectrum_words(it),
            f"n = {count(it.spectrum.samples, 'sample')}; medians over samples with 95% bootstrap "
            "intervals",
            tables.spectrum(it),
        ),
        "known": View(
            "The measures that people know",
            "Of this model, and of the same architecture with its weights drawn again.",
            basis,
            tables.known(it),
        ),
    }


def most_used(it: ModelComplexity) -> tuple[LimitUse, ...]:
    """The linear layers in their order; of many, the twenty that noise twins use most."""

    def used(place: int) -> float:
        return it.limits[place].plane_share["noise"].median or 0.0

    places = sorted(range(len(it.limits)), key=used, reverse=True)[:MOST_LAYERS]
    return tuple(it.limits[place] for place in sorted(places))


def _ranking_view(record: ComplexityReport) -> View:
    several = len(record.models) > 1
    return View(
        "How many answers noise changes" + (", model by model" if several else ""),
        ranking_words(record) if several else changed_words(record.models[0]),
        f"n = {count(record.models[0].samples, 'sample')}, two forward passes each; 95% intervals "
        "over samples",
        tables.ranking(record),
    )


def _ranking_bars(record: ComplexityReport) -> Bars:
    bars = []
    for it in record.ranked:
        changed = it.fragility.changed
        bars.append(Bar(it.model, changed.value, share(changed.value), interval=changed.interval))
    return Bars(tuple(bars), share=True, label="share of answers that noise changes")


def _waterfall(it: ModelComplexity, kind: str) -> Waterfall | None:
    """The way of the median φ; None where it is not finite from the input on."""
    levels = tuple(layer.rapidity[kind].median for layer in it.layers)
    if levels[0] is None or abs(levels[0]) == float("inf"):
        return None
    null = tuple((layer.untrained_rapidity or {}).get(kind) for layer in it.layers)
    drawn = tuple(None if level is None else level.median for level in null)
    return Waterfall(
        tuple(layer.name for layer in it.layers), levels, drawn if any(null) else (), BY_LAYER
    )


def _limit_bars(it: ModelComplexity, *, whole: bool) -> Bars | None:
    """Share of the layer's limit, or of that of the pair's plane: noise twins above strangers."""
    bars = []
    for limit in most_used(it):
        used = limit.share if whole else limit.plane_share
        fresh = (limit.untrained_share if whole else limit.untrained_plane_share) or {}
        for kind, role, _ in LOOKS:
            found = used[kind]
            if found.median is None or (whole and limit.limit == float("inf")):
                continue
            drawn = fresh.get(kind)
            bars.append(
                Bar(
                    limit.name if role == "noise" else "",
                    found.median,
                    share(found.median),
                    role,
                    found.interval,
                    None if drawn is None else drawn.median,
                )
            )
    label = "of ln κ, the layer's limit" if whole else "of ln(σ₁/σ₂), the limit on the pair's plane"
    if not bars:
        return None
    looks = tuple((role, name) for _, role, name in LOOKS)
    most = None if whole else 1.0
    return Bars(tuple(bars), most, share=True, label=label, legend=looks)


def _prediction_lines(it: ModelComplexity) -> Lines | None:
    """φ through the layers at random weights: predicted dashed, drawn with markers."""
    known = [layer for layer in it.layers if layer.predicted_rapidity is not None]
    if not known:
        return None

    def median(parts: ByKind | None, kind: str) -> float | None:
        return None if parts is None else parts[kind].median

    series = []
    for kind, role, name in LOOKS:
        predicted = tuple(median(layer.predicted_rapidity, kind) for layer in known)
        drawn = tuple(median(layer.untrained_raw_rapidity, kind) for layer in known)
        series += [
            Series(f"{name}, predicted", role, predicted, dashed=True),
            Series(f"{name}, drawn", role, drawn),
        ]
    return Lines(tuple(layer.name for layer in known), tuple(series), label=BY_LAYER)
