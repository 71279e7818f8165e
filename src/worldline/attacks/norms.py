"""The two threat models: how far an input may move, and how a gradient becomes a step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from worldline.errors import BoundsError, UsageError
from worldline.settings import Bounds, NormName

__all__ = ["L2", "NORMS", "Linf", "Norm", "NormName", "check_ball", "named_norm"]

FAINT = 1e-12


def _rows(value: Tensor, like: Tensor) -> Tensor:
    """(N,) → (N, 1, …), to multiply samples."""
    return value.reshape(-1, *(1,) * (like.ndim - 1))


class Norm(ABC):
    """A norm on displacements δ (N, …), by sample.

    Laws: ``size`` is a norm; the projector's result is within ε of the center to rounding and
    inside the bounds, and projecting twice is projecting once; ``size(direction(g)) = 1`` where
    g ≠ 0; ``size(random(…)) ≤ ε``.
    """

    name: NormName
    sign: str

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """‖δ‖ of each sample, (N,)."""

    @abstractmethod
    def direction(self, gradient: Tensor) -> Tensor:
        """Unit step of steepest ascent; 0 where the gradient is 0."""

    @abstractmethod
    def projector(
        self, center: Tensor, epsilon: float, bounds: Bounds
    ) -> Callable[[Tensor], Tensor]:
        """A function that moves x, in place, into the ball around the center and the bounds."""

    @abstractmethod
    def random(self, like: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
        """Uniform displacement in the ball."""


class Linf(Norm):
    """Largest absolute change of an entry."""

    name: NormName = "linf"
    sign = "L∞"

    def size(self, delta: Tensor) -> Tensor:  # noqa: D102
        return delta.flatten(1).abs().amax(1)

    def direction(self, gradient: Tensor) -> Tensor:  # noqa: D102
        return gradient.sign()

    def projector(  # noqa: D102
        self, center: Tensor, epsilon: float, bounds: Bounds
    ) -> Callable[[Tensor], Tensor]:
        lowest, highest = (center - epsilon).clamp(*bounds), (center + epsilon).clamp(*bounds)
        return lambda x: x.clamp_(lowest, highest)

    def random(self, like: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:  # noqa: D102
        uniform = torch.rand(
            like.shape, generator=generator, dtype=like.dtype, device=generator.device
        )
        return (uniform.to(like.device) * 2 - 1) * epsilon


class L2(Norm):
    """Euclidean length of the change."""

    name: NormName = "l2"
    sign = "L2"

    def size(self, delta: Tensor) -> Tensor:  # noqa: D102
        length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        return length

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
        self, center: Tensor, epsilon: float, bounds: Bounds
    ) -> Callable[[Tensor], Tensor]:
        def project(x: Tensor) -> Tensor:
            delta = x - center
            size = self.size(delta)
            shrink = torch.where(size > epsilon, epsilon / size, torch.ones_like(size))
            return torch.add(center, delta.mul_(_rows(shrink, delta)), out=x).clamp_(*bounds)

        return project

    def random(self, like: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:  # noqa: D102
        normal = torch.randn(
            like.shape, generator=generator, dtype=like.dtype, device=generator.device
        )
        radius = torch.rand(
            len(like), generator=generator, dtype=like.dtype, device=generator.device
        )
        radius = epsilon * radius ** (1 / max(1, like[0].numel()))
        return (self.direction(normal) * _rows(radius, normal)).to(like.device)


NORMS: dict[str, Norm] = {norm.name: norm for norm in (Linf(), L2())}


def check_ball(epsilon: float, norm: str, bounds: Bounds) -> None:
    """Refuse a ball that no attack can keep to."""
    named_norm(norm)
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise UsageError(f"epsilon must be a finite number ≥ 0 in pixel units; got {epsilon}.")
    if not bounds[0] < bounds[1]:
        raise BoundsError(f"bounds must be (low, high) with low < high; got {bounds}.")


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
