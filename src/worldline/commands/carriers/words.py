"""What is said of carriers, as far as the intervals go."""

from __future__ import annotations

from worldline.commands.carriers.record import CarriersReport, ModelCarriers
from worldline.commands.carriers.views.pairs import pair_words, pairs_table
from worldline.commands.carriers.views.shared import (
    all_together,
    at_fewest,
    do_half,
    ends,
    few_of,
    is_full,
    layer_name,
    repairs,
    samples_of,
)
from worldline.commands.carriers.views.spread import spread_words
from worldline.commands.carriers.views.telling import finding, input_words, verdict
from worldline.explain import LayerFinding
from worldline.report.numbers import attack_name, count, estimate, share
from worldline.report.views import Column, Table, Words, tabulate

__all__ = ["attack_words", "finding", "found_notes", "headline", "tables", "verdict", "words"]

Layer = Column[LayerFinding]


def words(record: CarriersReport) -> Words:
    """The verdict, what stands beside it, and what must be known before it is believed."""
    found = record.found
    pairs, names = record.pairs, record.class_names
    of_pairs = () if pairs is None else (pair_words(pairs, pairs.pairs[0], names, found),)
    findings = (
        verdict(found),
        spread_words(found),
        input_words(found),
        *of_pairs,
        _accuracy(record),
    )
    notes = (*record.notes, *found_notes(found))
    return Words(headline(record), tuple(filter(None, findings)), notes)


def headline(record: CarriersReport) -> str:
    """The verdict in one line, with the model's name."""
    said = finding(record.found)
    return f"{record.model}: {said[:1].lower()}{said[1:]}"


def found_notes(found: ModelCarriers) -> tuple[str, ...]:
    """What must be known before it is believed."""
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
    return tuple(notes)


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
