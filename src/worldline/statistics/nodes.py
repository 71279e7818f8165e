"""Statistics for (M, M) matrices of model pairs, with nulls that respect nodes.

Pairs that share a model depend on each other, so neither intervals nor tests may treat the M(M−1)
pairs as a sample: the models are resampled (node bootstrap, Snijders and Borgatti 1999) or
relabelled (Mantel 1967; QAP). Rows are sources, columns are targets; the diagonal never counts.

Each statistic is a sum of products of two standardised tables, Σ P_st Q_st: one product for each
permutation, and resampled models are weights, so that ranks come from cumulative sums over an order
that is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "Array",
    "Standardise",
    "double_centred",
    "mantel",
    "node_bootstrap",
    "ranks",
    "standard_double",
    "standard_within",
]

Array = npt.NDArray[np.float64]
Standardise = Callable[[Array, Array], Array]
"""``standardise(table, weights)``: (M, M), (M,) → (M, M) whose products are the statistic."""


def ranks(columns: Array, weights: Array) -> Array:
    """Mid-ranks in each column, where a row counts as often as its weight says.

    Args:
        columns: (S, T).
        weights: (S, T) ≥ 0.

    Returns:
        (S, T): the weight of smaller values, and half of that of equal ones.

    >>> import numpy as np
    >>> from worldline.statistics.nodes import ranks
    >>> ranks(np.array([[5.0], [1.0], [5.0]]), np.ones((3, 1))).T
    array([[2. , 0.5, 2. ]])
    """
    rows = len(columns)
    order = np.argsort(columns, axis=0, kind="stable")
    values = np.take_along_axis(columns, order, axis=0)
    place = np.broadcast_to(np.arange(rows)[:, None], columns.shape)
    starts = np.ones(columns.shape, dtype=bool)
    starts[1:] = values[1:] != values[:-1]
    ends = np.ones(columns.shape, dtype=bool)
    ends[:-1] = starts[1:]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=0)
    last = np.minimum.accumulate(np.where(ends, place, rows - 1)[::-1], axis=0)[::-1]
    sorted_weights = np.take_along_axis(weights, order, axis=0)
    upto = np.cumsum(sorted_weights, axis=0)
    before = upto - sorted_weights
    middle = (
        np.take_along_axis(before, first, axis=0) + np.take_along_axis(upto, last, axis=0)
    ) / 2
    out = np.empty_like(middle)
    np.put_along_axis(out, order, middle, axis=0)
    return out


def double_centred(table: Array, weights: Array, *, rounds: int = 200) -> Array:
    """What row and column effects, fitted by least squares off the diagonal, leave of a table.

    >>> import numpy as np
    >>> from worldline.statistics.nodes import double_centred
    >>> table = np.arange(4.0)[:, None] + np.array([[1.0, 5.0, 2.0, 0.0]])
    >>> bool(np.allclose(double_centred(table, np.ones(4)), 0))
    True
    """
    pairs = pair_weights(weights)
    # of a column; pairs are symmetric
    share = pairs / np.maximum(pairs.sum(0, keepdims=True), 1e-300)
    rest = np.array(table, dtype=np.float64)
    for _ in range(rounds):
        rest -= (rest * share.T).sum(1)[:, None]
        shift = (rest * share).sum(0)
        rest -= shift[None, :]
        if np.abs(shift).max() < 1e-13 * max(1.0, float(np.abs(table).max())):
            break
    np.fill_diagonal(rest, 0.0)
    return rest


def standard_within(table: Array, weights: Array, beyond: Sequence[Array] = ()) -> Array:
    """For the mean over targets of Spearman's correlation over sources.

    Beyond other tables, where any are given (partial Spearman): of what a linear fit on the others'
    ranks leaves of the ranks, within each target.
    """
    pairs = pair_weights(weights)
    mine = _column_scores(table, pairs)
    if beyond:
        others = np.stack(
            [np.ones_like(mine), *(_column_scores(other, pairs) for other in beyond)]
        )  # (B, S, T)
        design = np.moveaxis(others, (0, 2), (2, 0))  # (T, S, B)
        weighted = design * pairs.T[:, :, None]
        fit = (
            np.linalg.pinv(np.swapaxes(design, 1, 2) @ weighted)
            @ np.swapaxes(weighted, 1, 2)
            @ mine.T[:, :, None]
        )
        mine = mine - (design @ fit)[:, :, 0].T
    size = np.sqrt((mine**2 * pairs).sum(0))
    known = size > 1e-9
    scaled = np.where(known, mine / np.where(known, size, 1.0), 0.0) * np.sqrt(pairs)
    share = weights * known
    standard: Array = scaled * np.sqrt(share / max(share.sum(), 1e-300))
    return standard


def standard_double(table: Array, weights: Array) -> Array:
    """For Spearman's correlation over all pairs of what row and column effects leave."""
    pairs = pair_weights(weights)
    off = pairs > 0
    out = np.zeros_like(pairs)
    rest = double_centred(table, weights)[off]
    if not rest.size or np.ptp(rest) <= 1e-12 * max(1.0, float(np.abs(table).max())):
        return out
    counts = pairs[off]
    place = ranks(rest[:, None], counts[:, None])[:, 0]
    place -= (place * counts).sum() / counts.sum()
    out[off] = place * np.sqrt(counts / (place**2 * counts).sum())
    return out


def node_bootstrap(
    statistic: Callable[[Array], Array], models: int, *, resamples: int, seed: int
) -> Array:
    """(R, …) values of ``statistic(weights)`` with the models drawn again.

    Two copies of one model are no pair.
    """
    generator = np.random.default_rng(seed)
    drawn = (
        np.bincount(generator.integers(0, models, models), minlength=models)
        for _ in range(resamples)
    )
    return np.stack([statistic(weights.astype(np.float64)) for weights in drawn])


def mantel(one: Array, two: Array, *, permutations: int, seed: int) -> float:
    """One-sided p: the share of relabellings, the true one included, that reach its Σ P Q."""
    generator = np.random.default_rng(seed)
    value = (one * two).sum() - 1e-12
    orders = (generator.permutation(len(one)) for _ in range(permutations))
    reached = sum(bool((one[np.ix_(order, order)] * two).sum() >= value) for order in orders)
    return (reached + 1) / (permutations + 1)


def pair_weights(weights: Array) -> Array:
    """How often each ordered pair of different models occurs."""
    pairs = np.outer(weights, weights)
    np.fill_diagonal(pairs, 0.0)
    return pairs


def _column_scores(table: Array, pairs: Array) -> Array:
    """Ranks within each column less their mean, in units of the column's weight."""
    place = ranks(np.asarray(table, dtype=np.float64), pairs)
    total = np.maximum(pairs.sum(0), 1e-300)
    centred: Array = (place - (place * pairs).sum(0) / total) / total
    return centred
