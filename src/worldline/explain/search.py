"""Exact search for the most entangled pairs: the k largest and the k smallest rapidities of all N(N−1)/2 pairs.

One pass over the upper triangle, in tiles. A tile's correlations are one float32 product, good to (D + 8)·2⁻²⁴ for unit vectors
(Higham 2002, section 3.1); a row whose largest and smallest entry stay within the running k-th best, less that error, is done. What is
left, a handful, is computed again from the features in float64. So the answer does not depend on the tiles, and the conditions (labels,
input distance, identical inputs) are asked of the handful only. Samples are visited by label, which makes the pairs of one class
rectangles of a tile: they are cleared, or never computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import LabelError, ShapeError, UsageError
from worldline.explain.view import View, distances
from worldline.geometry import Frame, Moments, rapidity
from worldline.inputs import check_labels

__all__ = ["Pairs", "TopPairs", "count_pairs", "top_pairs"]

PANEL = 8
"""Tiles whose rows are made ready at once and kept, so that making ready costs little beside the products."""
AT_ONCE = 2**22  # float64 numbers of features that are looked at again in one go
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples, the most entangled first; equal ones by first, then second index.

    Attributes:
        first, second: (P,) int64, rows of the features, first < second.
        rapidity: (P,) float64 signed φ in nats; ±∞ where the features have the same or the opposite direction.
        distance: (P,) float64 Euclidean distance at the input; None where no inputs were given.
    """

    first: Tensor
    second: Tensor
    rapidity: Tensor
    distance: Tensor | None

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class TopPairs:
    """What a search found.

    Attributes:
        merged: the k pairs of largest φ > 0; fewer where the conditions leave fewer.
        opposed: the k pairs of smallest φ < 0.
        pairs: how many pairs the label condition leaves.
        undirected: (N,) samples without a direction in this frame (zero, or equal to the origin to rounding): in no pair.
    """

    merged: Pairs
    opposed: Pairs
    pairs: int
    undirected: Tensor

    def strongest(self, k: int) -> Pairs:
        """The k pairs of largest |φ| of either sign, for k up to that of the search."""
        return _sorted((self.merged, self.opposed), k)


def top_pairs(
    features: Float[Tensor, "N D"],
    k: int,
    *,
    frame: Frame | None = None,
    labels: Int[Tensor, " N"] | None = None,
    inputs: Float[Tensor, "N E"] | None = None,
    least_distance: float = 0.0,
    groups: Int[Tensor, " N"] | None = None,
    block: int = 1024,
    tick: Tick = lambda _stage, _done, _total: None,
) -> TopPairs:
    """The k most merged (φ → +∞) and the k most opposed (φ → −∞) pairs under the conditions, exactly.

    φ = artanh ρ of the pair as seen from the frame, over all N(N−1)/2 pairs, both signs in one pass.

    Args:
        features: (N, D) of any floating dtype; a memory-mapped tensor is read block by block and never copied whole.
        k: pairs of each sign, from 1 to the number of pairs that the labels leave.
        frame: from where the features are seen; default: centered on their own mean.
        labels: (N,); only pairs of different labels count. Default: all pairs.
        inputs: (N, E) what the input distance is measured on; pairs of distance zero (identical inputs) never count.
        least_distance: only pairs at least so far apart at the input, Euclidean, in the units of ``inputs``.
        groups: (N,) pairs within one group never count, for instance copies of one input.
        block: rows and columns of a tile; it changes the speed and nothing else.
        tick: called with stage, pairs done, pairs in all.

    Returns:
        :class:`TopPairs`.

    Raises:
        ShapeError, LabelError, UsageError, BoundsError: the arguments do not fit, hold NaN, or leave no pairs.

    Cost: N²D multiplications and additions, in float32 (the half that the upper triangle leaves), and N²/(8·block) rows made
    ready; memory beyond the features 9·block·D + block² floats, whatever N. The whitened frame adds D/(8·block) of the time in
    float64 products.

    >>> import torch, worldline as wl
    >>> from worldline.geometry import Frame
    >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [-1.0, 0.1], [0.0, 3.0]])
    >>> found = wl.explain.top_pairs(features, 1, frame=Frame("raw"))
    >>> found.merged.first, found.merged.second, found.opposed.first, found.opposed.second
    (tensor([0]), tensor([1]), tensor([1]), tensor([2]))
    """
    _check(features, k, labels, inputs, groups, block)
    total = count_pairs(len(features), labels)
    if k > total:
        raise UsageError(f"There are only {total} pairs under the label condition; k = {k} asks for more. Lower k.")
    view = View(features, frame or _centered(features), labels)
    judge = _Judge(view, labels, inputs, groups, least_distance, block)
    sieve = _Sieve(view, judge, k)
    size, done = len(features), 0
    space = torch.empty(block * block, device=features.device)
    for panel in range(0, size, PANEL * block):
        left = view.units(panel, min(panel + PANEL * block, size))
        for start in range(panel, size, block):
            right = view.units(start, min(start + block, size))
            for top in range(panel, min(panel + len(left), start + 1), block):
                rows = left[top - panel : top - panel + block]
                done += len(rows) * len(right)
                if judge.one_class(top, len(rows), start, len(right)):
                    continue
                scores = space[: len(rows) * len(right)].view(len(rows), len(right))
                torch.mm(rows, right.T, out=scores)
                judge.clear(scores, top, start)
                sieve.take(scores, top, start)
            tick("Searching", min(done, size * (size + 1) // 2), size * (size + 1) // 2)
    return TopPairs(sieve.up.result(), sieve.down.result(), total, view.undirected)


def count_pairs(samples: int, labels: Tensor | None) -> int:
    """How many pairs there are; with labels, how many of different labels.

    >>> import torch
    >>> from worldline.explain import count_pairs
    >>> count_pairs(4, None), count_pairs(4, torch.tensor([0, 0, 0, 1]))
    (6, 3)
    """
    total = samples * (samples - 1) // 2
    if labels is None:
        return total
    counts = labels.unique(return_counts=True)[1]
    return total - int((counts * (counts - 1) // 2).sum())


class _Judge:
    """The conditions on a pair; pairs are given by their places in the view's order."""

    def __init__(
        self,
        view: View,
        labels: Tensor | None,
        inputs: Tensor | None,
        groups: Tensor | None,
        least_distance: float,
        block: int,
    ) -> None:
        self.view, self.inputs, self.least, self.block = view, inputs, least_distance, block
        self.labels = None if labels is None else labels[view.order]
        self.groups = None if groups is None else groups[view.order]
        self.plain = ~view.undirected[view.order]
        self.edges: list[int] = []
        if self.labels is not None:
            self.edges = [0, *self.labels.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()]
            self.classes = torch.repeat_interleave(torch.arange(len(self.edges) - 1), torch.tensor(self.edges).diff())

    def one_class(self, top: int, height: int, start: int, width: int) -> bool:
        """Whether a tile holds pairs of one class only."""
        return self.labels is not None and bool(self.classes[top] == self.classes[start + width - 1])

    def clear(self, scores: Tensor, top: int, start: int) -> None:
        """Set to zero, in a tile of the upper triangle, what lies below the diagonal and pairs of one class."""
        height, width = scores.shape
        if top == start:
            scores.triu_(1)
        if self.labels is None:
            return
        for label in range(int(self.classes[start]), int(self.classes[top + height - 1]) + 1):
            low, high = self.edges[label], self.edges[label + 1]
            scores[max(low - top, 0) : max(high - top, 0), max(low - start, 0) : max(high - start, 0)] = 0

    def allows(self, i: Tensor, j: Tensor) -> Tensor:
        """Everything that needs no distance."""
        good = (i < j) & self.plain[i] & self.plain[j]
        for numbers in (self.labels, self.groups):
            if numbers is not None:
                good &= numbers[i] != numbers[j]
        return good

    def surely(self, i: Tensor, j: Tensor, top: int, start: int) -> tuple[Tensor, Tensor]:
        """For many pairs of one tile, by one product: which are surely far enough, and which may be."""
        if self.inputs is None:
            return torch.ones_like(i, dtype=torch.bool), torch.ones_like(i, dtype=torch.bool)
        rows, columns = (
            self.inputs[self.view.order[place : place + self.block]].float().flatten(1) for place in (top, start)
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


class _Sieve:
    """From a tile of correlations to the pairs that can be among the best of their sign, both signs at once."""

    def __init__(self, view: View, judge: _Judge, k: int) -> None:
        self.judge, self.many = judge, 4 * k + 4096
        self.up, self.down = _Best(view, judge, k, 1), _Best(view, judge, k, -1)

    def take(self, scores: Tensor, top: int, start: int) -> None:
        """Look at a tile of the upper triangle whose corner is at (top, start)."""
        width = scores.shape[1]
        if (
            scores.numel() > self.many > 0 >= min(self.up.cutoff, self.down.cutoff)
        ):  # nothing is known: look at a corner first
            corner = max(width - 256, 0)
            self._hits(scores[:256, corner:], top, start + corner)
        i, j, value = self._hits(scores, top, start)
        if len(i) == 0:
            return
        keep, apart = self.judge.far(i, j)
        for side in (self.up, self.down):
            mine = keep & (side.sign * value >= side.cutoff)
            side.wait(i[mine], j[mine], side.sign * value[mine], None if apart is None else apart[mine])

    def _hits(self, scores: Tensor, top: int, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Places and correlations of the pairs that may be among the best, as far as no distance is needed."""
        high, low = self.up.cutoff, -self.down.cutoff
        rows = ((scores.amax(1) >= high) | (scores.amin(1) <= low)).nonzero().flatten()
        part = scores if len(rows) == len(scores) else scores[rows]
        at, column = ((part >= high) | (part <= low)).nonzero(as_tuple=True)
        i, j, value = rows[at] + top, column + start, part[at, column]
        keep = self.judge.allows(i, j)
        if len(i) > self.many:
            sure, maybe = self.judge.surely(i, j, top, start)
            keep &= self.up.possible(value, keep & sure, maybe) | self.down.possible(-value, keep & sure, maybe)
        return i[keep], j[keep], value[keep]


class _Best:
    """The running k best of one sign: ``found`` exactly, and ``waiting`` by their float32 correlation, good to ``slack``."""

    def __init__(self, view: View, judge: _Judge, k: int, sign: int) -> None:
        self.view, self.judge, self.k, self.sign = view, judge, k, sign
        self.slack = (view.width + 8) * 2**-24
        self.cutoff = -self.slack
        none = torch.empty(0, dtype=torch.long, device=view.order.device)
        apart = none.double() if judge.inputs is not None else None
        self.found = Pairs(none, none, none.double(), apart)
        self.waiting = Pairs(none, none, none.float(), apart)

    def possible(self, value: Tensor, sure: Tensor, maybe: Tensor) -> Tensor:
        """Which of these can be among the k best, if the ``sure`` ones meet the conditions and all but ``maybe`` do not."""
        certain = value[sure]
        if len(certain) < self.k:
            return maybe
        lowest = float(certain.topk(self.k).values[-1]) - 2 * self.slack
        self.cutoff = max(self.cutoff, lowest)
        return maybe & (value >= lowest)

    def wait(self, i: Tensor, j: Tensor, value: Tensor, apart: Tensor | None) -> None:
        old = self.waiting
        distance = None if apart is None or old.distance is None else torch.cat((old.distance, apart))
        now = Pairs(torch.cat((old.first, i)), torch.cat((old.second, j)), torch.cat((old.rapidity, value)), distance)
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
            new = _rows(Pairs(torch.minimum(i, j), torch.maximum(i, j), value, now.distance), self.sign * value > 0)
            self.found = _sorted((found, new), self.k)
        if len(self.found) == self.k:
            self.cutoff = max(self.cutoff, float(self.found.rapidity[-1].abs().tanh()) - self.slack)

    def result(self) -> Pairs:
        """The k best, exactly."""
        self._settle()
        return self.found


def _rows(pairs: Pairs, keep: Tensor | slice) -> Pairs:
    distance = None if pairs.distance is None else pairs.distance[keep]
    return Pairs(pairs.first[keep], pairs.second[keep], pairs.rapidity[keep], distance)


def _sorted(parts: tuple[Pairs, ...], k: int) -> Pairs:
    first, second, value = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("first", "second", "rapidity")
    )
    known = [part.distance for part in parts if part.distance is not None]
    keys = second.cpu().numpy(), first.cpu().numpy(), -value.abs().cpu().numpy()
    order = torch.from_numpy(np.lexsort(keys)[:k]).to(first.device)
    return _rows(Pairs(first, second, value, torch.cat(known) if known else None), order)


def _centered(features: Tensor) -> Frame:
    moments = Moments(features.shape[1])
    for start in range(0, len(features), 4096):
        moments.update(features[start : start + 4096])
    return moments.frame("centered")


def _check(
    features: Tensor, k: int, labels: Tensor | None, inputs: Tensor | None, groups: Tensor | None, block: int
) -> None:
    if not features.is_floating_point() or features.ndim != 2 or features.shape[1] == 0:
        raise ShapeError(
            f"Features must be a floating tensor (N, D); got {tuple(features.shape)} {features.dtype}. Flatten them with x.flatten(1)."
        )
    if k < 1 or block < 1:
        raise UsageError(f"k and block must be at least 1; got {k} and {block}.")
    if len(features) < 2:
        raise ShapeError(f"A pair needs two samples; got features {tuple(features.shape)}.")
    if labels is not None:
        check_labels(labels, len(features))
        if bool((labels == labels[0]).all()):
            raise LabelError(
                f"All {len(labels)} samples have the label {int(labels[0])}, so no pair has different labels. Give samples of more "
                "classes, or drop the label condition."
            )
    for name, given in (("inputs", inputs), ("groups", groups)):
        if given is not None and len(given) != len(features):
            raise ShapeError(
                f"There must be one row of {name} for each sample: {len(features)} samples, {len(given)} rows."
            )
