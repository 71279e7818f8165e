"""What every call of every module returned in one pass, so that it can be given back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from worldline.trace.probing import PROBES
from worldline.trace.values import batch_dimension, tensors_in, with_tensors

__all__ = ["Call", "Key", "forwards", "learn_axes", "outermost", "record", "rows_of"]

Key = tuple[str, int]
"""A module's name and which call of it."""


@dataclass
class Call:
    """One call of a module.

    Attributes:
        name, number: of which module, which call of it.
        start, end: when it began and ended, in calls.
        in_place: whether it returned what it was given.
        output: what it returned; without content where that was not kept.
        axes: which dimension of each tensor counts the samples; None: it is the same for all.
        steady: whether the shapes follow the number of samples, or stay.
    """

    name: str
    number: int
    start: int
    end: int = -1
    in_place: bool = False
    output: object = field(default=None, repr=False)
    axes: list[int | None] = field(default_factory=list)
    steady: bool = True

    @property
    def key(self) -> Key:
        """Its name among all calls."""
        return self.name, self.number

    def holds(self, other: Call) -> bool:
        """Whether the other call was made inside of this one."""
        return self.start < other.start and other.end < self.end


@contextmanager
def record(
    modules: Mapping[str, nn.Module], kept: frozenset[Key] | None
) -> Iterator[dict[Key, Call]]:
    """The calls of what runs inside, in order; None: what all of them return is kept."""
    calls: dict[Key, Call] = {}
    counts: dict[str, int] = {}
    clock = iter(range(2**62))

    def wrapped(name: str, forward: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        call = Call(name, counts.get(name, 0), next(clock))
        counts[name] = call.number + 1
        calls[call.key] = call
        output = forward(*args, **kwargs)
        call.end = next(clock)
        call.in_place = any(output is it for it in args)
        keep = kept is None or call.key in kept
        held = [it.detach() for _, it in tensors_in(output)]
        held = [it.clone() if keep else _stub(it, it.shape) for it in held]
        call.output = with_tensors(output, iter(held))
        return output

    with forwards(modules, wrapped):
        yield calls


@contextmanager
def forwards(modules: Mapping[str, nn.Module], wrapped: Callable[..., object]) -> Iterator[None]:
    """Inside, each module's forward goes through ``wrapped(name, forward, …)``."""
    before = {name: vars(module).get("forward") for name, module in modules.items()}
    try:
        for name, module in modules.items():
            through = functools.partial(wrapped, name, module.forward)
            module.forward = through
        yield
    finally:
        for name, module in modules.items():
            vars(module).pop("forward", None)
            if before[name] is not None:
                vars(module)["forward"] = before[name]


def learn_axes(calls: Mapping[Key, Call], others: Mapping[Key, Call]) -> bool:
    """Set the axes of calls for three samples by those for two; whether both are the same calls."""
    if calls.keys() != others.keys():
        return False
    for key, call in calls.items():
        mine = [it for _, it in tensors_in(call.output)]
        theirs = [it for _, it in tensors_in(others[key].output)]
        for value, less in zip(mine, theirs, strict=False):
            axis = batch_dimension(value, less.shape, (PROBES[1], PROBES[0]))
            call.axes.append(axis)
            call.steady &= axis is not None or value.shape == less.shape
        call.steady &= len(mine) == len(theirs)
    return True


def rows_of(call: Call, rows: Tensor, *, content: bool) -> object:
    """What a call returned, for these samples; without content where nobody reads it."""
    found = []
    for (_, value), axis in zip(tensors_in(call.output), call.axes, strict=True):
        if axis is None:
            found.append(value)
        elif content:
            found.append(value.index_select(axis, rows))
        else:
            found.append(_stub(value, (*value.shape[:axis], len(rows), *value.shape[axis + 1 :])))
    return with_tensors(call.output, iter(found))


def outermost(calls: Iterable[Call]) -> list[Call]:
    """Those that no other of them holds."""
    given = list(calls)
    return [it for it in given if not any(other.holds(it) for other in given)]


def _stub(value: Tensor, shape: Sequence[int]) -> Tensor:
    return value.new_zeros(()).expand(*shape)
