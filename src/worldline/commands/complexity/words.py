"""What is said of models' complexity: what was measured, as far as its intervals go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.explain import NOT_A_BOUND
from worldline.report.numbers import count, estimate, interval, number, share, signed, significant
from worldline.report.views import Words
from worldline.statistics import Share, Summary, apart

__all__ = [
    "boost_words",
    "changed_words",
    "headline",
    "limit_words",
    "model_sentences",
    "null_words",
    "ranking_words",
    "spectrum_words",
    "words",
]

MOST_RIVALS = 3


def words(record: ComplexityReport) -> Words:
    """The ranking, if there are several models, and what stands out in the first of it."""
    ranking = [ranking_words(record)] if len(record.models) > 1 else []
    if record.epsilon_text is not None:
        ranking.append(attack_words(record))
    own = (note for it in record.models for note in it.notes)
    notes = dict.fromkeys((*record.notes, *own))
    sentences = model_sentences(record.ranked[0])
    return Words(headline(record), (*ranking, *sentences, NOT_A_BOUND), tuple(notes))


def headline(record: ComplexityReport) -> str:
    """What noise changes, in one line; a model is set above the others only where it is."""
    ranked = record.ranked
    first, changed = ranked[0], ranked[0].fragility.changed
    if changed.value is None:
        return f"No output of {first.model} under noise is finite"
    sigma = significant(first.fragility.sigma)
    if len(ranked) == 1:
        return (
            f"Noise of σ = {sigma} changes {share(changed.value)} of the answers of {first.model}"
        )
    if _gap(first, ranked[1]):
        return (
            f"Of {len(ranked)} models noise changes most answers of {first.model}: "
            f"{share(changed.value)} at σ = {sigma}"
        )
    second = ranked[1]
    return (
        f"Noise of σ = {sigma} changes {share(changed.value)} of the answers of {first.model} and "
        f"{share(second.fragility.changed.value)} of those of {second.model}, not told apart"
    )


def ranking_words(record: ComplexityReport) -> str:
    """Models in order, and between which neighbours the intervals leave a gap."""
    ranked = record.ranked
    shares = ", ".join(f"{it.model} {share(it.fragility.changed.value)}" for it in ranked)
    gaps = [(one.model, other.model) for one, other in pairwise(ranked) if _gap(one, other)]
    sigma = significant(ranked[0].fragility.sigma)
    start = f"Share of answers that noise of σ = {sigma} changes, the largest first: {shares}."
    if not gaps:
        return f"{start} The 95% intervals of all neighbours overlap."
    told = ", ".join(f"{one} from {other}" for one, other in gaps)
    rest = "" if len(gaps) == len(ranked) - 1 else "; other neighbours are not told apart"
    return f"{start} Their 95% intervals tell {told}{rest}."


def attack_words(record: ComplexityReport) -> str:
    """What each model still gets right under the attack, and clean."""
    norm = {"linf": "L∞", "l2": "L2", None: ""}[record.norm]
    told = "; ".join(
        f"{it.model} {estimate(it.adversarial_accuracy)}, clean {estimate(it.clean_accuracy)}"
        for it in record.ranked
    )
    steps = f"-{record.steps}" if record.steps else ""
    attack = record.attack or ""
    name = attack if ":" in attack else f"{attack.upper()}{steps}"
    return (
        f"Right under {name} ({norm}, ε = {record.epsilon_text}), an upper bound on what any "
        f"attack leaves: {told}."
    )


def model_sentences(it: ModelComplexity) -> tuple[str, ...]:
    """What was found of one model."""
    return tuple(said for said in (changed_words(it), boost_words(it), limit_words(it)) if said)


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


def limit_words(it: ModelComplexity) -> str:
    """How much of their speed limits noise twins use."""
    if not it.limits:
        return ""
    finite = [limit for limit in it.limits if 0 < limit.limit < math.inf]
    if not finite:
        if len(it.limits) == 1:
            return "Its linear layer has no speed limit: it loses a direction, or moves no pair."
        return (
            f"None of its {len(it.limits)} linear layers has a speed limit: each loses a direction "
            "of its input, or moves no pair."
        )
    used = [
        (limit.name, limit.share["noise"])
        for limit in finite
        if limit.share["noise"].median is not None
    ]
    if not used:
        return "No noise twin spans a plane at any linear layer."
    name, most, rivals = _foremost(used)
    limit = next(limit for limit in finite if limit.name == name)
    bound = "" if limit.status == "measured" else " at most"
    have = "has" if len(finite) == 1 else "have"
    return (
        f"{len(finite)} of its {count(len(it.limits), 'linear layer')} {have} a speed limit. "
        f"Noise twins use most of it at {name}:{bound} {share(most.median)} of "
        f"{number(limit.limit)} nats (median){_beside(rivals)}."
    )


def null_words(it: ModelComplexity) -> str:
    """What random weights alone do to noise twins: predicted, and drawn."""
    known = [layer for layer in it.layers if layer.predicted_rapidity is not None]
    if not known:
        return it.prediction
    last = known[-1]
    predicted = (last.predicted_rapidity or {}).get("noise")
    drawn = (last.untrained_raw_rapidity or {}).get("noise")
    if predicted is None or drawn is None:
        return it.prediction
    return (
        f"At {last.name} random weights of infinite width would see noise twins at a median φ of "
        f"{number(predicted.median)} nats; the untrained network that was drawn sees them at "
        f"{estimate(drawn)}."
    )


def spectrum_words(it: ModelComplexity) -> str:
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


def _gap(one: ModelComplexity, other: ModelComplexity) -> bool:
    return apart(one.fragility.changed.interval, other.fragility.changed.interval) > 0


def changed_words(it: ModelComplexity) -> str:
    """How many answers noise changes."""
    changed = it.fragility.changed
    if changed.value is None or changed.interval is None:
        return f"No output of {it.model} under noise is finite, so no answer can be compared."
    return (
        f"Noise of σ = {significant(it.fragility.sigma)} changes {share(changed.value)} of the "
        f"answers of {it.model} (95% interval {interval(changed.interval, share)}, "
        f"{count(changed.count, 'sample')}{_left_out(changed)})."
    )


def _left_out(it: Share) -> str:
    return f"; {it.undefined:,} left out, as an output was not finite" if it.undefined else ""


def _driver(it: ModelComplexity) -> str:
    """The layer of the largest boost of noise twins, if that is surely apart, and its rivals."""
    known = [
        (layer.name, layer.boost["noise"])
        for layer in it.layers
        if "noise" in layer.boost and layer.boost["noise"].median is not None
    ]
    if not known:
        return ""
    name, largest, rivals = _foremost(known)
    if _sign(largest) <= 0:
        return "No layer surely drives them apart."
    return f"They are driven apart most at {name}: {estimate(largest)} nats{_beside(rivals)}."


def _foremost(known: Sequence[tuple[str, Summary]]) -> tuple[str, Summary, list[str]]:
    """The name of the largest median, it, and the names that its interval does not tell from it."""
    name, largest = max(known, key=lambda pair: pair[1].median or 0.0)
    rivals = [
        other for other, it in known if other != name and apart(largest.interval, it.interval) <= 0
    ]
    return name, largest, rivals


def _beside(rivals: Sequence[str]) -> str:
    if not rivals:
        return ""
    named = ", ".join(rivals[:MOST_RIVALS])
    more = len(rivals) - MOST_RIVALS
    return f", not told apart from {named}{f' and {more} more' if more > 0 else ''}"


def _sign(it: Summary) -> int:
    """Of a median whose interval leaves 0 on one side; 0 where it does not, or there is none."""
    return apart(it.interval, (0.0, 0.0))


def _way(it: Summary) -> str:
    """How far and which way, where the interval says which; it is written in the same direction."""
    if it.median is None:
        return "an unknown way"
    if it.interval is None:
        way = "apart" if it.median >= 0 else "together"
        return f"{number(abs(it.median))} nats of rapidity {way}"
    side = _sign(it)
    if side == 0:
        return (
            f"{signed(it.median)} nats of rapidity (plus is apart), which its 95% interval "
            f"{interval(it.interval, signed)} does not tell from 0"
        )
    low, high = sorted(side * end for end in it.interval)
    way = "apart" if side > 0 else "together"
    return f"{number(abs(it.median))} nats of rapidity {way} (95% interval {interval((low, high))})"
