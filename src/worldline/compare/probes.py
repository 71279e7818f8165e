"""Which samples are looked at, and with which displacements: the same for every model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.settings import Bounds

__all__ = ["Probes", "drawn_counts", "evenly", "make_probes"]


@dataclass(frozen=True)
class Probes:
    """Displaced inputs that every model is shown, in opposite pairs.

    Attributes:
        pairs: P of a sample.
        size: how far each entry moves before the bounds stop it.
        x: (n·P·2, …) inputs inside the bounds: of each sample P pairs, x + δ before x − δ.
    """

    pairs: int
    size: float
    x: Tensor


def evenly(samples: int, count: int) -> Tensor:
    """At most ``count`` of the rows of N samples, evenly spaced.

    >>> evenly(10, 4).tolist(), evenly(3, 9).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return torch.linspace(0, samples - 1, min(count, samples)).round().long()


def drawn_counts(samples: int, resamples: int, seed: int) -> Tensor:
    """(R, n) how often each sample is drawn, of n drawn with replacement, R times over."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(samples, (resamples, samples), generator=generator)
    return torch.zeros(resamples, samples).scatter_add_(1, drawn, torch.ones(drawn.shape))


def make_probes(x: Tensor, *, pairs: int, size: float, bounds: Bounds, seed: int) -> Probes:
    """Random signs, ± in pairs, so that what curvature does to both falls out of a difference."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(x), pairs, 1, *x.shape[1:])
    signs = torch.randint(0, 2, shape, generator=generator, dtype=torch.int8).mul_(2).sub_(1)
    delta = size * signs.to(x)
    both = torch.cat([x[:, None, None] + delta, x[:, None, None] - delta], 2)  # (n, P, 2, …)
    return Probes(pairs, size, both.clamp(*bounds).flatten(0, 2))
