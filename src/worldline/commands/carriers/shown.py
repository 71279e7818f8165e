"""Some fooled samples, as they are shown: where it sits in the input, and what exchanging it does.

Of pictures there are maps: of the pixels, and of the positions of every layer that has some.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldline import explain
from worldline.attacks import choices, predict
from worldline.commands.carriers.record import Entry, Mapped, Shown
from worldline.explain import Carriers, LayerCarriers
from worldline.explain.carrying.places import one_place
from worldline.settings import Settings
from worldline.trace import pick_layers
from worldline.trace.watching import INPUT

__all__ = ["MOST", "Gallery", "show"]

MOST, MOST_MAPS = 6, 5
ENTRIES = 8
PLANE = 2
"""Dimensions of a grid that lies on a picture."""


@dataclass(frozen=True)
class Gallery:
    """The samples, their maps, and the tensors of both."""

    shown: tuple[Shown, ...]
    maps: tuple[Mapped, ...]
    tensors: dict[str, Tensor]


def show(
    model: nn.Module,
    twins: tuple[Tensor, Tensor],
    found: Carriers,
    *,
    rows: Tensor,
    features: tuple[str, ...] | None,
    most: int = MOST,
    settings: Settings,
) -> Gallery:
    """Some fooled samples: one of each pair of classes, the most frequent pairs first.

    Args:
        model: the model.
        twins: (N, …) the inputs and their attacked twins.
        found: what carries the attack on them.
        rows: (N,) what the samples are called.
        features: names of the columns of a table.
        most: so many samples at most.
        settings: batch size, bounds, seed.
    """
    few = torch.tensor(_spread(found.true.tolist(), found.wrong.tolist(), most))
    places = found.rows[few]
    clean, adversarial = (it[places.to(it.device)] for it in twins)
    few_twins = clean, adversarial
    layer = next((it for it in found.layers if it.name == INPUT), None)
    if layer is None:
        layer = _few_carriers(model, few_twins, found, few, ["input"], settings).layers[0]
        effect = layer.effect
    else:
        effect = layer.effect[few]
    exchanged, units, answers = _exchange(model, few_twins, found, few, layer, effect, settings)
    picture = layer.by == "pixel" and len(layer.grid) == PLANE
    shown = tuple(
        Shown(
            sample=int(rows[place]),
            label=int(found.true[at]),
            wrong=int(found.wrong[at]),
            units=units[number],
            answer=answers[number],
            entries=()
            if picture
            else _entries(layer, effect[number], (clean[number], adversarial[number]), features),
        )
        for number, (at, place) in enumerate(zip(few.tolist(), places.tolist(), strict=True))
    )
    if not picture:
        return Gallery(shown, (), {})
    maps = [(layer, effect), *_maps(model, few_twins, found, few, settings)]
    tensors = {"clean": clean, "adversarial": adversarial, "exchanged": exchanged}
    told = []
    for number, (at, effects) in enumerate(maps):
        grid = _grid(at)
        assert grid is not None
        name = f"map-{number:02d}"
        tensors[name] = effects[:, -math.prod(grid) :].reshape(-1, *grid).float()
        told.append(Mapped(layer=at.name, by=at.by, grid=grid, tensor=name))
    return Gallery(shown, tuple(told), tensors)


def _spread(true: Sequence[int], wrong: Sequence[int], most: int) -> list[int]:
    """The first sample of each pair of classes, frequent pairs first, then further samples."""
    pairs = list(zip(true, wrong, strict=True))
    firsts = [pairs.index(pair) for pair, _ in Counter(pairs).most_common(most)]
    rest = [place for place in range(len(pairs)) if place not in firsts]
    return [*firsts, *rest][:most]


def _exchange(
    model: nn.Module,
    twins: tuple[Tensor, Tensor],
    found: Carriers,
    few: Tensor,
    layer: LayerCarriers,
    effect: Tensor,
    settings: Settings,
) -> tuple[Tensor, list[int], list[int]]:
    """Inputs with the fewest parts exchanged that change the answer, how many, and the answers."""
    clean, adversarial = twins
    mends = found.direction == "denoise"
    base, donor = (adversarial, clean) if mends else (clean, adversarial)
    place = one_place(model, base, INPUT, layer.by)
    order = effect.argsort(dim=1, descending=True, stable=True)
    counts = [it for it in layer.counts if it <= layer.units / 2] or [1]
    true = found.true[few]
    result, units, answers = base.clone(), [0] * len(few), [0] * len(few)
    waiting = torch.ones(len(few), dtype=torch.bool)
    for count in counts:
        mask = torch.zeros(order.shape, dtype=torch.bool).scatter_(1, order[:, :count], True)
        given = place.units.put(base, donor, mask.to(base.device))
        said = choices(predict(model, given, batch_size=settings.batch_size))
        changed = (said == true) if mends else (said != true)
        for number in (waiting & (changed | (count == counts[-1]))).nonzero().flatten().tolist():
            result[number], units[number] = given[number], count
            answers[number] = int(said[number])
        waiting &= ~changed
    return result, units, answers


def _maps(
    model: nn.Module, twins: tuple[Tensor, Tensor], found: Carriers, few: Tensor, settings: Settings
) -> list[tuple[LayerCarriers, Tensor]]:
    """Layers whose positions or tokens lie on the picture, with the effects of these samples."""
    own = {it.name: it for it in found.layers if it.by != "channel"}
    inner = [it for it in found.layers if it.name != INPUT and it.by != "head"]
    cuts = [it.name for it in inner if it.cut is None or it.cut.full]
    names = cuts or [it.name for it in inner]
    shapes = {it.name: it.shape for it in pick_layers(model, twins[0], names)} if names else {}
    wide = [it.name for it in inner if it.name in names and _is_wide(it, shapes[it.name])]
    more = {}
    if wide:
        again = _few_carriers(model, twins, found, few, wide, settings, by="position")
        more = {it.name: it for it in again.layers}
    maps = [
        (more[name], more[name].effect) if name in more else (own[name], own[name].effect[few])
        for name in names
        if name in more or name in own
    ]
    laid = [(at, effects) for at, effects in maps if _grid(at) is not None]
    places = torch.linspace(0, len(laid) - 1, min(len(laid), MOST_MAPS)).round().long().tolist()
    return [laid[place] for place in places]


def _is_wide(layer: LayerCarriers, shape: tuple[int, ...]) -> bool:
    """Whether it was seen by channels, and has positions too."""
    return layer.by == "channel" and len(shape) == PLANE + 1 and min(shape[1:]) > 1


def _grid(layer: LayerCarriers) -> tuple[int, int] | None:
    """How the units lie on a square picture; tokens row by row, after one for the class."""
    if len(layer.grid) == PLANE and layer.by in ("pixel", "position"):
        return layer.grid[0], layer.grid[1]
    side = math.isqrt(layer.units)
    if layer.by != "token" or side < PLANE or layer.units - side * side not in (0, 1):
        return None
    return side, side


def _few_carriers(
    model: nn.Module,
    twins: tuple[Tensor, Tensor],
    found: Carriers,
    few: Tensor,
    layers: list[str],
    settings: Settings,
    *,
    by: explain.UnitKind = "auto",
) -> Carriers:
    """Effects at further layers, of these samples alone, without curves."""
    return explain.carriers(
        model,
        *twins,
        found.true[few],
        layers=layers,
        by=by,
        exact=found.exact,
        direction=found.direction,
        points=found.points or 1,
        shares=(),
        noise=found.noise[few.to(found.noise.device)],
        settings=settings,
    )


def _entries(
    layer: LayerCarriers,
    effect: Tensor,
    twins: tuple[Tensor, Tensor],
    features: tuple[str, ...] | None,
) -> tuple[Entry, ...]:
    """The parts of largest effect of one input that is no picture."""
    alone = layer.by == "neuron"
    clean, adversarial = (it.flatten().tolist() if alone else [] for it in twins)
    name = "token" if layer.by == "token" else "part"
    return tuple(
        Entry(
            name=features[unit] if features and alone else f"{name} {unit}",
            clean=clean[unit] if alone else None,
            adversarial=adversarial[unit] if alone else None,
            effect=float(effect[unit]),
        )
        for unit in effect.argsort(descending=True, stable=True)[:ENTRIES].tolist()
    )
