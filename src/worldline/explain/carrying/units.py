"""Units of a layer: what is put back together, in a value's own shape.

A value (N, …) is seen in a shape ``split`` of which the ``kept`` dimensions tell the units apart:
of feature maps (C, H, W) the channels or the positions, of tokens (T, D) the tokens or the
channels, of heads side by side (T, h, d) the heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from worldline.errors import LayerError, ShapeError, UsageError
from worldline.trace import Layer

__all__ = ["UnitKind", "Units", "check_kind", "forms_of", "mask_of", "units_of"]

UnitKind = Literal["auto", "channel", "position", "token", "head", "neuron", "pixel"]
"""What is put back together; ``auto``: by the shape of each layer."""
Form = Literal["channels first", "channels last"]


@dataclass(frozen=True)
class Units:
    """The units of one layer.

    Attributes:
        kind: what they are.
        count: U.
        grid: how they lie: (H, W) for positions and pixels, (U,) else.
        split: the shape in which a sample's value is seen.
        kept: the dimensions of it that tell the units apart.
    """

    kind: UnitKind
    count: int
    grid: tuple[int, ...]
    split: tuple[int, ...]
    kept: tuple[int, ...]

    def sums(self, value: Tensor) -> Tensor:
        """(N, …) numbers summed over each unit, (N, U) float64."""
        seen = value.reshape(len(value), *self.split)
        others = [place + 1 for place in range(len(self.split)) if place not in self.kept]
        seen = seen.sum(others, dtype=torch.float64) if others else seen.double()
        return seen.reshape(len(value), self.count)

    def spread(self, mask: Tensor, value: Tensor) -> Tensor:
        """(N, U) or (1, U) marks of units as marks of the numbers of values (N, …)."""
        shape = [size if place in self.kept else 1 for place, size in enumerate(self.split)]
        seen = mask.reshape(len(mask), *shape).expand(len(mask), *self.split)
        return seen.reshape(len(mask), *value.shape[1:])

    def put(self, value: Tensor, donor: Tensor, mask: Tensor) -> Tensor:
        """(N, …) values with the marked units of the donor's, laid out in memory as they were.

        The layout decides which kernel reads them, and so how sums are rounded.
        """
        made = torch.where(self.spread(mask, value), donor, value)
        same = made.stride() == value.stride()
        return made if same else torch.empty_like(value).copy_(made)

    def put_one(self, value: Tensor, donor: Tensor, rows: Tensor, units: Tensor) -> None:
        """Write one unit of each row (R,) of a donor (N, …) into contiguous values (R, …)."""
        places = iter(torch.unravel_index(units, self.grid))
        where = [next(places) if it in self.kept else slice(None) for it in range(len(self.split))]
        seen, given = (it.view(len(it), *self.split) for it in (value, donor.contiguous()))
        seen[(torch.arange(len(value), device=value.device), *where)] = given[(rows, *where)]


def check_kind(kind: str) -> None:
    """Refuse a kind of unit that there is not."""
    if kind not in get_args(UnitKind):
        raise UsageError(
            f"Unknown kind of unit {kind!r}; choose one of {', '.join(get_args(UnitKind))}."
        )


def units_of(layer: Layer, kind: UnitKind, form: Form, heads: int = 0) -> Units | None:
    """The layer's units of a kind; None where it has none.

    Args:
        layer: which layer.
        kind: of unit. At the input of any shape every kind but ``channel`` of a table is a pixel.
        form: whether channels stand first or last.
        heads: how many heads stand side by side in the last dimension; 0: none do.
    """
    shape = layer.shape
    places = tuple(range(len(shape)))
    channel = 0 if form == "channels first" else len(shape) - 1
    others = tuple(place for place in places if place != channel)
    if kind == "auto":
        kind = _usual(layer, form, heads)
    if kind == "head":
        if not heads or shape[-1] % heads:
            return None
        split = (*shape[:-1], heads, shape[-1] // heads)
        return Units("head", heads, (heads,), split, (len(split) - 2,))
    if layer.module == "input":
        kind = _at_input(kind, shape, form)
    if kind == "neuron" or (kind == "channel" and len(shape) == 1):
        return Units("neuron", math.prod(shape), shape, shape, places)
    if kind == "channel" and len(shape) > 1:
        return Units(kind, shape[channel], (shape[channel],), shape, (channel,))
    tokens = len(shape) == 2 and form == "channels last"
    fits = {
        "position": len(shape) > 1 and not tokens,
        "token": tokens,
        "pixel": layer.module == "input",
    }
    if fits.get(kind) and others:
        grid = tuple(shape[place] for place in others)
        return Units(kind, math.prod(grid), grid, shape, others)
    return None


def _usual(layer: Layer, form: Form, heads: int) -> UnitKind:
    if heads:
        return "head"
    if len(layer.shape) == 2 and form == "channels last":
        return "token"
    return "channel" if len(layer.shape) > 1 else "neuron"


def _at_input(kind: UnitKind, shape: tuple[int, ...], form: Form) -> UnitKind:
    """A picture has pixels, a text tokens, a series positions in time, a table numbers."""
    if kind == "neuron" or len(shape) == 1:
        return "neuron"
    if len(shape) > 2:
        return "pixel"
    return "token" if form == "channels last" else "position"


SIGNS: dict[Form, tuple[str, ...]] = {
    "channels first": ("1d", "2d", "3d", "conv"),
    "channels last": ("linear", "layernorm", "layer_norm", "attention", "transformer", "mlp"),
}
"""What in the kind of a module says how its values lie."""


def forms_of(layers: Sequence[Layer]) -> Iterator[Form]:
    """Of each layer, in order, whether channels stand first or last.

    Convolutions and their kin have them first; linear maps, layer norms and attention last. What
    follows keeps the form of the last such value of its shape, else of its rank; what comes before
    any has that of the first.
    """
    told = [_told(layer) for layer in layers]
    known: dict[tuple[int, ...], Form] = {}
    latest: dict[int, Form] = {2: "channels last"}
    for layer, form in reversed(list(zip(layers, told, strict=True))):
        latest[len(layer.shape)] = form or latest.get(len(layer.shape), "channels first")
    for layer, form in zip(layers, told, strict=True):
        rank = len(layer.shape)
        if form:
            known[layer.shape] = latest[rank] = form
        yield form or known.get(layer.shape) or latest.get(rank, "channels first")


def _told(layer: Layer) -> Form | None:
    kind = layer.kind.lower()
    return next((form for form, signs in SIGNS.items() if any(it in kind for it in signs)), None)


def mask_of(units: object, count: int, samples: int, where: str) -> Tensor:
    """Which units are meant, (N, U) or (1, U) booleans.

    Args:
        units: a number, several, a boolean mask (U,), or one a sample (N, U).
        count: U.
        samples: N.
        where: of which layer, for messages.

    Raises:
        ShapeError: neither of these. LayerError: a number out of range.
    """
    if isinstance(units, Tensor) and units.dtype == torch.bool:
        mask = units.reshape(-1, units.shape[-1]) if units.ndim else units.reshape(1, 1)
        if units.ndim not in (1, 2) or mask.shape[1] != count or len(mask) not in (1, samples):
            raise ShapeError(
                f"A mask of units must be ({count},) or ({samples}, {count}), of {where}; got "
                f"{tuple(units.shape)}."
            )
        return mask
    try:
        wanted = torch.as_tensor(units)
    except (TypeError, ValueError, RuntimeError):
        wanted = torch.tensor(0.5)
    if wanted.dtype == torch.bool:
        return mask_of(wanted, count, samples, where)
    wanted = wanted.reshape(-1).long() if not wanted.numel() else wanted.reshape(-1)
    if wanted.is_floating_point() or wanted.is_complex():
        raise ShapeError(
            f"Units must be whole numbers or a boolean mask, of {where}; got {units!r:.80}."
        )
    bad = [int(it) for it in wanted if not 0 <= it < count]
    if bad:
        raise LayerError(
            f"Unit {bad[0]} is out of range: {where} has {count}, numbered from 0 to {count - 1}."
        )
    mask = torch.zeros(1, count, dtype=torch.bool)
    mask[0, wanted] = True
    return mask
