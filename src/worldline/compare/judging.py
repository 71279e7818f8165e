"""How well a prediction of transfer agrees with what attacks measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import ShapeError, UsageError
from worldline.statistics.nodes import (
    Array,
    Standardise,
    mantel,
    node_bootstrap,
    standard_double,
    standard_within,
)

__all__ = ["Agreement", "Judgement", "Verdict", "judge", "leave_one_group_out"]


@dataclass(frozen=True)
class Agreement:
    """One rank correlation between a prediction and the measured transfer.

    Attributes:
        value: in [−1, 1]; None where the tables do not vary.
        interval: 95 % percentile interval over resampled models; None where the value is.
        p: one-sided Mantel permutation p over relabelled models; None where the value is.
    """

    value: float | None
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True)
class Verdict:
    """One prediction against the measured transfer.

    Attributes:
        within_target: mean over targets of Spearman's correlation over sources: which stand-in for
            *this* target?
        double_centred: Spearman's correlation of what row and column effects leave: who shares with
            whom?
        partial: as ``within_target``, of what the baselines leave; None without baselines.
    """

    within_target: Agreement
    double_centred: Agreement
    partial: Agreement | None


@dataclass(frozen=True)
class Judgement:
    """A prediction and its rivals, judged on the same transfer with the same resampled models.

    Attributes:
        names: the models.
        predicted: the prediction's :class:`Verdict`.
        rivals: the same for each baseline (without ``partial``).
        ahead: by rival, prediction minus rival, (within target, double-centred), each with its
            interval; p is None.
        resamples, permutations, seed: of the intervals and of the tests.
    """

    names: tuple[str, ...]
    predicted: Verdict
    rivals: Mapping[str, Verdict]
    ahead: Mapping[str, tuple[Agreement, Agreement]]
    resamples: int
    permutations: int
    seed: int


def judge(
    predicted: Float[Tensor, "M M"],
    measured: Float[Tensor, "M M"],
    *,
    names: Sequence[str] | None = None,
    baselines: Mapping[str, Tensor] | None = None,
    beyond: Sequence[str] | None = None,
    resamples: int = 1000,
    permutations: int = 999,
    seed: int = 0,
) -> Judgement:
    """Judge a prediction of transfer against what attacks measured.

    * Within target t: Spearman's ρ over sources s ≠ t of predicted[s, t] and measured[s, t],
      averaged over t.
    * Double-centred: Spearman's ρ over all s ≠ t after row and column effects (fitted off the
      diagonal) are removed.
    * Partial: within target, after a linear fit of the ranks on the ranks of the baselines.

    Args:
        predicted, measured: (M, M), rows sources, columns targets, from :func:`predict` and
            :func:`measure` (their ``.score`` and ``.rate``). The diagonal is left out. Other units
            do not matter: only ranks count.
        names: of the models; default: their numbers.
        baselines: name → (M, M) rival, or (M,) for a quantity of the source model.
        beyond: the baselines that the partial correlation takes out; default: all.
        resamples, permutations, seed: of the node bootstrap and the Mantel test.

    Returns:
        :class:`Judgement`. 1: the order is right; 0: no better than chance.

    Raises:
        ShapeError: tables that do not fit.
        UsageError: fewer than four models.

    Cost: O(resamples · M² log M) for each table.

    Sources: Mantel, Cancer Research 27:209 (1967); Snijders and Borgatti, Connections 22:161
    (1999).

    >>> import torch, worldline as wl
    >>> rates = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    >>> verdict = wl.compare.judge(2 * rates + 1, rates, resamples=50, permutations=99).predicted
    >>> round(verdict.within_target.value, 6), verdict.within_target.p
    (1.0, 0.01)
    """
    truth = _table("measured", measured, len(measured))
    models = len(truth)
    if models < 4:
        raise UsageError(f"At least four models are needed to judge a prediction; got {models}.")
    rivals = {name: _table(name, table, models) for name, table in (baselines or {}).items()}
    score = _table("predicted", predicted, models)
    kinds: list[Standardise] = [standard_within, standard_double]
    if taken_out := [rivals[name] for name in (beyond if beyond is not None else rivals)]:
        kinds.append(partial(standard_within, beyond=taken_out))
    ones = np.ones(models)

    def statistics(weights: Array) -> Array:
        """(tables, statistics) under these weights; the partial one only for the prediction."""
        out = np.full((1 + len(rivals), len(kinds)), np.nan)
        for column, kind in enumerate(kinds):
            goal = kind(truth, weights)
            tables = [score] if column == 2 else [score, *rivals.values()]
            for row, table in enumerate(tables):
                mine = kind(table, weights)
                out[row, column] = (mine * goal).sum() if mine.any() and goal.any() else np.nan
        return out

    values = statistics(ones)
    spread = node_bootstrap(statistics, models, resamples=resamples, seed=seed)

    def verdict(row: int, table: Array) -> Verdict:
        found = [
            _agreement(
                values[row, column],
                spread[:, row, column],
                mantel(kind(table, ones), kind(truth, ones), permutations=permutations, seed=seed),
            )
            for column, kind in enumerate(kinds[: 3 if row == 0 else 2])
        ]
        return Verdict(found[0], found[1], found[2] if len(found) > 2 else None)

    return Judgement(
        names=tuple(names) if names is not None else tuple(map(str, range(models))),
        predicted=verdict(0, score),
        rivals={name: verdict(row, table) for row, (name, table) in enumerate(rivals.items(), 1)},
        ahead={
            name: _ahead(values[0] - values[row], spread[:, 0] - spread[:, row])
            for row, name in enumerate(rivals, 1)
        },
        resamples=resamples,
        permutations=permutations,
        seed=seed,
    )


def leave_one_group_out(
    features: Mapping[str, Tensor], measured: Float[Tensor, "M M"], groups: Sequence[str]
) -> Float[Tensor, "M M"]:
    """Scores combined by a fit that never saw the architectures that it is judged on.

    For each pair of groups (g, h), rates are regressed on the features over all pairs of models
    from other groups, within targets (each column less its mean), and the fit predicts the pairs
    with source in g and target in h.

    Args:
        features: name → (M, M) score.
        measured: (M, M) rates, rows sources.
        groups: one label for each model: its architecture.

    Returns:
        (M, M) fitted scores, zero on the diagonal; to be judged like any other. Values compare
        within a target.

    Raises:
        ShapeError: tables that do not fit.
        UsageError: fewer than four groups.

    Cost: one small least-squares fit for each unordered pair of groups.

    >>> import torch, worldline as wl
    >>> rates = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    >>> fitted = wl.compare.leave_one_group_out({"twice": 2 * rates}, rates, list("aabbccdd"))
    >>> judged = wl.compare.judge(fitted, rates, resamples=20, permutations=19)
    >>> judged.predicted.within_target.value > 0.9
    True
    """
    truth = _table("measured", measured, len(measured))
    tables = [_table(name, table, len(truth)) for name, table in features.items()]
    labels = np.asarray(groups)
    kinds = sorted(set(groups))
    if len(labels) != len(truth) or len(kinds) < 4:
        raise UsageError(
            f"Leave-one-group-out needs one group for each of {len(truth)} models and at least "
            f"four groups; got {len(labels)} labels of {len(kinds)} groups."
        )
    out = np.zeros_like(truth)
    for place, one in enumerate(kinds):
        for other in kinds[place:]:
            seen = (labels != one) & (labels != other)
            pick = np.ix_(seen, seen)
            centred = [_within(table[pick]) for table in (*tables, truth)]
            off = ~np.eye(int(seen.sum()), dtype=bool)
            rows = np.stack([it[off] for it in centred[:-1]], 1)
            slopes = np.linalg.lstsq(rows, centred[-1][off], rcond=None)[0]
            fit = sum(slope * table for slope, table in zip(slopes, tables, strict=True))
            held = np.outer(labels == one, labels == other)
            out = np.where(held | held.T, fit, out)
    np.fill_diagonal(out, 0.0)
    return torch.from_numpy(out)


def _within(table: Array) -> Array:
    """Each column less its mean off the diagonal."""
    off = ~np.eye(len(table), dtype=bool)
    centred: Array = table - (table * off).sum(0) / off.sum(0)
    return centred


def _table(name: str, values: Tensor, models: int) -> Array:
    table = values.detach().cpu().double().numpy()
    if table.ndim == 1:
        table = np.repeat(table[:, None], len(table), axis=1)
    if table.shape != (models, models):
        raise ShapeError(
            f"{name} must be ({models}, {models}), one row a source and one column a target; got "
            f"{tuple(values.shape)}. Predict and measure the same models in the same order."
        )
    table = np.array(table)
    np.fill_diagonal(table, 0.0)
    if not np.isfinite(table).all():
        sources = np.unique(np.nonzero(~np.isfinite(table))[0]).tolist()
        raise ShapeError(
            f"{name} must be finite off the diagonal; rows {sources[:5]} are not. "
            "Leave those models out."
        )
    return table


def _agreement(value: float, spread: Array, p: float | None) -> Agreement:
    known = spread[~np.isnan(spread)]
    if np.isnan(value) or not len(known):
        return Agreement(None, None, None)
    low, high = np.quantile(known, (0.025, 0.975))
    return Agreement(float(value), (float(low), float(high)), p)


def _ahead(values: Array, spread: Array) -> tuple[Agreement, Agreement]:
    within, double = (_agreement(values[it], spread[:, it], None) for it in (0, 1))
    return within, double
