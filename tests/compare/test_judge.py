"""Judging: slow formulas, laws of the nulls and intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

import worldline as wl
from worldline.errors import ShapeError, UsageError
from worldline.statistics.nodes import (
    double_centred,
    mantel,
    ranks,
    standard_double,
    standard_within,
)

ONES = np.ones(9)
OFF = ~np.eye(9, dtype=bool)


def tables(seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(9, 9)).round(1)  # rounded, so that there are ties
    return truth, (truth + noise * generator.normal(size=(9, 9))).round(1)


@pytest.mark.oracle
def test_ranks_are_scipys_also_with_repeated_rows() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3)).round(0)
    np.testing.assert_allclose(ranks(values, np.ones((12, 3))) + 0.5, rankdata(values, axis=0))
    weights = np.random.default_rng(1).integers(0, 3, (12, 1)) * np.ones((1, 3))
    rows = np.repeat(np.arange(12), weights[:, 0].astype(int))
    np.testing.assert_allclose(ranks(values, weights)[rows] + 0.5, rankdata(values[rows], axis=0))


@pytest.mark.oracle
def test_statistics_equal_spearman_also_of_resampled_models() -> None:
    a, b = tables()
    slow = np.mean([spearmanr(np.delete(a[:, t], t), np.delete(b[:, t], t))[0] for t in range(9)])
    assert (standard_within(a, ONES) * standard_within(b, ONES)).sum() == pytest.approx(slow)
    rest = [double_centred(it, ONES)[OFF] for it in (a, b)]
    assert (standard_double(a, ONES) * standard_double(b, ONES)).sum() == pytest.approx(
        spearmanr(*rest)[0]
    )
    drawn = np.random.default_rng(2).integers(0, 9, 9)
    weights = np.bincount(drawn, minlength=9).astype(float)
    slow = np.mean(
        [spearmanr(*(it[[s for s in drawn if s != t], t] for it in (a, b)))[0] for t in drawn]
    )
    assert (standard_within(a, weights) * standard_within(b, weights)).sum() == pytest.approx(slow)


@pytest.mark.oracle
def test_double_centring_is_least_squares_off_the_diagonal() -> None:
    a, _ = tables()
    rows, columns = np.nonzero(OFF)
    design = np.zeros((72, 18))
    design[np.arange(72), rows] = 1
    design[np.arange(72), 9 + columns] = 1
    slow = a[OFF] - design @ np.linalg.lstsq(design, a[OFF], rcond=None)[0]
    np.testing.assert_allclose(double_centred(a, ONES)[OFF], slow, atol=1e-9)


@pytest.mark.oracle
def test_partial_equals_regression_of_ranks() -> None:
    a, b = tables()
    other = tables(5)[0]
    values = []
    for t in range(9):
        rows = np.arange(9) != t
        design = np.stack([np.ones(8), rankdata(other[rows, t])], 1)
        left = []
        for it in (a, b):
            mine = rankdata(it[rows, t])
            left.append(mine - design @ np.linalg.lstsq(design, mine, rcond=None)[0])
        values.append(np.corrcoef(*left)[0, 1])
    found = (standard_within(a, ONES, [other]) * standard_within(b, ONES, [other])).sum()
    assert found == pytest.approx(np.mean(values))


@pytest.mark.law
def test_a_perfect_score_is_one_and_its_rivals_are_behind() -> None:
    a, b = (torch.from_numpy(it) for it in tables())
    found = wl.compare.judge(
        a.exp(), a, baselines={"noisy": b, "source": torch.arange(9.0)}, resamples=100
    )
    assert found.predicted.within_target.value == pytest.approx(1)
    assert found.predicted.double_centred.value < 1  # exp is monotone, but not after row effects
    assert found.predicted.within_target.p == 0.001
    assert found.rivals["source"].double_centred.value is None
    ahead = found.ahead["noisy"][0]
    assert ahead.interval[0] > 0
    assert ahead.value == pytest.approx(1 - found.rivals["noisy"].within_target.value)
    assert found.predicted.partial.value == pytest.approx(1)


@pytest.mark.law
def test_mantel_is_uniform_under_the_null() -> None:
    generator = np.random.default_rng(0)
    values = []
    for number in range(200):
        one, two = (standard_double(generator.normal(size=(6, 6)), np.ones(6)) for _ in range(2))
        values.append(mantel(one, two, permutations=39, seed=number))
    assert abs(np.mean(np.array(values) <= 0.1) - 0.1) < 4 * (0.09 / 200) ** 0.5
    assert 0.4 < np.mean(values) < 0.62


@pytest.mark.law
def test_intervals_cover_what_more_models_show() -> None:
    """The value over 60 models lies in the interval of 15 of them, most of the time."""
    generator = np.random.default_rng(0)
    place = generator.normal(size=(60, 2))
    truth = -np.linalg.norm(place[:, None] - place[None], axis=-1)
    score = truth + 0.5 * generator.normal(size=truth.shape)
    value = (standard_within(score, np.ones(60)) * standard_within(truth, np.ones(60))).sum()
    hits = 0
    for _ in range(20):
        few = generator.choice(60, 15, replace=False)
        pick = np.ix_(few, few)
        found = wl.compare.judge(
            torch.from_numpy(score[pick]),
            torch.from_numpy(truth[pick]),
            resamples=100,
            permutations=1,
        )
        low, high = found.predicted.within_target.interval
        hits += low <= value <= high
    assert hits >= 14  # percentile intervals of few models run short


@pytest.mark.law
def test_leave_one_group_out_never_sees_the_groups_it_predicts() -> None:
    truth, score = (torch.from_numpy(it) for it in tables())
    truth, score = truth[:8, :8], score[:8, :8]
    groups = list("aabbccdd")
    first = wl.compare.leave_one_group_out({"score": score}, truth, groups)
    for rows in (slice(0, 2), slice(6, 8)):
        spoiled = truth.clone()
        spoiled[rows] += 100 * torch.randn(
            2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        spoiled[:, rows] += 100 * torch.randn(
            8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        again = wl.compare.leave_one_group_out({"score": score}, spoiled, groups)
        torch.testing.assert_close(again[rows], first[rows])
        torch.testing.assert_close(again[:, rows], first[:, rows])
        assert not torch.allclose(again[2:4, 4:6], first[2:4, 4:6])


@pytest.mark.message
def test_messages() -> None:
    good = torch.rand(5, 5)
    with pytest.raises(
        ShapeError, match=r"predicted must be \(5, 5\), one row a source.* got \(4, 4\)"
    ):
        wl.compare.judge(torch.rand(4, 4), good)
    with pytest.raises(
        UsageError, match="At least four models are needed to judge a prediction; got 3"
    ):
        wl.compare.judge(torch.rand(3, 3), torch.rand(3, 3))
    broken = good.clone()
    broken[2, 1] = torch.nan
    with pytest.raises(
        ShapeError, match=r"measured must be finite off the diagonal; rows \[2\] are not"
    ):
        wl.compare.judge(good, broken)
    with pytest.raises(UsageError, match="got 5 labels of 2 groups"):
        wl.compare.leave_one_group_out({"a": good}, good, list("aabbb"))
