"""The smallest change that fools, over samples: its distribution, and accuracy at every ε."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.fmn import FMN
from worldline.attacks.norms import BallName, named_ball
from worldline.inputs import check_inputs, check_settings, labels_of
from worldline.settings import DEFAULT, Settings
from worldline.statistics import Bootstrap, Share, Summary, proportion
from worldline.trace import Model

__all__ = ["SmallestChange", "smallest_change"]


@dataclass(frozen=True)
class SmallestChange:
    """How little fools the model: every size is an **upper bound**, what an attack found.

    A better attack may find a smaller change, never a larger one; so the accuracy at each ε is an
    upper bound, too.

    Attributes:
        norm: what was to be small.
        steps: of the attack.
        x: (N, …) the twins; the input itself where none was found or none is needed.
        size: (N,) 0 where the model is wrong by itself, +∞ where nothing that fools was found.
        median: distribution of the sizes over all samples, the median with its 95 % bootstrap
            interval; ∞ is a value.
        fooled: share of samples of finite size.
    """

    norm: BallName
    steps: int
    x: Tensor
    size: Tensor
    median: Summary
    fooled: Share

    def accuracy(self, epsilons: Sequence[float]) -> tuple[Share, ...]:
        """Share of samples whose size is above each ε, so still right there (at most).

        At ε = 0 it is the accuracy without an attack. Intervals: Wilson 1927.
        """
        held = ((self.size > epsilon).sum() for epsilon in epsilons)
        return tuple(proportion(int(count), len(self.size)) for count in held)

    def curve(self) -> tuple[Tensor, Tensor]:
        """Where the accuracy falls: (M,) growing ε from 0, and (M,) the accuracy from there on.

        One minus the empirical distribution function of the sizes.
        """
        found = self.size[self.size < torch.inf]
        epsilons, counts = torch.cat([found.new_zeros(1), found]).unique(return_counts=True)
        fallen = counts.cumsum(0) - 1  # the zero put in front is no sample
        return epsilons, 1 - fallen.double() / len(self.size)

    def __str__(self) -> str:
        it = self.median
        between = "" if it.interval is None else " ({:.3g} – {:.3g})".format(*it.interval)
        return (
            f"Smallest {named_ball(self.norm).sign} change that fools: median {it.median:.3g}"
            f"{between} over {len(self.size):,} samples, an upper bound (FMN, {self.steps} steps); "
            f"{self.fooled.value:.1%} fooled, {int((self.size == 0).sum()):,} of them wrong before."
        )


def smallest_change(
    model: Model,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    norm: BallName = "linf",
    steps: int = 100,
    mask: Tensor | None = None,
    settings: Settings = DEFAULT,
) -> SmallestChange:
    """How little must change for the model to be fooled, by :class:`FMN`, in batches.

    Args:
        model: returns logits (N, K).
        x, y: (N, …) inputs inside the bounds and (N,) labels.
        norm: ``linf``, ``l2``, ``l1`` or ``l0``.
        steps: of the attack; more find smaller changes.
        mask: true where an entry may change, of a shape that broadcasts to x.
        settings: bounds, batch size, seed of the bootstrap and progress.

    Errors and cost: as :class:`FMN`.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[0.9, 0.5], [0.6, 0.4], [0.5, 0.9]]), torch.tensor([0, 0, 0])
    >>> found = wl.attacks.smallest_change(model, x, y)
    >>> [round(size, 2) for size in found.size.tolist()]
    [0.2, 0.1, 0.0]
    >>> [share.value for share in found.accuracy([0.0, 0.15, 0.3])]
    [0.6666666666666666, 0.3333333333333333, 0.0]
    """
    check_settings(settings)
    check_inputs(x, settings.bounds)
    y = labels_of(y, len(x))
    attack = FMN(norm=norm, steps=steps, bounds=settings.bounds)
    whole = mask is not None and mask.ndim == x.ndim and len(mask) == len(x)  # one for each sample
    twins, sizes = [], []
    for rows in torch.arange(len(x)).split(settings.batch_size):
        part = mask[rows] if whole and mask is not None else mask
        found = attack(model, x[rows], y[rows], mask=part)
        twins.append(found.x)
        sizes.append(found.size)
        settings.progress("smallest change", int(rows[-1]) + 1, len(x))
    size = torch.cat(sizes)
    median = Bootstrap(len(x), seed=settings.seed).summary(size)
    fooled = proportion(int((size < torch.inf).sum()), len(x))
    return SmallestChange(norm, steps, torch.cat(twins), size, median, fooled)
