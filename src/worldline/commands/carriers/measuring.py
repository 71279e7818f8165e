"""What carries an attack on a model, in the passes that a run of any command can afford."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldline import explain
from worldline.commands.carriers.record import ModelCarriers
from worldline.commands.carriers.shown import MOST, show
from worldline.commands.carriers.views.shared import is_full
from worldline.errors import LayerError
from worldline.explain import Carriers, ClassPairs, Direction, LayerCarriers, UnitKind
from worldline.explain.carrying.places import find_places
from worldline.inputs import logits_of
from worldline.settings import Settings
from worldline.trace import Layer, pick_layers, untouched
from worldline.trace.heads import head_layers
from worldline.trace.watching import INPUT

__all__ = ["Asked", "Measured", "asked_of", "measure", "measure_pairs"]

FEWEST_STAGES, MOST_STAGES = 3, 5
MOST_PAIRS, FEWEST = 8, 8
"""Pairs of classes that are looked at unasked, and the fooled samples that each of them needs."""


@dataclass(frozen=True)
class Asked:
    """Layers of one kind of unit, by name."""

    by: UnitKind
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What carries an attack, for a record, with the tensors that stand beside it."""

    found: ModelCarriers
    carriers: tuple[Carriers, ...]
    tensors: dict[str, Tensor]


def asked_of(
    model: nn.Module, x: Tensor, layers: Sequence[str], by: UnitKind, *, brief: bool = False
) -> tuple[Asked, ...]:
    """The layers that are looked at, and by which unit.

    Where nothing is named they are the default layers without the logits, of which two always
    carry all, and the heads of every attention.

    Args:
        model: the model.
        x: (N, …) a few inputs.
        layers: names and globs; empty for the default layers.
        by: kind of unit.
        brief: the input and a few stages alone.

    Raises:
        LayerError: no such layer, or none with units of that kind.
    """
    if layers or by == "head":
        found = find_places(model, x, list(layers) or None, by)
        return (Asked(by, tuple(it.layer.name for it in found)),)
    with untouched(model), torch.no_grad():
        classes = logits_of(model, x[:2]).shape[1]
    names = _without_logits(pick_layers(model, x, None), classes)
    if brief:
        return (Asked(by, tuple(_stages(names))),)
    places = [it.layer.name for it in find_places(model, x, None, by)]
    asked = [Asked(by, tuple(name for name in names if name in places))]
    if by == "auto":
        try:
            heads = head_layers(model, x)
        except LayerError:
            heads = ()
        if heads:
            asked.append(Asked("head", tuple(layer.name for layer, _ in heads)))
    return tuple(asked)


def _stages(names: Sequence[str]) -> list[str]:
    """The first, and some of the layers that end a part of the model, the last among them.

    Parts are modules as deep inside as there are no more than :data:`MOST_STAGES` of them; where
    that is too coarse (one wrapper, then a dozen blocks), evenly some of those one step deeper.
    """
    first, *inner = names
    parts = [name.split(".") for name in inner]
    ends = inner[-1:]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        keys = [part[:depth] for part in parts]
        found = [
            name
            for name, key, after in zip(inner, keys, [*keys[1:], None], strict=True)
            if key != after
        ]
        if len(found) > MOST_STAGES and len(ends) >= FEWEST_STAGES:
            break
        ends = found
        if len(found) > MOST_STAGES:
            break
    places = torch.linspace(0, len(ends) - 1, min(len(ends), MOST_STAGES)).round().long()
    return [first, *(ends[place] for place in places.tolist())]


def _without_logits(layers: Sequence[Layer], classes: int) -> list[str]:
    names = [it.name for it in layers]
    return names[:-1] if len(names) > 1 and layers[-1].shape == (classes,) else names


def measure(
    model: nn.Module,
    twins: tuple[Tensor, Tensor, Tensor],
    y: Tensor,
    *,
    asked: Sequence[Asked],
    rows: Tensor,
    features: tuple[str, ...] | None = None,
    exact: bool = False,
    path: bool = False,
    direction: Direction = "denoise",
    points: int = 10,
    shares: Sequence[float] = explain.SHARES,
    shown: int = MOST,
    of: tuple[int, int] | None = None,
    memory: int | None = None,
    settings: Settings,
) -> Measured:
    """What carries an attack on a model.

    Args:
        model: the model.
        twins: (N, …) inputs, their attacked and their noise twins, on its device.
        y: (N,) labels.
        asked: which layers, by which unit.
        rows: (N,) what the samples are called.
        features: names of the columns of a table.
        exact, path, direction, points, shares: as of :func:`worldline.explain.carriers`.
        shown: so many samples are shown.
        of: how many samples there are, and how many are fooled, where these are a part of them.
        memory: bytes over the model and the data; None for no limit.
        settings: bounds, batch size, seed, progress.

    Raises:
        ModelError: nothing is fooled.
    """
    x, adversarial, noise = twins
    carriers = tuple(
        explain.carriers(
            model,
            x,
            adversarial,
            y,
            layers=list(it.layers),
            by=it.by,
            exact=exact,
            path=path or None,
            direction=direction,
            points=points,
            shares=shares,
            noise=noise,
            memory=memory,
            settings=settings,
        )
        for it in asked
    )
    first = carriers[0]
    samples, fooled = of or (len(x), len(first.rows))
    gallery = show(
        model,
        (x, adversarial),
        first,
        rows=rows,
        features=features,
        most=shown,
        settings=replace(settings, progress=_unheard),
    )
    findings = [layer.finding for it in carriers for layer in it.layers]
    found = ModelCarriers(
        samples=samples,
        fooled=fooled,
        used=len(first.rows),
        direction=direction,
        exact=exact,
        points=first.points,
        layers=tuple(replace(it, index=place) for place, it in enumerate(findings)),
        features=features,
        shown=gallery.shown,
        maps=gallery.maps,
        notes=tuple(dict.fromkeys(note for it in carriers for note in it.notes)),
    )
    return Measured(found, carriers, gallery.tensors)


def _unheard(_stage: str, _done: int, _total: int, /) -> None:
    """Progress of what is quick."""


def measure_pairs(
    model: nn.Module,
    twins: tuple[Tensor, Tensor],
    measured: Measured,
    named: Sequence[tuple[int, int]],
    settings: Settings,
) -> tuple[ClassPairs | None, tuple[str, ...]]:
    """What carries the named pairs of classes and the most frequent ones, and what must be said."""
    found, layer = _of_classes(measured.carriers)
    count = max(layer.units // 8, layer.concentration.units or 1)
    sizes = Counter(zip(found.true.tolist(), found.wrong.tolist(), strict=True))
    frequent = [pair for pair, size in sizes.most_common(MOST_PAIRS) if size >= FEWEST]
    wanted = [pair for pair in dict.fromkeys((*named, *frequent)) if sizes[pair] > 1]
    notes = tuple(
        f"The pair {true}>{wrong} has {sizes[true, wrong]} fooled samples, and needs one to learn "
        "on and one to judge on."
        for true, wrong in named
        if (true, wrong) not in wanted
    )
    if not wanted:
        return None, notes
    pairs = explain.pair_carriers(
        model, *twins, found, layer.name, pairs=wanted, count=count, settings=settings
    )
    return pairs, notes


def _of_classes(carriers: Sequence[Carriers]) -> tuple[Carriers, LayerCarriers]:
    """The layer of fewest carriers whose units may mean something to a class in all samples.

    Those are channels, neurons and heads: a place or a token holds something else in each sample.
    """
    layers = [(it, layer) for it in carriers for layer in it.layers]
    inner = [pair for pair in layers if pair[1].name != INPUT] or layers
    steady = [pair for pair in inner if pair[1].by in ("channel", "neuron")]
    return min(
        steady or inner, key=lambda pair: (not is_full(pair[1]), pair[1].concentration.share or 1.0)
    )
