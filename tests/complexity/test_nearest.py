"""Dimensions from one product of matrices are those of the plain way."""

from __future__ import annotations

import pytest
import torch

from worldline.explain.measures.dimensions import _nearest, participation_ratio


@pytest.mark.oracle
@pytest.mark.parametrize(("samples", "width"), [(60, 200), (60, 7), (30, 30)])
def test_one_product_gives_neighbours_and_jackknife(samples: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, width, generator=generator).double() * torch.rand(width) + 3
    apart = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    near = apart.sort(1).values[:, :2]
    assert torch.allclose(_nearest(x)[:, :2], near, rtol=1e-12, atol=0)

    def ratio(part: torch.Tensor) -> float:
        values = torch.linalg.svdvals(part - part.mean(0)) ** 2
        return float(values.sum() ** 2 / (values**2).sum())

    parts = [ratio(x[torch.arange(samples) % 20 != group]) for group in range(20)]
    mean = sum(parts) / 20
    error = (19 / 20 * sum((it - mean) ** 2 for it in parts)) ** 0.5
    total, interval = participation_ratio(x)
    assert total == pytest.approx(ratio(x), rel=1e-9)
    assert interval is not None
    assert interval[1] - ratio(x) == pytest.approx(1.96 * error, rel=1e-6)
