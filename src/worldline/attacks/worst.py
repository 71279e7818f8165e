"""The worst case over several attacks, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.asking import choices, predict
from worldline.attacks.budget import at_rows
from worldline.attacks.twins import Attack, adversarial_twin
from worldline.errors import UsageError
from worldline.trace import Model

__all__ = ["WorstCase", "WorstFound"]

HELD, ALREADY = -1, -2


@dataclass(frozen=True)
class WorstFound:
    """What several attacks found together.

    Attributes:
        x: (N, …) the twin of the first attack that fooled the sample; of the last one that tried,
            where none did.
        success: (N,) whether the model misclassifies the sample, attacked or not.
        found_by: (N,) position of the attack that fooled it first; −1: none did; −2: it is
            misclassified by itself, or its output holds NaN.
        remaining: accuracy that is left before any attack, then after each, an upper bound on the
            robust accuracy.
    """

    x: Tensor
    success: Tensor
    found_by: Tensor
    remaining: tuple[float, ...]


@dataclass(frozen=True)
class WorstCase:
    """Several attacks in turn, as ``attack(model, x, y)``: it is enough that one fools.

    Each attack only takes the samples that still hold, as in AutoAttack (Croce and Hein 2020), so
    the order decides the cost and not what is found. Samples that the model misclassifies by itself
    are not attacked.

    Attributes:
        attacks: any callables ``attack(model, x, y)``, see :func:`adversarial_twin`.
        batch_size: inputs in one call of an attack.

    Errors: UsageError without attacks; those of :func:`adversarial_twin`.
    Cost: the sum of the attacks, each on what is left, and a forward pass after each.

    >>> import torch, worldline as wl
    >>> model, x, y = torch.nn.Linear(2, 2), torch.rand(20, 2), torch.arange(20) % 2
    >>> pgd = wl.attacks.PGD(epsilon=0.3, steps=5)
    >>> square = wl.attacks.Square(epsilon=0.3, queries=20)
    >>> found = wl.attacks.WorstCase([pgd, square])(model, x, y)
    >>> sorted(found.remaining, reverse=True) == list(found.remaining)
    True
    """

    attacks: Sequence[Attack]
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        if not self.attacks:
            raise UsageError("WorstCase needs at least one attack; got none.")

    def __call__(self, model: Model, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> WorstFound:
        """Attack each input with each attack until one fools it."""
        labels = y.cpu()
        wrong = choices(predict(model, x, batch_size=self.batch_size)) != labels
        twin = x.detach().clone()
        found_by = torch.where(wrong, ALREADY, HELD)
        remaining = [float((found_by == HELD).double().mean())]
        for position, attack in enumerate(self.attacks):
            for rows in (found_by == HELD).nonzero().flatten().split(self.batch_size):
                if len(rows) == 0:
                    continue
                here = rows.to(x.device)
                twin[here] = adversarial_twin(at_rows(attack, x, here), model, x[here], y[here])
                said = choices(predict(model, twin[here], batch_size=self.batch_size))
                found_by[rows[(said != labels[rows]) & (said >= 0)]] = position
            remaining.append(float((found_by == HELD).double().mean()))
        return WorstFound(twin, found_by != HELD, found_by, tuple(remaining))
