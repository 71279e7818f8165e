"""The one-step law, its moments and its rates, against encoders that were really drawn."""

import math

import pytest
import torch
from scipy import stats

import worldline as wl
from worldline.encoder import (
    Encoder,
    Selection,
    encode_together,
    lyapunov_spectrum,
    one_step,
    one_step_moments,
    rapidity_gain,
    rapidity_rate,
    rapidity_rate_large_width,
    rapidity_walk,
    reading_second_moment,
)

SETTINGS = [(5, 3), (10, 2), (100, 2), (40, 10), (512, 64), (30, 30)]


def pairs_at(rapidity: float, count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, 2, width): pairs at one rapidity, float64."""
    a, b = torch.randn(2, count, width, dtype=torch.float64, generator=generator)
    a = a / a.norm(dim=1, keepdim=True)
    b = b - (a * b).sum(1, keepdim=True) * a
    b = b / b.norm(dim=1, keepdim=True)
    return torch.stack((a, math.sinh(rapidity) * a + b), 1)


def after_one_literal_layer(selection: Selection, *, phi: float, count: int) -> torch.Tensor:
    """Rapidities after one drawn layer, count independent encoders."""
    x = pairs_at(phi, count, 7, torch.Generator().manual_seed(1))
    n, k, rule = selection.candidates, selection.width, selection.rule
    encoder = Encoder(width=k, candidates=n, depth=1, rule=rule, sampler="literal")
    return encoder.fit(x[:, 0], seed=2).rapidities(x[:, 1:])[1, :, 0]


def within(sample: torch.Tensor, expected: float, sigmas: float = 3.0) -> bool:
    return abs(float(sample.mean()) - expected) < sigmas * float(sample.std()) / math.sqrt(
        len(sample)
    )


@pytest.mark.law
@pytest.mark.parametrize("phi", [0.0, 0.4, -3.0])
@pytest.mark.parametrize("rule", ["largest", "most_negative"])
@pytest.mark.parametrize(("n", "k"), SETTINGS)
def test_one_step_law_is_what_the_literal_machine_does(
    n: int, k: int, rule: str, phi: float
) -> None:
    count = 3000
    selection = Selection(candidates=n, width=k, rule=rule)
    drawn = after_one_literal_layer(selection, phi=phi, count=count)
    law = one_step(
        torch.full((count,), phi, dtype=torch.float64),
        selection,
        generator=torch.Generator().manual_seed(3),
    )
    assert stats.ks_2samp(drawn.numpy(), law.numpy()).pvalue > 1e-3
    difference = float(drawn.mean() - law.mean())
    assert abs(difference) < 3 * math.sqrt(float(drawn.var() + law.var()) / count)


@pytest.mark.law
@pytest.mark.parametrize("phi", [0.0, 0.5, -1.5])
@pytest.mark.parametrize(("n", "k"), [(10, 5), (40, 10), (9, 8), (300, 30), (10**9, 64), (6, 3)])
def test_moments_of_one_step(n: int, k: int, phi: float) -> None:
    selection = Selection(candidates=n, width=k)
    start = torch.full((40_000 if k < 50 else 8000,), phi, dtype=torch.float64)
    s = one_step(start, selection, generator=torch.Generator().manual_seed(0)).sinh()
    moments = one_step_moments(start[:1], selection)
    if k >= 8:  # the spread of s is known only where its second moment is; of s² where its fourth
        assert within(s, float(moments.mean))
        assert within(s**2, float(moments.second))
    else:
        assert float(s.mean()) == pytest.approx(
            float(moments.mean), abs=0.05 + 0.03 * abs(float(moments.mean))
        )
    assert torch.isnan(one_step_moments(start[:1], Selection(candidates=9, width=2)).mean).all()


@pytest.mark.law
@pytest.mark.parametrize("rule", ["largest", "most_negative", "none"])
@pytest.mark.parametrize(("n", "k"), [*SETTINGS, (16384, 256), (10**12, 2), (10**12, 256)])
def test_rapidity_grows_linearly_at_its_rate(n: int, k: int, rule: str) -> None:
    """From φ = 30, where sinh φ' = (|y| sinh φ + g)/χ has forgotten g, over five layers."""
    selection = Selection(candidates=n, width=k, rule=rule)
    gain = rapidity_gain(selection)
    count = 20_000 if k < 20 else 1500
    walk = rapidity_walk(
        torch.full((count,), 30.0), selection, 5, generator=torch.Generator().manual_seed(9)
    )
    grown = walk[5] - walk[0]
    assert within(grown, 5 * gain.mean)
    assert within((grown - 5 * gain.mean) ** 2, 5 * gain.variance, sigmas=3.5)


@pytest.mark.law
@pytest.mark.parametrize(
    ("n", "k"), [(10, 2), (100, 2), (40, 10), (512, 256), (2048, 256), (20, 20)]
)
def test_rate_of_encoders_that_were_drawn(n: int, k: int) -> None:
    """Vectors in float64, from 4 nats up: the rate is the literal machine's, not only the
    recursion's.
    """
    count = 4000 if k < 100 else 150
    x = pairs_at(4.0, count, k, torch.Generator().manual_seed(5))
    path = encode_together(Encoder(width=k, candidates=n, depth=4), x, seed=6)
    phi = torch.stack(
        [
            wl.rapidity(path.directions[layer][:, 0], path.directions[layer][:, 1])
            for layer in (2, 4)
        ]
    )
    assert within(
        (phi[1] - phi[0]) / 2, rapidity_rate(Selection(candidates=n, width=k)), sigmas=3.0
    )


@pytest.mark.law
@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [(10, 2, 1.4679), (100, 2, 1.9261), (40, 10, 0.6187), (16384, 256, 1.0205), (512, 256, 0.3122)],
)
def test_rates_of_the_published_settings(n: int, k: int, expected: float) -> None:
    assert rapidity_rate(Selection(candidates=n, width=k)) == pytest.approx(expected, abs=6e-5)


@pytest.mark.law
@pytest.mark.parametrize("rule", ["largest", "most_negative"])
@pytest.mark.parametrize("share", [0.016, 0.1, 0.3, 0.5, 0.9])
def test_large_width_form_is_the_limit_with_an_error_of_one_over_k(share: float, rule: str) -> None:
    limits, errors = [], []
    for k in (64, 256, 1024, 4096):
        selection = Selection(candidates=round(k / share), width=k, rule=rule)
        errors.append(abs(rapidity_rate(selection) - rapidity_rate_large_width(selection)) * k)
        limits.append(reading_second_moment(selection))
    assert max(errors) < 8  # bounded: the error itself falls as 1/k
    exact = Selection(candidates=10**6, width=round(share * 10**6), rule=rule)
    y = exact.draw(1, generator=torch.Generator().manual_seed(0))
    assert float((y**2).mean()) == pytest.approx(reading_second_moment(exact), rel=0.01)


@pytest.mark.law
@pytest.mark.parametrize("k", [2, 3, 5, 16, 256])
def test_without_selection_the_rate_is_that_of_gaussian_products(k: int) -> None:
    none = rapidity_rate(Selection(candidates=k, width=k, rule="none"))
    assert none == pytest.approx(rapidity_rate(Selection(candidates=k, width=k)), abs=1e-12)
    spectrum = lyapunov_spectrum(Selection(candidates=k, width=k, rule="none"))
    half = torch.arange(k, 0, -1, dtype=torch.float64) / 2
    assert torch.allclose(spectrum, 0.5 * (math.log(2) + torch.digamma(half)), atol=1e-12)
    if k == 2:
        assert none == pytest.approx(math.log(2))


@pytest.mark.law
def test_most_negative_parts_near_pairs_when_more_than_half_are_kept() -> None:
    assert rapidity_rate(Selection(candidates=3500, width=2500, rule="most_negative")) < -0.1
    assert rapidity_rate(Selection(candidates=10_000, width=2500, rule="most_negative")) > 0.1


@pytest.mark.law
def test_the_ends_of_rapidity() -> None:
    generator, selection = torch.Generator().manual_seed(0), Selection(candidates=10, width=3)
    infinite = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
    assert torch.equal(one_step(infinite, selection, generator=generator), infinite)
    far = one_step(torch.full((2000,), 5000.0, dtype=torch.float64), selection, generator=generator)
    assert within(far - 5000, rapidity_rate(selection))
    alone = one_step(
        torch.zeros(50, dtype=torch.float64), Selection(candidates=10, width=1), generator=generator
    )
    assert alone.isinf().all()
    assert (alone > 0).any()
    assert (alone < 0).any()
    assert math.isinf(rapidity_rate(Selection(candidates=10, width=1)))
    turned = one_step(
        torch.full((4000,), -1.0, dtype=torch.float64),
        selection,
        generator=torch.Generator().manual_seed(1),
    )
    same = one_step(
        torch.full((4000,), 1.0, dtype=torch.float64),
        selection,
        generator=torch.Generator().manual_seed(2),
    )
    assert stats.ks_2samp((-turned).numpy(), same.numpy()).pvalue > 1e-3
