"""Two or more explored models side by side: which is more fragile, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worldline.commands.explore.explored import Explored
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.words import attack_words
from worldline.report.numbers import count, estimate
from worldline.report.views import Column, View, tabulate
from worldline.statistics import apart

__all__ = ["Explorer", "side_by_side"]

SAME = ("data", "samples", "bounds", "epsilon", "norm", "attack", "steps")


@dataclass(frozen=True)
class Explorer:
    """One model beside others.

    Attributes:
        name: unique on the page.
        driver: the title of the view that names the layer that does the damage.
    """

    name: str
    record: Exploration
    data: Explored
    driver: str


TABLE = (
    Column[Explorer]("model", lambda it: it.name, words=True),
    Column[Explorer]("clean", lambda it: it.data.right("clean"), interval=True),
    Column[Explorer]("noise", lambda it: it.data.right("noise"), interval=True),
    Column[Explorer]("under attack", lambda it: it.data.right("adversarial"), interval=True),
    Column[Explorer](
        "tipping layer", lambda it: it.record.swap_layer.name if it.record.swap_layer else "none"
    ),
    Column[Explorer]("proper depth", lambda it: it.record.proper_depth.adversarial_clean),
    Column[Explorer]("checks that warn", lambda it: _warned(it.record)),
)


def side_by_side(models: Sequence[Explorer]) -> View | None:
    """Models that were attacked alike, compared by their accuracy under attack; None for one."""
    if len(models) < 2:
        return None
    table, first = tabulate(TABLE, models), models[0].record
    basis = f"{len(models)} models; 95% Wilson intervals of shares, bootstrap intervals of medians"
    differing = [
        name
        for name in SAME
        if any(getattr(it.record, name) != getattr(first, name) for it in models)
    ]
    if differing:
        sentence = (
            f"They were not tested alike: {', '.join(differing)} differ. Run them with the same "
            "settings to compare them."
        )
        return View("These models cannot be compared by these runs", sentence, basis, table)
    kept = sorted(models, key=lambda it: it.data.right("adversarial").value or 0.0)
    weak, strong = kept[0], kept[1]
    ends = (it.data.right("adversarial").interval for it in (weak, strong))
    others = "the others" if len(models) > 2 else strong.name
    title = f"{weak.name} is more fragile than {others}"
    if apart(*ends) >= 0:
        title = f"{weak.name} and {strong.name} are not told apart by their accuracy under attack"
    values = "; ".join(f"{it.name} keeps {estimate(it.data.right('adversarial'))}" for it in kept)
    sentence = f"Under {attack_words(first)}: {values}. {_why((weak, strong))}"
    return View(title, sentence, basis, table)


def _why(models: Sequence[Explorer]) -> str:
    """Where the twins of two models part, with intervals; said as what was seen, not as a cause."""
    parts = []
    for it in models:
        record, layers = it.record, len(it.record.layers)
        swap = record.swap_layer
        place = (
            "no layer is surely where twins tip"
            if swap is None
            else f"the tipping layer is {swap.name} (layer {swap.index} of {layers - 1})"
        )
        depth = record.proper_depth.adversarial_clean
        told = (
            "no twin has a proper depth"
            if depth.median is None
            else f"twins are told apart for a proper depth of {estimate(depth)} of "
            f"{count(layers, 'layer')}"
        )
        parts.append(f"In {it.name} {place}, and {told}; {it.driver}")
    return f"What differs: {'. '.join(parts)}."


def _warned(record: Exploration) -> str:
    return f"{sum(it.status == 'warned' for it in record.checks)} of {len(record.checks)}"
