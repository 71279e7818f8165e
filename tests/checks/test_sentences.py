"""Every check's sentence in the empty, the tiny, the contrary and the infinite case."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.attacks import FGSM, PGD
from worldline.checks import (
    Check,
    Curve,
    CurvePoint,
    SelfTest,
    accuracy_curve,
    check_evaluation,
    plant_and_attack,
)
from worldline.checks.planted import _verdict
from worldline.errors import BoundsError, LabelError, ModelError, ShapeError, UsageError

N = 12
HOLLOW = re.compile(r"\bnan\b|\binf\b|\bof 0\b|\b1 (samples|modules|layers|points|inputs)\b")


class Names(nn.Module):
    """Names the class that the first entry says, and does not care for the others."""

    def __init__(self, tell: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.tell = tell

    def forward(self, x: Tensor) -> Tensor:
        score = self.tell(x.flatten(1))
        return torch.stack([score, -score], 1)


def side(x: Tensor) -> Tensor:
    return x[:, 0] - 0.5


def pictures(samples: int = N) -> tuple[Tensor, Tensor]:
    x = torch.full((samples, 1, 2, 2), 0.4)
    x[::2, :, 0, 0] = 0.6
    return x, (torch.arange(samples) % 2)


def look(
    model: nn.Module,
    adversarial: Tensor,
    *,
    x: Tensor | None = None,
    y: Tensor | None = None,
    noise: Tensor | None = None,
    epsilon: float = 0.3,
    attack=None,
    bounds: tuple[float, float] = (0.0, 1.0),
    **options,
) -> dict[str, Check]:
    given = pictures()
    x, y = given[0] if x is None else x, given[1] if y is None else y
    attack = attack or PGD(epsilon=epsilon, steps=2, bounds=bounds)
    checks = check_evaluation(
        model,
        x,
        x if noise is None else noise,
        adversarial,
        y,
        attack=attack,
        epsilon=epsilon,
        settings=wl.Settings(bounds=bounds),
        queries=3,
        **options,
    )
    for check in checks:
        assert not HOLLOW.search(check.sentence), check.sentence
        assert check.sentence[0].isupper() or check.sentence[0] in "ε0123456789"
        assert (check.direction is None) == (check.threshold is None) == (check.value is None)
        if check.status == "passed" and check.direction == "at most":
            assert check.value <= check.threshold
        if check.status == "passed" and check.direction == "at least":
            assert check.value >= check.threshold
    return {check.name: check for check in checks}


@pytest.mark.message
def test_the_direction_of_a_threshold_stands_beside_it() -> None:
    x, _ = pictures()
    found = look(Names(side), 1 - x, thorough=True, reference=x)
    assert {name: it.direction for name, it in found.items() if it.direction} == {
        **dict.fromkeys(
            ("finite", "epsilon", "deterministic", "gradient", "ball", "rounding"), "at most"
        ),
        **dict.fromkeys(("logits", "chance", "noise", "fgsm"), "at least"),
    }
    assert {it.about for it in found.values()} == {"evaluation"}


@pytest.mark.message
def test_where_nothing_is_fooled_no_sentence_speaks_of_the_fooled() -> None:
    x, y = pictures()
    found = look(Names(side), x + 0.05, thorough=True, reference=x)
    assert found["rounding"].status == "not applicable"
    assert "No twin fools the model" in found["rounding"].sentence
    assert found["noise"].status == "not applicable"
    assert "fools 0 of 12 samples, and the attack none" in found["noise"].sentence
    still = look(Names(side), x)["noise"]
    assert (still.status, "The attack moved no input" in still.sentence) == ("warned", True)
    wrong = look(Names(side), x + 0.05, y=1 - y, thorough=True, reference=x)
    for name in ("noise", "steps", "restarts", "gradient-free", "transfer"):
        assert wrong[name].status == "not applicable"
        assert "gets no sample right" in wrong[name].sentence
    curve = accuracy_curve(Names(side), x, 1 - y, attack=PGD(epsilon=0.3, steps=1))
    flat = look(Names(side), x + 0.05, y=1 - y, curve=curve)
    assert "does not rise with ε (from 0.0% at ε = 0 to 0.0% at 0.3)" in flat["curve"].sentence


@pytest.mark.message
def test_where_nothing_is_left_there_is_nothing_to_converge() -> None:
    x, _ = pictures()
    found = look(Names(side), 1 - x, thorough=True, reference=x)
    for name in ("steps", "restarts", "gradient-free", "transfer"):
        assert found[name].sentence == "The attack left no sample: there is nothing more to fool."
    contrary = look(Names(side), x + 0.05, noise=1 - x)["noise"]
    assert contrary.status == "warned"
    assert "Noise of the same size fools 12 of 12 samples, the attack 0" in contrary.sentence


@pytest.mark.message
def test_one_sample_is_one_sample() -> None:
    x, y = pictures(1)
    found = look(Names(side), x + 0.05, x=x, y=y, thorough=True, reference=x)
    assert "of 1 sample," in found["noise"].sentence
    assert "labels are all the same" in found["chance"].sentence
    x, y = pictures(2)
    found = look(Names(side), x + 0.05, x=x, y=y)
    assert found["chance"].sentence == "2 samples cannot tell a model from chance (50.0%)."
    assert (
        "fools 1 more sample ("
        in look(
            Names(side),
            torch.cat([1 - pictures(11)[0], pictures()[0][11:]]),
            attack=PGD(epsilon=0.3, steps=9, random_start=False),
        )["steps"].sentence
    )


@pytest.mark.message
def test_accuracy_that_chance_could_explain_is_not_called_worse_than_chance() -> None:
    x, y = pictures()
    half = look(Names(side), x + 0.05, y=torch.arange(N) // 6)["chance"]
    assert "50.0% is no better than always naming the commonest class (50.0%" in half.sentence
    most = look(Names(side), x + 0.05, y=torch.cat([1 - y[:3], y[3:]]))["chance"]
    assert "75.0% is not surely better than always naming" in most.sentence
    assert (half.status, most.status) == ("warned", "warned")


@pytest.mark.message
def test_infinite_and_undefined_outputs_are_counted_left_out_and_said() -> None:
    x, y = pictures()
    x[0] = 0.9

    def odd(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > 0.85, torch.nan, side(z))

    found = look(Names(odd), (1 - x).where(x < 0.85, x), x=x, thorough=True, reference=x)
    assert "8.3% of the samples give NaN" in found["finite"].sentence
    assert "1 sample with NaN left out of all other checks" in found["finite"].sentence
    assert "fools 0 of 11 samples, the attack 11" in found["noise"].sentence
    assert found["chance"].value == 1.0
    curve = accuracy_curve(Names(odd), x, y, attack=PGD(epsilon=0.3, steps=1))
    assert curve.points[0].undefined == 1
    assert curve.points[0].accuracy == 1.0
    hollow = look(Names(lambda z: z[:, 0] * torch.nan), x)
    assert list(hollow) == ["finite"]
    assert "100.0% of the samples" in hollow["finite"].sentence
    with pytest.raises(ModelError, match="outputs of all 12 samples hold NaN"):
        accuracy_curve(Names(lambda z: z[:, 0] * torch.nan), x, y, attack=FGSM(epsilon=0.1))
    infinite = look(Names(lambda z: torch.where(z[:, 0] > 0.5, torch.inf, -torch.inf)), 1 - x)
    assert infinite["finite"].value == 1.0
    assert infinite["deterministic"].status == "passed"
    assert infinite["logits"].status == "not applicable"


ODD = {
    "nan": lambda m, x: m(x) * torch.nan,
    "one nan": lambda m, x: m(x).index_fill(0, torch.tensor([0]), torch.nan),
    "inf": lambda m, x: m(x) + torch.inf,
    "zero": lambda m, x: 0 * m(x),
}


@pytest.mark.message
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("samples", [1, 2, 30])
def test_a_model_of_odd_numbers_is_not_called_random_or_sound(kind: str, samples: int) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return ODD[kind](self.inner, x)

    report = wl.check_model(Odd().eval(), torch.rand(samples, 4), torch.arange(samples) % 3)
    found = {check.name: check for check in report.checks}
    for check in report.checks:
        assert not HOLLOW.search(check.sentence), check.sentence
        assert check.about == "model"
        assert check.value is None or not math.isnan(check.value)
    assert found["deterministic"].status == "passed"
    assert found["traceable"].status == "passed"
    if kind in ("nan", "inf"):
        assert found["logits"].status == "not applicable"
        assert found["finite"].status == "warned"


@pytest.mark.message
def test_inputs_of_nan_do_not_lie_in_the_bounds() -> None:
    x = torch.full((3, 6), torch.nan)
    found = {check.name: check for check in wl.check_model(nn.Linear(6, 4), x).checks}
    assert found["inputs"].status == "warned"
    assert found["bounds"].status == "not applicable"
    one = wl.check_model(nn.Linear(1, 2), torch.full((1, 1), 3.0))
    assert not any(HOLLOW.search(check.sentence) for check in one.checks)


@pytest.mark.message
@pytest.mark.parametrize(
    ("epsilon", "bounds", "shape", "status", "words"),
    [
        (8.0, (0.0, 1.0), (1, 2, 2), "warned", "Did you mean 8/255?"),
        (8.0, (-1.0, 1.0), (1, 2, 2), "warned", "Did you mean 0.0627?"),
        (1.0, (0.0, 1.0), (7,), "warned", "every input can be moved to the middle of the bounds"),
        (0.6, (0.0, 1.0), (7,), "warned", "beyond 0.5"),
        (300.0, (0.0, 1.0), (7,), "warned", "so that no model is robust."),
        (0.3, (0.0, 1.0), (1, 2, 2), "passed", "plausible on data in (0, 1)"),
        (8 / 255, (0.0, 1.0), (1, 2, 2), "passed", "is plausible"),
        (1 / 255, (0.0, 1.0), (1, 2, 2), "passed", "is plausible"),
        (0.5 / 255, (0.0, 1.0), (1, 2, 2), "warned", "less than one grey level, 0.00392"),
        (0.5 / 255, (0.0, 1.0), (7,), "passed", "is plausible"),
        (8 / 255, (0.0, 255.0), (1, 2, 2), "warned", "Did you mean 8?"),
        (8.0, (0.0, 255.0), (1, 2, 2), "passed", "is plausible on data in (0, 255)"),
        (0.0, (0.0, 1.0), (1, 2, 2), "warned", "less than one grey level"),
    ],
)
def test_an_epsilon_that_cannot_be_meant(epsilon, bounds, shape, status, words) -> None:
    x = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(N, *shape)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2))
    check = look(model, x, x=x, epsilon=epsilon, bounds=bounds)["epsilon"]
    assert (check.status, words in check.sentence) == (status, True), check.sentence


@pytest.mark.message
@pytest.mark.parametrize(
    ("shape", "bounds", "applies"),
    [
        ((1, 2, 2), (0.0, 1.0), True),
        ((3, 2, 2), (0.0, 255.0), True),
        ((4, 2, 2), (-3.0, 3.0), True),
        ((5, 2, 2), (0.0, 1.0), False),
        ((4, 4), (0.0, 1.0), True),
        ((4, 4), (-3.0, 3.0), False),
        ((4,), (0.0, 1.0), False),
        ((1, 2, 2, 2), (0.0, 1.0), False),
    ],
)
def test_only_pictures_are_rounded_to_eight_bits(shape, bounds, applies) -> None:
    low, high = bounds
    x = torch.full((N, *shape), low + 0.4 * (high - low))
    x[::2] = low + 0.6 * (high - low)
    model = Names(lambda z: z[:, 0] - (low + high) / 2)
    found = look(model, low + high - x, x=x, epsilon=0.3 * (high - low), bounds=bounds)
    assert (found["rounding"].status != "not applicable") == applies
    assert applies or "no pictures" in found["rounding"].sentence


@pytest.mark.message
def test_a_curve_that_ends_early_or_has_one_point_proves_nothing() -> None:
    x, _ = pictures()

    def curve(*epsilons: float) -> Curve:
        points = tuple(CurvePoint(value, 0.9, (0.5, 1.0), 1.0) for value in epsilons)
        return Curve("linf", "PGD-1", N, 0.5, points)

    found = look(Names(side), x + 0.05, curve=curve(0.3))
    assert "one ε only" in found["curve"].sentence
    assert "above chance and below the 1 from which" in found["unbounded"].sentence
    assert look(Names(side), x + 0.05, curve=curve(0.3, 1.0))["unbounded"].status == "warned"


@pytest.mark.message
@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"planted": 0, "found": 0}, "not applicable", "planted in 0 of 9 samples only"),
        ({"samples": 1, "planted": 1, "found": 1}, "passed", "100.0% of 1 planted adversarial ex"),
        ({"samples": 1, "planted": 1, "found": 0}, "warned", "1 adversarial example that is there"),
        ({"found": 0, "found_at_random": 9}, "not applicable", "too easy: 200 random points"),
        ({"found": 0}, "warned", "only 0.0% of 9 adversarial examples that are there"),
        ({"trials": 1}, "passed", "1 random point hit 0.0%"),
    ],
)
def test_the_self_test_in_words(changes, status, words) -> None:
    verdict = _verdict(replace(SelfTest(9, 9, 9, 0, 200, "relu"), **changes))
    assert (verdict.status, words in verdict.sentence) == (status, True), verdict.sentence


@pytest.mark.message
def test_what_does_not_fit_together_is_refused_before_any_work() -> None:
    x, y = pictures()
    calls: list[int] = []

    def model(z: Tensor) -> Tensor:
        calls.append(len(z))
        return Names(side)(z)

    for twin, labels, options, error, words in (
        (x * torch.nan, y, {}, BoundsError, "adversarial twins must be finite; 12 samples"),
        (x[:3], y, {}, ShapeError, r"one adversarial twin:.*\(3, 1, 2, 2\) twins"),
        (x, y, {"noise": x[:5]}, ShapeError, r"one noise twin:.*\(5, 1, 2, 2\) twins"),
        (x, y[:3], {}, LabelError, "12 samples, 3 labels"),
        (x, y, {"epsilon": math.nan}, UsageError, "epsilon must be a finite number"),
        (x, y, {"norm": "l1"}, UsageError, "Unknown norm 'l1'"),
        (x, y, {"bounds": (1.0, 0.0)}, UsageError, "low < high"),
    ):
        attack = PGD(epsilon=0.1)
        with pytest.raises(error, match=words):
            look(model, twin, y=labels, attack=attack, **options)
    assert calls == []


@pytest.mark.message
@pytest.mark.parametrize("bad", [{"seed": -1}, {"batch_size": 0}, {"seed": 2**64}])
def test_settings_are_refused_before_any_work(bad) -> None:
    x, y = pictures()
    settings, attack = wl.Settings(**bad), PGD(epsilon=0.1)
    for work in (
        lambda: check_evaluation(None, x, x, x, y, attack=attack, epsilon=0.1, settings=settings),
        lambda: accuracy_curve(None, x, y, attack=attack, settings=settings),
        lambda: plant_and_attack(None, x, attack=attack, epsilon=0.1, settings=settings),
    ):
        with pytest.raises(UsageError, match=r"seed must lie in 0|at least one input"):
            work()


@pytest.mark.law
def test_what_a_model_raises_is_quoted_whatever_it_is() -> None:
    class Out(BaseException):
        pass

    def model(z: Tensor) -> Tensor:
        raise Out("no more")

    found = {check.name: check for check in wl.check_model(model, torch.rand(4, 6)).checks}
    assert "Out was raised: no more" in found["runs"].sentence

    def stopped(z: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wl.check_model(stopped, torch.rand(4, 6))
