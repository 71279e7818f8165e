"""How few parts are enough, by layer: how the attack spreads with depth."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from worldline.commands.carriers.record import ModelCarriers
from worldline.commands.carriers.views.shared import (
    all_together,
    at_fewest,
    basis_of,
    do_half,
    ends,
    is_full,
    kind_name,
    layer_name,
    units_of,
)
from worldline.explain import LayerFinding, Trust
from worldline.report.drawn import draw
from worldline.report.figures import Bar, Bars, Role
from worldline.report.numbers import NONE, count, share
from worldline.report.views import Column, View, tabulate

__all__ = ["concentration", "spread_groups", "spread_view", "spread_words"]

MOST_NAMED, LONGEST_SAID = 3, 10
Layer = Column[LayerFinding]
CUTS: tuple[tuple[Role, str], ...] = (
    ("adversarial", "everything passes through the layer"),
    ("other", "something goes around it"),
)


def spread_view(found: ModelCarriers) -> View:
    """How few parts are enough, layer by layer."""
    return View(
        "How few parts are enough, by layer",
        spread_words(found) or "At no layer is any number of parts that was tried enough.",
        basis_of(found),
        tabulate(SPREAD, found.layers),
    )


REMARKS: dict[Trust, str] = {
    "ok": "",
    "partial cut": "something goes around it",
    "incomplete": "effects do not add up",
    "below exact": "the path's order does less",
}
SPREAD = (
    Layer("layer", lambda it: f"{it.index} {layer_name(it)}", words=True),
    Layer("parts", units_of, words=True),
    Layer("fewest that are enough", lambda it: it.concentration.units),
    Layer("95% interval", ends),
    Layer("as a share", lambda it: it.concentration.share, form=share),
    Layer("they do", lambda it: at_fewest(it, "carriers"), interval=True),
    Layer("as many by lot", lambda it: at_fewest(it, "random"), interval=True),
    Layer("changed most", lambda it: at_fewest(it, "change"), interval=True),
    Layer("noise twin's values", lambda it: at_fewest(it, "noise")),
    Layer("all parts", all_together),
    Layer("effects miss", lambda it: it.completeness, form=share),
    Layer("rank, path and exact", lambda it: it.agreement),
    Layer("remark", lambda it: REMARKS[it.trust]),
)


def spread_words(found: ModelCarriers) -> str:
    """How few are enough with depth, kind by kind, where everything passes through the layer."""
    kinds = dict.fromkeys(map(kind_name, found.layers))
    parts = []
    for kind in kinds:
        layers = [it for it in found.layers if kind_name(it) == kind and is_full(it)]
        known = [it for it in layers if it.concentration.share is not None]
        if known and (len(layers) > 1 or len(kinds) == 1):
            parts.append(_with_depth(known, found))
    never = [layer_name(it) for it in found.layers if it.concentration.units is None]
    if never:
        some = ", ".join(never[:MOST_NAMED]) + (", …" if len(never) > MOST_NAMED else "")
        where = f"{count(len(never), 'layer')} ({some})"
        parts.append(f"At {where} none of the numbers tried is enough.")
    return " ".join(parts)


def _with_depth(known: list[LayerFinding], found: ModelCarriers) -> str:
    """The first, the last, and the extremes between; which way it goes, if the intervals say."""
    first, last = known[0], known[-1]
    by_share = sorted(known, key=lambda it: it.concentration.share or 1.0)
    shown = {id(it) for it in (first, last, by_share[0], by_share[-1])}
    named = [it for it in known if len(known) <= MOST_NAMED + 2 or id(it) in shown]
    told = ", ".join(
        f"{share(it.concentration.share)} at {layer_name(it)} ({it.concentration.units:,} of "
        f"{it.units:,})"
        for it in named
    )
    kinds = kind_name(first)
    sentence = f"Of {kinds}, the smallest share that is enough to {do_half(found)} them is {told}"
    if first is last:
        return f"{sentence}."
    if _below(first, last):
        return f"{sentence}: with depth the attack spreads over more of them."
    if _below(last, first):
        return f"{sentence}: with depth the attack gathers in fewer of them."
    return f"{sentence}; the first and the last are not told apart."


def _below(one: LayerFinding, other: LayerFinding) -> bool:
    ends = one.concentration.interval, other.concentration.interval
    if ends[0] is None or ends[1] is None:
        return False
    high, low = ends[0][1], ends[1][0]
    return high is not None and (low is None or high < low)


def concentration(found: ModelCarriers, *, ax: Axes | None = None) -> Axes:
    """The smallest share of parts that is enough for half of the samples, by layer.

    Args:
        found: ``record.found`` of ``carriers``, or ``record.carriers`` of ``explore``.
        ax: where to draw.

    Returns:
        The axes: a bar from 0, with its 95 % interval, for each layer in the order of the network;
        short: few parts carry the attack there; none: no number that was tried is enough.
    """
    return draw(_bars([it for it in found.layers if it.curves], found), ax)


def spread_groups(found: ModelCarriers) -> list[tuple[str, Bars]]:
    """Figures of the layers in the order of the network, those of heads apart."""
    heads = [it for it in found.layers if it.by == "head" and it.curves]
    others = [it for it in found.layers if it.by != "head" and it.curves]
    named = (("Parts of the layers" if heads else "", others), ("Heads of the attentions", heads))
    return [(name, _bars(layers, found)) for name, layers in named if layers]


def _bars(layers: Sequence[LayerFinding], found: ModelCarriers) -> Bars:
    bars = tuple(
        Bar(
            layer_name(it),
            it.concentration.share,
            _said(it),
            "adversarial" if is_full(it) else "other",
            interval=_whisker(it),
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


def _whisker(layer: LayerFinding) -> tuple[float, float] | None:
    """The interval; where its end is open it goes on to all units."""
    low, high = layer.concentration.interval or (None, None)
    return None if low is None else (low, 1.0 if high is None else high)
