"""From tiles of correlations to the best pairs: conditions, the running k best, exact order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.explain.view import AT_ONCE, View, distances
from worldline.geometry import rapidity

__all__ = ["Conditions", "Judge", "Pairs", "Sieve", "best_of"]


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples, the most entangled first; equal ones by first, then second index.

    Attributes:
        first, second: (P,) int64, rows of the features, first < second.
        rapidity: (P,) float64 signed φ in nats; ±∞ where the features have the same or the opposite
            direction.
        distance: (P,) float64 Euclidean distance at the input; None where no inputs were given.
    """

    first: Tensor
    second: Tensor
    rapidity: Tensor
    distance: Tensor | None

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Conditions:
    """On a pair; what is None asks for nothing.

    Attributes:
        labels, groups: (N,) they must differ.
        inputs: (N, E) they must be at least ``least_distance`` apart there, and not identical.
    """

    labels: Tensor | None
    inputs: Tensor | None
    groups: Tensor | None
    least_distance: float


class Judge:
    """Whether pairs meet the conditions; they are given by their places in the view's order."""

    def __init__(self, view: View, conditions: Conditions, block: int) -> None:
        self.view, self.block = view, block
        self.inputs, self.least = conditions.inputs, conditions.least_distance
        labels, groups = conditions.labels, conditions.groups
        self.labels = None if labels is None else labels[view.order]
        self.groups = None if groups is None else groups[view.order]
        self.edges: list[int] = []
        if self.labels is not None:
            sizes = self.labels.unique_consecutive(return_counts=True)[1]
            self.edges = [0, *sizes.cumsum(0).tolist()]
            self.classes = torch.repeat_interleave(torch.arange(len(sizes)), sizes)

    def one_class(self, top: int, height: int, start: int, width: int) -> bool:
        """Whether a tile holds pairs of one class only."""
        return self.labels is not None and bool(
            self.classes[top] == self.classes[start + width - 1]
        )

    def clear(self, scores: Tensor, top: int, start: int) -> None:
        """Set to zero what lies below the diagonal, and pairs of one class, in a tile."""
        height = len(scores)
        if top == start:
            scores.triu_(1)
        if self.labels is None:
            return
        for label in range(int(self.classes[start]), int(self.classes[top + height - 1]) + 1):
            low, high = self.edges[label], self.edges[label + 1]
            rows = slice(max(low - top, 0), max(high - top, 0))
            scores[rows, max(low - start, 0) : max(high - start, 0)] = 0

    def allows(self, i: Tensor, j: Tensor) -> Tensor:
        """Everything that needs no distance."""
        good = (i < j) & self.view.directed[i] & self.view.directed[j]
        for numbers in (self.labels, self.groups):
            if numbers is not None:
                good &= numbers[i] != numbers[j]
        return good

    def surely(self, i: Tensor, j: Tensor, top: int, start: int) -> tuple[Tensor, Tensor]:
        """Which pairs of one tile are surely far enough, and which may be: by one product."""
        if self.inputs is None:
            return torch.ones_like(i, dtype=torch.bool), torch.ones_like(i, dtype=torch.bool)
        rows, columns = (
            self.inputs[self.view.order[place : place + self.block]].float().flatten(1)
            for place in (top, start)
        )
        squares = (rows**2).sum(1)[:, None] + (columns**2).sum(1)
        slack = (rows.shape[1] + 16) * 2**-23 * float(squares.max())
        far = squares.addmm_(rows, columns.T, alpha=-2)[i - top, j - start] - self.least**2
        return far > slack, far >= -slack

    def far(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor | None]:
        """Exactly: which pairs are far enough, and how far."""
        if self.inputs is None:
            return torch.ones_like(i, dtype=torch.bool), None
        apart = distances(self.inputs, self.view.order[i], self.view.order[j])
        return (apart >= self.least) & (apart > 0), apart


class Sieve:
    """From a tile of correlations to the pairs that can be among the best of their sign."""

    def __init__(self, view: View, judge: Judge, k: int) -> None:
        self.judge, self.many = judge, 4 * k + 4096
        self.up, self.down = _Best(view, judge, k, 1), _Best(view, judge, k, -1)

    def take(self, scores: Tensor, top: int, start: int) -> None:
        """Look at a tile of the upper triangle whose corner is at (top, start)."""
        width = scores.shape[1]
        if scores.numel() > self.many > 0 >= min(self.up.cutoff, self.down.cutoff):
            corner = max(width - 256, 0)  # nothing is known: look at a corner first
            self._hits(scores[:256, corner:], top, start + corner)
        i, j, value = self._hits(scores, top, start)
        if len(i) == 0:
            return
        keep, apart = self.judge.far(i, j)
        for side in (self.up, self.down):
            mine = keep & (side.sign * value >= side.cutoff)
            side.wait(
                i[mine], j[mine], side.sign * value[mine], None if apart is None else apart[mine]
            )

    def _hits(self, scores: Tensor, top: int, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Places and correlations of pairs that may be among the best; no distance is asked yet."""
        high, low = self.up.cutoff, -self.down.cutoff
        rows = ((scores.amax(1) >= high) | (scores.amin(1) <= low)).nonzero().flatten()
        part = scores if len(rows) == len(scores) else scores[rows]
        at, column = ((part >= high) | (part <= low)).nonzero(as_tuple=True)
        i, j, value = rows[at] + top, column + start, part[at, column]
        keep = self.judge.allows(i, j)
        if len(i) > self.many:
            sure, maybe = self.judge.surely(i, j, top, start)
            sure &= keep
            up = self.up.possible(value, sure, maybe)
            keep &= up | self.down.possible(-value, sure, maybe)
        return i[keep], j[keep], value[keep]


class _Best:
    """The running k best of one sign.

    They are ``found`` exactly, or ``waiting`` by their float32 correlation, good to ``slack``.
    """

    def __init__(self, view: View, judge: Judge, k: int, sign: int) -> None:
        self.view, self.judge, self.k, self.sign = view, judge, k, sign
        exact = torch.get_float32_matmul_precision() == "highest"  # else bfloat16 or TF32
        self.slack = (view.width + 8) * 2**-24 + (0.0 if exact else 2**-7)
        self.cutoff = -self.slack
        none = torch.empty(0, dtype=torch.long, device=view.order.device)
        apart = none.double() if judge.inputs is not None else None
        self.found = Pairs(none, none, none.double(), apart)
        self.waiting = Pairs(none, none, none.float(), apart)

    def possible(self, value: Tensor, sure: Tensor, maybe: Tensor) -> Tensor:
        """Which can be among the k best, if ``sure`` ones are allowed and only ``maybe`` may be."""
        certain = value[sure]
        if len(certain) < self.k:
            return maybe
        lowest = float(certain.topk(self.k).values[-1]) - 2 * self.slack
        self.cutoff = max(self.cutoff, lowest)
        return maybe & (value >= lowest)

    def wait(self, i: Tensor, j: Tensor, value: Tensor, apart: Tensor | None) -> None:
        new = Pairs(i, j, value, apart)
        if len(self.found) == self.k and bool(self.found.rapidity[-1].isinf()):
            a, b = self.view.order[i], self.view.order[j]  # only an earlier pair can still come in
            low, high, last = torch.minimum(a, b), torch.maximum(a, b), self.found
            earlier = (low < last.first[-1]) | ((low == last.first[-1]) & (high < last.second[-1]))
            new = _rows(new, earlier)
        now = _joined((self.waiting, new))
        if len(now) > self.k + max(self.k // 4, 256):
            every = torch.ones(len(now), dtype=torch.bool, device=i.device)
            now = _rows(now, self.possible(now.rapidity, every, every))
        self.waiting = now
        if len(now) > 2 * self.k + 4096:
            self._settle()

    def _settle(self) -> None:
        """Look at those that wait in float64."""
        step = max(1, AT_ONCE // self.view.width)
        while len(self.waiting):
            now, found = _rows(self.waiting, slice(0, step)), self.found
            self.waiting = _rows(self.waiting, slice(step, None))
            i, j = self.view.order[now.first], self.view.order[now.second]
            value = rapidity(self.view.exact(i), self.view.exact(j))
            new = Pairs(torch.minimum(i, j), torch.maximum(i, j), value, now.distance)
            self.found = best_of((found, new), self.k, self.sign)
        if len(self.found) == self.k:
            self.cutoff = max(self.cutoff, float(self.found.rapidity[-1].abs().tanh()) - self.slack)

    def result(self) -> Pairs:
        """The k best, exactly."""
        self._settle()
        return self.found


def _rows(pairs: Pairs, keep: Tensor | slice) -> Pairs:
    distance = None if pairs.distance is None else pairs.distance[keep]
    return Pairs(pairs.first[keep], pairs.second[keep], pairs.rapidity[keep], distance)


def _joined(parts: tuple[Pairs, ...]) -> Pairs:
    known = [part.distance for part in parts if part.distance is not None]
    return Pairs(
        torch.cat([part.first for part in parts]),
        torch.cat([part.second for part in parts]),
        torch.cat([part.rapidity for part in parts]),
        torch.cat(known) if known else None,
    )


def best_of(parts: tuple[Pairs, ...], k: int, sign: int = 0) -> Pairs:
    """The k pairs of largest |φ|, of one sign or of either, ties by index."""
    every = _joined(parts)
    if sign:
        every = _rows(every, sign * every.rapidity > 0)
    keys = (every.second, every.first, -every.rapidity.abs())
    order = torch.from_numpy(np.lexsort([key.cpu().numpy() for key in keys])[:k])
    return _rows(every, order.to(every.first.device))
