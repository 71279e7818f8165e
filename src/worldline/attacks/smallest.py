"""The smallest change that fools, over samples: its distribution, and accuracy at every ε."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.budget import Budget
from worldline.attacks.fmn import FMN
from worldline.attacks.norms import BallName, named_ball
from worldline.errors import UsageError
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
    budget: Budget | None = None,
    settings: Settings = DEFAULT,
) -> SmallestChange:
    """How little must change for the model to be fooled, by :class:`FMN`, in batches.

    Args:
        model: returns logits (N, K).
        x, y: (N, …) inputs inside the bounds and (N,) labels.
        norm: ``linf``, ``l2``, ``l1`` or ``l0``.
        steps: of the attack; more find smaller changes.
        mask: true where an entry may change, of a shape that broadcasts to x.
        budget: with sizes or bounds by feature, or a mask, in place of ``mask`` and the settings'
            bounds. Sizes are then its units: a change of size 1 is as large as it may be. Its norm
            has no part here. The attack sees f(clip(s·z)) of z = x/s.
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
    y = labels_of(y, len(x))
    if budget is not None:
        return _in_its_units(model, x, y, norm, steps, mask, budget, settings)
    check_inputs(x, settings.bounds)
    attack = FMN(norm=norm, steps=steps, bounds=settings.bounds)
    whole = mask is not None and mask.ndim == x.ndim and len(mask) == len(x)  # one for each sample
    twins, sizes = [], []
    for rows in torch.arange(len(x)).split(settings.batch_size):
        part = mask[rows] if whole and mask is not None else mask
        found = attack(model, x[rows], y[rows], mask=part)
        twins.append(found.x)
        sizes.append(found.size)
        settings.progress("smallest change", int(rows[-1]) + 1, len(x))
    return _summed(norm, steps, torch.cat(twins), torch.cat(sizes), settings)


def _summed(
    norm: BallName, steps: int, twins: Tensor, size: Tensor, settings: Settings
) -> SmallestChange:
    median = Bootstrap(len(size), seed=settings.seed).summary(size)
    fooled = proportion(int((size < torch.inf).sum()), len(size))
    return SmallestChange(norm, steps, twins, size, median, fooled)


def _in_its_units(
    model: Model,
    x: Tensor,
    y: Tensor,
    norm: BallName,
    steps: int,
    mask: Tensor | None,
    budget: Budget,
    settings: Settings,
) -> SmallestChange:
    """In the coordinates x/s, in which every entry has one size; what leaves its bounds is clipped.

    A clip moves no entry further from the input, so sizes are measured after it.
    """
    if mask is not None:
        raise UsageError("A budget has a mask of its own; give mask in it.")
    budget.check(x)
    it = budget.on(x)
    sizes = it.epsilon if isinstance(it.epsilon, Tensor) else x.new_ones((1,) * x.ndim)
    if len(sizes) > 1:
        raise UsageError("The smallest change in a budget's units needs sizes by feature.")
    free = sizes > 0 if it.mask is None else (sizes > 0) & (it.mask > 0)
    scale = torch.where(sizes > 0, sizes, 1.0).to(x)
    low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in it.bounds)

    def seen(z: Tensor) -> Tensor:
        return model(torch.minimum(torch.maximum(z * scale, low), high))

    outer = float((low / scale).min()), float((high / scale).max())
    plain = replace(settings, bounds=outer)
    found = smallest_change(seen, x / scale, y, norm=norm, steps=steps, mask=free, settings=plain)
    moved = torch.minimum(torch.maximum(found.x * scale, low), high)
    twins = torch.where(found.x == x / scale, x, moved)  # what did not move keeps its bits
    size = named_ball(norm).size((twins - x) / scale)
    size = torch.where(found.size.isfinite(), size, found.size)
    return _summed(norm, steps, twins, size, settings)
