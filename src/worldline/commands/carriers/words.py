"""What is said of carriers, as far as the intervals go."""

from __future__ import annotations

from worldline.commands.carriers.record import CarriersReport, ModelCarriers
from worldline.commands.carriers.views.pairs import pair_words, pairs_table
from worldline.commands.carriers.views.shared import (
    all_together,
    at_fewest,
    do_half,
    done,
    ends,
    exchanged,
    few,
    few_of,
    is_full,
    layer_name,
    repairs,
    samples_of,
    units_of,
    where,
)
from worldline.commands.carriers.views.spread import spread_words
from worldline.explain import LayerFinding, Order
from worldline.report.numbers import attack_name, count, estimate, share
from worldline.report.views import Column, Table, Words, tabulate
from worldline.statistics import apart

__all__ = ["attack_words", "finding", "found_notes", "headline", "tables", "verdict", "words"]

Layer = Column[LayerFinding]
CONTROLS: dict[Order, str] = {
    "random": "as many by lot",
    "change": "those that changed most",
    "noise": "the noise twin's values in their place",
}


def words(record: CarriersReport) -> Words:
    """The verdict, what stands beside it, and what must be known before it is believed."""
    found = record.found
    pairs, names = record.pairs, record.class_names
    of_pairs = () if pairs is None else (pair_words(pairs, pairs.pairs[0], names, found),)
    findings = (verdict(found), spread_words(found), _at_input(found), *of_pairs, _accuracy(record))
    notes, warnings = found_notes(found)
    return Words(headline(record), tuple(filter(None, findings)), (*record.notes, *notes), warnings)


def headline(record: CarriersReport) -> str:
    """The verdict in one line, with the model's name."""
    said = finding(record.found)
    return f"{record.model}: {said[:1].lower()}{said[1:]}"


def finding(found: ModelCarriers) -> str:
    """The verdict in one line; no part is named where as many by lot may do as much."""
    layer = _telling(found)
    if layer is None:
        return "At no layer do a few parts surely carry the attack"
    random = at_fewest(layer, "random")
    parts = f"{few(layer)} of {units_of(layer)}{where(layer)}"
    one = layer.concentration.units == 1
    what = (
        f"undo{'es' * one} half of the attack"
        if found.direction == "denoise"
        else f"fool{'s' * one} half of the samples"
    )
    return f"{parts} {what}; {'one' if one else 'as many'} by lot {share(random.value)}"


def verdict(found: ModelCarriers) -> str:
    """The parts of one layer that do it, beside the controls."""
    layer = _telling(found)
    if layer is None:
        return (
            f"At none of {count(len(found.layers), 'layer')} are there parts that surely do more "
            f"than as many by lot, and enough to {do_half(found)} {samples_of(found)}."
        )
    units = layer.concentration.units
    controls = "; ".join(
        f"{said}: {estimate(at_fewest(layer, order))}" for order, said in CONTROLS.items()
    )
    return (
        f"With {units:,} of {units_of(layer)}{where(layer)} {exchanged(found)}, those of largest "
        f"effect (carriers), {estimate(at_fewest(layer, 'carriers'))} of {samples_of(found)} are "
        f"{done(found)}; {controls}."
    )


def found_notes(found: ModelCarriers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What must be known, and what speaks against the attribution."""
    method = (
        "Each part was exchanged alone (exact)."
        if found.exact
        else f"Effects are attributed along a path of {count(found.points or 0, 'step')}; which "
        "samples are repaired is counted by running the model."
    )
    around = [it for it in found.layers if not is_full(it)]
    notes = [method, *found.notes]
    if around:
        shares = [(at.value or 0.0, layer_name(it)) for it in around if (at := all_together(it))]
        least, name = min(shares)
        notes.append(
            f"Something goes around {len(around)} of {count(len(found.layers), 'layer')}, such as "
            f"a skip connection: all of their parts together {repairs(found)} only so much, at "
            f"{name} the least ({share(least)}); the "
            "table says how much, layer by layer."
        )
    warnings = [
        f"At {it.name} the effects are not to be believed as shares of the whole: they miss the "
        f"change of the margin by {share(it.completeness.median)} (median). Give more --points, or "
        "--exact."
        for it in found.layers
        if it.trust == "incomplete" and it.completeness is not None
    ]
    warnings += [
        f"At {it.name} the path's order of parts does less than the exact one; the exact one is "
        "shown."
        for it in found.layers
        if it.trust == "below exact"
    ]
    return tuple(notes), tuple(warnings)


def tables(record: CarriersReport) -> tuple[Table, ...]:
    """What the terminal shows."""
    found = record.found
    title = f"Fewest parts (carriers) that {do_half(found)} {samples_of(found)}"
    brief = (
        Layer("layer", layer_name, words=True),
        Layer("fewest", few_of),
        Layer("95%", ends),
        Layer("do", lambda it: at_fewest(it, "carriers")),
        Layer("by lot", lambda it: at_fewest(it, "random")),
        Layer("changed most", lambda it: at_fewest(it, "change")),
        Layer("all", all_together),
    )
    layers = tabulate(brief, found.layers, title=title)
    if record.pairs is None:
        return (layers,)
    return layers, pairs_table(record, record.pairs)


def attack_words(record: CarriersReport) -> str:
    """The attack as a phrase."""
    return attack_name(record.attack, record.steps, record.norm, record.epsilon_text)


def _accuracy(record: CarriersReport) -> str:
    found = record.found
    return (
        f"{record.model} gets {estimate(record.clean_accuracy)} of "
        f"{count(found.samples, 'sample')} of {record.data} right, and under "
        f"{attack_words(record)} {estimate(record.adversarial_accuracy)}."
    )


def _telling(found: ModelCarriers) -> LayerFinding | None:
    """The layer where the smallest share is enough, surely more than by lot.

    Where there are such, an inner one through which everything passes, else an inner one.
    """
    known = [
        it
        for it in found.layers
        if apart(at_fewest(it, "carriers").interval, at_fewest(it, "random").interval) > 0
    ]
    for wanted in (_is_inner_cut, _is_inner, is_full):
        found_here = [it for it in known if wanted(it)]
        if found_here:
            return min(found_here, key=lambda it: it.concentration.share or 1.0)
    return None


def _is_inner(layer: LayerFinding) -> bool:
    return layer.name != "input"


def _is_inner_cut(layer: LayerFinding) -> bool:
    return _is_inner(layer) and is_full(layer) and layer.by != "head"


def _at_input(found: ModelCarriers) -> str:
    """The same of the input, where the verdict is of another layer."""
    layer = next((it for it in found.layers if it.name == "input"), None)
    telling = _telling(found)
    if layer is None or telling is None or telling is layer or layer.concentration.units is None:
        return ""
    return (
        f"Of the input, {few(layer)} of {units_of(layer)} {exchanged(found)} make "
        f"{estimate(at_fewest(layer, 'carriers'))} {done(found)}, as many by lot "
        f"{estimate(at_fewest(layer, 'random'))}."
    )
