"""On which side a point stands, what the attack moved, and from where on for good.

A point is on the wrong side at a layer where the adversarial class's mean is nearer, with a larger
φ, than the true class's. Where either is undefined (a class without a reference sample, a vector
without a direction) the side is undefined: it is left out and counted, and it is not a "no". The
moved share is P(adversarial on the wrong side) − P(clean on the wrong side): what the attack
changed, and not what the layer cannot tell apart yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.statistics import Bootstrap, Share

__all__ = [
    "SwapLayer",
    "first_for_good",
    "moved",
    "moved_share",
    "side_for_good",
    "swap_layer",
    "wrong_side",
]

HALF = 0.5


@dataclass(frozen=True)
class SwapLayer:
    """First layer from which the attack has surely moved more than half of the samples, for good.

    From it on, the lower end of the moved share's 95 % interval stays above one half. A later layer
    that the network can pass by, such as the branch of a residual block, does not count against it
    (:func:`worldline.trace.passed_by`), nor does one at which no sample has a side.

    Attributes:
        name, index: which layer, from 0, the input.
        interval: 95 % bootstrap interval of the index, where each resample's index is the first
            from which its own moved share stays above one half; the upper end is None where
            resamples never do.
    """

    name: str
    index: int
    interval: tuple[int, int | None]


def wrong_side(to_wrong: Tensor, to_true: Tensor) -> Tensor:
    """1 where φ to the adversarial class's mean is larger than to the true class's, else 0.

    Args:
        to_wrong, to_true: (…) rapidities in nats; ±∞ is a value.

    Returns:
        (…) float64; NaN where either rapidity is NaN.

    >>> import torch
    >>> from worldline.explain.sides import wrong_side
    >>> wrong_side(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, torch.nan]))
    tensor([1., 0., nan], dtype=torch.float64)
    """
    flags = (to_wrong > to_true).double()
    return flags.masked_fill(torch.isnan(to_wrong) | torch.isnan(to_true), torch.nan)


def moved(adversarial: Tensor, clean: Tensor) -> Tensor:
    """What the attack changed: 1 to the wrong side, −1 away from it, 0 nothing, NaN undefined.

    Args:
        adversarial, clean: (…) flags of :func:`wrong_side`, of the same samples and class means.
    """
    return adversarial - clean


def moved_share(change: Tensor, bootstrap: Bootstrap) -> tuple[Share, ...]:
    """The moved share of each layer, in [−1, 1], with its paired interval.

    Args:
        change: (S, L) of :func:`moved`.
        bootstrap: of these S samples; both twins of a sample are drawn together.
    """
    return bootstrap.share_columns(change, least=-1.0)


def swap_layer(
    names: Sequence[str],
    change: Tensor,
    bootstrap: Bootstrap,
    passed_by: Sequence[bool] | None = None,
) -> SwapLayer | None:
    """The swap layer; None where there is none, and then nobody may name one.

    Args:
        names: of the L layers.
        change: (S, L) of :func:`moved`.
        bootstrap: of these S samples.
        passed_by: which layers the network can pass by; default: none.
    """
    ends = [share.interval for share in moved_share(change, bootstrap)]
    sure = torch.tensor([[end is not None and end[0] > HALF for end in ends]])
    free = torch.isnan(change).all(0) | torch.tensor(passed_by or [False] * len(names))
    index = int(first_for_good(sure, free)[0])
    if index < 0:
        return None
    drawn = first_for_good(torch.from_numpy(bootstrap.shares(change) > HALF), free).numpy()
    drawn = np.where(drawn < 0, len(names), drawn)
    low, high = np.quantile(drawn, (0.025, 0.975), method="inverted_cdf")
    high = max(int(high), index)
    return SwapLayer(
        names[index], index, (min(int(low), index), high if high < len(names) else None)
    )


def side_for_good(flags: Tensor, passed_by: Sequence[bool]) -> Tensor:
    """The first layer from which a sample is on the wrong side for good, sample by sample.

    Args:
        flags: (N, L) of :func:`wrong_side`; a layer where the side is undefined is passed over.
        passed_by: which layers the network can pass by; they are passed over as well.

    Returns:
        (N,) indices; −1: never for good. It says nothing of what the attack moved: a clean sample
        may have stood there before.
    """
    return first_for_good(flags > 0, torch.isnan(flags) | torch.tensor(passed_by))


def first_for_good(flags: Tensor, free: Tensor | None = None) -> Tensor:
    """The first index from which all are true, but for what is free to be false.

    Args:
        flags: (S, L).
        free: (S, L) or (L,), where a flag that is not true is passed over; default: nowhere.

    Returns:
        (S,) indices; −1: there is none.
    """
    held = flags if free is None else flags | free
    for_good = held.flip(1).long().cumprod(1).flip(1).bool() & flags
    return torch.where(for_good.any(1), for_good.long().argmax(1), -1)
