"""What exchanging some parts repairs, beside its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes

from worldline.commands.carriers.record import ModelCarriers
from worldline.commands.carriers.views.shared import (
    basis_of,
    kind_name,
    layer_name,
    layer_words,
    mends,
)
from worldline.errors import UsageError
from worldline.explain import LayerFinding, Order
from worldline.report.drawn import draw
from worldline.report.figures import Lines, Role, Series
from worldline.report.views import Column, View, tabulate
from worldline.statistics import Share

__all__ = ["curves_of", "layer_called", "repair_curve", "repair_view"]

ORDERS: dict[Order, tuple[Role, str]] = {
    "carriers": ("adversarial", "largest effect (carriers)"),
    "change": ("noise", "changed most"),
    "noise": ("wrong", "carriers, noise twin's values"),
    "path": ("true", "largest effect along the path"),
    "random": ("other", "by lot"),
}


@dataclass(frozen=True)
class Point:
    """One number of units at one layer."""

    layer: LayerFinding
    place: int


Read = Callable[[Point], Share | None]


def repair_view(found: ModelCarriers, sentence: str) -> View:
    """What any number of exchanged parts does."""
    return View(
        f"What exchanging some parts {'repairs' if mends(found) else 'breaks'}",
        sentence,
        basis_of(found),
        tabulate(REPAIR, list(_points(found))),
    )


def _points(found: ModelCarriers) -> Iterator[Point]:
    for layer in found.layers:
        if layer.curves:
            yield from (Point(layer, place) for place in range(len(layer.counts)))


def _read(order: Order) -> Read:
    def read(at: Point) -> Share | None:
        curve = at.layer.curve(order)
        return None if curve is None else curve.repaired[at.place]

    return read


REPAIR = (
    Column[Point]("layer", lambda at: layer_name(at.layer), words=True),
    Column[Point]("parts", lambda at: kind_name(at.layer), words=True),
    Column[Point]("exchanged", lambda at: at.layer.counts[at.place]),
    Column[Point]("largest effect", _read("carriers"), interval=True),
    Column[Point]("by lot", _read("random"), interval=True),
    Column[Point]("changed most", _read("change"), interval=True),
    Column[Point]("noise twin's values", _read("noise"), interval=True),
)


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
    it = layer_called(found, layer, by)
    return draw(curves_of(it, found), ax, title=layer_words(it))


def curves_of(layer: LayerFinding, found: ModelCarriers) -> Lines:
    """The figure of a layer: the carriers and their controls, by number of exchanged parts."""
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


def layer_called(found: ModelCarriers, name: str, by: str | None) -> LayerFinding:
    """The layer of this name.

    Raises:
        UsageError: there is none.
    """
    for it in found.layers:
        if it.name == name and by in (None, it.by):
            return it
    names = ", ".join(f"{it.name} ({it.by})" for it in found.layers)
    raise UsageError(f"No layer {name!r} was looked at; those that were: {names}.")
