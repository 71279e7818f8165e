"""Run a model from a layer on: what came before is remembered, and not computed again.

Each call of a module that ended before the layer's value was there gives back what it returned
then; so does the call that makes the value, which gives what is put in its place. Operations
between modules run again, and are cheap. Whether a model takes this is tried on a few samples: other
values in the layer's place must give the logits that the whole model gives with them. Where they do
not, the whole model runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from worldline.trace.layers import Layer, value_of, with_value
from worldline.trace.opening import Model, in_dtype_of, open_model
from worldline.trace.probing import PROBES, few
from worldline.trace.values import batch_dimension, logits_in, tensors_in, with_tensors
from worldline.trace.watching import INPUT, READ, plainly, seen_modules, watching

__all__ = ["Resumer", "resuming"]

Key = tuple[str, int]
"""A module's name and which call of it."""
SAME = 1e-4
"""How far logits may lie from those of the whole pass, relative to their largest: rounding."""


@dataclass
class _Call:
    """One call of a module: when it began and ended, what it was given and returned."""

    name: str
    number: int
    start: int
    end: int = -1
    in_place: bool = False
    output: object = field(default=None, repr=False)
    axes: list[int | None] = field(default_factory=list)
    fixed: bool = True  # the shapes follow the number of samples, or stay

    @property
    def key(self) -> Key:
        return self.name, self.number


@dataclass(frozen=True)
class _Plan:
    """How to run from a layer on.

    Attributes:
        skipped: the calls that give back what they returned.
        read: those of them whose value is read again.
        inside: how often each module ran inside a skipped call.
        writes: whether in-place modules must write what they returned into what they are given.
    """

    skipped: frozenset[Key]
    read: frozenset[Key]
    inside: Mapping[Key, Mapping[str, int]]
    writes: bool


@dataclass(frozen=True)
class _Proof:
    """Values (R, …) of a layer for some rows, and the logits of the whole model with them."""

    rows: Tensor
    value: Tensor
    logits: Tensor


class Resumer:
    """Runs one batch as a whole, then parts of it from layers on; see :func:`resuming`."""

    def __init__(self, model: Model, x: Tensor, layers: Sequence[Layer]) -> None:
        self.model, self.layers = model, layers
        self.opened = open_model(model)
        self.calls: dict[Key, _Call] = {}
        self.x = x[:0]
        self.plans: dict[Layer, _Plan | None] = {}
        self.axes: dict[Key, list[int | None]] = {}
        modules = dict(seen_modules(self.opened))
        hooked = any(it._forward_hooks or it._forward_pre_hooks for it in modules.values())
        self.modules = {} if hooked or self.opened.call is not self.opened.root else modules
        self._look(x)

    def record(self, x: Tensor) -> Tensor:
        """The logits (N, K) of a batch, whose values are remembered until the next."""
        kept = frozenset().union(*(plan.read for plan in self.plans.values() if plan))
        self.x = x
        logits, self.calls = self._recorded(x, kept)
        for key, call in self.calls.items():
            call.axes = self.axes.get(key, [])
        return logits

    def resume(self, layer: Layer, value: Tensor, rows: Tensor) -> Tensor:
        """The logits (R, K) of remembered samples, from a layer on.

        Args:
            layer: one of the layers.
            value: (R, …) what stands in its place.
            rows: (R,) which remembered sample each belongs to.
        """
        plan = self.plans.get(layer)
        if layer.module == INPUT:
            return self._answer(value, len(rows))
        if plan is None:
            return self._whole(layer, value, rows)
        return self._resumed(layer, plan, value, rows)

    def beside(self, layer: Layer) -> tuple[str, ...]:
        """Modules whose values are read after the layer's, and not through it alone."""
        plan = self.plans.get(layer)
        read = plan.read - {(layer.module, layer.call)} if plan else ()
        return tuple(key[0] for key in self.calls if key in read)

    def _answer(self, x: Tensor, samples: int) -> Tensor:
        x = in_dtype_of(self.opened.root or self.opened.call, x).clone()
        return logits_in(self.opened.call(x), samples)

    def _whole(self, layer: Layer, value: Tensor, rows: Tensor) -> Tensor:
        """With the value in its place, everything else computed again."""

        def visit(name: str, call: int, output: object) -> object:
            here = (name, call) == (layer.module, layer.call)
            return with_value(layer, output, value) if here else None

        with watching(self.model, visit, frozenset([layer.module])) as run:
            return logits_in(run(self.x[rows]), len(rows))

    # Recording

    def _recorded(self, x: Tensor, kept: frozenset[Key] | None) -> tuple[Tensor, dict[Key, _Call]]:
        """One pass; of calls that are not kept only the shapes are."""
        clock = 0
        calls: dict[Key, _Call] = {}
        counts: dict[str, int] = {}

        def wrapped(name: str, forward: Callable[..., object], *args: Any, **kwargs: Any) -> object:
            nonlocal clock
            call = _Call(name, counts.get(name, 0), clock)
            counts[name], clock = call.number + 1, clock + 1
            calls[call.key] = call
            output = forward(*args, **kwargs)
            call.in_place = any(output is it for it in args)
            call.end, clock = clock, clock + 1
            keep = kept is None or call.key in kept
            held = [it.detach() for _, it in tensors_in(output)]
            held = [it.clone() if keep else _stub(it) for it in held]
            call.output = with_tensors(output, iter(held))
            return output

        with _forwards(self.modules, wrapped):
            return self._answer(x, len(x)), calls

    # Planning

    def _look(self, x: Tensor) -> None:
        """Make a plan for each layer where the model takes one."""
        if not self.modules:
            return
        two = self._recorded(few(x, PROBES[0]), frozenset())[1]
        self.x = few(x, PROBES[1])
        _, three = self._recorded(self.x, None)
        if two.keys() != three.keys():
            return
        for key, call in three.items():
            _set_axes(call, two[key])
        self.calls = three
        values = self.values(self.x)
        for layer in self.layers:
            if (layer.module.removesuffix(READ), layer.call) in three and layer in values:
                self.plans[layer] = self._plan(layer, values[layer])
        self.axes = {key: call.axes for key, call in three.items()}

    def values(self, x: Tensor) -> dict[Layer, Tensor]:
        """Each layer's value (N, …) for a batch."""
        kept: dict[Layer, Tensor] = {}

        def visit(name: str, call: int, output: object) -> None:
            for layer in self.layers:
                if (name, call) == (layer.module, layer.call):
                    kept[layer] = value_of(layer, output, len(x)).clone()

        with watching(self.model, visit, frozenset(it.module for it in self.layers)) as run:
            run(x)
        return kept

    def _plan(self, layer: Layer, value: Tensor) -> _Plan | None:
        """What to skip, proved on values that are not the samples' own."""
        target = self.calls[layer.module.removesuffix(READ), layer.call]
        moment = target.start if layer.module.endswith(READ) else target.end + 1
        before = [it for it in self.calls.values() if it.end < moment and it.fixed]
        outer = [
            it for it in before if not any(o.start < it.start and it.end < o.end for o in before)
        ]
        inside = {
            it.key: _counted(o.name for o in self.calls.values() if it.start < o.start < it.end)
            for it in outer
        }
        skipped = frozenset(it.key for it in outer)
        rows = torch.tensor([0, 1, 2, 0, 1], device=value.device)
        proof = _Proof(rows, value[rows.flip(0)], self._whole(layer, value[rows.flip(0)], rows))
        for writes in (False, True):
            plan = _Plan(skipped, skipped, inside, writes)
            reads = _Reads()
            if self._holds(layer, plan, proof, reads):
                return self._pruned(layer, replace(plan, read=frozenset(reads.found)), proof)
        return None

    def _pruned(self, layer: Layer, plan: _Plan, proof: _Proof) -> _Plan | None:
        """Without what is read, and then thrown away."""
        for key in plan.read:
            less = replace(plan, read=plan.read - {key})
            plan = less if self._holds(layer, less, proof) else plan
        return plan if self._holds(layer, plan, proof) else None

    def _holds(self, layer: Layer, plan: _Plan, proof: _Proof, reads: _Reads | None = None) -> bool:
        try:
            with reads or nullcontext():
                came = self._resumed(layer, plan, proof.value, proof.rows, reads)
        except Exception:  # the user's code: anything can come
            return False
        reach = SAME * float(proof.logits.abs().max()) + 1e-6
        return came.shape == proof.logits.shape and bool(
            ((came - proof.logits).abs() <= reach).all()
        )

    # Resuming

    def _resumed(
        self, layer: Layer, plan: _Plan, value: Tensor, rows: Tensor, reads: _Reads | None = None
    ) -> Tensor:
        counts: dict[str, int] = {}
        reader = layer.module.removesuffix(READ)
        target = reader, layer.call
        reading = layer.module.endswith(READ)

        def wrapped(name: str, forward: Callable[..., object], *args: Any, **kwargs: Any) -> object:
            number = counts.get(name, 0)
            counts[name] = number + 1
            key = name, number
            if key == target and reading:
                given: Any = with_value(layer, (args, kwargs), value)
                return forward(*given[0], **given[1])
            if key not in plan.skipped:
                return forward(*args, **kwargs)
            for inner, times in plan.inside[key].items():
                counts[inner] = counts.get(inner, 0) + times
            call = self.calls[key]
            if key == target:
                output = with_value(layer, _rows_of(call, rows, stub=True), value)
            else:
                output = _rows_of(call, rows, stub=key not in plan.read)
                if reads is not None:
                    reads.know(key, output)
            if plan.writes and call.in_place and isinstance(output, Tensor):
                return next(it for it in args if isinstance(it, Tensor)).copy_(output)
            return output

        with _forwards(self.modules, wrapped):
            # in-place operations may not reach the remembered inputs
            return self._answer(self.x[rows], len(rows))


@contextmanager
def resuming(model: Model, x: Tensor, layers: Sequence[Layer]) -> Iterator[Resumer]:
    """Run batches of a model as a whole, then any part of their samples from a layer on.

    The caller keeps the model as it was (:func:`worldline.trace.untouched`) and says whether
    gradients are wanted.

    Args:
        model: the model.
        x: (N, …) a few inputs, which show what can be skipped.
        layers: from where it will be resumed.
    """
    with plainly(open_model(model), frozenset(layer.module for layer in layers)):
        yield Resumer(model, x, layers)


@contextmanager
def _forwards(modules: Mapping[str, nn.Module], wrapped: Callable[..., object]) -> Iterator[None]:
    """Each module's forward goes through ``wrapped(name, forward, …)``."""
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


class _Reads(TorchDispatchMode):
    """Which remembered values an operation is given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: dict[int, Key] = {}
        self.found: set[Key] = set()

    def know(self, key: Key, output: object) -> None:
        """This call gave back these tensors."""
        for _, tensor in tensors_in(output):
            self.known[tensor.untyped_storage()._cdata] = key

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for _, tensor in tensors_in((args, kwargs)):
            key = self.known.get(tensor.untyped_storage()._cdata)
            if key is not None:
                self.found.add(key)
        return func(*args, **(kwargs or {}))


def _set_axes(call: _Call, other: _Call) -> None:
    """Which dimension of each tensor counts the samples; none: it is the same for all."""
    mine = [it for _, it in tensors_in(call.output)]
    theirs = [it for _, it in tensors_in(other.output)]
    for value, less in zip(mine, theirs, strict=False):
        axis = batch_dimension(value, less.shape, (PROBES[1], PROBES[0]))
        call.axes.append(axis)
        call.fixed &= axis is not None or value.shape == less.shape
    call.fixed &= len(mine) == len(theirs)


def _rows_of(call: _Call, rows: Tensor, *, stub: bool) -> object:
    """What a call returned, for these samples."""
    found = []
    for (_, value), axis in zip(tensors_in(call.output), call.axes, strict=True):
        if axis is None:
            found.append(value)
        elif stub:
            shape = [*value.shape]
            shape[axis] = len(rows)
            found.append(_stub(value, shape))
        else:
            found.append(value.index_select(axis, rows))
    return with_tensors(call.output, iter(found))


def _stub(value: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """Of the same shape and dtype, without content."""
    return value.new_zeros(()).expand(*(value.shape if shape is None else shape))


def _counted(names: Iterator[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
