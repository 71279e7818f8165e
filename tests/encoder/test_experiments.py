"""The published experiments: their laws at published and at other settings, and what they
refuse.
"""

from __future__ import annotations

import math

import pytest
import torch

from worldline.encoder import Encoder, Selection, experiments
from worldline.encoder.experiments import CONTROLS, EXPERIMENTS, Measurement, walks
from worldline.encoder.experiments.pairs import _area
from worldline.encoder.reading import reading_length
from worldline.encoder.seeds import make_generator
from worldline.errors import BoundsError, ShapeError, UsageError

PICTURE = torch.rand(12, 10, generator=torch.Generator().manual_seed(1))


def embeddings(count: int = 300) -> tuple[torch.Tensor, ...]:
    a, noise, other = torch.randn(3, count, 40, generator=torch.Generator().manual_seed(2))
    return a, a + 0.8 * noise, other


def run(name: str, **settings: object) -> experiments.Outcome:
    experiment = EXPERIMENTS[name](**settings)  # type: ignore[arg-type]
    given = {"": (), "picture": (PICTURE,), "embeddings": embeddings()}[experiment.needs]
    return experiment.run(*given)


SETTINGS = [
    ("dilation", {}),
    ("dilation", {"candidates": 10**12, "depth": 4, "pairs": 10}),
    ("dilation", {"candidates": 6, "width": 6, "depth": 30, "dimension": 40}),
    ("contraction", {}),
    ("contraction", {"width": 40, "depth": 8, "seed": 3}),
    ("path3d", {"depth": 60}),
    ("path3d", {"candidates": 1000, "depth": 1}),
    ("collapse", {"candidates": 2000, "width": 50, "dimension": 30, "vectors": 200}),
    ("collapse", {"candidates": 40, "width": 3, "depth": 3, "dimension": 5, "vectors": 50}),
    ("pairs", {}),
    ("pairs", {"candidates": 8, "width": 3, "depth": 4}),
    ("spacetime", {}),
    ("spacetime", {"candidates": 4, "depth": 60, "speed": 2.5}),
    ("image", {"candidates": 300, "depth": 40, "strength": 10.0}),
    ("image", {"candidates": 10**9, "depth": 9, "dimension": 7}),
    ("reconcile", {"candidates": 200, "depth": 60}),
    ("flip", {}),
    ("flip", {"candidates": 50, "width": 20, "depth": 6, "dimension": 10}),
    ("bell", {"trials": 400}),
    ("bell", {"candidates": 40, "trials": 400}),
]


@pytest.mark.law
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_every_number_is_within_four_errors_of_its_law(
    name: str, settings: dict[str, object]
) -> None:
    outcome = run(name, **settings)
    numbers = [
        *outcome.measurements,
        *(it.evidence for it in outcome.controls.values() if it.evidence),
    ]
    assert [it for it in numbers if not it.agrees] == []
    assert set(CONTROLS) <= set(outcome.controls)
    assert outcome.verdict.startswith("Measured as the law says.")
    assert len({len(column) for column in outcome.table.values()}) == 1
    for row in outcome.curves.values():
        assert all(math.isfinite(value) for value in row)


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "what"), [("dilation", "rapidity"), ("flip", "share"), ("bell", "S at")]
)
def test_a_wrong_law_is_noticed(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "rapidity_rate", lambda selection: 1.6)
    monkeypatch.setattr("worldline.encoder.experiments.flip.sign_kept_probability", _too_likely)
    monkeypatch.setattr("worldline.encoder.chsh.expected_bell_value", lambda selection: 2.0)
    outcome = run(name)
    assert not all(it.agrees for it in outcome.measurements)
    assert outcome.verdict.startswith("Not as the law says (")
    assert any(what in it.name or what == it.unit for it in outcome.measurements if not it.agrees)


def _too_likely(rapidity: torch.Tensor, *_: object, **__: object) -> object:
    class Estimate:
        value = torch.full_like(rapidity, 0.97)

    return Estimate


@pytest.mark.law
def test_errors_are_honest_over_seeds() -> None:
    """Deviations over seeds have a variance near one: neither the law nor the standard error is
    off.
    """
    deviations = torch.tensor(
        [
            [it.deviation for it in run("dilation", seed=seed, pairs=30).measurements]
            for seed in range(40)
        ]
    )
    assert bool((deviations.mean(0).abs() < 3.5 / math.sqrt(40)).all())
    assert bool((deviations.var(0) < 2.0).all())
    assert bool((deviations.var(0) > 0.45).all())


@pytest.mark.law
def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    one, again, other = run("dilation"), run("dilation"), run("dilation", seed=1)
    assert one.measurements == again.measurements
    assert torch.equal(one.table["rapidity"], again.table["rapidity"])
    assert one.measurements != other.measurements
    before = torch.random.get_rng_state()
    run("image", depth=3)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.law
def test_the_receiver_reads_the_picture_and_so_does_the_eavesdropper() -> None:
    for name, depth in (("image", 60), ("reconcile", 200)):
        table = run(name, candidates=800, depth=depth).table
        expected = (
            PICTURE.double().flatten() if name == "image" else PICTURE.flatten() > PICTURE.median()
        )
        assert torch.equal(table["message"], expected)
        for reader in ("received", "overheard"):
            torch.testing.assert_close(table[reader], table["message"], atol=1e-6, rtol=0)
        assert not torch.allclose(table["wrong_key"].double(), table["message"].double(), atol=0.2)


@pytest.mark.oracle
@pytest.mark.parametrize(("n", "k"), [(1000, 100), (50, 20), (7, 7), (30, 1)])
def test_mean_reading_against_many_draws(n: int, k: int) -> None:
    selection = Selection(candidates=n, width=k, rule="most_negative")
    draws = (
        torch.randn(4000, n, dtype=torch.float64, generator=make_generator(5))
        .sort(-1)
        .values[:, :k]
        .mean(-1)
    )
    error = float(draws.std()) / math.sqrt(len(draws))
    assert abs(float(draws.mean()) - reading_length(selection).mean_reading) < 4 * error


@pytest.mark.oracle
def test_roc_area_against_all_pairs_counted() -> None:
    matched, unmatched = torch.randn(2, 60, dtype=torch.float64, generator=make_generator(1)).round(
        decimals=1
    )
    wins = (matched[:, None] > unmatched).double() + 0.5 * (matched[:, None] == unmatched).double()
    assert _area(torch.stack((matched, unmatched), 1), False)[0] == pytest.approx(
        float(wins.mean()), abs=1e-12
    )


@pytest.mark.law
def test_a_deviation_is_zero_to_rounding_and_infinite_without_an_error() -> None:
    assert Measurement("", 2.0, 2.0 + 1e-9, 0.0).deviation == 0
    assert Measurement("", 2.1, 2.0, 0.0).deviation == math.inf
    assert Measurement("", 2.1, 2.0, 0.05).deviation == pytest.approx(2)
    assert Measurement("", 2.1, None, 0.05).agrees


@pytest.mark.law
def test_composing_and_strangers_tell_the_same_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(candidates=300, width=8, depth=12)
    composed = walks.rank(encoder, 8, make_generator(0)).evidence
    monkeypatch.setattr(walks, "COMPOSE_OPERATIONS", 0)
    strangers = walks.rank(encoder, 8, make_generator(0)).evidence
    assert composed is not None
    assert strangers is not None
    assert composed.measured > 0.999
    assert strangers.measured > 0.99


BAD = [
    ("dilation", {"candidates": 1}, UsageError, ("keep 2 of 1", "candidates")),
    ("dilation", {"width": 1}, UsageError, ("width ≥ 2", "parallel")),
    ("dilation", {"width": 0}, UsageError, ("at least 1", "0")),
    ("dilation", {"depth": 0}, UsageError, ("depth", "at least 1")),
    ("dilation", {"dimension": 0}, UsageError, ("dimension", "at least 1")),
    ("contraction", {"pairs": 0}, UsageError, ("pairs", "at least 1")),
    (
        "contraction",
        {"candidates": 10**6, "width": 10**5, "depth": 10**3},
        UsageError,
        ("GiB", "Lower the width"),
    ),
    ("path3d", {"width": 4, "candidates": 9}, UsageError, ("must be 3", "4")),
    ("spacetime", {"width": 3}, UsageError, ("must be 2", "3")),
    ("spacetime", {"speed": 0.0}, UsageError, ("--speed", "positive", "0.0")),
    ("image", {"strength": -1.0}, UsageError, ("--strength", "positive", "-1.0")),
    ("image", {"depth": 0}, UsageError, ("depth", "at least 1")),
    ("image", {"candidates": 20}, UsageError, ("keep 120 of 20",)),
    ("reconcile", {"dimension": -3}, UsageError, ("dimension", "-3")),
    ("bell", {"candidates": 5}, UsageError, ("at least 20", "5")),
    ("bell", {"trials": 1}, UsageError, ("at least 2",)),
]


@pytest.mark.message
@pytest.mark.parametrize(("name", "settings", "error", "parts"), BAD)
def test_settings_that_no_experiment_can_have(
    name: str, settings: dict[str, object], error: type, parts: tuple
) -> None:
    with pytest.raises(error) as raised:
        run(name, **settings)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.message
@pytest.mark.parametrize(
    ("picture", "error", "part"),
    [
        (torch.rand(3, 8, 8), ShapeError, "(H, W)"),
        (torch.zeros(8, 8, dtype=torch.uint8), ShapeError, "torch.uint8"),
        (torch.rand(300, 8), ShapeError, "256×256"),
        (2 * torch.ones(4, 4), BoundsError, "[2, 2]"),
        (torch.full((4, 4), math.nan), BoundsError, "NaN"),
    ],
)
def test_pictures_that_cannot_be_carried(picture: torch.Tensor, error: type, part: str) -> None:
    with pytest.raises(error) as raised:
        experiments.Image().run(picture)
    assert part in str(raised.value)


@pytest.mark.message
def test_embeddings_that_do_not_fit() -> None:
    a, b, c = embeddings(40)
    zero = a.clone()
    zero[7] = 0
    for given, error, part in (
        ((a, b[:, :9], c), ShapeError, "(40, 9)"),
        ((a[:20], b[:20], c[:20]), ShapeError, "At least 30"),
        ((a, b * math.nan, c), BoundsError, "NaN"),
        ((zero, b, c), BoundsError, "Row 7"),
        ((a.long(), b, c), ShapeError, "torch.int64"),
    ):
        with pytest.raises(error) as raised:
            experiments.Pairs().run(*given)
        assert part in str(raised.value)
