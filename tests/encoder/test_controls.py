"""Controls: sign kept, rank one, Bell value, reconciliation and who else can read it."""

import math

import mpmath
import pytest
import torch

import worldline as wl
from worldline.encoder import (
    Encoder,
    Selection,
    bell_test,
    encode_together,
    expected_bell_value,
    lyapunov_spectrum,
    rank_one,
    rapidity_rate,
    reconcile_bits,
    reconcile_grey,
    sign_kept_large_width,
    sign_kept_probability,
)
from worldline.encoder.reconcile import carry_bits, recover_bits
from worldline.geometry.bell import (
    CLASSICAL_BOUND,
    TSIRELSON_BOUND,
    bell_value,
    chsh,
    sign_correlation,
)


def signs_kept(selection: Selection, depth: int, *, phi: float, count: int) -> torch.Tensor:
    """One, where the sign of the correlation is kept by encoders that were really drawn, else
    zero.
    """
    a = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    b = torch.tensor([math.tanh(phi), 1 / math.cosh(phi), 0], dtype=torch.float64)
    encoder = Encoder(
        width=selection.width, candidates=selection.candidates, depth=depth, rule=selection.rule
    )
    path = encode_together(encoder, torch.stack((a, b)).expand(count, 2, 3), seed=11)
    last = path.directions[-1]
    return ((last[:, 0] * last[:, 1]).sum(-1) > 0).double()


@pytest.mark.law
@pytest.mark.parametrize("depth", [1, 2, 10])
@pytest.mark.parametrize(
    ("n", "k", "rule"),
    [
        (10, 2, "largest"),
        (40, 10, "largest"),
        (5, 3, "most_negative"),
        (6, 6, "none"),
        (2048, 64, "largest"),
        (9, 1, "largest"),
    ],
)
def test_sign_is_kept_as_often_as_the_law_says(n: int, k: int, rule: str, depth: int) -> None:
    selection = Selection(candidates=n, width=k, rule=rule)
    phi = 0.6 / math.sqrt(k)
    kept = signs_kept(selection, depth, phi=phi, count=6000)
    law = sign_kept_probability(torch.tensor([phi]), selection, depth, samples=20_000)
    error = math.hypot(float(kept.std()) / math.sqrt(len(kept)), float(law.standard_error))
    assert abs(float(kept.mean() - law.value)) < 3 * error
    assert depth > 1 or float(law.standard_error) == 0


@pytest.mark.oracle
@pytest.mark.parametrize("n", [2, 50, 10**6])
def test_sign_kept_of_one_neuron_against_high_precision(n: int) -> None:
    with mpmath.workdps(20):
        density = lambda y: 2 * n * mpmath.npdf(y) * mpmath.erf(y / mpmath.sqrt(2)) ** (n - 1)  # noqa: E731
        for phi in (1e-4, 0.2, 2.0):
            law = sign_kept_probability(
                torch.tensor([phi], dtype=torch.float64), Selection(candidates=n, width=1), 1
            )
            exact = mpmath.quad(
                lambda y, s=phi: density(y) * mpmath.ncdf(y * mpmath.sinh(s)),
                [0, 0.5, 1, 2, 3, 4, 5, 6, 9],
            )
            assert float(law.value) == pytest.approx(float(exact), abs=1e-10)


@pytest.mark.law
@pytest.mark.parametrize(
    ("share", "lowest", "highest"),
    [(0.016, 0.86, 0.90), (0.1, 0.82, 0.87), (0.5, 0.71, 0.76), (1.0, 0.56, 0.62)],
)
def test_sign_kept_of_unrelated_features(share: float, lowest: float, highest: float) -> None:
    """k = D = 256, ten layers: about 88, 84, 73 and 59 in a hundred."""
    selection = Selection(candidates=round(256 / share), width=256)
    pairs = torch.randn(2000, 2, 256, generator=torch.Generator().manual_seed(0))
    last = encode_together(
        Encoder(width=256, candidates=selection.candidates, depth=10), pairs, seed=1
    ).directions[-1]
    phi = wl.rapidity(pairs[:, 0], pairs[:, 1]).double()
    kept = ((last[:, 0] * last[:, 1]).sum(-1).sign() == phi.sign()).double()
    law = float(sign_kept_probability(phi, selection, 10, samples=500).value.mean())
    assert lowest < law < highest
    assert abs(float(kept.mean()) - law) < 3 * float(kept.std()) / math.sqrt(len(kept))
    assert float(sign_kept_large_width(phi, selection, 10).mean()) == pytest.approx(law, abs=0.005)


@pytest.mark.law
@pytest.mark.parametrize(
    ("n", "k", "rule", "early", "late"),
    [
        (10, 2, "largest", 5, 13),
        (10, 3, "largest", 12, 24),
        (40, 4, "largest", 14, 26),
        (100, 5, "largest", 14, 26),
        (6, 6, "none", 80, 160),
        (9, 3, "most_negative", 18, 40),
    ],
)
def test_singular_values_part_at_the_rapidity_rate(
    n: int, k: int, rule: str, early: int, late: int
) -> None:
    """Between depths deep enough for the limit and not so deep that float64 (36 nats) cuts the tail
    off.
    """
    selection = Selection(candidates=n, width=k, rule=rule)
    x = torch.randn(600, k, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fitted = Encoder(width=k, candidates=n, depth=late, rule=rule).fit(x, seed=1)
    product, gaps = torch.eye(k, dtype=torch.float64), {}
    for layer, weight in enumerate(fitted.weights(), 1):
        product = weight @ product
        product = product / torch.linalg.matrix_norm(product)[:, None, None]
        if layer in (early, late):
            gaps[layer] = rank_one(product).log_gap
    rate = (gaps[late] - gaps[early]) / (late - early)
    spectrum = lyapunov_spectrum(selection)
    expected = float(spectrum[0] - spectrum[1])
    assert abs(float(rate.mean()) - expected) < 3 * float(rate.std()) / math.sqrt(600)
    assert rapidity_rate(selection) == pytest.approx(expected)


@pytest.mark.law
def test_in_the_limit_one_bit_of_another_feature_is_left() -> None:
    fitted = Encoder(width=8, candidates=200, depth=20).fit(
        torch.ones(12, dtype=torch.float64), seed=0
    )
    others = torch.randn(200, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    limit = rank_one(fitted.compose().matrix)
    assert float(limit.share) > 1 - 1e-12
    last = fitted.transform(others).directions[-1]
    bit = (others @ limit.right).sign()[:, None]
    assert torch.allclose(last, bit * limit.left, atol=1e-4)


@pytest.mark.law
@pytest.mark.parametrize(
    ("n", "k"),
    [(1000, 1000), (1000, 800), (1000, 586), (1000, 300), (1000, 50), (10, 2), (10**12, 100)],
)
def test_bell_value_of_the_encoder(n: int, k: int) -> None:
    selection = Selection(candidates=n, width=k)
    test = bell_test(selection, trials=400, seed=3)
    assert test.expected == expected_bell_value(selection)
    assert (
        abs(test.value - test.expected) < 3 * test.standard_error + 1e-6
    )  # no spread at all at S = 4
    assert test.expected == pytest.approx(bell_value(k / n), abs=2 / n + 1e-9)
    assert float(chsh(test.correlations)) == pytest.approx(test.value)
    angles = torch.tensor([math.pi / 4, 3 * math.pi / 4])
    if n >= 1000:
        assert torch.allclose(test.correlations[0], sign_correlation(angles, k / n), atol=0.01)


@pytest.mark.law
def test_bell_bounds() -> None:
    assert bell_value(1.0) == CLASSICAL_BOUND
    assert bell_value(2 - math.sqrt(2)) == pytest.approx(TSIRELSON_BOUND)
    assert bell_test(Selection(candidates=9, width=9, rule="none")).expected == CLASSICAL_BOUND
    # any deterministic signs stay within the classical bound
    signs = torch.randint(0, 2, (500, 4), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    assert (chsh(signs[:, :2, None] * signs[:, None, 2:]) <= 2).all()


@pytest.mark.oracle
@pytest.mark.parametrize("share", [1.0, 0.8, 0.3, 0.05, 1e-3, 1e-6])
def test_sign_correlation_against_its_defining_average(share: float) -> None:
    with mpmath.workdps(20):
        tau = (
            0
            if share == 1
            else mpmath.findroot(
                lambda t: mpmath.erfc(t / mpmath.sqrt(2)) / share - 1,
                math.sqrt(2 * math.log(2 / share)) * 0.9,
            )
        )
        for degrees in (3, 30, 45, 80, 120, 175):
            theta = mpmath.radians(degrees)
            width = abs(mpmath.tan(theta))
            points = sorted(
                {tau, tau + 14, *(tau + s * width for s in (0.3, 1, 3) if s * width < 14)}
            )
            exact = mpmath.quad(
                lambda g, t=theta: (
                    2 / share * mpmath.npdf(g) * mpmath.erf(g * mpmath.cot(t) / mpmath.sqrt(2))
                ),
                points,
            )
            ours = sign_correlation(torch.tensor([float(theta)], dtype=torch.float64), share)
            assert float(ours) == pytest.approx(float(exact), abs=1e-10)


@pytest.mark.law
@pytest.mark.parametrize("depth", [2, 20, 40, 60, 80])
def test_a_grey_message_arrives_and_is_overheard_as_well(depth: int) -> None:
    """Both errors fall as 2α e^{−φ}/√k, φ = φ₁ + r L: the same line for the receiver and the
    eavesdropper.
    """
    generator = torch.Generator().manual_seed(0)
    sender, receiver = torch.randn(2, 300, dtype=torch.float64, generator=generator)
    message = torch.rand(400, dtype=torch.float64, generator=generator)
    encoder = Encoder(width=400, candidates=560, depth=depth)
    told = [reconcile_grey(encoder, sender, receiver, message, seed=seed) for seed in range(5)]
    assert min(t.wrong_key_error for t in told) > 1
    for errors in ([t.received_error for t in told], [t.overheard_error for t in told]):
        if depth == 2:
            assert min(errors) > 1  # unrelated features are still unrelated
            continue
        log_error = sum(map(math.log, errors)) / 5
        start = 0.5 * math.log(1 / 400)  # φ of unrelated features, about 1/√k, at its scale
        expected = (
            math.log(2 * 100 / math.sqrt(400)) - start - rapidity_rate(encoder.selection) * depth
        )
        assert abs(log_error - expected) < 3


@pytest.mark.law
def test_bits_arrive_with_the_share_of_differing_signs_and_the_pilot_turns_them() -> None:
    generator = torch.Generator().manual_seed(1)
    sender, receiver = torch.randn(2, 200, generator=generator)
    message = torch.rand(900, generator=generator) > 0.4
    told = reconcile_bits(Encoder(width=900, candidates=1100, depth=185), sender, receiver, message)
    assert told.received_error < 0.01
    assert told.overheard_error < 0.01
    assert 0.4 < told.wrong_key_error < 0.6
    u = torch.randn(900, generator=generator)
    assert torch.equal(recover_bits(carry_bits(message, u), -u, pilot=bool(message[0])), message)
    assert torch.equal(recover_bits(carry_bits(message, u), -u), ~message)
    near = u + 0.3 * torch.randn(900, generator=generator)
    wrong = (
        (recover_bits(carry_bits(message, u), near, pilot=bool(message[0])) != message)
        .double()
        .mean()
    )
    theta = float(wl.angle(u[None], near[None]))
    assert abs(float(wrong) - theta / math.pi) < 3 * math.sqrt(theta / math.pi / 900)
