"""How far each entry of each input may move: the one place for ε, norm, bounds and mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from worldline.attacks.norms import Box, Norm, named_norm
from worldline.errors import BoundsError, ShapeError, UsageError
from worldline.inputs import check_inputs
from worldline.settings import Bounds, NormName

__all__ = ["Around", "Budget", "at_rows"]

ROUNDING = 4  # units in the last place of an input that projecting and adding may lose
SLACK = 1e-5  # of ε, likewise


@dataclass(frozen=True)
class Budget:
    """What an attack may do: move each input by ε in a norm, inside the bounds, where it may.

    With sizes sᵢ by feature or by sample the ball is ‖δ/s‖ ≤ 1: for L∞ |δᵢ| ≤ sᵢ, for L2 an
    ellipsoid with the half axes sᵢ; steps, projection and random points are those of the plain ball
    in the coordinates x/s, so that features of different units are treated alike. An entry that is
    masked, or whose size is 0, keeps its bits.

    Attributes:
        epsilon: radius in input units; or a tensor of sizes, by feature (it broadcasts to one
            input) or by sample: (N,) or (N, 1, …).
        norm: of the ball.
        bounds: lowest and highest legal value: two numbers, or two tensors that broadcast to the
            inputs.
        mask: true where an entry may change, of a shape that broadcasts to the inputs; None: all.

    Errors: UsageError, BoundsError for what no attack can keep to; ShapeError where a part does not
        fit the inputs, or where (N,) sizes may be by feature as well as by sample.

    >>> import torch, worldline as wl
    >>> x = torch.tensor([[0.5, 30.0, 1.0]])
    >>> sizes, bounds = torch.tensor([0.1, 5.0, 1.0]), (0.0, 100.0)
    >>> budget = wl.attacks.Budget(sizes, "linf", bounds, torch.tensor([True, True, False]))
    >>> budget.around(x).project(x + 9)
    tensor([[ 0.6000, 35.0000,  1.0000]])
    >>> budget.within(x, x + torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 0.1]]))
    tensor([ True, False])
    """

    epsilon: float | Tensor
    norm: NormName = "linf"
    bounds: Box = (0.0, 1.0)
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse a ball that no attack can keep to."""
        named_norm(self.norm)
        if isinstance(self.epsilon, Tensor):
            sizes = self.epsilon
            if not bool((sizes.isfinite() & (sizes >= 0)).all()):
                raise UsageError(
                    "epsilon must hold finite sizes ≥ 0 in pixel units; got a tensor "
                    f"{tuple(sizes.shape)} with {_range(sizes)}."
                )
        elif not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise UsageError(
                f"epsilon must be a finite number ≥ 0 in pixel units; got {self.epsilon}."
            )
        if self.mask is not None and not isinstance(self.mask, Tensor):
            raise ShapeError(
                f"mask must be a tensor that broadcasts to x; got {type(self.mask).__name__}."
            )
        if self.mask is not None and not bool(((self.mask == 0) | (self.mask == 1)).all()):
            raise UsageError("mask must be true (1) where an entry may change, else false (0).")
        low, high = self.bounds
        if isinstance(low, Tensor) and isinstance(high, Tensor):
            if not (low.shape == high.shape and bool((low <= high).all())):
                raise BoundsError(
                    "bounds by feature must be two tensors of one shape with low ≤ high; got "
                    f"{tuple(low.shape)} with {_range(low)}, {tuple(high.shape)} with "
                    f"{_range(high)}."
                )
        elif isinstance(low, Tensor) or isinstance(high, Tensor) or not low < high:
            raise BoundsError(f"bounds must be (low, high) with low < high; got {self.bounds}.")

    @property
    def plain(self) -> bool:
        """Whether all entries are alike: one ε, one range, no mask."""
        whole = isinstance(self.bounds[0], Tensor)
        return not (isinstance(self.epsilon, Tensor) or whole or self.mask is not None)

    @property
    def radius(self) -> float:
        """What sizes are measured against: ε, or 1 where it is a tensor of sizes."""
        return 1.0 if isinstance(self.epsilon, Tensor) else self.epsilon

    @property
    def sign(self) -> str:
        """Of the norm."""
        return named_norm(self.norm).sign

    @property
    def outer(self) -> Bounds:
        """Lowest and highest legal value of any entry."""
        low, high = self.bounds
        if isinstance(low, Tensor) and isinstance(high, Tensor):
            return float(low.min()), float(high.max())
        return low, high  # type: ignore[return-value]

    @property
    def width(self) -> float:
        """Highest less lowest legal value."""
        return self.outer[1] - self.outer[0]

    @property
    def given(self) -> dict[str, Any]:
        """As every attack takes it; a mask only where there is one."""
        masked = {} if self.mask is None else {"mask": self.mask}
        return {"epsilon": self.epsilon, "norm": self.norm, "bounds": self.bounds, **masked}

    def grown(self, radius: float) -> Budget:
        """The ball of another radius; with sizes, so many times each."""
        sizes = self.epsilon
        return replace(self, epsilon=sizes * radius if isinstance(sizes, Tensor) else radius)

    def on(self, x: Tensor) -> Budget:
        """With every part in the rank, the dtype and on the device of inputs x (N, …)."""
        if self.plain:
            return self
        sizes, mask, (low, high) = self.epsilon, self.mask, self.bounds
        if isinstance(sizes, Tensor):
            sizes = _like(_by_sample(sizes, x), x, "epsilon")
        if isinstance(low, Tensor) and isinstance(high, Tensor):
            low, high = _like(low, x, "bounds"), _like(high, x, "bounds")
        mask = None if mask is None else _like(mask, x, "mask")
        return Budget(sizes, self.norm, (low, high), mask)  # type: ignore[arg-type]

    def at(self, rows: Tensor) -> Budget:
        """Of some of the inputs that it is :meth:`on`."""
        low, high = (_rows_of(it, rows) for it in self.bounds)
        mask = None if self.mask is None else _rows_of(self.mask, rows)
        return Budget(_rows_of(self.epsilon, rows), self.norm, (low, high), mask)

    def around(self, x: Tensor) -> Around:
        """The balls around inputs (N, …)."""
        center, norm = x.detach(), named_norm(self.norm)
        if self.plain:
            return Around(center, norm, self.radius, self.bounds)
        it = self.on(center)
        sizes = it.epsilon if isinstance(it.epsilon, Tensor) else center.new_ones((1,) * x.ndim)
        scale = sizes if it.mask is None else sizes * it.mask
        low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in it.bounds)
        free = scale > 0
        box = torch.where(free, low, center), torch.where(free, high, center)
        return Around(center, norm, self.radius, box, scale)

    def check(self, x: Tensor) -> None:
        """Refuse inputs that are no floating (N, …) tensor, finite, inside the bounds."""
        check_inputs(x, self.outer)
        low, high = self.on(x).bounds
        if not isinstance(low, Tensor) or not isinstance(high, Tensor):
            return
        slack = SLACK * (high - low) + ROUNDING * torch.finfo(x.dtype).eps * x.abs()
        out = (x < low - slack) | (x > high + slack)
        if bool(out.any()):
            sample, *entry = out.nonzero()[0].tolist()
            raise BoundsError(
                f"{int(out.sum()):,} values are outside the bounds by feature, the first in sample "
                f"{sample} at {entry[0] if len(entry) == 1 else tuple(entry)}: "
                f"{float(x[(sample, *entry)]):.4g}. Pass the bounds of your data."
            )

    def size(self, clean: Tensor, twin: Tensor) -> Tensor:
        """(N,) how far each twin went, to compare with the radius; ∞ where it changed the fixed."""
        around, delta = self.around(clean), twin - clean
        if around.scale is None:
            return around.norm.size(delta)
        gone = torch.where(around.free | (delta == 0), 0.0, torch.inf).to(delta)
        return around.norm.size(around.unscaled(delta) + gone)

    def largest(self, clean: Tensor, twin: Tensor) -> float:
        """Of the sizes."""
        return float(self.size(clean, twin).max())

    def within(self, clean: Tensor, twin: Tensor) -> Tensor:
        """(N,) whether each twin keeps to the budget, but for rounding; the fixed to the bit."""
        around = self.around(clean)
        rounding = ROUNDING * torch.finfo(clean.dtype).eps * torch.maximum(clean.abs(), twin.abs())
        delta = around.unscaled(((twin - clean).abs() - rounding).clamp(min=0))
        low, high = around.bounds
        out = (twin < low - rounding) | (twin > high + rounding)
        out |= ~around.free & (twin != clean)
        kept: Tensor = around.norm.size(delta) <= self.radius * (1 + SLACK)
        return kept & ~out.flatten(1).any(1)

    def reach(self, x: Tensor) -> float:
        """The radius from which the ball holds every legal input, wherever its center is."""
        if self.plain:
            return self.width * math.sqrt(x[0].numel()) if self.norm == "l2" else self.width
        around = self.around(x)
        low, high = map(torch.as_tensor, around.bounds)
        return float(around.norm.size(around.unscaled(high - low)).max())


def at_rows(attack: Any, x: Tensor, rows: Tensor) -> Any:
    """The attack for some of the inputs x, where its budget is by sample."""
    parts = getattr(attack, "attacks", None)
    if parts is not None:
        return replace(attack, attacks=[at_rows(it, x, rows) for it in parts])
    budget = getattr(attack, "budget", None)
    if not isinstance(budget, Budget) or budget.plain:
        return attack
    return attack.with_budget(budget.on(x).at(rows))


@dataclass(frozen=True, eq=False)
class Around:
    """The balls of a budget around inputs.

    Attributes:
        center: (N, …).
        norm, radius: of the balls, in units of ``scale``.
        bounds: legal values; at an entry that is fixed only its own.
        scale: the size of each entry, 0 where it is fixed; None where all are 1.
    """

    center: Tensor
    norm: Norm
    radius: float
    bounds: Box
    scale: Tensor | None = None

    @cached_property
    def free(self) -> Tensor:
        """Which entries may change; broadcasts."""
        return (
            torch.ones_like(self.center, dtype=torch.bool)
            if self.scale is None
            else (self.scale > 0)
        )

    @cached_property
    def inverse(self) -> Tensor:
        """1/scale, 0 where an entry is fixed."""
        scale = self.center.new_ones(1) if self.scale is None else self.scale
        return torch.where(scale > 0, 1 / scale, 0.0).to(scale)

    @cached_property
    def project(self) -> Callable[[Tensor], Tensor]:
        """Moves x (N, …), in place, into the balls and the bounds."""
        return self.norm.projector(self.center, self.radius, self.bounds, self.scale)

    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest step of size 1; 0 where the gradient is 0."""
        return self.scaled(self.norm.direction(self.scaled(gradient)))

    def surface(self, random: Tensor) -> Tensor:
        """Points on the balls, inside the bounds, from a random (N, …) of normal numbers."""
        if self.scale is None:
            return (self.center + self.radius * self.norm.direction(random)).clamp(*self.bounds)
        unit = self.norm.direction(random * self.free)
        return self.project(self.center + self.radius * self.scaled(unit))

    def scaled(self, units: Tensor) -> Tensor:
        """A displacement in input units from one in units of ``scale``."""
        return units if self.scale is None else units * self.scale

    def unscaled(self, delta: Tensor) -> Tensor:
        """The other way round; 0 where an entry is fixed."""
        return delta if self.scale is None else delta * self.inverse

    def at(self, rows: Tensor) -> Around:
        """Around some of the inputs."""
        low, high = (_rows_of(it, rows) for it in self.bounds)
        scale = _rows_of(self.scale, rows)
        return Around(self.center[rows], self.norm, self.radius, (low, high), scale)

    def seen_as(self, center: Tensor) -> Around:
        """The same inputs in another shape."""
        if self.scale is None:
            return Around(center, self.norm, self.radius, self.bounds)
        low, high, scale = (
            torch.as_tensor(it).expand(self.center.shape).reshape(center.shape)
            for it in (*self.bounds, self.scale)
        )
        return Around(center, self.norm, self.radius, (low, high), scale)

    def random(self, generator: torch.Generator) -> Tensor:
        """Displacements, uniform in the balls."""
        return self.norm.random(self.center, self.radius, generator, self.scale)


def _by_sample(sizes: Tensor, x: Tensor) -> Tensor:
    if sizes.ndim != 1 or len(sizes) != len(x) or len(x) == 1:
        return sizes
    if x.shape[-1] == len(x):
        raise ShapeError(
            f"epsilon ({len(x)},) may be by sample or by feature of inputs {tuple(x.shape)}. Write "
            f"{(len(x), *(1,) * (x.ndim - 1))} for sizes by sample, or "
            f"{(*(1,) * (x.ndim - 1), len(x))} by feature."
        )
    return sizes.reshape(-1, *(1,) * (x.ndim - 1))


def _like(value: Tensor, x: Tensor, name: str) -> Tensor:
    """With the rank of x; it must broadcast to it."""
    try:
        value.broadcast_to(x.shape)
    except RuntimeError:
        sample = "; by sample it is (N,) or (N, 1, …)" if name == "epsilon" else ""
        raise ShapeError(
            f"{name} must be a tensor that broadcasts to x, {tuple(x.shape)}; got "
            f"{tuple(value.shape)}. By feature it has the shape of one input{sample}."
        ) from None
    return value.detach().to(x).reshape(*(1,) * (x.ndim - value.ndim), *value.shape)


def _rows_of(value: Any, rows: Tensor) -> Any:
    return value[rows] if isinstance(value, Tensor) and value.ndim and len(value) > 1 else value


def _range(value: Tensor) -> str:
    return f"values from {float(value.min()):g} to {float(value.max()):g}"
