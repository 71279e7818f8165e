"""Laws of a linear layer as a Lorentz transformation (THEORY 2)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import worldline as wl
from worldline.errors import ShapeError
from worldline.geometry import spacetime

METRIC = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
seeds = st.integers(0, 2**32 - 1)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.law
@given(seeds)
def test_plane_coordinates_rebuild_the_pair(seed: int) -> None:
    a, b = normal(2, 10, 6, seed=seed)
    basis, coordinates = spacetime.plane(a, b)
    torch.testing.assert_close(basis @ coordinates, torch.stack((a, b), -1))
    torch.testing.assert_close(
        basis.transpose(1, 2) @ basis, torch.eye(2, dtype=torch.float64).expand(10, 2, 2)
    )


@pytest.mark.law
@given(seeds)
def test_the_event_of_a_pair_lies_inside_the_light_cone(seed: int) -> None:
    a, b = normal(2, 10, 6, seed=seed)
    event = spacetime.minkowski_point(spacetime.plane(a, b)[1])
    lengths = a.norm(dim=1) ** 2 * b.norm(dim=1) ** 2
    torch.testing.assert_close(spacetime.interval(event), lengths * wl.angle(a, b).sin() ** 2)
    assert (event[:, 0] > 0).all()
    unit = spacetime.minkowski_point(spacetime.plane(wl_unit(a), wl_unit(b))[1])
    speed = torch.hypot(unit[:, 1], unit[:, 2]) / unit[:, 0]
    torch.testing.assert_close(speed, wl.correlation(a, b).abs())


def wl_unit(a: torch.Tensor) -> torch.Tensor:
    return a / a.norm(dim=1, keepdim=True)


@pytest.mark.law
def test_parallel_pairs_lie_on_the_light_cone() -> None:
    a = normal(5, 4, seed=0)
    for b in (2 * a, -3 * a):
        event = spacetime.minkowski_point(spacetime.plane(a, b)[1])
        assert (spacetime.interval(event).abs() <= 1e-14 * event[:, 0] ** 2).all()


@pytest.mark.law
@given(seeds)
def test_lorentz_matrices_preserve_the_metric_and_their_boost_is_known(seed: int) -> None:
    restriction = normal(20, 2, 2, seed=seed)
    matrix = spacetime.lorentz_matrix(restriction)
    size = matrix.abs().amax((1, 2), keepdim=True) ** 2  # rounding grows with the entries' squares
    error = (matrix.transpose(1, 2) @ METRIC @ matrix - METRIC).abs()
    assert (error <= 1e-13 * size).all()
    boost = spacetime.boost_rapidity(restriction)
    torch.testing.assert_close(matrix[:, 0, 0], boost.cosh(), rtol=1e-9, atol=1e-12)


@pytest.mark.law
@given(seeds)
def test_a_layer_moves_the_event_by_its_lorentz_matrix(seed: int) -> None:
    coordinates, restriction = normal(2, 20, 2, 2, seed=seed)
    before = spacetime.minkowski_point(coordinates)
    after = spacetime.minkowski_point(restriction @ coordinates)
    moved = (spacetime.lorentz_matrix(restriction) @ before[:, :, None]).squeeze(-1)
    dilation = torch.linalg.det(restriction).abs()[:, None]
    torch.testing.assert_close(after, dilation * moved, rtol=1e-8, atol=1e-9)


@pytest.mark.law
def test_speed_limit_holds_for_200_000_pairs_and_is_reached() -> None:
    generator = torch.Generator().manual_seed(0)
    layer, a, b = (
        torch.randn(200_000, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    a, b = a[:, 0], b[:, 0]
    before = wl.rapidity(a, b)
    after = wl.rapidity((layer @ a[..., None]).squeeze(-1), (layer @ b[..., None]).squeeze(-1))
    limit = spacetime.boost_rapidity(layer)
    share = (after - before).abs() / limit
    assert float(share.max()) <= 1 + 1e-9
    assert float(share.max()) > 0.999


@pytest.mark.law
@given(seeds)
def test_layer_boost_bounds_the_change_of_rapidity(seed: int) -> None:
    weight, (a, b) = normal(8, 5, seed=seed), normal(2, 30, 5, seed=seed + 1)
    moved = spacetime.layer_boost(weight, a, b)
    change = (moved.rapidity_out - moved.rapidity_in).abs()
    assert (change <= moved.boost + 1e-9).all()
    assert (moved.boost <= moved.limit + 1e-9).all()
    torch.testing.assert_close(moved.share, change / moved.limit)
    area_in = a.norm(dim=1) * b.norm(dim=1) * wl.angle(a, b).sin()
    out_a, out_b = a @ weight.T, b @ weight.T
    area_out = out_a.norm(dim=1) * out_b.norm(dim=1) * wl.angle(out_a, out_b).sin()
    torch.testing.assert_close(area_out, moved.dilation * area_in)


@pytest.mark.law
def test_signs_are_kept_by_the_limit() -> None:
    """A layer that turns a correlated pair into an opposed one uses the sum of both rapidities."""
    weight = torch.diag(torch.tensor([1.0, 10.0], dtype=torch.float64))
    a = torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    b = torch.tensor([[1.0, -0.3]], dtype=torch.float64)
    moved = spacetime.layer_boost(weight, a, b)
    assert moved.rapidity_in.item() > 0 > moved.rapidity_out.item()
    assert moved.share.item() == pytest.approx(1.0)


@pytest.mark.law
def test_speed_limit_of_known_layers() -> None:
    assert spacetime.speed_limit(torch.diag(torch.tensor([4.0, 2.0, 1.0]))) == pytest.approx(
        math.log(4)
    )
    assert spacetime.speed_limit(torch.linalg.qr(normal(6, 6, seed=0)).Q) == pytest.approx(
        0, abs=1e-12
    )
    assert spacetime.speed_limit(torch.ones(3, 3)) == math.inf
    assert spacetime.speed_limit(torch.ones(2, 3)) == math.inf


@pytest.mark.message
def test_shapes_are_refused_in_words() -> None:
    with pytest.raises(ShapeError, match="D ≥ 2 coordinates; got D = 1"):
        spacetime.plane(torch.ones(3, 1), torch.ones(3, 1))
    with pytest.raises(ShapeError, match=r"act on these pairs; got \(3, 4\)"):
        spacetime.layer_boost(torch.ones(3, 4), torch.ones(2, 5), torch.ones(2, 5))
    with pytest.raises(ShapeError, match=r"\(N, 2, 2\); got \(2, 2\)"):
        spacetime.lorentz_matrix(torch.eye(2))
    with pytest.raises(ShapeError, match=r"\(N, 2, 2\); got \(2, 2\)"):
        spacetime.minkowski_point(torch.eye(2))
    with pytest.raises(ShapeError, match="non-empty matrix"):
        spacetime.speed_limit(torch.ones(0, 3))


@pytest.mark.law
def test_shares_of_a_limit_and_what_has_none() -> None:
    """THEORY 2: the share is of ln κ(W), the whole layer's; nothing where there is no limit."""
    change = torch.tensor([-1.0, 0.5, math.nan])
    for limit, expected in ((2.0, [0.5, 0.25]), (math.inf, [0.0, 0.0]), (0.0, [0.0, 0.0])):
        shares = spacetime.limit_share(change, limit)
        assert shares[:2].tolist() == expected
        assert shares[2].isnan()


@pytest.mark.law
def test_a_smallest_singular_value_within_rounding_is_none() -> None:
    """Weights are known to half an eps of their own dtype, so σ_min is to ½ eps √D σ_max."""
    half = 0.5 * torch.finfo(torch.float32).eps
    assert spacetime.condition_limit(1.0, half, 4, torch.float32) == math.inf
    assert spacetime.condition_limit(1.0, half, 4, torch.float64) == pytest.approx(-math.log(half))
    twice = torch.ones(3, 3)
    twice[0, 0] += 1e-8  # lost in float32
    assert spacetime.speed_limit(twice) == math.inf
