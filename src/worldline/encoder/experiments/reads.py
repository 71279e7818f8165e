"""What is read of pairs after a layer, and the exact law that it follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.encoder.experiments.walks import Trial
from worldline.encoder.laws import last_readings, pair_walk
from worldline.encoder.path import from_fitted, split_length

__all__ = ["LONGEST", "Read", "Sent"]

LAW_PAIRS = 4000
LONGEST = 600.0  # ln of a length that float64 holds; softmax has long been one-hot


@dataclass(frozen=True)
class Read:
    """Outputs of the fitted feature and of another, for pairs in any shape.

    Attributes:
        fitted, other: (…, k) unit outputs.
        log_fitted, log_other: (…) ln of their lengths.
    """

    fitted: Tensor
    other: Tensor
    log_fitted: Tensor
    log_other: Tensor

    def rectified(self) -> Tensor:
        """Cosine after ReLU; 0 where one of them has nothing left."""
        return _cosine(*self._relu())

    def softmax(self) -> tuple[Tensor, Tensor]:
        """(…, k) of either."""
        first, second = (
            (it * size.clamp_max(LONGEST).exp()[..., None]).softmax(-1)
            for it, size in ((self.fitted, self.log_fitted), (self.other, self.log_other))
        )
        return first, second

    def same_class(self) -> Tensor:
        """1 where both have their largest output in one place."""
        return (self.fitted.argmax(-1) == self.other.argmax(-1)).double()

    def beside_time(self, layer: int, *, squashed: bool) -> Tensor:
        """|â−b̂|²/4 of [ℓ ; s(x)] and [ℓ ; s(x')], s the softmax (squashed) or ReLU."""
        outputs = self.softmax() if squashed else self._relu()
        grown = (0.0, 0.0) if squashed else (self.log_fitted, self.log_other)
        tilts = [
            torch.atan((it.norm(dim=-1).log() + size - math.log(layer)).clamp_max(LONGEST).exp())
            for it, size in zip(outputs, grown, strict=True)
        ]
        along, across = tilts[0].cos() * tilts[1].cos(), tilts[0].sin() * tilts[1].sin()
        return (1 - along - across * _cosine(*outputs)) / 2

    def _relu(self) -> tuple[Tensor, Tensor]:
        return self.fitted.clamp_min(0), self.other.clamp_min(0)


@dataclass(frozen=True)
class Sent:
    """Features through P encoders, with what is read of them.

    Attributes:
        trial: whose encoders they are.
        rapidity: (L + 1, P, M) of the M others from the fitted one.
        lengths: (P, M + 1) ln of the lengths at the input.
        reads: after each layer, from the first.
    """

    trial: Trial
    rapidity: Tensor
    lengths: Tensor
    reads: tuple[Read, ...]

    @classmethod
    def of(cls, trial: Trial, features: Tensor) -> Sent:
        """Send features (P, M + 1, D), the fitted one first."""
        path = trial.send(features)
        reads = tuple(
            Read(
                at[:, :1].expand_as(at[:, 1:]),
                at[:, 1:],
                size[:, :1].expand_as(size[:, 1:]),
                size[:, 1:],
            )
            for at, size in zip(path.directions[1:], path.log_norms[1:], strict=True)
        )
        phi = torch.stack([from_fitted(at) for at in path.directions])
        return cls(trial, phi, path.log_norms[0], reads)

    def law(self, layer: int) -> Read:
        """What is read after a layer, drawn from the exact law from the same starts."""
        start, generator = self.rapidity[0], self.trial.generator
        selection = self.trial.encoder.selection
        rows = torch.randint(start.numel(), (LAW_PAIRS,), generator=generator)
        phi = start.flatten()[rows]
        fitted = self.lengths[:, :1].expand_as(start).flatten()[rows]
        other = self.lengths[:, 1:].flatten()[rows]
        if layer > 1:
            walk = pair_walk(phi, selection, layer - 1, generator=generator)
            phi = walk.rapidity[-1]
            fitted, other = fitted + walk.log_fitted[-1], other + walk.log_other[-1]
        (y, first), (o, second) = map(
            split_length, last_readings(phi, selection, generator=generator)
        )
        return Read(y, o, fitted + first, other + second)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    cosine: Tensor = (a * b).sum(-1) / lengths.clamp_min(1e-300)
    return cosine
