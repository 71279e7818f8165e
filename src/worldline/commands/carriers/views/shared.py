"""How layers, their parts and what is done to them are called, in every view and sentence."""

from __future__ import annotations

from worldline.commands.carriers.record import ModelCarriers
from worldline.explain import LayerFinding, Order
from worldline.report.numbers import NONE, count
from worldline.statistics import Share

__all__ = [
    "Names",
    "all_together",
    "at_fewest",
    "basis_of",
    "class_name",
    "do_half",
    "done",
    "ends",
    "exchanged",
    "few",
    "few_of",
    "is_full",
    "kind_name",
    "layer_name",
    "layer_words",
    "mends",
    "repairs",
    "samples_of",
    "units_of",
    "where",
]

Names = tuple[str, ...] | None
"""Of classes, by label; None where nobody named them."""


def mends(found: ModelCarriers) -> bool:
    """Whether original parts go into the attacked run, and not the reverse."""
    return found.direction == "denoise"


def repairs(found: ModelCarriers) -> str:
    """What exchanging parts does to samples."""
    return "repair" if mends(found) else "fool"


def do_half(found: ModelCarriers) -> str:
    """``repair half of``."""
    return "repair half of" if mends(found) else "fool half of"


def done(found: ModelCarriers) -> str:
    """What a sample then is."""
    return "right again" if mends(found) else "fooled"


def exchanged(found: ModelCarriers) -> str:
    """What was done to the parts."""
    return "put back" if mends(found) else "taken from the attacked twin"


def samples_of(found: ModelCarriers) -> str:
    """``240 fooled samples``."""
    return count(found.used, "fooled sample")


def kind_name(layer: LayerFinding, many: int = 2) -> str:
    """What a part of the layer is called; at the input of a table it is a feature."""
    name = "feature" if layer.by == "neuron" and layer.name == "input" else layer.by
    return name if many == 1 else f"{name}s"


def layer_name(layer: LayerFinding) -> str:
    """The layer as it is called; of heads, the attention that they belong to."""
    if layer.by != "head":
        return layer.name
    return layer.name.removesuffix(".input").rpartition(".")[0] or layer.name


def all_together(layer: LayerFinding) -> Share | None:
    """What all parts of the layer together do; None where no curve was asked for."""
    return None if layer.cut is None else layer.cut.repaired


def is_full(layer: LayerFinding) -> bool:
    """Whether all that the network knows passes here, so that nothing goes around it."""
    return layer.cut is None or layer.cut.full


def units_of(layer: LayerFinding) -> str:
    """``64 channels``."""
    return f"{layer.units:,} {kind_name(layer, layer.units)}"


def layer_words(layer: LayerFinding) -> str:
    """The layer with its parts, as figures name it."""
    return f"{layer_name(layer)}: {kind_name(layer)}"


def where(layer: LayerFinding) -> str:
    """`` of layer3``; nothing of the input."""
    return "" if layer.name == "input" else f" of {layer_name(layer)}"


def at_fewest(layer: LayerFinding, order: Order) -> Share:
    """What the fewest units that are enough do, in some order; nothing where none are."""
    curve, units = layer.curve(order), layer.concentration.units
    if curve is None or units is None:
        return Share(None, None, 0)
    return curve.repaired[layer.counts.index(units)]


def few(layer: LayerFinding) -> str:
    """The fewest units that are enough, with their interval."""
    least, reach = f"{layer.concentration.units:,}", ends(layer)
    return least if reach in (least, NONE) else f"{least} ({reach})"


def few_of(layer: LayerFinding) -> str:
    """``6 of 64 channels``."""
    least = layer.concentration.units
    return f"{NONE if least is None else f'{least:,}'} of {units_of(layer)}"


def ends(layer: LayerFinding) -> str:
    """The interval in units; – where there is none."""
    if layer.concentration.interval is None:
        return NONE
    low, high = (
        None if it is None else round(it * layer.units) for it in layer.concentration.interval
    )
    if low is None:
        return NONE
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def class_name(label: int, names: Names) -> str:
    """A class by its name, or its number."""
    return names[label] if names and 0 <= label < len(names) else str(label)


def basis_of(found: ModelCarriers) -> str:
    """On how many samples, with which intervals."""
    return f"n = {samples_of(found)}; 95% bootstrap intervals over samples"
