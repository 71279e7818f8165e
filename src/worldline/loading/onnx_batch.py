"""An ONNX graph whose file fixes the batch size, for any: the places that hold the size follow it.

The graph runs on the size B that the file fixes and on B + 1, node by node, side by side. A value's
axis that differs counts the samples. Where a node would make B samples of B + 1, what it holds is
replaced: a shape to reshape, expand or resize to, or a constant that stands once for each sample
(a class token, a state at the start). Whether that was right is not argued here but checked
(:func:`worldline.loading.onnx_check.check_graph`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worldline.files import shorten
from worldline.loading.black_box import UnsupportedError
from worldline.loading.onnx_operators import OPERATORS
from worldline.loading.shapes import ExpectedShape, shape_to_try

__all__ = ["Repeated", "Sized", "free_batch"]

LARGEST = 2**26  # numbers in the inputs of a trial
SHAPED = {"Reshape": 1, "Expand": 1, "Resize": 3}  # the slot that holds a shape
STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}  # (directions, N, H) at the start
BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "MatMul")
KEEPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")  # the order of numbers
Slots = Sequence[Tensor | None]


@dataclass(frozen=True)
class Sized:
    """A shape in a slot of a node, of which one side grows with the samples.

    >>> Sized(1, (1, 8), 0, 1)([torch.zeros(3, 2, 4), None], 3)[1]
    tensor([3, 8])
    """

    slot: int
    sides: tuple[int, ...]
    axis: int
    each: int

    def __call__(self, inputs: Slots, samples: int) -> list[Tensor | None]:
        """The inputs of the node for so many samples."""
        sides = list(self.sides)
        sides[self.axis] = self.each * samples
        given = list(inputs) + [None] * (self.slot + 1 - len(inputs))
        given[self.slot] = torch.tensor(sides)
        return given


@dataclass(frozen=True)
class Repeated:
    """Constants of a node that stand once for each sample, by slot and axis.

    >>> Repeated({0: 1})([torch.zeros(4, 1, 2)], 3)[0].shape
    torch.Size([4, 3, 2])
    """

    axes: dict[int, int]

    def __call__(self, inputs: Slots, samples: int) -> list[Tensor | None]:
        """The inputs of the node for so many samples."""
        given = list(inputs)
        for slot, axis in self.axes.items():
            value = given[slot]
            assert value is not None
            sides = [-1] * value.ndim
            sides[axis] = samples
            given[slot] = value.narrow(axis, 0, 1).expand(sides)
        return given


def free_batch(graph: Any, name: str, sample: tuple[int, ...] | None = None) -> None:
    """Let a graph take any number of samples, in place.

    Args:
        graph: an ``OnnxGraph`` whose first side is fixed.
        name: the file, for messages.
        sample: shape of one sample of the data, for sizes that the file leaves free.

    Raises:
        UnsupportedError: a node holds the size in another way; names it.

    Cost: two passes.
    """
    size = graph.shape[0]
    _, *sides = shape_to_try(graph.shape, sample, size)
    if size * math.prod(sides) > LARGEST:
        raise UnsupportedError(f"{name} is made for batches of {size:,}, too large to be tried.")
    both = Both(size, name)
    fixed, free = (torch.zeros(it, *sides, dtype=graph.dtype) for it in (size, size + 1))
    both.add(graph.input, fixed, free)
    with torch.no_grad():
        for own, values, outputs, done in graph.steps:
            both.run(getattr(graph, own), graph.batch, values, outputs)
            both.forget(done)
    if both.axis(graph.output) != 0:
        raise UnsupportedError(f"The output of {name} does not count the samples by its rows.")
    graph.shape = (None, *graph.shape[1:])
    graph.expected_shape = ExpectedShape(graph.shape, f"the graph of {name}")
    graph.made_for = size
    graph.note = (
        f"The file of the model fixes batches of {size}; here it takes any number of samples, and "
        "was checked against the file as it is."
    )


class Both:
    """The values of a graph on two batch sizes, and where the samples are in them.

    Args:
        size: that of the file; the other is one more.
        name: the file, for messages.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size, self.name = size, name
        self.fixed: dict[str, Tensor] = {}
        self.free: dict[str, Tensor] = {}
        self.before: dict[str, int] = {}  # numbers before the samples, in a value laid out in rows

    def add(self, title: str, fixed: Tensor, free: Tensor, before: int = 1) -> None:
        """A value under its name."""
        self.fixed[title], self.free[title], self.before[title] = fixed, free, before
        self.axis(title)

    def forget(self, titles: Sequence[str]) -> None:
        """Values that no further node reads."""
        for title in titles:
            del self.fixed[title], self.free[title], self.before[title]

    def axis(self, title: str) -> int | None:
        """The axis that counts the samples; None for a value without them."""
        axis = _axis(self.fixed[title], self.free[title], self.size)
        if axis is None or axis >= 0:
            return axis
        raise UnsupportedError(
            f"{self.name} is made for batches of {self.size}: {shorten(title, 60)!r} has shape "
            f"{tuple(self.fixed[title].shape)} there and {tuple(self.free[title].shape)} with one "
            "sample more."
        )

    def run(
        self, node: Any, batch: list[int], values: Sequence[str], outputs: Sequence[str]
    ) -> None:
        """One node on both, freed if it needs to be."""
        fixed, free = ([held[it] for it in values] for held in (self.fixed, self.free))
        batch[0] = self.size
        found = node(*fixed)
        operator = getattr(node, "operator", "")
        counted = next((it for it in values if self.axis(it) is not None), None)
        if operator and (counted is not None or operator == "Expand"):
            first = found[0] if isinstance(found, tuple) else found
            slots = node.slots(fixed), node.slots(free)
            node.freed = self._freed(node, *slots, first, self.before.get(counted or "", 1))
        batch[0] = self.size + 1
        again = node(*free)
        found, again = (it if isinstance(it, tuple) else (it,) for it in (found, again))
        for title, first, second in zip(outputs, found, again, strict=False):
            axis = _axis(first, second, self.size)
            self.add(title, first, second, self._moved(operator, counted, first, axis or 0))

    def _moved(self, operator: str, counted: str | None, value: Tensor, axis: int) -> int:
        """How many numbers come before the samples in what a node made."""
        if counted is None:
            return 1
        before, came = self.before[counted], self.fixed[counted].shape
        if operator in KEEPING:
            return before
        inner = before // math.prod(came[: self.axis(counted)])
        return inner * math.prod(value.shape[:axis])

    def _freed(
        self, node: Any, fixed: Slots, free: Slots, found: Tensor, before: int
    ) -> Sized | Repeated | None:
        """What must stand in place of what a node holds; None where it follows by itself."""
        slot = SHAPED.get(node.operator)
        if slot is None:
            return self._repeated(node.operator, fixed, free)
        if node.operator == "Expand" and _same(fixed[:1], free[:1]):
            return self._expanded(fixed, free)
        x, more = fixed[0], free[0]
        axis = None if x is None or more is None else _axis(x, more, self.size)
        if x is None or axis is None or axis < 0 or not _same(fixed[slot:], free[slot:]):
            return None
        if node.operator == "Reshape":
            axis = _place(found.shape, before, self.size, merged=found.ndim < x.ndim)
        sides = tuple(found.shape)
        if axis is None or sides[axis] % self.size:
            return None
        sized = Sized(slot, sides, axis, sides[axis] // self.size)
        expected = (*sides[:axis], sized.each * (self.size + 1), *sides[axis + 1 :])
        try:
            made = OPERATORS[node.operator](node.attributes, *free)
        except (RuntimeError, ValueError):
            return sized
        return None if tuple(made.shape) == expected else sized

    def _expanded(self, fixed: Slots, free: Slots) -> Repeated | None:
        """A constant that stands once for each sample, where the shape it goes to follows them."""
        value, sides, others = fixed[0], fixed[1], free[1]
        if value is None or sides is None or others is None:
            return None
        changed = (sides != others).nonzero().flatten().tolist()
        place = changed[0] - len(sides) + value.ndim if changed else -1
        return Repeated({0: place}) if self._once_each(value, place) else None

    def _repeated(self, operator: str, fixed: Slots, free: Slots) -> Repeated | None:
        """Constants beside values that count the samples."""
        pairs = zip(fixed, free, strict=True)
        axes = [None if a is None or b is None else _axis(a, b, self.size) for a, b in pairs]
        counted = next(slot for slot, axis in enumerate(axes) if axis is not None)
        axis, like = axes[counted], fixed[counted]
        if axis is None or like is None:
            return None
        found = {}
        for slot, value in enumerate(fixed):
            if value is None or axes[slot] is not None:
                continue
            place = -1
            if slot in STATES.get(operator, ()):
                place = 1
            elif operator == "Concat":
                place = axis
            elif operator in BROADCAST and self.size > 1:
                place = value.ndim - like.ndim + axis
            if self._once_each(value, place):
                found[slot] = place
        return Repeated(found) if found else None

    def _once_each(self, value: Tensor, place: int) -> bool:
        """Whether along an axis a constant stands as often as there are samples, always alike."""
        if not 0 <= place < value.ndim or value.shape[place] != self.size:
            return False
        return torch.equal(value.narrow(place, 0, 1).expand(value.shape), value)


def _axis(first: Tensor, second: Tensor, size: int) -> int | None:
    """The axis that counts the samples; None for no such; −1 for what cannot be."""
    if first.ndim != second.ndim:
        return -1
    sides = zip(first.shape, second.shape, strict=True)
    axes = [(axis, a, b) for axis, (a, b) in enumerate(sides) if a != b]
    if not axes:
        return None
    axis, a, b = axes[0]
    return axis if len(axes) == 1 and a * (size + 1) == b * size else -1


def _place(sides: Sequence[int], before: int, size: int, *, merged: bool) -> int | None:
    """The side of a new shape that holds the samples, which so many numbers come before.

    It begins where they do, or, where axes are merged, may begin before; a side of just the batch
    size goes first.

    >>> _place((1, 256), 1, 1, merged=False), _place((7, 16), 7, 1, merged=True)
    (0, 0)
    >>> _place((7, 2, 8), 7, 1, merged=False)
    1
    """
    starts = [math.prod(sides[:axis]) for axis in range(len(sides))]
    holds = [
        axis
        for axis, start in enumerate(starts)
        if before % start == 0 and (start * sides[axis]) % (before * size) == 0
    ]
    exact = [it for it in holds if starts[it] == before]
    alone = [it for it in exact if sides[it] == size]
    inner = [it for it in holds if starts[it] < before]
    ranked = (*alone, *inner[-1:], *exact) if merged else (*alone, *exact, *inner[-1:])
    return ranked[0] if ranked else None


def _same(first: Slots, second: Slots) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(first, second, strict=True)
    )
