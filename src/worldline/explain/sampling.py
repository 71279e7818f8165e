"""Random pairs and copies: what found pairs are compared with, and what does not count as found."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["class_pairs", "groups_of", "random_pairs"]


def random_pairs(
    samples: int, labels: Tensor | None, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pairs drawn uniformly, with labels: of different ones.

    Every such pair, once, where there are at most ``count``.
    """
    if samples * (samples - 1) // 2 <= count:
        first, second = torch.triu_indices(samples, samples, 1)
        if labels is None:
            return first, second
        keep = labels[first] != labels[second]
        return first[keep], second[keep]
    if labels is None:
        first = torch.randint(samples, (count,), generator=generator)
        second = torch.randint(samples - 1, (count,), generator=generator)
        return first, second + (second >= first)
    order = labels.argsort(stable=True)
    sizes = labels[order].unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    chosen = torch.multinomial(
        sizes.double() * (samples - sizes), count, replacement=True, generator=generator
    )
    size, start = sizes[chosen], starts[chosen]
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64)
    own = start + (uniform[0] * size).long()
    other = (uniform[1] * (samples - size)).long()
    return order[own], order[other + (other >= start) * size]


def class_pairs(
    labels: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Up to ``count`` pairs of every two classes a ≤ b.

    Returns:
        first, second, and the number a·K + b of their cell, in the order of the classes.
    """
    classes = labels.unique()
    members = [(labels == label).nonzero().flatten() for label in classes]
    first, second, cell = [], [], []
    for a, ours in enumerate(members):
        for b in range(a, len(members)):
            i, j = _cell(len(ours), len(members[b]), a == b, count, generator)
            first.append(ours[i])
            second.append(members[b][j])
            cell.append(torch.full((len(i),), a * len(members) + b))
    return torch.cat(first), torch.cat(second), torch.cat(cell)


def _cell(
    rows: int, columns: int, same: bool, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Places of up to ``count`` pairs in one cell: drawn without repetition where it is small."""
    if rows * columns > 100 * count:
        i = torch.randint(rows, (count,), generator=generator)
        j = torch.randint(columns - same, (count,), generator=generator)
        return i, (j + (j >= i) if same else j)
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2)
    if same:
        grid = grid[grid[:, 0] < grid[:, 1]]
    kept = grid[torch.randperm(len(grid), generator=generator)[:count]]
    return kept[:, 0], kept[:, 1]


def groups_of(x: Tensor) -> Tensor:
    """(N,) a number for each distinct input: equal where two inputs are equal in every entry."""
    numbers: dict[bytes, int] = {}
    groups = []
    for part in x.split(1024):
        rows = (part.detach().cpu().flatten(1) + 0.0).contiguous().view(torch.uint8)  # −0 is 0
        groups += [
            numbers.setdefault(hashlib.blake2b(row, digest_size=16).digest(), len(numbers))
            for row in rows.numpy()
        ]
    return torch.tensor(groups)
