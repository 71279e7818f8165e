"""The page of ``worldline carriers``, its figures, and what shows one model on any page.

Each figure is declared once: the page's script draws it, and Matplotlib for papers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from worldline.commands.base import Result
from worldline.commands.carriers.record import SHOWN, CarriersReport, ModelCarriers
from worldline.commands.carriers.words import (
    attack_words,
    class_name,
    entries_table,
    found_views,
    is_full,
    kind_name,
    layer_name,
    layer_words,
    pair_name,
    shown_words,
    unit_name,
    units_of,
    views,
)
from worldline.errors import RunError, UsageError
from worldline.explain import ClassPairs, LayerFinding, Order
from worldline.plot.axes import figure_of
from worldline.report.drawn import draw
from worldline.report.figures import Bar, Bars, Lines, Role, Series
from worldline.report.heat import HeatMap
from worldline.report.images import effect_map, picture
from worldline.report.numbers import NONE, share, signed
from worldline.report.page import fill_template
from worldline.report.views import Table
from worldline.settings import Bounds
from worldline.statistics import Share

__all__ = ["carriers_markup", "concentration", "context", "figures", "repair_curve", "top_units"]

ORDERS: dict[Order, tuple[Role, str]] = {
    "carriers": ("adversarial", "largest effect (carriers)"),
    "change": ("noise", "changed most"),
    "noise": ("wrong", "carriers, noise twin's values"),
    "random": ("other", "by lot"),
}
CUTS: tuple[tuple[Role, str], ...] = (
    ("adversarial", "everything passes through the layer"),
    ("other", "something goes around it"),
)
WHOSE: dict[Role, tuple[str, str]] = {
    "adversarial": ("own", "each sample's own"),
    "true": ("pair", "the pair's, learnt on other samples"),
    "wrong": ("overall", "of all pairs together"),
    "other": ("random", "by lot"),
}
MOST_BARS = 5
LONGEST_SAID = 10
FULL = 0.995
"""The size of effect at this quantile of a map has full colour."""
Figures = TypeVar("Figures", Lines, Bars)


@dataclass(frozen=True)
class Picture:
    """One picture of a card, with what stands under it."""

    source: str
    alt: str
    said: str
    right: bool | None = None


@dataclass(frozen=True)
class Card:
    """One fooled sample as it is shown."""

    sample: int
    words: str
    pictures: tuple[Picture, ...]
    strip: tuple[Picture, ...]
    entries: Table | None


def context(result: Result[CarriersReport], prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    tensors = result.folder.read_tensors(SHOWN)
    return {
        "attack": attack_words(record),
        "views": views(result),
        "pairs": None if record.pairs is None else _pairs(record.pairs, record.class_names),
        "shared": None if record.pairs is None else _shared(record.pairs, record.class_names),
        "found": carriers_markup(
            record.found, tensors, record.bounds, record.class_names, prefix=prefix
        ),
    }


def carriers_markup(
    found: ModelCarriers,
    tensors: Mapping[str, Tensor],
    bounds: Bounds,
    names: tuple[str, ...] | None,
    *,
    prefix: str,
    guide: bool = False,
) -> Markup:
    """The views of what was found on one model; ids start with the prefix.

    Args:
        found: what was found.
        tensors: pictures and maps of the samples shown.
        bounds: legal range of the inputs.
        names: of the classes.
        prefix: of all ids.
        guide: whether the page carries the guide, to point at.
    """
    return fill_template(
        "carriers/found.html.j2",
        prefix=prefix,
        guide=guide,
        views=found_views(found, names),
        spread=[(name, _spread(layers, found)) for name, layers in _groups(found)],
        curves=_by_cut([it for it in found.layers if it.curves], found, _curves),
        tops=_by_cut(found.layers, found, _top),
        cards=_cards(found, tensors, bounds, names),
        mends=found.direction == "denoise",
    )


def figures(result: Result[CarriersReport]) -> dict[str, Figure]:
    """For papers, by name: the spread, and of every layer its curves and top units."""
    found = result.record.found
    drawn = {"concentration": concentration(found)}
    for it in found.layers:
        if it.curves:
            drawn[f"repair-{it.index:02d}"] = repair_curve(found, it.name, by=it.by)
        drawn[f"units-{it.index:02d}"] = top_units(found, it.name, by=it.by)
    pairs, names = result.record.pairs, result.record.class_names
    if pairs is not None:
        drawn["pairs"] = draw(_pairs(pairs, names))
        drawn["shared"] = draw(_shared(pairs, names))
    return {name: figure_of(ax) for name, ax in drawn.items()}


# How few are enough


def concentration(found: ModelCarriers, *, ax: Axes | None = None) -> Axes:
    """The smallest share of parts that is enough for half of the samples, by layer.

    Args:
        found: ``record.found`` of ``carriers``, or ``record.carriers`` of ``explore``.
        ax: where to draw.

    Returns:
        The axes: a bar from 0, with its 95 % interval, for each layer in the order of the network;
        short: few parts carry the attack there; none: no number that was tried is enough.
    """
    return draw(_spread([it for it in found.layers if it.curves], found), ax)


def _groups(found: ModelCarriers) -> list[tuple[str, list[LayerFinding]]]:
    """Layers by the network's depth, those of heads apart."""
    heads = [it for it in found.layers if it.by == "head" and it.curves]
    others = [it for it in found.layers if it.by != "head" and it.curves]
    named = (("Parts of the layers" if heads else "", others), ("Heads of the attentions", heads))
    return [(name, layers) for name, layers in named if layers]


def _by_cut(
    layers: Sequence[LayerFinding],
    found: ModelCarriers,
    draw_one: Callable[[LayerFinding, ModelCarriers], Figures],
) -> list[list[tuple[str, Figures]]]:
    """Named figures of the layers through which all passes and of heads, then of the others."""
    first = [it for it in layers if is_full(it) or it.by == "head"]
    rest = [it for it in layers if it not in first]
    both = (first, rest) if first else (rest, [])
    return [[(layer_words(it), draw_one(it, found)) for it in some] for some in both]


def _spread(layers: Sequence[LayerFinding], found: ModelCarriers) -> Bars:
    bars = tuple(
        Bar(
            layer_name(it),
            it.concentration.share,
            _said(it),
            "adversarial" if is_full(it) else "other",
            interval=_ends(it),
        )
        for it in layers
    )
    done = "repairs" if found.direction == "denoise" else "fools"
    label = f"smallest share of the parts that {done} half"
    legend = () if all(map(is_full, layers)) else CUTS
    return Bars(bars, share=True, label=label, legend=legend)


def _said(layer: LayerFinding) -> str:
    """``6 of 64`` where it fits, else the share."""
    if layer.concentration.units is None:
        return NONE
    text = f"{layer.concentration.units:,} of {layer.units:,}"
    return text if len(text) <= LONGEST_SAID else share(layer.concentration.share)


def _ends(layer: LayerFinding) -> tuple[float, float] | None:
    """The interval; where its end is open it goes on to all units."""
    low, high = layer.concentration.interval or (None, None)
    return None if low is None else (low, 1.0 if high is None else high)


# The curves


def repair_curve(
    found: ModelCarriers, layer: str, *, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """The share of samples that some exchanged parts repair, with its controls and intervals.

    Args:
        found: ``record.found`` of ``carriers``, or ``record.carriers`` of ``explore``.
        layer, by: name of the layer, and kind of its parts where there are several.
        ax: where to draw.

    Raises:
        UsageError: no such layer.
    """
    it = _layer(found, layer, by)
    return draw(_curves(it, found), ax, title=layer_words(it))


def _curves(layer: LayerFinding, found: ModelCarriers) -> Lines:
    kinds, mends = kind_name(layer), found.direction == "denoise"
    done = "put back" if mends else "taken from the attacked twin"
    told = "right again" if mends else "fooled"
    series = tuple(
        Series(
            name,
            role,
            tuple(it.value for it in curve.repaired),
            tuple(it.interval for it in curve.repaired) if role != "other" else (),
            dashed=role == "other",
        )
        for order, (role, name) in ORDERS.items()
        if (curve := layer.curve(order)) is not None
    )
    return Lines(
        tuple(f"{it:,}" for it in layer.counts),
        series,
        label=f"{kinds} {done}, of {layer.units:,}",
        values=f"share of samples {told}",
        share=True,
    )


# The parts


def top_units(
    found: ModelCarriers, layer: str, *, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """The parts of a layer with the largest mean effect, in logits.

    Args:
        found, layer, by, ax: as of :func:`repair_curve`.
    """
    it = _layer(found, layer, by)
    return draw(_top(it, found), ax, title=layer_words(it))


def _top(layer: LayerFinding, found: ModelCarriers) -> Bars:
    bars = tuple(
        Bar(unit_name(layer, it.unit, found.features), max(0.0, it.effect), signed(it.effect))
        for it in layer.top[:MOST_BARS]
    )
    return Bars(bars, label=f"mean effect, logits, of {units_of(layer)}")


def _layer(found: ModelCarriers, name: str, by: str | None) -> LayerFinding:
    for it in found.layers:
        if it.name == name and by in (None, it.by):
            return it
    names = ", ".join(f"{it.name} ({it.by})" for it in found.layers)
    raise UsageError(f"No layer {name!r} was looked at; those that were: {names}.")


# Pairs of classes


def _pairs(pairs: ClassPairs, names: tuple[str, ...] | None) -> Bars:
    bars: list[Bar] = []
    for it in pairs.pairs:
        for at, (role, part) in enumerate(WHOSE.items()):
            value: Share = getattr(it, part[0])
            name = "" if at else pair_name(it, names)
            bars.append(Bar(name, value.value, share(value.value), role, value.interval))
    legend = tuple((role, said) for role, (_, said) in WHOSE.items())
    label = f"share repaired by {pairs.count:,} of {pairs.units:,} {pairs.by}s of {pairs.layer}"
    return Bars(tuple(bars), 1.0, share=True, label=label, legend=legend)


def _shared(pairs: ClassPairs, names: tuple[str, ...] | None) -> HeatMap:
    told = tuple(pair_name(it, names) for it in pairs.pairs)
    return HeatMap(told, pairs.shared, (0.0, 1.0), down="pair", across="other pair")


# The samples


def _cards(
    found: ModelCarriers,
    tensors: Mapping[str, Tensor],
    bounds: Bounds,
    names: tuple[str, ...] | None,
) -> list[Card]:
    _check(found, tensors)
    cards = []
    for place, it in enumerate(found.shown):
        pictures, strip = [], []
        if found.maps:
            seen = {
                name: _plain(tensors[name][place]) for name in ("clean", "adversarial", "exchanged")
            }
            said = class_name(it.label, names), class_name(it.wrong, names)
            maps = [
                effect_map(
                    seen["clean"],
                    tensors[at.tensor][place],
                    bounds,
                    float(tensors[at.tensor][place].abs().double().flatten().quantile(FULL)),
                )
                for at in found.maps
            ]
            answer = class_name(it.answer, names)
            pictures = [
                Picture(picture(seen["clean"], bounds), "original", said[0], True),
                Picture(picture(seen["adversarial"], bounds), "attacked", said[1], False),
                Picture(maps[0], "what carries it", ""),
                Picture(
                    picture(seen["exchanged"], bounds),
                    f"{it.units:,} {'put back' if found.direction == 'denoise' else 'attacked'}",
                    answer,
                    it.answer == it.label,
                ),
            ]
            strip = [
                Picture(source, at.layer, f"{at.grid[0]} × {at.grid[1]} {at.by}s")
                for source, at in zip(maps[1:], found.maps[1:], strict=True)
            ]
        cards.append(
            Card(
                sample=it.sample,
                words=shown_words(found, it, names),
                pictures=tuple(pictures),
                strip=tuple(strip),
                entries=entries_table(it) if it.entries else None,
            )
        )
    return cards


def _plain(sample: Tensor) -> Tensor:
    """As a picture can be shown: of other than one or three channels, their mean."""
    return sample if sample.shape[0] in (1, 3) else sample.mean(0)


def _check(found: ModelCarriers, tensors: Mapping[str, Tensor]) -> None:
    """Refuse pictures that are not those of the record."""
    names = [it.tensor for it in found.maps]
    for name in [*(("clean", "adversarial", "exchanged") if names else ()), *names]:
        it = tensors.get(name)
        if it is None or it.ndim < 3 or len(it) != len(found.shown) or not it.numel():
            raise RunError(
                f"The pictures do not belong to the record: {name!r} must hold those of "
                f"{len(found.shown)} samples. Make the run again."
            )
