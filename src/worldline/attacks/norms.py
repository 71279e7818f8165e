"""The threat models: how far an input may move, and how a gradient becomes a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from worldline.errors import UsageError
from worldline.settings import Bounds, NormName

__all__ = [
    "BALLS",
    "L0",
    "L1",
    "L2",
    "NORMS",
    "Ball",
    "BallName",
    "Box",
    "Linf",
    "Norm",
    "NormName",
    "named_ball",
    "named_norm",
]

BallName = Literal["linf", "l2", "l1", "l0"]
"""Of the minimum-norm attacks; those inside a fixed ball know the first two."""

Box = Bounds | tuple[Tensor, Tensor]
"""Lowest and highest legal value: for all entries, or by feature."""

FAINT = 1e-12
NARROW = 256  # entries, up to which a row is sorted sooner than searched


def _rows(value: Tensor, like: Tensor) -> Tensor:
    """(N,) → (N, 1, …), to multiply samples."""
    return value.reshape(-1, *(1,) * (like.ndim - 1))


class Ball(ABC):
    """A size of displacements δ (N, …), by sample, and its balls.

    Laws: ``size(onto(δ, r)) ≤ r`` to rounding, ``onto`` moves no entry away from 0 or past it and
    leaves δ as it is where it is inside; ``needed`` is 0 at a margin of 0 and grows with it.
    """

    sign: str

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """‖δ‖ of each sample, (N,)."""

    @abstractmethod
    def onto(self, delta: Tensor, radius: Tensor) -> Tensor:
        """The nearest point of the ball of each sample's own radius (N,); may overwrite δ."""

    @abstractmethod
    def needed(self, margin: Tensor, gradient: Tensor, room: Tensor) -> Tensor:
        """Smallest size at which the margins (N,) are gone if they fall as their gradient says.

        ``room`` (N, …) is how far each entry can go; only L0, whose entries may go all the way,
        asks for it.
        """


class Norm(Ball):
    """A norm on displacements δ (N, …), by sample.

    Laws: ``size`` is a norm; the projector's result is within ε of the center to rounding and
    inside the bounds, and projecting twice is projecting once; ``size(direction(g)) = 1`` where
    g ≠ 0; ``size(random(…)) ≤ ε``.
    """

    name: NormName

    @abstractmethod
    def direction(self, gradient: Tensor) -> Tensor:
        """Unit step of steepest ascent; 0 where the gradient is 0."""

    @abstractmethod
    def projector(
        self, center: Tensor, epsilon: float, bounds: Box, scale: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        """A function that moves x, in place, into the ball around the center and the bounds.

        With a scale (it broadcasts to the inputs, 0 where an entry is fixed) the ball is
        ‖δ/scale‖ ≤ ε.
        """

    @abstractmethod
    def random(
        self, like: Tensor, epsilon: float, generator: torch.Generator, scale: Tensor | None = None
    ) -> Tensor:
        """Uniform displacement in the ball."""


class Linf(Norm):
    """Largest absolute change of an entry."""

    name: NormName = "linf"
    sign = "L∞"

    def size(self, delta: Tensor) -> Tensor:  # noqa: D102
        return delta.flatten(1).abs().amax(1)

    def onto(self, delta: Tensor, radius: Tensor) -> Tensor:  # noqa: D102
        radius = _rows(radius, delta)
        return delta.clamp_(-radius, radius)

    def needed(self, margin: Tensor, gradient: Tensor, room: Tensor) -> Tensor:  # noqa: D102
        return margin / gradient.flatten(1).abs().sum(1)

    def direction(self, gradient: Tensor) -> Tensor:  # noqa: D102
        return gradient.sign()

    def projector(  # noqa: D102
        self, center: Tensor, epsilon: float, bounds: Box, scale: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        reach = epsilon if scale is None else epsilon * scale
        lowest, highest = (center - reach).clamp(*bounds), (center + reach).clamp(*bounds)
        return lambda x: x.clamp_(lowest, highest)

    def random(  # noqa: D102
        self, like: Tensor, epsilon: float, generator: torch.Generator, scale: Tensor | None = None
    ) -> Tensor:
        uniform = torch.rand(
            like.shape, generator=generator, dtype=like.dtype, device=generator.device
        )
        uniform = (uniform.to(like.device) * 2 - 1) * epsilon
        return uniform if scale is None else uniform * scale


class L2(Norm):
    """Euclidean length of the change."""

    name: NormName = "l2"
    sign = "L2"

    def size(self, delta: Tensor) -> Tensor:  # noqa: D102
        length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        return length

    def onto(self, delta: Tensor, radius: Tensor) -> Tensor:  # noqa: D102
        return delta.mul_(_rows((radius / self.size(delta)).nan_to_num(1.0).clamp(max=1), delta))

    def needed(self, margin: Tensor, gradient: Tensor, room: Tensor) -> Tensor:  # noqa: D102
        return margin / self.size(gradient)

    def direction(self, gradient: Tensor) -> Tensor:  # noqa: D102
        length = self.size(gradient)
        faint = length < FAINT
        if bool(faint.any()):  # such gradients square to zero in float32: scale them up first
            largest = gradient.flatten(1).abs().amax(1)
            gradient = gradient / _rows(
                torch.where(faint & (largest > 0), largest, torch.ones_like(largest)), gradient
            )
            length = self.size(gradient)
        return gradient * _rows(
            1 / torch.where(length > 0, length, torch.ones_like(length)), gradient
        )

    def projector(  # noqa: D102
        self, center: Tensor, epsilon: float, bounds: Box, scale: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        inverse = None if scale is None else torch.where(scale > 0, 1 / scale, 0.0).to(scale)

        def project(x: Tensor) -> Tensor:
            delta = x - center
            size = self.size(delta if inverse is None else delta * inverse)
            shrink = torch.where(size > epsilon, epsilon / size, torch.ones_like(size))
            return torch.add(center, delta.mul_(_rows(shrink, delta)), out=x).clamp_(*bounds)

        return project

    def random(  # noqa: D102
        self, like: Tensor, epsilon: float, generator: torch.Generator, scale: Tensor | None = None
    ) -> Tensor:
        normal = torch.randn(
            like.shape, generator=generator, dtype=like.dtype, device=generator.device
        )
        radius = torch.rand(
            len(like), generator=generator, dtype=like.dtype, device=generator.device
        )
        if scale is None:
            radius = epsilon * radius ** (1 / max(1, like[0].numel()))
            return (self.direction(normal) * _rows(radius, normal)).to(like.device)
        normal, radius = normal.to(like.device) * (scale > 0), radius.to(like.device)
        entries = (scale > 0).expand(like.shape).flatten(1).sum(1).clamp(min=1)
        return self.direction(normal) * _rows(epsilon * radius ** (1 / entries), normal) * scale


class L1(Ball):
    """Sum of the absolute changes."""

    sign = "L1"

    def size(self, delta: Tensor) -> Tensor:  # noqa: D102
        return delta.flatten(1).abs().sum(1)

    def onto(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Soft thresholding, sgn(δ)·max(|δ| − τ, 0) with τ such that the size is the radius.

        τ = max_k (Σ_{i≤k} |δ|₍ᵢ₎ − r)/k over the k largest entries, and 0 inside (Duchi et al.
        2008); wide rows are not sorted for it (:func:`_raised`).
        """
        flat = delta.flatten(1)
        size = flat.abs()
        if size.shape[1] > NARROW:
            return _raised(size, radius).copysign_(flat).reshape(delta.shape)
        sums = size.sort(1, descending=True).values.cumsum(1)
        counts = torch.arange(1, size.shape[1] + 1, dtype=size.dtype, device=size.device)
        threshold = ((sums - radius[:, None]) / counts).amax(1, keepdim=True).clamp(min=0)
        return size.sub_(threshold).clamp_(min=0).copysign_(flat).reshape(delta.shape)

    def needed(self, margin: Tensor, gradient: Tensor, room: Tensor) -> Tensor:  # noqa: D102
        return margin / gradient.flatten(1).abs().amax(1)


def _raised(size: Tensor, radius: Tensor) -> Tensor:
    """What is above the threshold, by Michelot's iteration (1986).

    From 0, τ ← τ + (Σ(|δᵢ| − τ)₊ − r)/# over the entries above τ; it only grows, and stands still
    at the answer.
    """
    threshold = torch.zeros_like(radius)
    while True:
        above = torch.relu(size - threshold[:, None])
        raised = threshold + (above.sum(1) - radius) / (above > 0).sum(1)
        grows = raised > threshold
        if not bool(grows.any()):
            return above
        threshold = torch.where(grows, raised, threshold)


class L0(Ball):
    """Number of changed entries (of a picture: values, not pixels)."""

    sign = "L0"

    def size(self, delta: Tensor) -> Tensor:  # noqa: D102
        return (delta.flatten(1) != 0).sum(1).to(delta.dtype)

    def onto(self, delta: Tensor, radius: Tensor) -> Tensor:
        """The ⌊r⌋ entries of largest change; the others are 0."""
        flat = delta.flatten(1)
        count = radius.clamp(0, flat.shape[1]).long()
        order = flat.abs().topk(max(1, int(count.max())), dim=1).indices
        kept = torch.arange(order.shape[1], device=flat.device) < count[:, None]
        sparse = torch.zeros_like(flat).scatter_(1, order, flat.gather(1, order) * kept)
        return sparse.reshape(delta.shape)

    def needed(self, margin: Tensor, gradient: Tensor, room: Tensor) -> Tensor:
        """Entries, the most telling first, each moved as far as it can go."""
        gain = (gradient.abs() * room).flatten(1).sort(1, descending=True).values.cumsum(1)
        return (gain < margin[:, None]).sum(1).to(margin.dtype) + 1


NORMS: dict[str, Norm] = {norm.name: norm for norm in (Linf(), L2())}
BALLS: dict[str, Ball] = {**NORMS, "l1": L1(), "l0": L0()}


def named_norm(name: str) -> Norm:
    """The norm of this name; UsageError where there is none.

    >>> import torch
    >>> from worldline.attacks import named_norm
    >>> named_norm("l2").size(torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """
    if name not in NORMS:
        raise UsageError(f"Unknown norm {name!r}; choose one of {', '.join(get_args(NormName))}.")
    return NORMS[name]


def named_ball(name: str) -> Ball:
    """As :func:`named_norm`, of those that a minimum-norm attack can shrink.

    >>> import torch
    >>> from worldline.attacks.norms import named_ball
    >>> named_ball("l1").onto(torch.tensor([[3.0, -1.0]]), torch.tensor([1.0]))
    tensor([[1., -0.]])
    """
    if name not in BALLS:
        raise UsageError(f"Unknown norm {name!r}; choose one of {', '.join(get_args(BallName))}.")
    return BALLS[name]
