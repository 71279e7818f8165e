"""Run a model from a layer on: what came before is remembered, and not computed again.

Each call of a module that ended before the layer's value was there gives back what it returned
then; so does the call that makes the value, which gives what is put in its place. Operations
between modules run again, and are cheap. Whether a model takes this is tried on a few samples:
other values in the layer's place must give the logits that the whole model gives with them. Where
they do not, the whole model runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worldline.trace.layers import Layer, value_of, with_value
from worldline.trace.opening import Model, in_dtype_of, open_model
from worldline.trace.probing import PROBES, few
from worldline.trace.recording import Call, Key, forwards, learn_axes, outermost, record, rows_of
from worldline.trace.values import logits_in
from worldline.trace.watching import INPUT, READ, plainly, seen_modules, watching

__all__ = ["Resumer", "resuming"]

SAME = 1e-4
"""How far logits may lie from those of the whole pass, relative to their largest: rounding."""
HALFWAY = 0.5
"""Values are tried at a part of their size, so that no sample gets its own."""


@contextmanager
def resuming(model: Model, x: Tensor, layers: Sequence[Layer]) -> Iterator[Resumer]:
    """Run batches of a model as a whole, then any part of their samples from a layer on.

    The caller keeps the model as it was (:func:`worldline.trace.untouched`), and wants no
    gradients.

    Args:
        model: the model.
        x: (N, …) a few inputs, which show what can be skipped.
        layers: from where it will be resumed.

    Cost: two passes of a few samples, and for each layer one and some from there on.
    """
    with plainly(open_model(model), frozenset(layer.module for layer in layers)):
        yield Resumer(model, x, layers)


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
        self.calls: dict[Key, Call] = {}
        self.x = x[:0]
        self.plans: dict[Layer, _Plan] = {}
        modules = dict(seen_modules(self.opened))
        hooked = any(it._forward_hooks or it._forward_pre_hooks for it in modules.values())
        self.modules = {} if hooked or self.opened.call is not self.opened.root else modules
        self.axes: dict[Key, list[int | None]] = {}
        if self.modules:
            self._look(x)

    def read(self, x: Tensor) -> tuple[Tensor, dict[Layer, Tensor]]:
        """The logits (N, K) of a batch, and each layer's value (N, …)."""
        kept: dict[Layer, Tensor] = {}

        def visit(name: str, call: int, output: object) -> None:
            for layer in self.layers:
                if (name, call) == (layer.module, layer.call):
                    kept[layer] = value_of(layer, output, len(x)).clone()

        with watching(self.model, visit, frozenset(it.module for it in self.layers)) as run:
            return logits_in(run(x), len(x)), kept

    def record(self, x: Tensor) -> tuple[Tensor, dict[Layer, Tensor]]:
        """:meth:`read`, and remember the batch until the next."""
        kept = frozenset[Key]().union(*(plan.read for plan in self.plans.values()))
        self.x = x
        with record(self.modules, kept) as self.calls:
            found = self.read(x)
        for key, call in self.calls.items():
            call.axes = self.axes.get(key, [])
        return found

    def resume(self, layer: Layer, value: Tensor, rows: Tensor) -> Tensor:
        """The logits (R, K) of remembered samples, from a layer on.

        Args:
            layer: one of the layers.
            value: (R, …) what stands in its place, which the model may write into.
            rows: (R,) which remembered sample each belongs to.
        """
        if layer.module == INPUT:
            return self._answer(value)
        if layer not in self.plans:
            return self._whole(layer, value, rows)
        return self._resumed(layer, self.plans[layer], value, rows)

    def beside(self, layer: Layer) -> tuple[str, ...]:
        """Modules whose values are read after the layer's; the input where there are none.

        Empty where it cannot be told.
        """
        if layer not in self.plans:
            return ()
        read = self.plans[layer].read
        return tuple(key[0] for key in self.axes if key in read) or (INPUT,)

    def _answer(self, x: Tensor) -> Tensor:
        # a copy: its forward may write into it
        given = in_dtype_of(self.opened.root or self.opened.call, x).clone()
        return logits_in(self.opened.call(given), len(x))

    def _whole(self, layer: Layer, value: Tensor, rows: Tensor) -> Tensor:
        """With the value in its place, everything else computed again."""

        def visit(name: str, call: int, output: object) -> object:
            here = (name, call) == (layer.module, layer.call)
            return with_value(layer, output, value) if here else None

        with watching(self.model, visit, frozenset([layer.module])) as run:
            return logits_in(run(self.x[rows]), len(rows))

    def _resumed(self, layer: Layer, plan: _Plan, value: Tensor, rows: Tensor) -> Tensor:
        """Skipping what the plan skips."""
        counts: Counter[str] = Counter()
        target = layer.module.removesuffix(READ), layer.call
        reading = layer.module.endswith(READ)

        def wrapped(name: str, forward: Callable[..., object], *args: Any, **kwargs: Any) -> object:
            key = name, counts[name]
            counts[name] += 1
            if key == target and reading:
                given: Any = with_value(layer, (args, kwargs), value)
                return forward(*given[0], **given[1])
            if key not in plan.skipped:
                return forward(*args, **kwargs)
            counts.update(plan.inside[key])
            output = rows_of(self.calls[key], rows, content=key in plan.read and key != target)
            if key == target:
                output = with_value(layer, output, value)
            if plan.writes and self.calls[key].in_place and isinstance(output, Tensor):
                return next(it for it in args if isinstance(it, Tensor)).copy_(output)
            return output

        with forwards(self.modules, wrapped):
            return self._answer(self.x[rows])

    # What can be skipped

    def _look(self, x: Tensor) -> None:
        """Make a plan for each layer where the model takes one."""
        passes = []
        for samples in PROBES:
            self.x = few(x, samples)
            with record(self.modules, None) as self.calls:
                _, values = self.read(self.x)
            passes.append(self.calls)
        if not learn_axes(self.calls, passes[0]):
            return
        self.axes = {key: call.axes for key, call in self.calls.items()}
        for layer, value in values.items():
            if (layer.module.removesuffix(READ), layer.call) in self.calls:
                plan = self._plan(layer, value)
                self.plans |= {} if plan is None else {layer: plan}

    def _plan(self, layer: Layer, value: Tensor) -> _Plan | None:
        target = self.calls[layer.module.removesuffix(READ), layer.call]
        moment = target.start if layer.module.endswith(READ) else target.end + 1
        calls = self.calls.values()
        outer = outermost(it for it in calls if it.end < moment and it.steady)
        inside = {it.key: Counter(o.name for o in calls if it.holds(o)) for it in outer}
        skipped = frozenset(it.key for it in outer)
        rows = torch.tensor([0, 1, 2, 0, 1], device=value.device)
        tried = HALFWAY * value[rows.flip(0)]
        proof = _Proof(rows, tried, self._whole(layer, tried.clone(), rows))
        for writes in (False, True):
            plan = _Plan(skipped, skipped, inside, writes)
            if self._holds(layer, plan, proof):
                return self._pruned(layer, plan, proof)
        return None

    def _pruned(self, layer: Layer, plan: _Plan, proof: _Proof) -> _Plan:
        """Without the content of what is never read again, or read and then thrown away.

        Tried in halves, as mostly little is read.
        """
        parts = [[key for key in self.calls if key in plan.read]]
        while parts:
            part = parts.pop()
            less = replace(plan, read=plan.read - set(part))
            if self._holds(layer, less, proof):
                plan = less
            elif len(part) > 1:
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
        return plan

    def _holds(self, layer: Layer, plan: _Plan, proof: _Proof) -> bool:
        """Whether it gives the logits of the whole model."""
        try:
            came = self._resumed(layer, plan, proof.value.clone(), proof.rows)
        except Exception:  # the user's code: anything can come
            return False
        if came.shape != proof.logits.shape:
            return False
        reach = SAME * float(proof.logits.abs().max()) + 1e-6
        return bool(((came - proof.logits).abs() <= reach).all())
