"""How far an input may be moved, and in which steps: what every walk of gradients shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from worldline.attacks.budget import Around, Budget
from worldline.attacks.norms import Norm, named_norm
from worldline.errors import UsageError
from worldline.settings import Bounds, NormName

__all__ = ["Walk", "classes_of", "joined", "wide"]

Moved = TypeVar("Moved")


@dataclass(frozen=True)
class Walk:
    """Steps that shrink as a half cosine, inside a ball and the bounds.

    Attributes:
        norm: of the ball.
        radius: of the ball, in input units; infinite without a budget.
        bounds: lowest and highest legal value.
        steps: how many.
        step_size: of the first.
        budget: with sizes by feature, bounds by feature or a mask, in whose units the radius is.
    """

    norm: Norm
    radius: float
    bounds: Bounds
    steps: int
    step_size: float
    budget: Budget | None = None

    @classmethod
    def within(cls, budget: Budget, steps: int, step_size: float | None, part: float) -> Walk:
        """Inside a budget; the default step is a part of its radius."""
        step_size = part * budget.radius if step_size is None else step_size
        radius, outer = budget.radius, budget.outer
        return replace(
            cls.of(torch.zeros(1, 1), budget.norm, radius, outer, steps, step_size, part),
            budget=budget,
        )

    def around(self, x: Tensor) -> Around:
        """The balls around inputs (N, …)."""
        if self.budget is not None:
            return self.budget.around(x)
        return Around(x.detach(), self.norm, self.radius, self.bounds)

    @classmethod
    def of(
        cls,
        x: Tensor,
        norm: NormName,
        epsilon: float | None,
        bounds: Bounds,
        steps: int,
        step_size: float | None,
        part: float,
    ) -> Walk:
        """Checked; the default step is a part of ε, or, without one, of half the bounds' width."""
        chosen = named_norm(norm)
        if epsilon is not None and not (math.isfinite(epsilon) and epsilon >= 0):
            raise UsageError(
                f"epsilon must be a finite number ≥ 0 in input units, or None for no budget; got "
                f"{epsilon}."
            )
        if steps < 1 or (step_size is not None and not step_size > 0):
            raise UsageError(
                f"steps must be at least 1 and step_size positive; got {steps} and {step_size}."
            )
        if step_size is None:
            entries = math.sqrt(x[0].numel()) if norm == "l2" else 1.0
            whole = (bounds[1] - bounds[0]) / 2 * entries
            step_size = part * (whole if epsilon is None else epsilon)
        return cls(chosen, math.inf if epsilon is None else epsilon, bounds, steps, step_size)

    def size(self, step: int) -> float:
        """Of one step."""
        return self.step_size * (1 + math.cos(math.pi * step / self.steps)) / 2


def joined(parts: Sequence[Moved]) -> Moved:
    """Batches of tensors in one; along a path samples are the second dimension."""

    def join(name: str) -> Tensor:
        return torch.cat([getattr(it, name) for it in parts], dim=int(name.startswith("path")))

    known = (name for name, it in vars(parts[0]).items() if it is not None)
    return type(parts[0])(**{name: join(name) for name in known})


def wide(value: Tensor, like: Tensor) -> Tensor:
    """(N,) values with the rank of (N, …) inputs."""
    return value.reshape(-1, *(1,) * (like.ndim - 1))


def classes_of(output: object, samples: int) -> Tensor:
    """(N,) predicted classes; −1 where a model returns no logits."""
    if isinstance(output, Tensor) and output.ndim == 2 and len(output) == samples:
        return output.detach().argmax(1).cpu()
    return torch.full((samples,), -1)
