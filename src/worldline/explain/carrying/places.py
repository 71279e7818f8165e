"""Where carriers are looked for: the chosen layers of a model, and their units."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from worldline.errors import LayerError
from worldline.explain.carrying.units import UnitKind, Units, check_kind, forms_of, units_of
from worldline.trace import Layer, LayerChoice, Model, find_layers, pick_layers
from worldline.trace.heads import head_layers

__all__ = ["Place", "find_places", "one_place"]

EVERYWHERE = "*?["


@dataclass(frozen=True)
class Place:
    """A layer and its units."""

    layer: Layer
    units: Units


def find_places(
    model: Model, x: Tensor, layers: LayerChoice | None, by: UnitKind
) -> tuple[Place, ...]:
    """The chosen layers that have units of this kind.

    Args:
        model: the model.
        x: (N, …) a few inputs.
        layers: names, globs, modules; default: the default layers of
            :func:`worldline.trace.find_layers`, of ``head`` every attention.
        by: kind of unit; at the input it is a pixel, whatever is asked for.

    Raises:
        UsageError: an unknown kind. LayerError: no such layer; a layer that was named has no such
        units; none of the layers has.
    """
    check_kind(by)
    if by == "head":
        found = head_layers(model, x, layers)
        return tuple(
            Place(layer, units)
            for layer, heads in found
            if (units := units_of(layer, by, "channels last", heads))
        )
    forms = dict(zip(every := find_layers(model, x), forms_of(every), strict=True))
    chosen = pick_layers(model, x, layers)
    named = _named(layers)
    places = []
    for layer in chosen:
        units = units_of(layer, by, forms[layer])
        if units is None and named & {layer.name, layer.module, *layer.aliases}:
            raise LayerError(_without(layer, by))
        if units is not None:
            places.append(Place(layer, units))
    if not places:
        raise LayerError(_without(chosen[0], by, "None of the layers has units of this kind. "))
    return tuple(places)


def one_place(model: Model, x: Tensor, layer: str | nn.Module, by: UnitKind) -> Place:
    """The one layer of this name, and its units.

    Raises:
        LayerError: several layers match, or as :func:`find_places`.
    """
    places = find_places(model, x, [layer], by)
    if len(places) > 1:
        names = ", ".join(it.layer.name for it in places)
        raise LayerError(
            f"One layer is needed, and {layer!r} matches {len(places)}: {names}. Name one of them."
        )
    return places[0]


def _named(layers: LayerChoice | None) -> set[str]:
    given = [layers] if isinstance(layers, (str, nn.Module)) else layers or []
    return {it for it in given if isinstance(it, str) and not set(it) & set(EVERYWHERE)}


def _without(layer: Layer, by: UnitKind, first: str = "") -> str:
    kinds = "channel, position, token, neuron, pixel" if len(layer.shape) > 1 else "neuron"
    offers = [it for it in kinds.split(", ") if _has(layer, it)]
    return (
        f"{first}Layer {layer.name!r} has no units of kind {by!r}: a sample's value there is "
        f"{layer.shape}. It has: {', '.join(offers)}."
    )


def _has(layer: Layer, kind: str) -> bool:
    return any(
        units_of(layer, kind, form) is not None  # type: ignore[arg-type]
        for form in ("channels first", "channels last")
    )
