"""Mean-field maps and Lyapunov exponents against quadrature, simulation and the literature."""

import math
import re

import mpmath
import pytest
import torch

import worldline.nullmodel
from worldline.errors import BoundsError, UsageError
from worldline.nullmodel import (
    Activation,
    correlation_map,
    lyapunov_exponents,
    mean_field,
    variance_fixed_point,
    variance_map,
)

NAMES = ["erf", "gelu", "gelu_tanh", "leaky_relu", "linear", "relu", "sign", "tanh"]
WHOLE = {
    "erf": mpmath.erf,
    "gelu": lambda x: x * mpmath.ncdf(x),
    "gelu_tanh": lambda x: (
        x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + 0.044715 * x**3)))
    ),
    "tanh": mpmath.tanh,
}


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def dense_kernel(activation: Activation, qa: float, qb: float, c: float) -> float:
    """E φ(u₁)φ(u₂) in other coordinates, u = √q (s z₁ ± d z₂), on a much finer grid."""
    z = torch.arange(-9.5, 9.5, 0.0125, dtype=torch.float64)
    weight = torch.exp(-(z**2) / 2)
    weight = weight / weight.sum()
    s, d = math.sqrt((1 + c) / 2) * z[:, None], math.sqrt((1 - c) / 2) * z
    return float(
        weight
        @ (activation(math.sqrt(qa) * (s + d)) * activation(math.sqrt(qb) * (s - d)))
        @ weight
    )


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("qa", "qb", "c"),
    [
        (1, 1, 0.3),
        (0.01, 0.5, -0.7),
        (2, 9, 0.0),
        (40, 40, 0.99),
        (1e-4, 3, -1.0),
        (1, 1, 1.0),
        (5, 5, 0.999999),
    ],
)
def test_kernels_against_a_dense_grid(name: str, qa: float, qb: float, c: float) -> None:
    activation = Activation(name, slope=0.2)
    scale = math.sqrt(float(activation.variance(numbers(qa)) * activation.variance(numbers(qb))))
    error = abs(
        float(activation.kernel(numbers(qa), numbers(qb), numbers(c)))
        - dense_kernel(activation, qa, qb, c)
    )
    smooth = name in ("erf", "gelu", "gelu_tanh", "linear", "tanh")
    coarse = 2e-2 if name == "sign" else 3e-3  # the dense grid at a jump or a kink
    assert error / scale < (1e-10 if smooth else coarse)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sign"])
@pytest.mark.parametrize("c", [-0.9, -0.2, 0.5, 0.97])
def test_kernels_with_a_kink_against_quadrature_on_the_half_line(name: str, c: float) -> None:
    """Over u₁ on each half line, the average over u₂ given u₁ in closed form."""
    slope = {"relu": 0.0, "leaky_relu": 0.2}.get(name, 0.0)
    with mpmath.workdps(20):
        spread = mpmath.sqrt(1 - mpmath.mpf(c) ** 2)

        def inner(u):
            t = c * u / spread
            if name == "sign":
                return 2 * mpmath.ncdf(t) - 1
            relu = c * u * mpmath.ncdf(t) + spread * mpmath.npdf(t)
            return slope * c * u + (1 - slope) * relu

        def outer(u):
            value = mpmath.sign(u) if name == "sign" else (u if u > 0 else slope * u)
            return value * inner(u) * mpmath.npdf(u)

        exact = mpmath.quad(outer, [-12, -6, -3, -1, 0]) + mpmath.quad(outer, [0, 1, 3, 6, 12])
    ours = Activation(name, slope=0.2).kernel(numbers(1.0), numbers(1.0), numbers(c))
    assert float(ours) == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["erf", "gelu", "gelu_tanh", "tanh"])
@pytest.mark.parametrize("q", [0.01, 1.0, 30.0])
def test_variance_and_gain_against_high_precision(name: str, q: float) -> None:
    function, points = WHOLE[name], [-10, -4, -2, -1, -0.3, 0, 0.3, 1, 2, 4, 10]
    with mpmath.workdps(20):
        root = mpmath.sqrt(q)
        square = mpmath.quad(lambda z: function(root * z) ** 2 * mpmath.npdf(z), points)
        gain = mpmath.quad(lambda z: mpmath.diff(function, root * z) ** 2 * mpmath.npdf(z), points)
    assert float(Activation(name).variance(numbers(q))) == pytest.approx(float(square), rel=1e-10)
    assert Activation(name).gain(q) == pytest.approx(float(gain), rel=1e-9)


@pytest.mark.law
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("sigma_w", "sigma_b", "q"), [(1.0, 0.0, 1.0), (2**0.5, 0.3, 0.5), (2.5, 0.1, 4.0)]
)
def test_maps_against_random_neurons(name: str, sigma_w: float, sigma_b: float, q: float) -> None:
    """A layer of random neurons: 400,000 pre-activations of its input are drawn and averaged."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 400_000, dtype=torch.float64, generator=generator)
    phi = Activation(name)
    for c in (-0.6, 0.0, 0.4, 0.9, 0.99):
        u1 = math.sqrt(q) * z[0]
        u2 = math.sqrt(q) * (c * z[0] + math.sqrt(1 - c * c) * z[1])
        product, square = phi(u1) * phi(u2), phi(u1) ** 2
        v = variance_map(numbers(q), name, sigma_w=sigma_w, sigma_b=sigma_b)
        error = 3 * sigma_w**2 * float(square.std()) / math.sqrt(len(square))
        assert abs(float(v) - sigma_w**2 * float(square.mean()) - sigma_b**2) <= error + 1e-12
        mapped = correlation_map(numbers(c), name, sigma_w=sigma_w, sigma_b=sigma_b, variance=q)
        error = 3 * sigma_w**2 * float(product.std()) / math.sqrt(len(product))
        assert abs(float(mapped * v) - sigma_w**2 * float(product.mean()) - sigma_b**2) <= error


@pytest.mark.law
@pytest.mark.parametrize("name", NAMES)
def test_correlation_maps_keep_the_ends_and_grow(name: str) -> None:
    rho = torch.linspace(-1, 1, 401, dtype=torch.float64)
    mapped = correlation_map(rho, name, sigma_w=1.5, sigma_b=0.2, variance=2.0)
    assert mapped[-1] == 1
    assert (mapped.abs() <= 1).all()
    assert (mapped[1:] >= mapped[:-1]).all()
    without_bias = correlation_map(rho, name, variance=2.0)
    if name in ("erf", "linear", "sign", "tanh"):  # odd activations keep oddness
        assert torch.allclose(without_bias, -without_bias.flip(0), atol=1e-12)


@pytest.mark.law
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "linear"])
def test_homogeneous_maps_do_not_depend_on_the_variance(name: str) -> None:
    rho = torch.linspace(-1, 1, 21, dtype=torch.float64)
    maps = [
        correlation_map(rho, name, sigma_w=s, variance=q)
        for s, q in ((1.0, 1.0), (3.0, 1e-6), (0.1, 1e6))
    ]
    assert torch.allclose(maps[0], maps[1], atol=1e-12)
    assert torch.allclose(maps[0], maps[2], atol=1e-12)


@pytest.mark.law
def test_relu_angle_falls_as_three_pi_over_depth() -> None:
    rho = torch.tensor([-0.9, 0.0, 0.9], dtype=torch.float64)
    for _ in range(1000):
        rho = correlation_map(rho, "relu", sigma_w=2**0.5)
    scaled = rho.acos() * 1000 / (3 * math.pi)
    assert torch.allclose(scaled, torch.full_like(scaled, 0.984), atol=0.012)


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [
        ("tanh", 0.8, 0.3),
        ("tanh", 1.3, 0.3),
        ("tanh", 2.0, 0.0),
        ("tanh", 3.0, 0.5),
        ("erf", 1.5, 0.1),
        ("erf", 0.5, 0.4),
        ("sign", 1.0, 0.5),
        ("relu", 1.0, 0.5),
        ("gelu", 1.5, 0.1),
        ("leaky_relu", 1.2, 0.2),
        ("linear", 0.9, 0.1),
        ("gelu_tanh", 1.5, 0.1),
    ],
)
def test_fixed_points_are_where_the_iterated_maps_end(
    name: str, sigma_w: float, sigma_b: float
) -> None:
    field = mean_field(name, sigma_w=sigma_w, sigma_b=sigma_b)
    q, rho = numbers(1.0), numbers(0.6)
    for _ in range(400):
        q = variance_map(q, name, sigma_w=sigma_w, sigma_b=sigma_b)
    assert float(q) == pytest.approx(field.variance, rel=1e-6)
    gaps = []
    for _ in range(60):
        rho = correlation_map(rho, name, sigma_w=sigma_w, sigma_b=sigma_b, variance=field.variance)
        gaps.append(abs(float(rho) - field.correlation))
    assert field.phase == ("chaotic" if field.chi > 1 else "ordered")
    if gaps[-1] > 1e-8:  # then the depth scale is long enough to be read off
        assert -1 / math.log(gaps[-1] / gaps[-2]) == pytest.approx(field.depth_scale, rel=0.02)
    else:
        early = max(i for i, gap in enumerate(gaps) if gap > 1e-7)
        assert -1 / math.log(gaps[early] / gaps[early - 1]) == pytest.approx(
            field.depth_scale, rel=0.05
        )


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "sigma_w"), [("tanh", 1.0), ("erf", math.sqrt(math.pi) / 2), ("relu", math.sqrt(2))]
)
def test_critical_points_of_the_literature(name: str, sigma_w: float) -> None:
    assert mean_field(name, sigma_w=sigma_w).phase == "critical"
    assert mean_field(name, sigma_w=0.99 * sigma_w).phase == "ordered"
    assert mean_field(name, sigma_w=1.01 * sigma_w).phase == (
        "unbounded" if name == "relu" else "chaotic"
    )


@pytest.mark.law
def test_the_critical_line_of_tanh_at_a_bias_of_a_twentieth() -> None:
    """Schoenholz et al. 2017 and its successors use (σ_w², σ_b²) = (1.76, 0.05)."""
    assert mean_field("tanh", sigma_w=1.7603**0.5, sigma_b=0.05**0.5).chi == pytest.approx(
        1, abs=3e-4
    )


@pytest.mark.law
def test_where_variance_vanishes_or_grows_without_bound() -> None:
    assert variance_fixed_point("relu", sigma_w=1.5) == math.inf
    assert variance_fixed_point("relu", sigma_w=1.3) == 0
    assert variance_fixed_point("relu", sigma_w=2**0.5, start=3.0) == 3.0
    assert variance_fixed_point("relu", sigma_w=2**0.5, sigma_b=0.1) == math.inf
    assert variance_fixed_point("tanh", sigma_w=0.9) == 0
    assert variance_fixed_point("gelu", sigma_w=3.0) == math.inf
    assert variance_fixed_point("gelu", sigma_w=1.6, start=1e-3) == 0  # χ₁ at zero is σ_w²/4
    assert variance_fixed_point("sign", sigma_w=1.5, sigma_b=0.5) == pytest.approx(2.5)
    assert mean_field("gelu", sigma_w=3.0).chi == 4.5
    assert math.isnan(mean_field("linear", sigma_w=1.0).correlation)
    assert math.isnan(mean_field("tanh", sigma_w=0.9).correlation)
    assert mean_field("relu", sigma_w=2.0).correlation == 1


@pytest.mark.law
@pytest.mark.parametrize(
    ("width", "variance"), [(1, None), (2, None), (3, 1.0), (5, None), (8, 0.3)]
)
def test_lyapunov_exponents_of_products_that_were_drawn(width: int, variance: float | None) -> None:
    """QR along 200 products of 60 matrices, the first ten left out."""
    generator = torch.Generator().manual_seed(width)
    scale = math.sqrt(1 / width if variance is None else variance)
    frame = torch.eye(width, dtype=torch.float64).expand(200, -1, -1)
    growth = torch.zeros(200, width, dtype=torch.float64)
    for layer in range(60):
        matrix = scale * torch.randn(200, width, width, dtype=torch.float64, generator=generator)
        frame, upper = torch.linalg.qr(matrix @ frame)
        if layer >= 10:
            growth += upper.diagonal(dim1=-2, dim2=-1).abs().log() / 50
    expected = lyapunov_exponents(width, variance=variance)
    error = growth.std(0) / math.sqrt(200)
    assert ((growth.mean(0) - expected).abs() < 3 * error).all()


@pytest.mark.message
@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (
            lambda: Activation("swish"),
            UsageError,
            "activation must be one of erf, gelu, gelu_tanh, leaky_relu",
        ),
        (
            lambda: variance_map(numbers(-1.0), "relu"),
            BoundsError,
            "Variances must be finite and at least 0",
        ),
        (
            lambda: variance_map(numbers(1.0), "relu", sigma_w=0.0),
            UsageError,
            "sigma_w must be positive and finite; got 0.0",
        ),
        (
            lambda: variance_map(numbers(1.0), "relu", sigma_b=-1.0),
            UsageError,
            "sigma_b must be at least 0 and finite; got -1.0",
        ),
        (
            lambda: correlation_map(numbers(1.1), "relu"),
            BoundsError,
            "Correlations must lie in [−1, 1]; clamp rounding",
        ),
        (
            lambda: correlation_map(numbers(math.nan), "relu"),
            BoundsError,
            "Correlations must lie in [−1, 1]",
        ),
        (
            lambda: correlation_map(numbers(0.1), "relu", variance=0.0),
            UsageError,
            "variance must be positive and finite; got 0.0",
        ),
        (
            lambda: variance_fixed_point("tanh", sigma_w=1.0, start=0.0),
            UsageError,
            "start must be positive and finite; got 0.0",
        ),
        (
            lambda: lyapunov_exponents(0),
            UsageError,
            "width must be an integer of at least 1; got 0",
        ),
        (
            lambda: lyapunov_exponents(2, variance=-1.0),
            UsageError,
            "variance must be positive and finite; got -1.0",
        ),
    ],
)
def test_messages(call, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        call()


@pytest.mark.law
def test_the_public_names_are_sorted_and_there() -> None:
    names = worldline.nullmodel.__all__
    assert names == sorted(names)
    assert all(getattr(worldline.nullmodel, name).__doc__ for name in names)
