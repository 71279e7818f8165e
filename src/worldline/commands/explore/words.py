"""What is said of an exploration: as much as its intervals support, and nothing else."""

from __future__ import annotations

from worldline.commands.carriers.words import verdict
from worldline.commands.explore.record import Exploration
from worldline.explain import FEW, LayerStory, SwapLayer
from worldline.report.numbers import count, estimate, interval, number, share, signed
from worldline.report.views import Words
from worldline.statistics import Share, Summary

__all__ = ["attack_words", "headline", "norm_sign", "words"]

INPUT = "Input"  # the kind of the layer that is the input itself


def words(record: Exploration) -> Words:
    """The finding, the sentences under it, what must be known of it, and what speaks against it."""
    found = (_how_fooled(record), *_story(record), _carried(record), _trust(record))
    warnings = tuple(it.sentence for it in record.checks if it.status == "warned")
    return Words(headline(record), tuple(it for it in found if it), record.notes, warnings)


def headline(record: Exploration) -> str:
    """The finding in one line; it names a layer only where the record has a swap layer."""
    total = count(record.samples, "sample")
    if not record.fooled:
        return f"{record.model} was not fooled on any of {total}"
    fooled = f"{record.model} is fooled on {record.fooled:,} of {total}"
    if record.swap_layer is not None:
        if record.layers[record.swap_layer.index].kind == INPUT:
            return f"{fooled}; they tip already at the input"
        return f"{fooled}; the tipping layer is {record.swap_layer.name}"
    if record.fooled < FEW:
        return f"{fooled}, too few to say at which layer they tip"
    return f"{fooled}; no layer is surely where they tip"


def norm_sign(norm: str) -> str:
    """The norm as it is written in mathematics."""
    return {"linf": "L∞", "l2": "L2"}[norm]


def attack_words(record: Exploration) -> str:
    """The attack as a phrase, such as ``PGD-40 (L∞, ε = 8/255)``."""
    name = record.attack if ":" in record.attack else record.attack.upper()
    steps = f"-{record.steps}" if record.steps else ""
    return f"{name}{steps} ({norm_sign(record.norm)}, ε = {record.epsilon_text})"


def _how_fooled(record: Exploration) -> str:
    return (
        f"{record.model} gets {share(record.clean_accuracy, 1)} of "
        f"{count(record.samples, 'sample')} of {record.data} right; under {attack_words(record)} "
        f"{share(record.adversarial_accuracy, 1)} are still right (an upper bound on its "
        f"robustness), under noise of the same size {share(record.noise_accuracy, 1)}."
    )


def _story(record: Exploration) -> tuple[str, ...]:
    if record.fooled:
        return _where(record), _driver(record), _depth(record)
    if not record.clean_accuracy:
        return (
            "The model is right on no sample, so none could be fooled: check that labels, bounds "
            "and preprocessing are those that it was trained with.",
        )
    return (
        "No sample was fooled, so there is no story to tell at this ε: try a larger one, or more "
        "steps.",
    )


def _where(record: Exploration) -> str:
    """The tipping layer, or that there is none, with the shares that say so."""
    last, swap = record.layers[-1], record.swap_layer
    if last.moved_share.value is None:
        return (
            f"At layer {last.name}, the last, no fooled sample has both of its class means, so "
            "nobody's side is known."
        )
    if swap is None:
        return (
            "There is no tipping layer (swap layer): from no layer on is it sure that the attack "
            "has moved more than half of the fooled samples closer to the wrong class. At "
            f"layer {last.name}, the last, {_moved(last)}."
        )
    here = record.layers[swap.index]
    end = "" if here is last else f" At layer {last.name}, the last, {_moved(last)}."
    return (
        f"The tipping layer (swap layer) is {_place(record, swap)} (95% interval {_sure(swap)}): "
        "from there on the attack has moved more than half of the fooled samples closer to the "
        f"wrong class. There, {_moved(here)}.{end}"
    )


def _place(record: Exploration, swap: SwapLayer) -> str:
    """Its name and number; the input is one by its kind, not by its number."""
    if record.layers[swap.index].kind == INPUT:
        return f"{swap.name}, the input itself"
    return f"{swap.name}, layer {swap.index} of 0 to {len(record.layers) - 1}"


def _sure(swap: SwapLayer) -> str:
    low, high = swap.interval
    if high is None:
        return f"layer {low} to none"
    return f"layer {low}" if low == high else f"layers {low} to {high}"


def _moved(layer: LayerStory) -> str:
    """The moved share and its two parts."""
    undefined = layer.moved_share.undefined
    left_out = f" ({undefined:,} without a class mean are left out)" if undefined else ""
    return (
        f"{_value(layer.wrong_side)} of the attacked twins and {_value(layer.clean_wrong_side)} of "
        f"their originals are closer to it{left_out}: the attack has moved "
        f"{estimate(layer.moved_share)}"
    )


def _value(it: Share) -> str:
    return share(it.value)


def _driver(record: Exploration) -> str:
    """Which layer does the damage; layers that its interval cannot tell from it are named too."""
    known = [
        (layer.name, it)
        for layer in record.layers
        if (it := layer.excess_boost) is not None and it.interval is not None
    ]
    sure = [(name, it) for name, it in known if it.interval and it.interval[0] > 0]
    if not known:
        return ""
    if not sure:
        return (
            "No layer surely drives the attacked twins away from their originals by more than "
            "noise of the same size does (damage beyond noise)."
        )
    name, most = max(sure, key=lambda pair: _median(pair[1]))
    others = [other for other, it in known if other != name and _overlap(it, most)]
    level = f"; its interval overlaps that of {', '.join(others)}" if others else ""
    return (
        f"Layer {name} drives attacked twins and originals apart most: {signed(most.median)} nats "
        "of similarity (rapidity) beyond what it does to noise of the same size (95% interval "
        f"{interval(most.interval, signed)}){level}."
    )


def _median(it: Summary) -> float:
    return float("-inf") if it.median is None else it.median


def _overlap(one: Summary, other: Summary) -> bool:
    return not (one.interval and other.interval and one.interval[1] < other.interval[0])


def _depth(record: Exploration) -> str:
    attacked, noise = record.proper_depth.adversarial_clean, record.proper_depth.noise_clean
    if attacked.median is None or noise.median is None:
        return ""
    null, beside = record.untrained_proper_depth, ""
    if null is not None and null.adversarial_clean.median is not None:
        beside = (
            f"; untrained, the same shape has {number(null.adversarial_clean.median)} and "
            f"{number(null.noise_clean.median)}"
        )
    return (
        f"Over {count(len(record.layers), 'layer')} the proper depth to the original is "
        f"{number(attacked.median)} for the attacked twin and {number(noise.median)} for the noise "
        f"twin (0: never told apart){beside}."
    )


def _carried(record: Exploration) -> str:
    """What carries the attack, if that was found; nothing fooled is said already."""
    if record.carriers is not None:
        return verdict(record.carriers)
    return record.carriers_status if record.fooled else ""


def _trust(record: Exploration) -> str:
    """How many checks warn."""
    if not record.checks:
        return "The evaluation was not checked."
    warned = [it.name for it in record.checks if it.status == "warned"]
    total = f"Of {count(len(record.checks), 'check')} of the evaluation"
    if not warned:
        return f"{total}, none warns."
    return f"{total}, {len(warned)} warn{'s' * (len(warned) == 1)}: {', '.join(warned)}."
