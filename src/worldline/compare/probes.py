"""Which samples are probed, and with which displacements: the same for every model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.settings import Bounds

__all__ = ["Probes", "choose_samples", "drawn_counts", "make_probes"]


@dataclass(frozen=True)
class Probes:
    """Displaced inputs that every model is shown.

    Attributes:
        rows: (n,) which samples.
        labels: (n,) what the scouts call them.
        signs: (n, P, D) ±1: the directions, nearly orthogonal within a sample.
        size: how far each entry moves before the bounds stop it.
        x: (n·P, …) the displaced inputs, inside the bounds.
    """

    rows: Tensor
    labels: Tensor
    signs: Tensor
    size: float
    x: Tensor


def choose_samples(probabilities: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """Samples near the boundary that the scouts share, (n,), and what the scouts call them, (n,).

    ``count`` samples, evenly spaced in rank among the ``share`` with the smallest gap between the
    two likeliest classes: attacks at a small ε decide there, and nowhere else.
    """
    top = probabilities.topk(2, dim=1)
    gap = top.values[:, 0] - top.values[:, 1]
    pool = gap.argsort(stable=True)[: max(count, round(share * len(gap)))]
    rows = pool[torch.linspace(0, len(pool) - 1, min(count, len(pool))).round().long()]
    return rows, top.indices[rows, 0]


def drawn_counts(samples: int, resamples: int, seed: int) -> Tensor:
    """(R, n) how often each sample is drawn, of n drawn with replacement, R times over."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(samples, (resamples, samples), generator=generator)
    return torch.zeros(resamples, samples).scatter_add_(1, drawn, torch.ones(drawn.shape))


def make_probes(
    x: Tensor, labels: Tensor, rows: Tensor, *, probes: int, size: float, bounds: Bounds, seed: int
) -> Probes:
    """Random rows of a Hadamard matrix with random column signs.

    Within a sample they are orthogonal for D = 2^m, and nearly so otherwise.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = x[rows.to(x.device)]
    width = chosen[0].numel()
    order = 1 << max(width - 1, probes - 1, 1).bit_length()
    columns = torch.randperm(order, generator=generator)[:width]
    coins = torch.randint(0, 2, (len(rows), 1, width), generator=generator, dtype=torch.int8)
    flips = coins * 2 - 1
    drawn = [torch.randperm(order, generator=generator)[:probes] for _ in rows]
    lines = torch.stack(drawn)  # (n, P)
    signs = flips * _hadamard(lines, columns, order)
    moved = chosen[:, None] + size * signs.view(*lines.shape, *chosen.shape[1:]).to(chosen)
    return Probes(rows, labels, signs, size, moved.clamp(*bounds).flatten(0, 1))


def _hadamard(lines: Tensor, columns: Tensor, order: int) -> Tensor:
    """Entries (−1)^popcount(line & column) of Sylvester's matrix, (…, D) int8."""
    parity = torch.zeros(*lines.shape, len(columns), dtype=torch.int8)
    for bit in range(order.bit_length() - 1):
        both = (lines[..., None] >> bit & 1) & (columns >> bit & 1)
        parity ^= both.to(torch.int8)
    return 1 - 2 * parity
