"""What an attack shows on its way, and what each sample keeps of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.attacks.asking import choices

__all__ = ["Attacked", "Iterate", "Record", "by_sample"]


@dataclass(frozen=True)
class Iterate:
    """One point on the way of an attack; its tensors are only valid during the callback.

    Attributes:
        restart: which restart, from 0 (for :class:`APGD` over several targets: restart · targets +
            target).
        step: 0 for the start, ``steps`` for the final iterate.
        x: (n, …) the iterate.
        logits: (n, K) of the iterate.
        loss: (n,) cross-entropy in nats, of the label (or of the target), or the loss that the
            attack climbs.
        rows: (n,) which samples these are, where a restart only takes those that still hold; else
            all N in order.
    """

    restart: int
    step: int
    x: Tensor
    logits: Tensor
    loss: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Attributes:
        x: (N, …) the adversarial twins, inside the ball and the bounds.
        success: (N,) whether the model misclassifies the twin (targeted: classifies it as the
            target); an output that holds NaN is no success.
        prediction: (N,) class of the twin; −1 where the output holds NaN.
        loss: (N,) cross-entropy of the twin in nats, or the loss that the attack climbs.
        first_success: (N,) step of the first successful iterate over all restarts, −1 if there was
            none.
        passes: number of forward passes of a whole batch (or of what was left of it), backward
            passes not counted.
    """

    x: Tensor
    success: Tensor
    prediction: Tensor
    loss: Tensor
    first_success: Tensor
    passes: int


def by_sample(value: Tensor, like: Tensor) -> Tensor:
    """(N,) → (N, 1, …), to multiply or choose samples."""
    return value.reshape(-1, *(1,) * (like.ndim - 1))


class Record:
    """The iterate that each sample keeps."""

    def __init__(self, x: Tensor, *, keep_best: bool) -> None:
        self.keep_best = keep_best
        self.x = x.detach().clone()
        self.score = torch.full((len(x),), -torch.inf, device=x.device)  # larger is better
        self.success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.prediction = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.loss = torch.zeros(len(x), device=x.device)
        self.first = torch.full((len(x),), -1, dtype=torch.long, device=x.device)
        self.passes = 0

    def add(self, iterate: Iterate, y: Tensor, *, targeted: bool, lower: bool, final: bool) -> None:
        """Keep the iterate where it is better.

        ``targeted`` says what success is, ``lower`` that a lower loss is better.
        """
        self.passes += 1
        prediction = choices(iterate.logits)
        hit = ((prediction == y) == targeted) & (prediction >= 0)
        self.first = torch.where((self.first < 0) & hit, iterate.step, self.first)
        if not (self.keep_best or final):
            return
        loss = iterate.loss.float()
        score = torch.nan_to_num(-loss if lower else loss, nan=-torch.inf)
        better = (hit & ~self.success) | ((hit == self.success) & (score > self.score))
        if self.passes == 1 or (final and not self.keep_best and iterate.restart == 0):
            better = torch.ones_like(better)
        self.x = torch.where(by_sample(better, iterate.x), iterate.x, self.x)
        self.score = torch.where(better, score, self.score)
        self.success = torch.where(better, hit, self.success)
        self.prediction = torch.where(better, prediction, self.prediction)
        self.loss = torch.where(better, loss, self.loss)

    def merge(self, rows: Tensor, part: Record) -> None:
        """Take over what another run found for some of the samples, where it succeeded."""
        self.passes += part.passes
        won = rows[part.success]
        for name in ("x", "score", "success", "prediction", "loss", "first"):
            getattr(self, name)[won] = getattr(part, name)[part.success]

    def result(self) -> Attacked:
        """What was found."""
        return Attacked(self.x, self.success, self.prediction, self.loss, self.first, self.passes)
