"""Laws, accuracy and messages of a pair of features (THEORY 1)."""

from __future__ import annotations

import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import worldline as wl
from worldline.errors import ShapeError, UndefinedPairWarning
from worldline.geometry import PairStatus

QUANTITIES = (wl.correlation, wl.rapidity, wl.lorentz_factor, wl.entanglement, wl.angle)
seeds = st.integers(0, 2**32 - 1)


def pairs(seed: int, samples: int = 20, width: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, samples, width, generator=generator, dtype=torch.float64)
    return a, b


def at_angle(theta: float, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two float64 vectors of different lengths at about this angle, and nothing aligned with an
    axis.
    """
    generator = torch.Generator().manual_seed(seed)
    frame = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q
    a = 3.7 * frame[:, 0]
    b = 0.21 * (math.cos(theta) * frame[:, 0] + math.sin(theta) * frame[:, 1])
    return a[None], b[None]


def exact_rapidity(a: Tensor, b: Tensor) -> mpmath.mpf:
    """artanh of the cosine with 700 digits, from the very floats that were given."""
    with mpmath.workdps(700):
        x = [mpmath.mpf(value) for value in a.flatten().tolist()]
        y = [mpmath.mpf(value) for value in b.flatten().tolist()]
        dot = mpmath.fsum(p * q for p, q in zip(x, y, strict=True))
        lengths = mpmath.sqrt(mpmath.fsum(p * p for p in x)) * mpmath.sqrt(
            mpmath.fsum(q * q for q in y)
        )
        return mpmath.atanh(dot / lengths)


@pytest.mark.law
@given(seeds)
def test_quantities_are_one_function_of_the_angle(seed: int) -> None:
    a, b = pairs(seed)
    theta = wl.angle(a, b)
    torch.testing.assert_close(wl.correlation(a, b), theta.cos(), atol=1e-14, rtol=0)
    torch.testing.assert_close(wl.rapidity(a, b), theta.cos().atanh(), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(wl.lorentz_factor(a, b), 1 / theta.sin(), atol=0, rtol=1e-12)
    torch.testing.assert_close(
        wl.lorentz_factor(a, b), wl.rapidity(a, b).cosh(), atol=0, rtol=1e-12
    )
    torch.testing.assert_close(
        wl.entanglement(a, b), -0.5 * torch.log1p(-(theta.cos() ** 2)), atol=1e-13, rtol=1e-12
    )
    torch.testing.assert_close(
        wl.entanglement(a, b), wl.lorentz_factor(a, b).log(), atol=1e-13, rtol=1e-12
    )


@pytest.mark.law
@pytest.mark.parametrize("quantity", QUANTITIES)
@given(seeds, st.floats(1e-100, 1e100), st.floats(1e-100, 1e100))
def test_invariant_to_rotation_scale_and_order(
    quantity, seed: int, scale_a: float, scale_b: float
) -> None:
    a, b = pairs(seed)
    rotation = torch.linalg.qr(pairs(seed + 1, 7)[0]).Q
    value = quantity(a, b)
    torch.testing.assert_close(quantity(a @ rotation, b @ rotation), value, atol=1e-12, rtol=1e-11)
    torch.testing.assert_close(quantity(scale_a * a, scale_b * b), value, atol=1e-13, rtol=1e-12)
    torch.testing.assert_close(quantity(b, a), value, atol=0, rtol=1e-15)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(quantity(a[:, order], b[:, order]), value, atol=1e-13, rtol=1e-12)


@pytest.mark.law
@given(seeds)
def test_rapidity_is_odd_and_entanglement_even(seed: int) -> None:
    a, b = pairs(seed)
    assert torch.equal(wl.rapidity(a, -b), -wl.rapidity(a, b))
    assert torch.equal(wl.entanglement(a, -b), wl.entanglement(a, b))


@pytest.mark.law
def test_entanglement_is_the_information_between_two_readings() -> None:
    a, b = at_angle(0.7)
    weights = torch.randn(
        400_000, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    observed = np.corrcoef((weights @ a[0]).numpy(), (weights @ b[0]).numpy())[0, 1]
    information = -0.5 * math.log1p(-(observed**2))
    # the standard error of ρ is (1−ρ²)/√n, and dE/dρ = ρ/(1−ρ²): four of them
    assert abs(information - float(wl.entanglement(a, b))) < 4 * observed / math.sqrt(400_000)


@pytest.mark.law
def test_sampling_error_of_rapidity() -> None:
    a, b = torch.randn(2, 20_000, 64, generator=torch.Generator().manual_seed(0))
    expected = 1 / math.sqrt(
        64 - 2
    )  # the mean is known to be zero: one degree of freedom more than D − 3
    assert abs(float(wl.rapidity(a, b).std()) / expected - 1) < 0.03


@pytest.mark.oracle
@pytest.mark.parametrize("exponent", range(-6, 1))
@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("seed", range(4))
def test_rapidity_against_mpmath(exponent: int, side: str, seed: int) -> None:
    theta = 1.3 * 10.0**exponent if exponent else 1.0
    a, b = at_angle(theta if side == "near" else math.pi - theta, seed=seed)
    exact = exact_rapidity(a, b)
    error = abs(mpmath.mpf(float(wl.rapidity(a, b))) - exact)
    assert error <= (1e-10 if abs(exact) < 1e-3 else 1e-10 * abs(exact))


@pytest.mark.oracle
@pytest.mark.parametrize("offset", [-1e-3, -1e-9, 0.0, 1e-12, 1e-4])
def test_rapidity_near_orthogonal_against_mpmath(offset: float) -> None:
    a, b = at_angle(math.pi / 2 + offset)
    assert abs(mpmath.mpf(float(wl.rapidity(a, b))) - exact_rapidity(a, b)) <= 1e-13


@pytest.mark.oracle
@pytest.mark.parametrize("exponent", [-300, -250, -160, -100, -20, -8, -3, -1, 0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_rapidity_of_displacement_against_mpmath(exponent: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, d = torch.randn(2, 1, 6, generator=generator, dtype=torch.float64)
    d = d * 10.0**exponent
    with mpmath.workdps(700):
        x = [mpmath.mpf(value) for value in a[0].tolist()]
        y = [p + mpmath.mpf(value) for p, value in zip(x, d[0].tolist(), strict=True)]
        dot = mpmath.fsum(p * q for p, q in zip(x, y, strict=True))
        exact = mpmath.atanh(
            dot / mpmath.sqrt(mpmath.fsum(p * p for p in x) * mpmath.fsum(q * q for q in y))
        )
    error = abs(mpmath.mpf(float(wl.rapidity_of_displacement(a, d))) - exact)
    assert error <= (1e-10 if abs(exact) < 1e-3 else 1e-10 * abs(exact))


@pytest.mark.law
def test_displacement_that_turns_a_vector_round() -> None:
    a = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    d = torch.tensor([[-3.0, -6.0 + 1e-5]], dtype=torch.float64)
    torch.testing.assert_close(
        wl.rapidity_of_displacement(a, d), wl.rapidity(a, a + d), rtol=1e-9, atol=0
    )
    assert wl.rapidity_of_displacement(a, torch.zeros_like(a)).item() == math.inf


@pytest.mark.law
def test_extremes_are_values() -> None:
    a = torch.tensor([[1.0, -2.0, 3.0]])
    extremes = {
        wl.correlation: (1.0, -1.0),
        wl.rapidity: (math.inf, -math.inf),
        wl.lorentz_factor: (math.inf, math.inf),
        wl.entanglement: (math.inf, math.inf),
        wl.angle: (0.0, math.pi),
    }
    for quantity, (same, opposite) in extremes.items():
        assert quantity(a, a).item() == pytest.approx(same)
        assert quantity(a, -a).item() == pytest.approx(opposite)
        assert quantity(a, a * 4).item() == pytest.approx(same)
    assert wl.pair_status(a, -a).tolist() == [PairStatus.OK]


@pytest.mark.law
@pytest.mark.parametrize("quantity", [*QUANTITIES, wl.rapidity_of_displacement])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_undefined_pairs_have_a_status_and_are_never_silent(quantity, bad: float) -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, bad], [0.0, 1.0]])
    b = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.5]])
    with pytest.warns(UndefinedPairWarning, match=r"2 of 4 pairs .* \(rows 1, 2\); .*pair_status"):
        value = quantity(a, b)
    assert torch.isnan(value).tolist() == [False, True, True, False]
    assert wl.pair_status(a, b).tolist() == [
        PairStatus.OK,
        PairStatus.ZERO,
        PairStatus.NONFINITE,
        PairStatus.OK,
    ]


@pytest.mark.law
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-5)]
)
def test_every_dtype_is_kept(quantity, dtype: torch.dtype, tolerance: float) -> None:
    a, b = pairs(3)
    a, b = a.to(dtype), b.to(dtype)
    value = quantity(a, b)
    assert value.dtype == dtype
    torch.testing.assert_close(
        value.double(), quantity(a.double(), b.double()), rtol=tolerance, atol=tolerance
    )


@pytest.mark.law
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_extreme_lengths_do_not_overflow(quantity) -> None:
    a, b = pairs(4)
    torch.testing.assert_close(
        quantity(1e300 * a, 1e-300 * b), quantity(a, b), rtol=1e-12, atol=1e-13
    )


@pytest.mark.law
@pytest.mark.parametrize("quantity", [*QUANTITIES, wl.rapidity_of_displacement])
def test_differentiable_where_smooth(quantity) -> None:
    a, b = (value[:3].requires_grad_(True) for value in pairs(5))
    assert torch.autograd.gradcheck(quantity, (a, b))


@pytest.mark.message
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (torch.ones(3), torch.ones(3), r"shape \(N, D\); got \(3,\) torch.float32"),
        (torch.ones(3, 2), torch.ones(2, 2), r"one shape.*\(3, 2\).*\(2, 2\)"),
        (torch.ones(3, 2).long(), torch.ones(3, 2), r"floating.*int64.*x\.float\(\)"),
        (
            torch.ones(3, 2),
            torch.ones(3, 2).double(),
            r"one shape, dtype and device.*float32.*float64",
        ),
        (torch.ones(3, 0), torch.ones(3, 0), r"at least one coordinate"),
    ],
)
def test_shape_errors_say_what_came(a: Tensor, b: Tensor, words: str) -> None:
    for quantity in (*QUANTITIES, wl.pair_status, wl.rapidity_of_displacement):
        with pytest.raises(ShapeError, match=words):
            quantity(a, b)


@pytest.mark.law
def test_no_pairs_is_no_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wl.rapidity(torch.ones(0, 3), torch.ones(0, 3)).shape == (0,)


rapidities = st.floats(allow_nan=False, width=64)


@pytest.mark.law
@given(seeds)
def test_length_contraction_is_the_sine_of_the_angle(seed: int) -> None:
    a, b = pairs(seed)
    sine = wl.length_contraction(wl.rapidity(a, b))
    torch.testing.assert_close(sine, wl.angle(a, b).sin(), atol=0, rtol=1e-12)
    torch.testing.assert_close(sine, 1 / wl.lorentz_factor(a, b), atol=0, rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("phi", [0.0, 1e-9, 0.5, -3.0, 40.0, -700.0, 740.0])
def test_length_contraction_against_mpmath(phi: float) -> None:
    found = float(wl.length_contraction(torch.tensor(phi, dtype=torch.float64)))
    exact = mpmath.sech(mpmath.mpf(phi))
    # beyond 708 nats the value itself is subnormal, so only its absolute size is kept
    assert abs(mpmath.mpf(found) - exact) <= max(exact * mpmath.mpf("1e-15"), mpmath.mpf("5e-324"))


@pytest.mark.law
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_length_contraction_keeps_the_dtype_and_the_extremes(dtype: torch.dtype) -> None:
    phi = torch.tensor([0.0, 12.0, 1000.0, math.inf, -math.inf, math.nan], dtype=dtype)
    sine = wl.length_contraction(phi)
    assert sine.dtype == dtype
    assert sine[[0, 3, 4]].tolist() == [1.0, 0.0, 0.0]
    # cosh 12 is beyond float16: 1/cosh φ there was 0, with an infinity on the way
    assert float(sine[1]) == pytest.approx(1 / math.cosh(12), rel=1e-2)
    assert float(sine[2]) == 0.0
    assert math.isnan(sine[5])


@pytest.mark.law
@given(st.lists(rapidities, min_size=1, max_size=12), st.data())
def test_proper_depth_is_bounded_even_and_additive(phi: list[float], data: st.DataObject) -> None:
    layers = torch.tensor(phi, dtype=torch.float64)
    depth = wl.proper_depth(layers)
    assert 0 <= float(depth) <= len(phi)
    signs = data.draw(st.lists(st.sampled_from((-1.0, 1.0)), min_size=len(phi), max_size=len(phi)))
    assert torch.equal(wl.proper_depth(layers * torch.tensor(signs, dtype=torch.float64)), depth)
    cut = data.draw(st.integers(0, len(phi)))
    parts = wl.proper_depth(layers[:cut]) + wl.proper_depth(layers[cut:])
    torch.testing.assert_close(parts, depth, atol=1e-14, rtol=1e-14)


@pytest.mark.law
def test_proper_depth_of_extremes_and_of_undefined_pairs() -> None:
    table = torch.tensor(
        [[0.0] * 4, [math.inf, -math.inf] * 2, [0.0, math.inf, 0.0, 0.0], [0.0, math.nan, 0.0, 9.0]]
    )
    assert wl.proper_depth(table)[:3].tolist() == [4.0, 0.0, 3.0]
    assert wl.proper_depth(table).isnan().tolist() == [False, False, False, True]
    assert torch.equal(wl.proper_depth(table.T, dim=0)[:3], wl.proper_depth(table)[:3])
    assert wl.proper_depth(torch.ones(5, 0)).tolist() == [0.0] * 5


@pytest.mark.message
def test_proper_depth_says_what_came() -> None:
    with pytest.raises(ShapeError, match=r"floating tensor, in nats; got \(2,\) torch.int64"):
        wl.proper_depth(torch.ones(2).long())
    with pytest.raises(ShapeError, match=r"one of the 1 dimensions .* got 1 for \(2,\)"):
        wl.proper_depth(torch.ones(2), dim=1)
