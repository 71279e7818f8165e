"""The published experiments: their laws at published and at other settings, and what they
refuse.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from importlib import import_module

import numpy as np
import pytest
import torch

from worldline.encoder import Encoder, Selection, experiments
from worldline.encoder.experiments import EXPERIMENTS, Control, Controls, Measurement, walks
from worldline.encoder.experiments.carrying import Carry, _overheard
from worldline.encoder.experiments.carrying import _meaning as carried_meaning
from worldline.encoder.experiments.collapse import _meaning as collapse_meaning
from worldline.encoder.experiments.flip import _meaning as flip_meaning
from worldline.encoder.experiments.pairs import _area
from worldline.encoder.experiments.record import percent, verdict_on
from worldline.encoder.reading import reading_length
from worldline.encoder.reconcile import Reconciliation
from worldline.encoder.seeds import make_generator
from worldline.errors import BoundsError, ShapeError, UsageError

PICTURE = torch.rand(12, 10, generator=torch.Generator().manual_seed(1))


def embeddings(count: int = 300) -> tuple[torch.Tensor, ...]:
    a, noise, other = torch.randn(3, count, 40, generator=torch.Generator().manual_seed(2))
    return a, a + 0.8 * noise, other


def digits(count: int = 80) -> tuple[torch.Tensor, ...]:
    """Pictures of four classes with pixels in [0, 1], twice, with their labels."""
    generator = torch.Generator().manual_seed(3)
    middles = torch.rand(4, 8, 8, generator=generator)
    y = torch.arange(count) % 4
    x = (middles[y] + 0.3 * torch.randn(count, 8, 8, generator=generator)).clamp(0.01, 1)
    return x, y, x.flip(0), y.flip(0)


def run(name: str, **settings: object) -> experiments.Outcome:
    experiment = EXPERIMENTS[name](**settings)  # type: ignore[arg-type]
    given = {
        "": (),
        "picture": (PICTURE,),
        "two pictures": (PICTURE, PICTURE.flip(0)),
        "embeddings": embeddings(),
        "digits": digits(),
    }
    return experiment.run(*given[experiment.needs])


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
    ("spacetime", {"candidates": 50, "depth": 20, "speed": 1e6}),
    ("spacetime", {"candidates": 4, "depth": 30, "speed": 2.5}),
    ("normalised", {}),
    ("normalised", {"candidates": 4, "depth": 60, "speed": 2.5}),
    ("hamming", {"candidates": 100, "width": 60, "depth": 12, "dimension": 30}),
    ("hamming", {"candidates": 10**9, "width": 30, "depth": 5, "dimension": 30}),
    ("hamming", {"candidates": 60, "width": 50, "depth": 40, "dimension": 60}),
    ("margin", {"candidates": 300, "width": 20, "depth": 8, "dimension": 15}),
    ("margin", {"candidates": 10**9, "width": 40, "depth": 6, "margin": 3.0}),
    ("margin", {"candidates": 60, "width": 40, "depth": 10, "dimension": 40}),
    ("squash", {"candidates": 200, "width": 10, "depth": 6, "dimension": 12}),
    ("squash", {"candidates": 40, "width": 20, "depth": 10, "dimension": 5}),
    ("squash", {"candidates": 10**6, "width": 5, "depth": 2, "dimension": 5}),
    ("leading", {}),
    ("leading", {"candidates": 20, "width": 6, "depth": 10}),
    ("leading", {"candidates": 10**6, "width": 2, "depth": 4, "dimension": 9}),
    ("descent", {}),
    ("descent", {"rate": 0.001, "steps": 20, "target": 1e5}),
    ("descent", {"rate": 30.0, "target": 50.0, "vectors": 3000, "seed": 2}),
    ("clusters", {"rounds": 2}),
    ("clusters", {"candidates": 60, "width": 20, "depth": 8, "rounds": 3}),
    ("clusters", {"candidates": 1000, "width": 10, "depth": 4, "rounds": 3}),
    ("labels", {"candidates": 400, "width": 40}),
    ("labels", {"candidates": 100, "width": 30, "depth": 2}),
    ("labels", {"candidates": 10**6, "width": 20, "depth": 3}),
    ("onestep", {}),
    ("onestep", {"rate": 0.05}),
    ("onestep", {"rate": 1e4}),
    ("pictures", {"candidates": 400, "depth": 30}),
    ("pictures", {"candidates": 10**6, "depth": 8, "strength": 10.0}),
    ("pictures", {"candidates": 150, "depth": 60}),
    ("uniform", {}),
    ("uniform", {"candidates": 200, "depth": 40}),
    ("uniform", {"candidates": 10**9, "depth": 6, "dimension": 30}),
    ("digit", {"depth": 8}),
    ("digit", {"candidates": 10**6, "depth": 4}),
    ("digit", {"candidates": 1500, "depth": 12, "strength": 100.0}),
    ("likelihood", {"trials": 300}),
    ("likelihood", {"trials": 300, "seed": 1}),
    ("likelihood", {"trials": 2000, "seed": 2}),
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
    finding = outcome.finding
    evidence = (it.evidence for _, it in finding.controls.named())
    numbers = [*finding.measurements, *(it for it in evidence if it)]
    assert [it for it in numbers if not it.agrees] == []
    assert finding.agrees
    assert finding.verdict.startswith("Measured as the law says.")
    assert type(outcome.table) is EXPERIMENTS[name].table
    assert len({len(column) for column in vars(outcome.table).values()}) == 1
    for row in vars(finding.curves).values() if finding.curves else ():
        assert np.isfinite(np.array(row, dtype=float)).all()


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "what"), [("dilation", "rapidity"), ("flip", "share"), ("bell", "S at")]
)
def test_a_wrong_law_is_noticed(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "rapidity_rate", lambda selection: 1.6)
    monkeypatch.setattr("worldline.encoder.experiments.flip.sign_kept_probability", _too_likely)
    monkeypatch.setattr("worldline.encoder.chsh.expected_bell_value", lambda selection: 2.0)
    finding = run(name).finding
    assert not finding.agrees
    assert finding.verdict.startswith("Not as the law says (")
    apart = [it for it in finding.measurements if not it.agrees]
    assert any(what in it.quantity or what == it.unit for it in apart)


BENT = [
    ("spacetime", "spacetime", "crossing_layer", {}),
    ("descent", "descent.laws", "descent_law", {}),
    ("onestep", "onestep", "flip_rates", {"rate": 0.02}),
    ("likelihood", "likelihood", "share_entropy", {}),
    ("hamming", "sides", "sign_correlation", {"candidates": 2000, "width": 100, "depth": 20}),
    ("uniform", "walks", "rapidity_walk", {}),
]


@pytest.mark.law
@pytest.mark.parametrize(("name", "module", "law", "settings"), BENT)
def test_a_law_bent_by_a_twentieth_is_noticed(
    name: str, module: str, law: str, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = import_module(f"worldline.encoder.experiments.{module.split('.', maxsplit=1)[0]}")
    for inner in module.split(".")[1:]:
        place = getattr(place, inner)
    true = getattr(place, law)
    monkeypatch.setattr(place, law, lambda *args, **named: bent(true(*args, **named)))
    finding = run(name, **settings).finding
    assert not finding.agrees
    assert finding.verdict.startswith("Not as the law says (")


def bent(value: object) -> object:
    """Every number of a law, 5 % larger."""
    if is_dataclass(value):
        return replace(value, **{it.name: bent(getattr(value, it.name)) for it in fields(value)})
    return 1.05 * value  # type: ignore[operator]


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
            [it.deviation for it in run("dilation", seed=seed, pairs=30).finding.measurements]
            for seed in range(40)
        ]
    )
    assert bool((deviations.mean(0).abs() < 3.5 / math.sqrt(40)).all())
    assert bool((deviations.var(0) < 2.0).all())
    assert bool((deviations.var(0) > 0.45).all())


@pytest.mark.law
def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    one, again, other = run("dilation"), run("dilation"), run("dilation", seed=1)
    assert one.finding == again.finding
    assert (one.table.rapidity == again.table.rapidity).all()
    assert one.finding.measurements != other.finding.measurements
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
        np.testing.assert_array_equal(table.message, expected.numpy())
        for read in (table.received, table.overheard):
            np.testing.assert_allclose(read, table.message, atol=1e-6, rtol=0)
        assert not np.allclose(table.wrong_key.astype(float), table.message, atol=0.2)


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
    composed = walks.Trial(encoder, 8, make_generator(0)).rank().evidence
    monkeypatch.setattr(walks, "COMPOSE_OPERATIONS", 0)
    strangers = walks.Trial(encoder, 8, make_generator(0)).rank().evidence
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
    ("normalised", {"speed": 0.0}, UsageError, ("--speed", "positive", "0.0")),
    ("image", {"strength": -1.0}, UsageError, ("--strength", "positive", "-1.0")),
    ("image", {"depth": 0}, UsageError, ("depth", "at least 1")),
    ("image", {"candidates": 20}, UsageError, ("keep 120 of 20",)),
    ("reconcile", {"dimension": -3}, UsageError, ("dimension", "-3")),
    ("bell", {"candidates": 5}, UsageError, ("at least 20", "5")),
    ("bell", {"trials": 1}, UsageError, ("at least 100", "got 1")),
    ("dilation", {"dimension": 1}, UsageError, ("dimension 1", "parallel", "≥ 2")),
    ("reconcile", {"dimension": 1}, UsageError, ("dimension 1", "parallel")),
    ("normalised", {"speed": 1e200}, UsageError, ("--speed", "time axis", "1e+200")),
    ("spacetime", {"speed": math.nan}, UsageError, ("--speed", "nan")),
    ("image", {"strength": 1e300}, UsageError, ("--strength", "float64", "1e+300")),
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


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("collapse", {"candidates": 2, "width": 2, "dimension": 2, "vectors": 3, "depth": 300}),
        ("collapse", {"candidates": 20, "width": 2, "dimension": 2, "vectors": 1, "depth": 1}),
        ("spacetime", {"speed": 1e-300}),
        ("spacetime", {"speed": 1e300}),
        ("spacetime", {"candidates": 2, "depth": 1}),
        ("normalised", {"speed": 1e-300}),
        ("squash", {"candidates": 5, "width": 2, "depth": 20, "dimension": 2}),
        ("leading", {"depth": 1}),
        ("descent", {"rate": 1e-9, "steps": 1, "vectors": 30}),
        ("hamming", {"candidates": 2, "width": 2, "depth": 1, "dimension": 2}),
        ("margin", {"candidates": 2, "width": 2, "depth": 1, "dimension": 2, "margin": 89.9}),
        ("labels", {"candidates": 9, "width": 4, "depth": 1}),
        ("clusters", {"candidates": 2, "width": 2, "depth": 1, "rounds": 1}),
        ("digit", {"candidates": 784, "depth": 1}),
        ("flip", {"candidates": 100}),
        ("flip", {"candidates": 10, "width": 2, "depth": 1, "dimension": 2}),
        ("image", {"strength": 1e-300, "depth": 2}),
        ("dilation", {"depth": 1}),
        ("bell", {"candidates": 20, "trials": 100}),
    ],
)
def test_extreme_settings_give_numbers_that_agree(name: str, settings: dict[str, object]) -> None:
    """No NaN (pairs that float64 merged), and no law where none holds (labels before merging)."""
    finding = run(name, **settings).finding
    for it in finding.measurements:
        assert not math.isnan(it.measured)
        assert not math.isnan(it.standard_error)
    assert finding.agrees, finding.verdict


def told(error: float) -> Reconciliation:
    none = torch.zeros(1)
    return Reconciliation(none, none, error, none, 20.0, none, error)


@pytest.mark.message
@pytest.mark.parametrize(
    ("sentence", "says"),
    [
        (lambda: carried_meaning(told(1e-9), 100, Carry.holds), "reads the message all the same"),
        (
            lambda: carried_meaning(told(21.0), 1, Carry.holds),
            "does not read the message yet (error 21)",
        ),
        (lambda: _overheard(told(1e-9), Carry.listens), "reads the message as well"),
        (lambda: _overheard(told(21.0), Carry.listens), "does not read it yet"),
        (lambda: collapse_meaning(4999, 5000, 10), "4,999 of the 5,000 unseen vectors"),
        (lambda: collapse_meaning(0, 5000, 1), "have not collapsed them yet"),
        (lambda: flip_meaning(100, 100), "100 of 100 fitted features come out negative, because"),
        (lambda: flip_meaning(48, 100), "With so little selection only 48 of 100"),
        (lambda: walks.part_of_rate(0.7, 1.4), "only in part"),
        (lambda: walks.part_of_rate(0.001, 1.0), "less than 1% of the rate with selection, which"),
        (lambda: walks.part_of_rate(0.7, 0.7), "no work of selection"),
        (lambda: walks.part_of_rate(0.7, -0.13), "do not merge but part, by 0.13 nats"),
        (lambda: walks.part_of_rate(0.7, 0.0), "do not merge"),
        (lambda: verdict_on((), "So."), "Measured as the law says. So."),
        (lambda: verdict_on((Measurement("S", 3, 2, 0.0),), "So."), "(S: 3, law 2). So."),
        (lambda: percent(0.0) + percent(1.0), "0%100%"),
    ],
)
def test_sentences_say_what_the_numbers_say(sentence, says: str) -> None:
    """At the empty, the tiny, the contrary and the infinite case."""
    assert says in sentence()


@pytest.mark.law
def test_controls_that_an_experiment_needs_more_are_named_last() -> None:
    four = dict.fromkeys(("no_selection", "rank_one", "sign_kept", "eavesdropper"), Control("so."))
    assert [name for name, _ in Controls(**four).named()] == [it.replace("_", " ") for it in four]
    more = Controls(**four, time_alone=Control("alone.")).named()
    assert [name for name, _ in more][-1] == "time alone"
