"""Laws and oracles of the frames."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import OAS

import worldline as wl
from worldline.errors import ShapeError, UsageError
from worldline.geometry import Moments


def data(seed: int = 0, samples: int = 300, width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(samples, width, generator=generator, dtype=torch.float64) @ mixing + 5


def fitted(x: torch.Tensor, batch: int, *, scatter: bool = True) -> Moments:
    moments = Moments(x.shape[1], scatter=scatter)
    for part in x.split(batch):
        moments.update(part)
    return moments


@pytest.mark.law
@given(st.integers(1, 300), st.integers(0, 1000))
def test_streaming_gives_the_same_frame_for_any_batch_size(batch: int, seed: int) -> None:
    x = data(seed)
    whole, parts = fitted(x, len(x)), fitted(x, batch)
    torch.testing.assert_close(parts.mean, x.mean(0))
    torch.testing.assert_close(parts.covariance(), whole.covariance())
    torch.testing.assert_close(parts.covariance(), x.T.cov(correction=0))


@pytest.mark.law
def test_merging_shards_is_seeing_all() -> None:
    x = data()
    left, right = fitted(x[:100], 30), fitted(x[100:], 70)
    left.merge(right)
    left.merge(Moments(6, scatter=True))
    torch.testing.assert_close(left.covariance(), x.T.cov(correction=0))


@pytest.mark.law
def test_centered_frame_is_translation_invariant_and_raw_is_not() -> None:
    x = data()
    shift = torch.full((6,), 40.0, dtype=torch.float64)
    a, b = x[:50], x[50:100]
    here, there = fitted(x, 64).frame("centered"), fitted(x + shift, 64).frame("centered")
    torch.testing.assert_close(
        wl.rapidity(here(a), here(b)), wl.rapidity(there(a + shift), there(b + shift))
    )
    raw = fitted(x, 64).frame("raw")
    assert torch.equal(raw(a), a)
    assert (wl.rapidity(a + shift, b + shift) > wl.rapidity(a, b)).all()


@pytest.mark.law
def test_whitened_features_are_nearly_white() -> None:
    x = data(samples=20_000)
    seen = fitted(x, 1000).frame("whitened")(x)
    torch.testing.assert_close(seen.T.cov(), torch.eye(6, dtype=torch.float64), atol=0.02, rtol=0)


@pytest.mark.oracle
@pytest.mark.parametrize("samples", [10, 40, 500])
def test_shrinkage_is_scikit_learns_oas(samples: int) -> None:
    x = data(samples=samples)
    frame = fitted(x, 7).frame("whitened")
    expected = torch.from_numpy(OAS().fit(x.numpy()).covariance_)
    torch.testing.assert_close(
        torch.linalg.inv(frame.map @ frame.map), expected, rtol=1e-8, atol=1e-8
    )


@pytest.mark.law
def test_constant_features_can_be_whitened() -> None:
    frame = fitted(torch.ones(10, 3), 5).frame("whitened")
    assert torch.equal(frame.map, torch.eye(3, dtype=torch.float64))


@pytest.mark.message
def test_messages() -> None:
    with pytest.raises(
        UsageError, match="Unknown frame 'white'; choose one of raw, centered, whitened"
    ):
        Moments(2).frame("white")
    with pytest.raises(UsageError, match="needs reference samples; none have been seen"):
        Moments(2).frame("centered")
    with pytest.raises(ShapeError, match=r"Expected features \(N, 2\); got \(3, 4\)"):
        Moments(2).update(torch.ones(3, 4))
    with pytest.raises(UsageError, match="scatter=True"):
        fitted(data(), 10, scatter=False).frame("whitened")
    with pytest.raises(UsageError, match="Cannot merge"):
        fitted(data(), 10).merge(fitted(data(), 10, scatter=False))
