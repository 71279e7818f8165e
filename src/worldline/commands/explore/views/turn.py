"""Where the attack moves twins, and which layer drives them: sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from worldline.commands.explore.explored import read_explored
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.views.shared import LAYER, Row, Source, fooled_basis, listed, row_of
from worldline.explain import LayerStory
from worldline.plot.axes import by_layer, new_axes, with_intervals
from worldline.plot.colours import LOOKS
from worldline.report.numbers import count, estimate, interval, number, share, signed
from worldline.report.views import Column, Table, View, tabulate
from worldline.statistics import Share, Summary

__all__ = [
    "at_layer",
    "boosts",
    "changed_sides",
    "drawn_boosts",
    "drawn_sides",
    "driver_view",
    "excess_boost",
    "sides",
    "tables",
    "tipping_merit",
    "turn_view",
]

HALF = 0.5


LAYERS = (  # words of six letters, so that nine columns fit a terminal
    LAYER,
    Column[LayerStory]("attack to own", lambda it: it.rapidity.adversarial_clean, form=signed),
    Column[LayerStory]("noise to own", lambda it: it.rapidity.noise_clean, form=signed),
    Column[LayerStory]("attack to true", lambda it: it.rapidity.adversarial_true, form=signed),
    Column[LayerStory]("attack to wrong", lambda it: it.rapidity.adversarial_wrong, form=signed),
    Column[LayerStory]("wrong side", lambda it: it.wrong_side),
    Column[LayerStory]("moved by attack", lambda it: it.moved_share),
    Column[LayerStory]("damage", lambda it: it.excess_boost, form=signed),
)


SIDES: tuple[tuple[str, str, str, Callable[[LayerStory], Share]], ...] = (  # script's key, look
    ("wrong", "adversarial", "attacked twins", lambda it: it.wrong_side),
    ("clean", "true", "their originals", lambda it: it.clean_wrong_side),
    ("moved", "wrong", "moved by the attack", lambda it: it.moved_share),
    ("noise", "noise", "noise twins", lambda it: it.noise_wrong_side),
)
SHARES = (
    LAYER,
    *(Column[LayerStory](label, share_of, interval=True) for _, _, label, share_of in SIDES),
    Column[LayerStory](
        "originals, wrong by themselves", lambda it: it.misclassified_wrong_side, interval=True
    ),
)
BOOSTS = (
    LAYER,
    Column[LayerStory](
        "damage beyond noise, nats", lambda it: it.excess_boost, interval=True, form=signed
    ),
)


def tables(record: Exploration) -> tuple[Table, ...]:
    """What the terminal shows."""
    title = (
        f"{count(record.fooled, 'fooled sample')}, {record.frame} frame: median similarity "
        "(rapidity φ, nats) of the attacked and the noise twin to their own original, and to the "
        "true and the wrong class; share closer to the wrong class, and moved there by the attack; "
        "damage beyond noise (nats)"
    )
    return (tabulate(LAYERS, record.layers, title=title),)


def at_layer(layer: LayerStory) -> str:
    """What the fooled samples do at a layer, in one sentence."""
    to = layer.rapidity
    return (
        f"{layer.name}: similarity φ of attacked twin and original {estimate(to.adversarial_clean)}"
        f", of noise twin and original {estimate(to.noise_clean)}; closer to the wrong class "
        f"{estimate(layer.wrong_side)}, originals {estimate(layer.clean_wrong_side)}; moved by the "
        f"attack {estimate(layer.moved_share)}."
    )


def turn_view(record: Exploration) -> View:
    """Where the attack moves twins to the wrong side; a layer is named where the record has one."""
    last, swap = record.layers[-1], record.swap_layer
    rest = (fooled_basis(record), sides(record))
    moved = last.moved_share
    if moved.value is None:
        told = "No sample was fooled."
        if record.fooled:
            told = f"{record.fooled:,} samples were fooled; none has both of its class means."
        return View("No side is known", told, *rest)
    if swap is not None:
        title = f"From {swap.name} on, the attack has moved most twins closer to the wrong class"
    elif moved.interval and moved.interval[1] < HALF:
        title = "The attack does not move most twins closer to the wrong class"
    else:
        title = "Whether the attack moves most twins closer to the wrong class is open"
    own = last.misclassified_wrong_side
    left_out = f"; {moved.undefined:,} without a class mean are left out" if moved.undefined else ""
    sentence = (
        f"At {last.name}, {estimate(last.wrong_side)} of the attacked twins are closer to the "
        f"wrong class, {estimate(last.clean_wrong_side)} of their originals and "
        f"{estimate(last.noise_wrong_side)} of the noise twins: the attack has moved "
        f"{estimate(moved)}{left_out}."
    )
    if own.count:
        sentence += (
            f" Of {count(own.count, 'original')} that the model gets wrong by itself it is "
            f"{estimate(own)}."
        )
    return View(title, sentence, *rest)


def sides(record: Exploration) -> Table:
    """Shares closer to the wrong class, and how much of it the attack moved."""
    return tabulate(SHARES, record.layers)


def changed_sides(source: Source, *, ax: Axes | None = None) -> Axes:
    """Shares on the wrong side by layer, and what the attack moved, with 95 % intervals.

    The tipping layer (swap layer) is the first from which the moved share's interval stays above
    the dotted line at one half.
    """
    data, ax = read_explored(source), new_axes(ax)
    at = np.arange(len(data.layers))
    for _, role, label, share_of in SIDES:
        shares = [share_of(layer) for layer in data.layers]
        values, ends = [it.value for it in shares], [it.interval for it in shares]
        with_intervals(
            ax, at, values, ends, role, f"{label} (control)" if role == "noise" else label
        )
    ax.axhline(0.5, color=LOOKS["other"].paper, linestyle=":", label="one half")
    ax.set_ylabel("share closer to the wrong class")
    return by_layer(ax, data.layer_names)


def drawn_sides(record: Exploration) -> dict[str, tuple[Row, ...]]:
    """The shares by layer, as the script draws them."""
    return {
        key: tuple(row_of(share_of(it)) for it in record.layers) for key, _, _, share_of in SIDES
    }


def drawn_boosts(record: Exploration) -> tuple[Row, ...]:
    """The damage beyond noise by layer, as the script draws it."""
    return tuple(row_of(it.excess_boost) for it in record.layers)


def tipping_merit(record: Exploration) -> tuple[str, str, str]:
    """The tipping layer beside the accuracies on top of the page."""
    if record.swap_layer is None:
        return "tipping layer", "none", "no layer is surely one"
    moved = record.layers[record.swap_layer.index].moved_share
    told = f"moved by the attack there: {share(moved.value)} ({interval(moved.interval, share)})"
    return "tipping layer", record.swap_layer.name, told


def driver_view(record: Exploration) -> View:
    """Which layer does the damage; layers whose intervals reach its own share the claim."""
    rest = (fooled_basis(record), boosts(record))
    known = [
        (layer.name, it, it.interval)
        for layer in record.layers
        if (it := layer.excess_boost) and it.median is not None and it.interval
    ]
    sure = [found for found in known if found[2][0] > 0]
    if not known:
        told = "No sample was fooled."
        if record.fooled:
            told = "No layer's damage has an interval: too few twins have both similarities."
        return View("No layer stands out", told, *rest)
    if not sure:
        return View(
            "No layer drives the twins apart by more than noise does",
            "Every layer's interval includes 0, or lies below it: no layer stands out as the one "
            "to regularise.",
            *rest,
        )
    name, most, ends = max(sure, key=lambda found: _middle(found[1]))
    level = [other for other, _, its in known if other != name and its[1] >= ends[0]]
    told = (
        f"{name} drives attacked twins away from their originals by {number(most.median)} nats of "
        f"similarity more than noise does (95% interval {interval(ends)})"
    )
    advice = "Look there first when regularising; that it helps has to be tried."
    if level:
        return View(
            f"{listed([name, *level])} drive the twins apart most",
            f"{told}; the intervals of {listed(level)} overlap it. {advice}",
            *rest,
        )
    others = [found for found in known if found[0] != name]
    if others:
        second, it, its = max(others, key=lambda found: _middle(found[1]))
        told += f"; next comes {second} with {number(it.median)} ({interval(its)})"
    return View(f"{name} drives the twins apart most", f"{told}. {advice}", *rest)


def _middle(it: Summary) -> float:
    return float("-inf") if it.median is None else it.median


def boosts(record: Exploration) -> Table:
    """How much more than noise each layer drives the attacked twin apart."""
    return tabulate(BOOSTS, record.layers)


def excess_boost(source: Source, *, ax: Axes | None = None) -> Axes:
    """How much more a layer drives the attacked twin away than noise does, with 95 % intervals.

    In nats. Above 0: the layer pushes the attacked twin away by more than the noise twin.
    """
    data, ax = read_explored(source), new_axes(ax)
    boosts = [layer.excess_boost for layer in data.layers]
    values = [None if it is None else it.median for it in boosts]
    ends = [None if it is None else it.interval for it in boosts]
    ax.axhline(0, color=LOOKS["other"].paper, linewidth=1)
    at = np.arange(len(boosts))
    with_intervals(ax, at, values, ends, "adversarial", "damage beyond noise", line=False)
    ax.set_ylabel("damage beyond noise, nats")
    return by_layer(ax, data.layer_names)
