"""Exact search for the most entangled pairs: the k largest and k smallest rapidities of them all.

One pass over the upper triangle, in tiles. A tile's correlations are one float32 product, good to
(D + 8)·2⁻²⁴ for unit vectors (Higham 2002, section 3.1); a row whose largest and smallest entry
stay within the running k-th best, less that error, is done. What is left, a handful, is computed
again from the features in float64. So the answer does not depend on the tiles, and the conditions
(labels, input distance, identical inputs) are asked of the handful only. Samples are visited by
label, which makes the pairs of one class rectangles of a tile: they are cleared, or never computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import LabelError, ShapeError, UsageError
from worldline.explain.sieve import Conditions, Judge, Pairs, Sieve, best_of
from worldline.explain.view import View, centered
from worldline.geometry import Frame
from worldline.inputs import labels_of
from worldline.settings import Progress, silent

__all__ = ["TopPairs", "check_search", "count_pairs", "top_pairs"]

PANEL = 8
"""Tiles whose rows are made ready at once and kept: making ready then costs little."""


@dataclass(frozen=True)
class TopPairs:
    """What a search found.

    Attributes:
        merged: the k pairs of largest φ > 0; fewer where the conditions leave fewer.
        opposed: the k pairs of smallest φ < 0.
        pairs: how many pairs the label condition leaves.
        undirected: (N,) samples without a direction in this frame (zero, or equal to the origin to
            rounding): in no pair.
        recall: of an approximate search: the share of the exact nearest neighbours, of both signs,
            that it returned for 512 random samples; None of an exact one.
    """

    merged: Pairs
    opposed: Pairs
    pairs: int
    undirected: Tensor
    recall: float | None = None

    def strongest(self, k: int) -> Pairs:
        """The k pairs of largest |φ| of either sign, for k up to that of the search."""
        return best_of((self.merged, self.opposed), k)


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
    progress: Progress = silent,
) -> TopPairs:
    """The k most merged (φ → +∞) and the k most opposed (φ → −∞) pairs, exactly.

    φ = artanh ρ as seen from the frame, over all N(N−1)/2 pairs that meet the conditions, both
    signs in one pass.

    Args:
        features: (N, D) of any floating dtype; a memory-mapped tensor is read block by block and
            never copied whole.
        k: pairs of each sign, from 1 to the number of pairs that the labels leave.
        frame: from where the features are seen; default: centered on their own mean.
        labels: (N,); only pairs of different labels count. Default: all pairs.
        inputs: (N, E) what the input distance is measured on; pairs of distance zero (identical
            inputs) never count.
        least_distance: only pairs at least so far apart at the input, Euclidean, in the units of
            ``inputs``.
        groups: (N,) pairs within one group never count, for instance copies of one input.
        block: rows and columns of a tile; it changes the speed and nothing else.
        progress: is told of pairs done.

    Returns:
        :class:`TopPairs`.

    Raises:
        ShapeError, LabelError, UsageError, BoundsError: the arguments do not fit, hold NaN, or
            leave no pairs.

    Cost: N²D multiplications and additions, in float32 (the half that the upper triangle leaves),
    and N²/(8·block) rows made ready; memory beyond the features 9·block·D + block² floats, whatever
    N. The whitened frame adds D/(8·block) of the time in float64 products.

    >>> import torch, worldline as wl
    >>> from worldline.geometry import Frame
    >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [-1.0, 0.1], [0.0, 3.0]])
    >>> found = wl.explain.top_pairs(features, 1, frame=Frame("raw"))
    >>> found.merged.first, found.merged.second, found.opposed.first, found.opposed.second
    (tensor([0]), tensor([1]), tensor([0]), tensor([2]))
    """
    check_search(features, k, labels, inputs, groups, block)
    total = count_pairs(len(features), labels)
    if k > total:
        raise UsageError(
            f"There are only {total} pairs under the label condition; k = {k} asks for more. Lower "
            f"k."
        )
    view = View(features, frame or centered(features), labels)
    conditions = Conditions(labels, inputs, groups, least_distance)
    judge = Judge(view, conditions, block)
    sieve = Sieve(view, judge, k)
    size, done = len(features), 0
    space = torch.empty(block * block, device=features.device)
    for panel in range(0, size, PANEL * block):
        left = view.units(panel, min(panel + PANEL * block, size))
        for start in range(panel, size, block):
            right = left[start - panel : start - panel + block]
            if start >= panel + len(left):
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
            progress("Searching", min(done, size * (size + 1) // 2), size * (size + 1) // 2)
    return TopPairs(sieve.up.result(), sieve.down.result(), total, view.undirected())


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


def check_search(
    features: Tensor,
    k: int,
    labels: Tensor | None,
    inputs: Tensor | None,
    groups: Tensor | None,
    block: int,
) -> None:
    """Refuse what cannot be searched."""
    if not features.is_floating_point() or features.ndim != 2 or features.shape[1] == 0:
        raise ShapeError(
            f"Features must be a floating tensor (N, D); got {tuple(features.shape)} "
            f"{features.dtype}. Flatten them with x.flatten(1)."
        )
    if k < 1 or block < 1:
        raise UsageError(f"k and block must be at least 1; got {k} and {block}.")
    if len(features) < 2:
        raise ShapeError(f"A pair needs two samples; got features {tuple(features.shape)}.")
    if labels is not None:
        labels = labels_of(labels, len(features))
        if bool((labels == labels[0]).all()):
            raise LabelError(
                f"All {len(labels)} samples have the label {int(labels[0])}, so no pair has "
                f"different labels. Give samples of more classes, or drop the label condition."
            )
    for name, given in (("inputs", inputs), ("groups", groups)):
        if given is not None and len(given) != len(features):
            raise ShapeError(
                f"There must be one row of {name} for each sample: {len(features)} samples, "
                f"{len(given)} rows."
            )
