"""What is said of models' complexity, as far as the intervals go: sentences, tables and views.

Each quantity has its sentence and its columns beside each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from worldline.commands.base import Result
from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.explain import NOT_A_BOUND, ByKind, LayerComplexity, LimitUse, Measure
from worldline.report.numbers import (
    NONE,
    attack_name,
    count,
    estimate,
    interval,
    number,
    share,
    signed,
    significant,
)
from worldline.report.views import Column, Table, View, Words, tabulate
from worldline.statistics import Summary, apart

__all__ = ["headline", "model_views", "ranking_view", "tables", "views", "words"]

KINDS = {
    "noise": "noise",
    "strangers": "strangers",
    "adversarial": "attacked",
    "matched_noise": "noise of its size",
}
MOST_RIVALS = 3
ONE_LAYER = "Only one layer was traced, so nothing can change on the way."
NO_LIMITS = "The model has no linear or convolutional layer that runs, so there is no limit."
Row = TypeVar("Row")
Model = Column[ModelComplexity]
Layer = Column[LayerComplexity]
Limit = Column[LimitUse]
MODEL = Model("model", lambda it: it.model, words=True)
LAYER = Layer("layer", lambda it: f"{it.index} {it.name}", words=True)
WIDTH = Layer("width", lambda it: it.width)
one_place = partial(number, places=1)


def words(record: ComplexityReport) -> Words:
    """The ranking, if there are several models, and what stands out in the first of it."""
    ranking = [ranking_words(record)] if len(record.models) > 1 else []
    if record.epsilon_text is not None:
        ranking.append(_attack_words(record))
    notes = dict.fromkeys((*record.notes, *(note for it in record.models for note in it.notes)))
    first = record.ranked[0]
    sentences = (changed_words(first), boost_words(first), limit_words(first))
    findings = (*ranking, *(said for said in sentences if said), NOT_A_BOUND)
    return Words(headline(record), findings, tuple(notes))


def tables(record: ComplexityReport) -> tuple[Table, ...]:
    """What the terminal shows: all models, and the layers of the first of the ranking."""
    first = record.ranked[0]
    columns = (
        LAYER,
        WIDTH,
        *_of_kind("noise", "null", interval=False),
        *_of_kind("strangers", "null", interval=False),
        Layer("dim.", lambda it: it.dimension.participation, form=one_place),
    )
    title = f"{first.model}: median rapidity φ and boost by layer, nats (null: untrained)"
    return (
        tabulate(_scores(record), record.ranked, title="Answers that noise changes"),
        tabulate((MODEL, *_measures(first)), record.ranked, title="The field's measures"),
        tabulate(columns, first.layers, title=title),
    )


def views(result: Result[ComplexityReport]) -> dict[str, View]:
    """The ranking, then the views of each model, in that order."""
    each = {
        f"{it.model}: {name}": view
        for it in result.record.ranked
        for name, view in model_views(it).items()
    }
    return {"ranking": ranking_view(result.record), **each}


def model_views(it: ModelComplexity) -> dict[str, View]:
    """Boosts, limits, the null, the spectrum and known measures, in words with their tables."""
    pairs = ", ".join(f"{many:,} pairs of {KINDS[kind]}" for kind, many in it.pairs.items())
    samples = count(it.samples, "sample")
    basis = f"n = {samples}; {pairs}; intervals are 95% bootstrap intervals"
    return {
        "boosts": View(
            "What the layers do to pairs",
            f"{changed_words(it)} {boost_words(it) or ONE_LAYER}",
            basis,
            _layer_table(it),
        ),
        "limits": View(
            "How much of its speed limit each linear layer uses",
            limit_words(it) or NO_LIMITS,
            _limit_basis(it),
            _limit_table(it),
        ),
        "null": View(
            "What random weights alone would do",
            null_words(it),
            "raw frame; at most 100 pairs of each kind; the theory is of infinite width",
            null_table(it),
        ),
        "spectrum": View(
            "How far the input moves the output: singular values of the Jacobian",
            _spectrum_words(it),
            f"n = {count(it.spectrum.samples, 'sample')}; medians over samples with 95% bootstrap "
            "intervals",
            _spectrum_table(it),
        ),
        "known": View(
            "The measures that people know",
            "Of this model, and of the same architecture with its weights drawn again.",
            basis,
            tabulate(KNOWN, it.known),
        ),
    }


# How many answers noise changes


def headline(record: ComplexityReport) -> str:
    """What noise changes, in one line; a model is set above the others only where it is."""
    ranked = record.ranked
    first, changed = ranked[0], ranked[0].fragility.changed.value
    if changed is None:
        return f"No output of {first.model} under noise is finite"
    sigma = significant(first.fragility.sigma)
    if len(ranked) > 1 and _gap(first, ranked[1]):
        return (
            f"Of {len(ranked)} models noise changes most answers of {first.model}: "
            f"{share(changed)} at σ = {sigma}"
        )
    alone = f"Noise of σ = {sigma} changes {share(changed)} of the answers of {first.model}"
    if len(ranked) == 1:
        return alone
    second = ranked[1]
    other = share(second.fragility.changed.value)
    return f"{alone} and {other} of those of {second.model}, not told apart"


def changed_words(it: ModelComplexity) -> str:
    """How many answers noise changes."""
    changed = it.fragility.changed
    if changed.value is None or changed.interval is None:
        return f"No output of {it.model} under noise is finite, so no answer can be compared."
    gone = changed.undefined
    left_out = f"; {gone:,} left out, as an output was not finite" if gone else ""
    return (
        f"Noise of σ = {significant(it.fragility.sigma)} changes {share(changed.value)} of the "
        f"answers of {it.model} (95% interval {interval(changed.interval, share)}, "
        f"{count(changed.count, 'sample')}{left_out})."
    )


def ranking_words(record: ComplexityReport) -> str:
    """Models in order, and between which neighbours the intervals leave a gap."""
    ranked = record.ranked
    shares = ", ".join(f"{it.model} {share(it.fragility.changed.value)}" for it in ranked)
    gaps = [
        f"{one.model} from {other.model}" for one, other in pairwise(ranked) if _gap(one, other)
    ]
    sigma = significant(ranked[0].fragility.sigma)
    start = f"Share of answers that noise of σ = {sigma} changes, the largest first: {shares}."
    if not gaps:
        return f"{start} The 95% intervals of all neighbours overlap."
    rest = "" if len(gaps) == len(ranked) - 1 else "; other neighbours are not told apart"
    return f"{start} Their 95% intervals tell {', '.join(gaps)}{rest}."


def _gap(one: ModelComplexity, other: ModelComplexity) -> bool:
    return apart(one.fragility.changed.interval, other.fragility.changed.interval) > 0


def _attack_words(record: ComplexityReport) -> str:
    """What each model still gets right under the attack, and clean."""
    told = "; ".join(
        f"{it.model} {estimate(it.adversarial_accuracy)}, clean {estimate(it.clean_accuracy)}"
        for it in record.ranked
    )
    name = attack_name(record.attack, record.steps, record.norm, record.epsilon_text)
    return f"Right under {name}, an upper bound on what any attack leaves: {told}."


def ranking_view(record: ComplexityReport) -> View:
    """Models by the share of answers that noise changes, beside the field's measures."""
    several = len(record.models) > 1
    return View(
        "How many answers noise changes" + (", model by model" if several else ""),
        ranking_words(record) if several else changed_words(record.models[0]),
        f"n = {count(record.models[0].samples, 'sample')}, two forward passes each; 95% intervals "
        "over samples",
        tabulate((*_scores(record), *_measures(record.models[0])), record.ranked),
    )


def _scores(record: ComplexityReport) -> tuple[Model, ...]:
    attacked = Model("right, attacked", lambda it: it.adversarial_accuracy, interval=True)
    return (
        MODEL,
        Model("answers that noise changes", lambda it: it.fragility.changed, interval=True),
        Model("total boost of noise, nats", lambda it: it.total_boost.get("noise"), interval=True),
        Model("right, clean", lambda it: it.clean_accuracy),
        *([attacked] if any(it.adversarial_accuracy is not None for it in record.models) else []),
    )


# What the layers do to pairs


def boost_words(it: ModelComplexity) -> str:
    """How far the network drives noise twins, and at which layer."""
    total = it.total_boost.get("noise")
    if total is None or len(it.layers) < 2:
        return ""
    first, last = it.layers[0].name, it.layers[-1].name
    if total.median is None:
        return f"No noise twin has a rapidity both at {first} and at {last}: features do not vary."
    gone = total.undefined
    undefined = f" {count(gone, 'pair')} without a rapidity left out." if gone else ""
    null = (it.untrained_total_boost or {}).get("noise")
    beside = "" if null is None or null.median is None else f"; untrained, {_way(null)}"
    twins = f"noise twins (σ = {significant(it.sigma)})"
    moved = f"From {first} to {last} it moves {twins} {_way(total)}{beside}."
    return f"{moved}{undefined} {_driver(it)}".strip()


def _driver(it: ModelComplexity) -> str:
    """The layer of the largest boost of noise twins, if that is surely apart, and its rivals."""
    found = _foremost((layer.name, layer.boost.get("noise")) for layer in it.layers)
    if found is None:
        return ""
    name, largest, rivals = found
    if _sign(largest) <= 0:
        return "No layer surely drives them apart."
    return f"They are driven apart most at {name}: {estimate(largest)} nats{rivals}."


def _layer_table(it: ModelComplexity) -> Table:
    """φ and boost of each kind of pairs by layer, beside the untrained network's; dimensions."""
    of_kinds = [_of_kind(kind, "untrained", interval=True) for kind in KINDS if kind in it.pairs]
    excess = Layer("damage beyond noise, nats", lambda at: at.excess_boost, interval=True)
    columns = (
        LAYER,
        WIDTH,
        *(column for columns in of_kinds for column in columns),
        *([excess] if "adversarial" in it.pairs else []),
        Layer("participation ratio", lambda at: at.dimension.participation, form=one_place),
        Layer("95% interval", lambda at: interval(at.dimension.participation_interval, one_place)),
        Layer("TwoNN", lambda at: at.dimension.two_nn, form=one_place),
        Layer(
            "participation untrained",
            lambda at: None if (it := at.untrained_dimension) is None else it.participation,
            form=one_place,
        ),
        Layer("remark", lambda at: at.dimension.status),
    )
    return tabulate(columns, it.layers)


def _of_kind(kind: str, null: str, *, interval: bool) -> tuple[Layer, ...]:
    """φ, boost, and the boost of the untrained network, in a column called ``null``."""
    return (
        Layer(f"φ {KINDS[kind]}", _part(kind, lambda at: at.rapidity)),
        Layer("boost", _part(kind, lambda at: at.boost), interval=interval),
        Layer(null, _part(kind, lambda at: at.untrained_boost)),
    )


# Speed limits


def limit_words(it: ModelComplexity) -> str:
    """How much of their speed limits noise twins use."""
    if not it.limits:
        return ""
    finite = {limit.name: limit for limit in it.limits if 0 < limit.limit < math.inf}
    if not finite and len(it.limits) == 1:
        return "Its linear layer has no speed limit: it loses a direction, or moves no pair."
    if not finite:
        return (
            f"None of its {len(it.limits)} linear layers has a speed limit: each loses a direction "
            "of its input, or moves no pair."
        )
    found = _foremost((name, limit.share["noise"]) for name, limit in finite.items())
    if found is None:
        return "No noise twin spans a plane at any linear layer."
    name, most, rivals = found
    bound = "" if finite[name].status == "measured" else " at most"
    have = "has" if len(finite) == 1 else "have"
    return (
        f"{len(finite)} of its {count(len(it.limits), 'linear layer')} {have} a speed limit. "
        f"Noise twins use most of it at {name}:{bound} {share(most.median)} of "
        f"{number(finite[name].limit)} nats (median){rivals}."
    )


def _limit_basis(it: ModelComplexity) -> str:
    """How many pairs of each kind were looked at, which need not be all that there are."""
    of = [
        f"{at.count + at.undefined:,} of {it.pairs[kind]:,} pairs of {KINDS[kind]}"
        for layer in it.limits[:1]
        for kind, at in layer.change.items()
    ]
    return "; ".join([*(", ".join(of),) * bool(of), "intervals are 95% bootstrap intervals"])


def _limit_table(it: ModelComplexity) -> Table:
    """Speed limit of each linear layer, and what pairs use of it and of their plane's."""
    columns = [
        Limit("layer", lambda at: at.name, words=True),
        Limit("kind", lambda at: at.kind, words=True),
        Limit("speed limit ln κ, nats", lambda at: at.limit),
        Limit("remark", lambda at: at.status),
    ]
    for kind in (kind for kind in KINDS if kind in it.pairs):
        columns += (
            Limit(f"{KINDS[kind]}: change, nats", _part(kind, lambda at: at.change)),
            Limit("share of the limit", _part(kind, lambda at: at.share), form=share),
            Limit("untrained", _part(kind, lambda at: at.untrained_share), form=share),
            Limit("plane's own limit, nats", _part(kind, lambda at: at.plane_limit)),
            Limit("share of it", _part(kind, lambda at: at.plane_share), form=share),
            Limit("untrained", _part(kind, lambda at: at.untrained_plane_share), form=share),
        )
    return tabulate(columns, it.limits)


# The null: what random weights alone would do


def null_words(it: ModelComplexity) -> str:
    """What random weights alone do to noise twins: predicted, and drawn."""
    known = [layer for layer in it.layers if layer.predicted_rapidity is not None]
    last = known[-1] if known else it.layers[-1]
    predicted = (last.predicted_rapidity or {}).get("noise")
    drawn = (last.untrained_raw_rapidity or {}).get("noise")
    if predicted is None or drawn is None:
        return it.prediction
    return (
        f"At {last.name} random weights of infinite width would see noise twins at a median φ of "
        f"{number(predicted.median)} nats; the untrained network that was drawn sees them at "
        f"{estimate(drawn)}."
    )


def null_table(it: ModelComplexity) -> Table:
    """φ that random weights of infinite width would give, beside those that were drawn."""
    columns = [LAYER]
    for kind in ("noise", "strangers"):
        columns += [
            Layer(f"{KINDS[kind]}: predicted φ", _part(kind, lambda at: at.predicted_rapidity)),
            Layer("drawn φ", _part(kind, lambda at: at.untrained_raw_rapidity), interval=True),
        ]
    return tabulate(columns, it.layers)


# The spectrum of the Jacobian


def _spectrum_words(it: ModelComplexity) -> str:
    """How far the worst small displacement moves the output."""
    values, fresh = it.spectrum.singular_values, it.untrained_spectrum
    if not values or values[0].median is None:
        return it.spectrum.status
    null = fresh.singular_values[0].median if fresh and fresh.singular_values else None
    beside = "" if null is None else f"; untrained, {significant(null)}"
    return (
        f"In the worst direction the output {it.spectrum.layer} moves "
        f"{significant(values[0].median)} times as far as the input (median over samples){beside}."
    )


def _spectrum_table(it: ModelComplexity) -> Table:
    """Singular values of the Jacobian and their exponents, trained and untrained."""
    values, exponents = it.spectrum.singular_values, it.spectrum.exponents
    fresh = it.untrained_spectrum.singular_values if it.untrained_spectrum else ()
    Value = Column[int]
    columns = (
        Value("number", lambda at: str(at + 1)),
        Value("singular value, median", lambda at: values[at], interval=True, form=significant),
        Value("exponent, nats a layer", lambda at: exponents[at]),
        Value("untrained", lambda at: fresh[at] if at < len(fresh) else None, form=significant),
    )
    return tabulate(columns, range(len(values)))


# The field's measures


def _measures(first: ModelComplexity) -> list[Model]:
    """A column for each measure that a model has."""

    def column(name: str) -> Model:
        return Model(name, lambda it: _short({at.name: at.value for at in it.known}.get(name)))

    return [column(it.name) for it in first.known]


def _definition(it: Measure) -> str:
    if it.status == "measured":
        return it.definition
    return f"{it.definition}. {it.status[:1].upper()}{it.status[1:]}"


def _short(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else significant(value, 4)


KNOWN = (
    Column[Measure]("measure", lambda at: at.name, words=True),
    Column[Measure]("what it is", _definition, words=True),
    Column[Measure]("value", lambda at: _short(at.value)),
    Column[Measure]("95% interval", lambda at: interval(at.interval, significant)),
    Column[Measure]("untrained", lambda at: _short(at.untrained)),
)


# What all of them share


def _part(kind: str, read: Callable[[Row], ByKind | None]) -> Callable[[Row], Summary | None]:
    return lambda at: (read(at) or {}).get(kind)


def _foremost(found: Iterable[tuple[str, Summary | None]]) -> tuple[str, Summary, str] | None:
    """The name of the largest median, it, and what its interval does not tell from it, in words."""
    known = [(name, it) for name, it in found if it is not None and it.median is not None]
    if not known:
        return None
    name, largest = max(known, key=lambda pair: pair[1].median or 0.0)
    rivals = [
        other for other, it in known if other != name and apart(largest.interval, it.interval) <= 0
    ]
    return name, largest, _beside(rivals)


def _beside(rivals: Sequence[str]) -> str:
    if not rivals:
        return ""
    more = len(rivals) - MOST_RIVALS
    named = ", ".join(rivals[:MOST_RIVALS]) + (f" and {more} more" if more > 0 else "")
    return f", not told apart from {named}"


def _sign(it: Summary) -> int:
    """Of a median whose interval leaves 0 on one side; 0 where it does not, or there is none."""
    return apart(it.interval, (0.0, 0.0))


def _way(it: Summary) -> str:
    """How far and which way, where the interval says which; it is written in the same direction."""
    if it.median is None:
        return "an unknown way"
    side = _sign(it)
    if side == 0 and it.interval is not None:
        return (
            f"{signed(it.median)} nats of rapidity (plus is apart), which its 95% interval "
            f"{interval(it.interval, signed)} does not tell from 0"
        )
    way = "apart" if side > 0 or (side == 0 and it.median >= 0) else "together"
    low, high = sorted(side * end for end in it.interval or (0.0, 0.0))
    ends = "" if it.interval is None else f" (95% interval {interval((low, high))})"
    return f"{number(abs(it.median))} nats of rapidity {way}{ends}"
