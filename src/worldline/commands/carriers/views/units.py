"""The parts of each layer that carry most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes

from worldline.commands.carriers.record import ModelCarriers
from worldline.commands.carriers.views.repair import layer_called
from worldline.commands.carriers.views.shared import (
    Names,
    basis_of,
    kind_name,
    layer_name,
    layer_words,
    units_of,
    where,
)
from worldline.explain import LayerFinding
from worldline.report.drawn import draw
from worldline.report.figures import Bar, Bars
from worldline.report.numbers import estimate
from worldline.report.numbers import signed as with_sign
from worldline.report.views import Column, View, tabulate
from worldline.statistics import Share

__all__ = ["top_of", "top_units", "unit_name", "units_view"]

MOST_TOP, MOST_BARS = 6, 5
signed = partial(with_sign, places=2)


@dataclass(frozen=True)
class Unit:
    """One unit of a layer."""

    layer: LayerFinding
    name: str
    effect: float
    among: Share


UNITS = (
    Column[Unit]("layer", lambda it: layer_name(it.layer), words=True),
    Column[Unit]("part", lambda it: it.name, words=True),
    Column[Unit]("effect, logits", lambda it: it.effect, form=signed),
    Column[Unit]("among the top of", lambda it: it.among, interval=True),
)


def units_view(found: ModelCarriers) -> View:
    """The parts of largest mean effect."""
    return View(
        "The parts that carry most",
        _units_words(found),
        f"{basis_of(found)}; effects are means",
        tabulate(UNITS, list(_units(found))),
    )


def unit_name(layer: LayerFinding, unit: int, features: Names = None) -> str:
    """A part in words: ``channel 12``, ``row 3, column 4``, the name of a column of a table."""
    if layer.name == "input" and features and unit < len(features):
        return features[unit]
    if len(layer.grid) == 2 and layer.by != "neuron":
        row, column = divmod(unit, layer.grid[1])
        return f"row {row}, column {column}"
    return f"{kind_name(layer, 1)} {unit}"


def _units(found: ModelCarriers) -> Iterator[Unit]:
    for layer in found.layers:
        for it in layer.top[:MOST_TOP]:
            name = unit_name(layer, it.unit, found.features)
            yield Unit(layer, name, it.effect, it.among)


def _units_words(found: ModelCarriers) -> str:
    """The part that is most often among the top, where it surely is in more than half."""
    steady = [
        unit
        for unit in _units(found)
        if unit.among.interval is not None and unit.among.interval[0] > 1 / 2
    ]
    meaning = "Of each layer, the parts of largest mean effect, and how many samples they are among"
    said = f"{meaning} the first sixteenth of."
    if not steady:
        return f"{said} None is surely among them in more than half of the samples."
    most = max(steady, key=lambda it: it.among.value or 0.0)
    return (
        f"{said} {most.name[:1].upper()}{most.name[1:]}{where(most.layer)} is among them in "
        f"{estimate(most.among)}."
    )


def top_units(
    found: ModelCarriers, layer: str, *, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """The parts of a layer with the largest mean effect, in logits.

    Args:
        found, layer, by, ax: as of :func:`~worldline.commands.carriers.views.repair_curve`.
    """
    it = layer_called(found, layer, by)
    return draw(top_of(it, found), ax, title=layer_words(it))


def top_of(layer: LayerFinding, found: ModelCarriers) -> Bars:
    """The figure of a layer: its parts of largest mean effect."""
    bars = tuple(
        Bar(unit_name(layer, it.unit, found.features), max(0.0, it.effect), signed(it.effect))
        for it in layer.top[:MOST_BARS]
    )
    return Bars(bars, label=f"mean effect, logits, of {units_of(layer)}")
