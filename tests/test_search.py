"""The exact search of pairs: against a double loop, for any tiles, with ties and conditions."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import worldline as wl
from worldline.errors import BoundsError, LabelError, RunError, ShapeError, UsageError
from worldline.explain import TopPairs, approximate_pairs, count_pairs, top_pairs
from worldline.explain.sampling import class_pairs, groups_of, random_pairs
from worldline.explain.view import View, centered
from worldline.geometry import Frame, Moments
from worldline.runs.features import feature_store


def slow(
    features: Tensor,
    k: int,
    frame: Frame,
    labels: Tensor | None = None,
    inputs: Tensor | None = None,
    least: float = 0.0,
    groups: Tensor | None = None,
) -> dict[int, list[tuple[float, int, int]]]:
    """By the definition: every pair in float64, by conditions and sign, in order of −|φ|, index."""
    seen = View(features, frame).exact(torch.arange(len(features)))
    found: dict[int, list[tuple[float, int, int]]] = {1: [], -1: []}
    for i in range(len(features)):
        for j in range(i + 1, len(features)):
            if labels is not None and labels[i] == labels[j]:
                continue
            if groups is not None and groups[i] == groups[j]:
                continue
            if inputs is not None:
                apart = float(torch.linalg.vector_norm(inputs[i].double() - inputs[j].double()))
                if apart < least or apart == 0:
                    continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = float(wl.rapidity(seen[i : i + 1], seen[j : j + 1]))
            if abs(value) > 0:  # neither 0 nor NaN
                found[1 if value > 0 else -1].append((-abs(value), i, j))
    return {sign: sorted(rows)[:k] for sign, rows in found.items()}


def listed(found: TopPairs) -> dict[int, list[tuple[float, int, int]]]:
    return {
        sign: [
            (-abs(v), i, j)
            for v, i, j in zip(
                it.rapidity.tolist(), it.first.tolist(), it.second.tolist(), strict=True
            )
        ]
        for sign, it in ((1, found.merged), (-1, found.opposed))
    }


@pytest.mark.oracle
@given(data=st.data())
def test_search_equals_the_double_loop_for_any_tiles(data: st.DataObject) -> None:
    """Small integers make ties, copies, opposite and zero vectors common; others are normal."""
    size, width = data.draw(st.integers(2, 20)), data.draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    integers = data.draw(st.booleans())
    features = torch.randint(-1, 3, (size, width), generator=generator).float()
    if not integers:
        features = torch.randn(size, width, generator=generator)
    labels = torch.randint(0, 3, (size,), generator=generator) if data.draw(st.booleans()) else None
    inputs = (
        torch.randint(0, 3, (size, 2), generator=generator).float()
        if data.draw(st.booleans())
        else None
    )
    groups = torch.randint(0, 9, (size,), generator=generator) if data.draw(st.booleans()) else None
    least = data.draw(st.sampled_from([0.0, 1.0, 2.0, 2.5]))
    pairs = count_pairs(size, labels)
    if pairs == 0:
        return
    k = data.draw(st.integers(1, pairs))
    frame = Frame("raw") if data.draw(st.booleans()) else None
    if frame is None and integers:
        frame = Frame("centered", origin=torch.full((width,), 0.5, dtype=torch.float64))
    expected = slow(features, k, frame or centered(features), labels, inputs, least, groups)
    options = {
        "frame": frame,
        "labels": labels,
        "inputs": inputs,
        "least_distance": least,
        "groups": groups,
    }
    for block in {1, data.draw(st.integers(2, 25)), 1024}:
        found = top_pairs(features, k, block=block, **options)
        assert listed(found) == expected
        strongest = found.strongest(k)
        assert (
            listed(TopPairs(strongest, strongest, 0, strongest.first))[1]
            == sorted(expected[1] + expected[-1])[:k]
        )


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("raw", torch.float32),
        ("centered", torch.float64),
        ("centered", torch.float16),
        ("whitened", torch.float32),
    ],
)
def test_answer_does_not_depend_on_the_tiles(name, dtype) -> None:
    """Clusters by class, where most early thresholds are wrong, and far pairs alone."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(5, (500,), generator=generator)
    features = (
        torch.randn(500, 24, generator=generator) + torch.randn(5, 24, generator=generator)[labels]
    )
    inputs = features[:, :6] + 0.5 * torch.randn(500, 6, generator=generator)
    features = features.to(dtype)
    moments = Moments(24, scatter=True)
    moments.update(features)
    frame = moments.frame(name)
    least = float(torch.pdist(inputs[:300]).quantile(0.7))
    answers = [
        top_pairs(
            features,
            200,
            frame=frame,
            labels=labels,
            inputs=inputs,
            least_distance=least,
            block=block,
        )
        for block in (1024, 200, 97)
    ]
    for answer in answers[1:]:
        assert listed(answer) == listed(answers[0])
        torch.testing.assert_close(
            answer.merged.distance, answers[0].merged.distance, rtol=0, atol=0
        )
    assert len(answers[0].merged) == len(answers[0].opposed) == 200
    assert float(answers[0].merged.distance.min()) >= least
    expected = slow(features[:40], 40, frame, labels[:40], inputs[:40], least)
    small = top_pairs(
        features[:40], 40, frame=frame, labels=labels[:40], inputs=inputs[:40], least_distance=least
    )
    assert listed(small) == expected


@pytest.mark.law
def test_the_default_frame_is_the_mean() -> None:
    features = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) + 1
    moments = Moments(3)
    moments.update(features)
    torch.testing.assert_close(centered(features).origin, moments.mean)


@pytest.mark.law
def test_near_ties_are_ordered_in_float64() -> None:
    """Angles that differ by 1e-9: float32 products cannot tell them apart, the answer does."""
    angles = torch.tensor([0.0, 1e-3, 2e-3 + 1e-9, 3e-3 + 3e-9, 4e-3 + 6e-9], dtype=torch.float64)
    features = torch.stack((angles.cos(), angles.sin()), dim=1)
    found = top_pairs(features, 4, frame=Frame("raw"))
    assert list(zip(found.merged.first.tolist(), found.merged.second.tolist(), strict=True)) == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
    ]


@pytest.mark.law
def test_coarser_products_do_not_change_the_answer() -> None:
    features = torch.randn(300, 20, generator=torch.Generator().manual_seed(0))
    fine = top_pairs(features, 20)
    torch.set_float32_matmul_precision("medium")
    try:
        coarse = top_pairs(features, 20)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert listed(coarse) == listed(fine)


@pytest.mark.law
def test_collapsed_features_give_the_first_pairs() -> None:
    """All directions equal: every pair is at +∞; ties go by index, more of them than can wait."""
    features = torch.ones(300, 3) * torch.arange(1, 301)[:, None]
    found = top_pairs(features, 5, frame=Frame("raw"), block=64)
    assert found.merged.rapidity.tolist() == [torch.inf] * 5
    assert found.merged.first.tolist() == [0] * 5
    assert found.merged.second.tolist() == [1, 2, 3, 4, 5]
    labels = torch.arange(300) % 2
    by_class = top_pairs(features, 151, frame=Frame("raw"), block=64, labels=labels)
    assert by_class.merged.first.tolist() == [0] * 150 + [1]
    assert by_class.merged.second.tolist() == [*range(1, 300, 2), 2]
    assert len(found.opposed) == 0


@pytest.mark.law
def test_samples_without_direction_are_named_and_in_no_pair() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    found = top_pairs(features, 6, frame=Frame("raw"))
    assert found.undirected.tolist() == [True, False, False, True]
    assert listed(found)[1] == slow(features, 6, Frame("raw"))[1]
    constant = torch.full((4, 3), 0.1)
    constant[3] = torch.tensor([1.0, 2.0, 3.0])
    seen = top_pairs(constant, 3, frame=Frame("centered", origin=constant[0].double() + 1e-9))
    assert seen.undirected.tolist() == [True, True, True, False]


@pytest.mark.law
def test_a_feature_store_is_searched_like_memory(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(500, 16, generator=generator)
    store = feature_store(tmp_path / "features", 500, 16)
    store.copy_(features)
    again = feature_store(tmp_path / "features", 500, 16)
    assert torch.equal(again, features)
    assert listed(top_pairs(again, 50, block=100)) == listed(top_pairs(features, 50))
    with pytest.raises(RunError, match=r"holds 32000 bytes, not the 36000 of 500 × 18 float32"):
        feature_store(tmp_path / "features", 500, 18)
    with pytest.raises(RunError, match="cannot be opened"):
        feature_store(tmp_path / "nowhere" / "features", 5, 1)


@pytest.mark.law
def test_random_pairs_are_uniform_over_the_eligible_ones() -> None:
    labels = torch.tensor([0, 1, 1, 2, 0, 1])
    first, second = random_pairs(6, labels, 12, torch.Generator().manual_seed(0))
    assert bool((labels[first] != labels[second]).all())
    counts = torch.zeros(6, 6)
    for seed in range(2000):
        first, second = random_pairs(6, labels, 5, torch.Generator().manual_seed(seed))
        counts.index_put_(
            (torch.minimum(first, second), torch.maximum(first, second)),
            torch.ones(5),
            accumulate=True,
        )
    eligible = counts[counts > 0]
    assert len(eligible) == count_pairs(6, labels)
    assert (
        float((eligible - 10_000 / len(eligible)).abs().max()) < 5 * (10_000 / len(eligible)) ** 0.5
    )
    everyone = random_pairs(6, labels, 15, torch.Generator())
    assert len(everyone[0]) == count_pairs(6, labels)
    first, second = random_pairs(50, None, 100, torch.Generator().manual_seed(0))
    assert bool((first != second).all())


@pytest.mark.law
def test_class_pairs_fill_every_cell() -> None:
    labels = torch.tensor([3, 3, 3, 5, 5, 9])
    first, second, cell = class_pairs(labels, 2, torch.Generator().manual_seed(0))
    assert cell.bincount(minlength=9).tolist() == [2, 2, 2, 0, 1, 2, 0, 0, 0]
    assert bool((first != second).all())
    large = torch.arange(200) % 2
    first, second, cell = class_pairs(large, 7, torch.Generator().manual_seed(0))
    assert cell.bincount(minlength=4).tolist() == [7, 7, 0, 7]
    assert torch.equal(2 * large[first] + large[second], cell)
    assert bool((first != second).all())


@pytest.mark.law
def test_copies_are_recognised() -> None:
    x = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0], [0.0, 1.0]])
    assert groups_of(x).tolist() == [0, 0, 1, 0]


@pytest.mark.message
def test_searches_that_cannot_be() -> None:
    features = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    for options, error, words in (
        ({"k": 46}, UsageError, "only 45 pairs under the label condition; k = 46"),
        ({"k": 0}, UsageError, "at least 1; got 0"),
        ({"k": 1, "labels": torch.ones(10).long()}, LabelError, "All 10 samples have the label 1"),
        ({"k": 1, "labels": torch.ones(9).long()}, LabelError, "10 samples, 9 labels"),
        (
            {"k": 1, "inputs": torch.ones(9, 2)},
            ShapeError,
            "one row of inputs for each sample: 10 samples, 9 rows",
        ),
        (
            {"k": 1, "features": torch.ones(10)},
            ShapeError,
            r"floating tensor \(N, D\); got \(10,\)",
        ),
        ({"k": 1, "features": torch.ones(1, 3)}, ShapeError, "two samples"),
        (
            {"k": 1, "features": features.index_fill(0, torch.tensor([4, 7]), torch.nan)},
            BoundsError,
            "2 of 10 samples hold NaN or infinity, first sample 4",
        ),
    ):
        with pytest.raises(error, match=words):
            top_pairs(**{"features": features, **options})


@pytest.mark.message
def test_faiss_is_asked_for_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"pip install 'worldline\[faiss\]'"):
        approximate_pairs(torch.randn(10, 3), 1)


@pytest.mark.oracle
@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is an extra")
def test_faiss_finds_what_the_exact_search_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (800,), generator=generator)
    features = (
        torch.randn(800, 8, generator=generator) + torch.randn(4, 8, generator=generator)[labels]
    )
    inputs = torch.rand(800, 3, generator=generator)
    options = {"labels": labels, "inputs": inputs, "least_distance": 0.5}
    exact = top_pairs(features, 30, **options)
    flat = approximate_pairs(features, 30, index="flat", neighbours=799, **options)
    assert listed(flat) == listed(exact)
    assert (flat.pairs, flat.recall, exact.recall) == (exact.pairs, 1.0, None)
    rough = approximate_pairs(features, 30, index="ivf", neighbours=20, **options)
    assert 0.2 < rough.recall < 1.0
    with pytest.raises(UsageError, match="Unknown index 'tree'"):
        approximate_pairs(features, 1, index="tree")
