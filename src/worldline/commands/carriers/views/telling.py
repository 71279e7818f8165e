"""The parts of one layer that surely carry the attack, or that there are none."""

from __future__ import annotations

from worldline.commands.carriers.record import ModelCarriers
from worldline.commands.carriers.views.shared import (
    at_fewest,
    do_half,
    done,
    exchanged,
    few,
    is_full,
    samples_of,
    units_of,
    where,
)
from worldline.explain import LayerFinding, Order
from worldline.report.numbers import count, estimate, share
from worldline.statistics import apart

__all__ = ["finding", "input_words", "verdict"]

CONTROLS: dict[Order, str] = {
    "random": "as many by lot",
    "change": "those that changed most",
    "noise": "the noise twin's values in their place",
}


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


def input_words(found: ModelCarriers) -> str:
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
