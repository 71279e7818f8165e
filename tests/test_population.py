"""Canonical correlations, their information and nulls, and CKA: against slow formulas, laws and
messages.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from worldline.errors import ShapeError, UsageError
from worldline.geometry.population import (
    CKA,
    canonical_correlations,
    cka,
    entanglement_spectrum,
    gaussian_information,
    independent_information,
    permutation_null,
    whiten,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def related(samples: int = 200, p: int = 5, q: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    a = normal(samples, p, seed=seed)
    return a, a[:, :q] + normal(samples, q, seed=seed + 1)


def slow_correlations(a: Tensor, b: Tensor) -> Tensor:
    """Square roots of the eigenvalues of Σaa⁻¹ Σab Σbb⁻¹ Σba."""
    a, b = a - a.mean(0), b - b.mean(0)
    product = torch.linalg.solve(a.T @ a, a.T @ b) @ torch.linalg.solve(b.T @ b, b.T @ a)
    values = torch.linalg.eigvals(product).real.clamp(min=0).sort(descending=True).values
    return values.sqrt()[: min(a.shape[1], b.shape[1])]


def slow_cka(a: Tensor, b: Tensor) -> float:
    """The unbiased estimator of Song et al. (2012), term by term."""

    def hsic(k: Tensor, other: Tensor) -> Tensor:
        n, one = len(k), torch.ones(len(k), 1, dtype=torch.float64)
        k, other = k - k.diag().diag(), other - other.diag().diag()
        terms = (k @ other).trace() + (one.T @ k @ one) * (one.T @ other @ one) / (
            (n - 1) * (n - 2)
        )
        return (terms - 2 / (n - 2) * (one.T @ k @ other @ one)) / (n * (n - 3))

    k, other = a @ a.T, b @ b.T
    return float(hsic(k, other) / (hsic(k, k) * hsic(other, other)).sqrt())


def slow_biased_cka(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    return float((a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm()))


@pytest.mark.oracle
def test_canonical_correlations_equal_the_eigenvalue_problem() -> None:
    a, b = related()
    torch.testing.assert_close(canonical_correlations(a, b, shrink=False), slow_correlations(a, b))
    torch.testing.assert_close(
        entanglement_spectrum(a, b, shrink=False),
        torch.atanh(slow_correlations(a, b)),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.law
def test_unshrunk_correlations_do_not_see_invertible_maps_and_shrunk_ones_no_rotation() -> None:
    a, b = related()
    mixed = a @ normal(5, 5, seed=7) + 3
    torch.testing.assert_close(
        canonical_correlations(mixed, b, shrink=False), canonical_correlations(a, b, shrink=False)
    )
    rotation = torch.linalg.qr(normal(5, 5, seed=8))[0]
    torch.testing.assert_close(
        canonical_correlations(2 * a @ rotation + 1, b), canonical_correlations(a, b)
    )
    assert (canonical_correlations(a, b) < canonical_correlations(a, b, shrink=False)).all()
    assert float(canonical_correlations(a, a).max()) < 1


@pytest.mark.law
def test_shrinkage_keeps_wide_features_finite() -> None:
    a, b = normal(20, 50), normal(20, 60, seed=1)
    assert float(canonical_correlations(a, b).max()) < 1
    assert math.isfinite(gaussian_information(canonical_correlations(a, b)))
    assert (whiten(torch.ones(5, 3)) == 0).all()


@pytest.mark.oracle
def test_information_is_that_of_the_covariances() -> None:
    """½ ln(|Σaa||Σbb|/|Σ|), from log-determinants."""
    a, b = related()
    together = torch.cat([a, b], 1)
    half = 0.5 * (
        torch.logdet(torch.cov(a.T))
        + torch.logdet(torch.cov(b.T))
        - torch.logdet(torch.cov(together.T))
    )
    assert gaussian_information(canonical_correlations(a, b, shrink=False)) == pytest.approx(
        float(half), rel=1e-9
    )


@pytest.mark.law
@pytest.mark.parametrize(("samples", "p", "q"), [(40, 3, 5), (60, 8, 8), (30, 1, 1)])
def test_the_null_is_exact(samples: int, p: int, q: int) -> None:
    found = torch.tensor(
        [
            gaussian_information(
                canonical_correlations(
                    normal(samples, p, seed=2 * s), normal(samples, q, seed=2 * s + 1), shrink=False
                )
            )
            for s in range(200)
        ]
    )
    error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean()) - independent_information(samples, p, q)) < 4 * error
    assert independent_information(samples, p, q) == pytest.approx(
        independent_information(samples, q, p), rel=1e-12
    )


@pytest.mark.law
def test_permutation_null_finds_what_is_there_and_nothing_else() -> None:
    a, b = related(60)
    assert permutation_null(a, b, shuffles=99).p == 0.01
    found = permutation_null(a, normal(60, 3, seed=9), shuffles=99, shrink=False)
    assert found.p > 0.05
    assert found.null_mean == pytest.approx(
        independent_information(60, 5, 3), abs=4 * found.null_sd / 99**0.5
    )


@pytest.mark.oracle
def test_cka_equals_the_slow_formulas() -> None:
    a, b = related(40)
    assert cka(a, b) == pytest.approx(slow_cka(a, b), rel=1e-10)
    assert cka(a, b, unbiased=False) == pytest.approx(slow_biased_cka(a, b), rel=1e-10)


@pytest.mark.oracle
def test_streaming_cka_averages_hsic_over_batches_and_takes_any_shape() -> None:
    a, b = related(64)
    sums = CKA()
    parts = []
    for one, two in zip(a.split(16), b.split(16), strict=True):
        sums.update([one, two.reshape(16, 3, 1)])
        alone = CKA()
        alone.update([one, two])
        assert alone.total is not None
        parts.append(alone.total)
    mean = torch.stack(parts).mean(0)
    expected = mean[0, 1] / (mean[0, 0] * mean[1, 1]).sqrt()
    assert float(sums.matrix()[0, 1]) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.law
def test_cka_in_float32_survives_a_large_mean() -> None:
    """Without removing the batch mean first the error is about 1e-2."""
    a, b = related(100, 20, 10)
    shifted = (a + 100).float(), (b - 100).float()
    assert cka(*shifted) == pytest.approx(
        cka(a, b), abs=2e-4
    )  # rounding of the inputs themselves at 100
    assert cka(a.float(), b.float()) == pytest.approx(cka(a, b), abs=1e-6)


@pytest.mark.law
def test_unbiased_cka_of_unrelated_wide_features_is_about_zero_and_biased_is_not() -> None:
    a, b = normal(30, 500), normal(30, 500, seed=1)
    assert abs(cka(a, b)) < 0.1
    assert cka(a, b, unbiased=False) > 0.8
    assert math.isnan(cka(torch.ones(10, 2), torch.rand(10, 2)))


@pytest.mark.message
def test_messages() -> None:
    with pytest.raises(ShapeError, match="same samples in the same order; got 4 and 5 rows"):
        cka(torch.rand(4, 2), torch.rand(5, 2))
    with pytest.raises(ShapeError, match=r"\(N, D\) with at least two samples; got \(1, 2\)"):
        whiten(torch.rand(1, 2))
    with pytest.raises(ShapeError, match="1 samples hold NaN or infinity, first sample 2"):
        canonical_correlations(torch.tensor([[0.0], [1.0], [math.nan]]), torch.rand(3, 1))
    with pytest.raises(ShapeError, match="at least 4 samples in a batch; got 3"):
        CKA().update([torch.rand(3, 2)])
    with pytest.raises(ShapeError, match=r"same samples; got batches of \[4, 5\]"):
        CKA().update([torch.rand(4, 2), torch.rand(5, 2)])
    with pytest.raises(UsageError, match="no batch yet"):
        CKA().matrix()
    with pytest.raises(UsageError, match="10 samples, widths 5 and 5"):
        independent_information(10, 5, 5)
    with pytest.raises(UsageError, match="at least 1; got 0"):
        permutation_null(torch.rand(5, 1), torch.rand(5, 1), shuffles=0)
    sums = CKA()
    sums.update([torch.rand(4, 2)])
    with pytest.raises(ShapeError, match="had 1 layers, this one has 2"):
        sums.update([torch.rand(4, 2), torch.rand(4, 2)])
