"""Readings of the kept neurons, and the law of their length."""

import math

import mpmath
import pytest
import torch
from scipy import stats

from worldline.encoder import Selection, reading_length

SETTINGS = [
    (1, 1),
    (2, 1),
    (5, 3),
    (10, 2),
    (10, 10),
    (40, 10),
    (100, 99),
    (512, 256),
    (16384, 256),
]
ENORMOUS = [(10**6, 1), (10**9, 16), (10**12, 2), (10**12, 256)]


def within(sample: torch.Tensor, expected: float, sigmas: float = 3.5) -> bool:
    error = float(sample.std()) / math.sqrt(len(sample))
    return abs(float(sample.mean()) - expected) < sigmas * error


def literal(selection: Selection, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw all n readings and keep k, written from the sentence."""
    n = selection.width if selection.rule == "none" else selection.candidates
    all_of_them = torch.randn(count, n, dtype=torch.float64, generator=generator)
    if selection.rule == "none":
        return all_of_them
    score = all_of_them.abs() if selection.rule == "largest" else -all_of_them
    return all_of_them.gather(1, score.topk(selection.width, dim=1).indices)


@pytest.mark.oracle
@pytest.mark.parametrize("rule", ["largest", "most_negative", "none"])
@pytest.mark.parametrize(
    ("n", "k"), [(1, 1), (2, 1), (5, 3), (12, 12), (40, 10), (100, 99), (300, 30)]
)
def test_readings_have_the_distribution_of_keeping_k_of_n(n: int, k: int, rule: str) -> None:
    generator = torch.Generator().manual_seed(n + k)
    selection = Selection(candidates=n, width=k, rule=rule)
    exact, drawn = selection.draw(3000, generator=generator), literal(selection, 3000, generator)
    statistics = {
        "first": lambda y: y[:, 0],
        "last": lambda y: y[:, -1].abs(),
        "middle": lambda y: y[:, k // 2],
        "length": lambda y: y.norm(dim=1),
        "sum": lambda y: y.sum(1),
        "spread": lambda y: y.abs().amax(1) - y.abs().amin(1),
        "first and last together": lambda y: y[:, 0] * y[:, -1],
    }
    p = {
        name: stats.ks_2samp(f(exact).numpy(), f(drawn).numpy()).pvalue
        for name, f in statistics.items()
    }
    assert min(p.values()) > 1e-3, (
        p
    )  # 147 comparisons, fixed seeds: one below 1e-3 is a 14 % event, as drawn none is


@pytest.mark.law
@pytest.mark.parametrize(("n", "k"), SETTINGS + ENORMOUS)
@pytest.mark.parametrize("rule", ["largest", "most_negative", "none"])
def test_length_of_the_readings_has_the_moments_of_its_law(n: int, k: int, rule: str) -> None:
    selection = Selection(candidates=n, width=k, rule=rule)
    law = reading_length(selection)
    y = selection.draw(20_000 if k < 50 else 2000, generator=torch.Generator().manual_seed(7)).norm(
        dim=1
    )
    assert within(y, law.mean)
    assert within(y**2, law.mean_square)
    assert within(y.log(), law.log_mean)
    assert within((y.log() - law.log_mean) ** 2, law.log_variance)
    assert within(
        torch.exp(-(y**2) / k), float(law.laplace(torch.tensor([1 / k], dtype=torch.float64)))
    )


@pytest.mark.oracle
@pytest.mark.parametrize(("n", "q"), [(2, 1), (10, 1), (1000, 1), (10**6, 1)])
def test_length_of_one_reading_against_high_precision(n: int, q: int) -> None:
    """With k = 1 the law is that of a maximum: density n·f·F^(n−1)."""
    law = reading_length(Selection(candidates=n, width=q))
    with mpmath.workdps(30):
        top = mpmath.mpf(9)

        def average(f):
            density = lambda y: 2 * n * mpmath.npdf(y) * mpmath.erf(y / mpmath.sqrt(2)) ** (n - 1)  # noqa: E731
            return float(mpmath.quad(lambda y: f(y) * density(y), [0, 0.5, 1, 2, 3, 4, 5, 6, top]))

        assert law.mean == pytest.approx(average(lambda y: y), rel=1e-10)
        assert law.mean_square == pytest.approx(average(lambda y: y * y), rel=1e-10)
        assert law.log_mean == pytest.approx(average(mpmath.log), abs=1e-10)
        second = average(lambda y: mpmath.log(y) ** 2)
        assert law.log_variance == pytest.approx(second - law.log_mean**2, abs=1e-9)


@pytest.mark.law
def test_keeping_all_is_chi_distributed_by_either_road() -> None:
    """n = k + 1 differs from n = k by one neuron of many: the quadrature joins the closed form."""
    kept, almost = (reading_length(Selection(candidates=n, width=4000)) for n in (4000, 4001))
    assert almost.log_mean == pytest.approx(kept.log_mean, abs=2e-4)
    assert almost.log_variance == pytest.approx(kept.log_variance, rel=1e-3)


@pytest.mark.law
def test_a_million_million_candidates_are_neither_infinite_nor_rounded() -> None:
    selection = Selection(candidates=10**12, width=100)
    y = selection.draw(1000, generator=torch.Generator().manual_seed(0)).abs()
    assert torch.isfinite(y).all()
    assert (y > 6).all()
    tail = torch.special.erfc(y / math.sqrt(2)).mean(0)  # E p_(i) = i/(n + 1)
    ranks = torch.arange(1, 101, dtype=torch.float64)
    assert torch.allclose(tail * 10**12 / ranks, torch.ones(100, dtype=torch.float64), atol=0.15)
    # twins in rank must not coincide, as they would if 1 − p were rounded to one
    assert len(torch.unique(y)) == y.numel()


@pytest.mark.law
def test_draws_belong_to_their_generator_and_leave_the_global_state() -> None:
    before = torch.random.get_rng_state()
    selection = Selection(candidates=50, width=5)
    first, again = (selection.draw(3, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, selection.draw(3, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(before, torch.random.get_rng_state())
