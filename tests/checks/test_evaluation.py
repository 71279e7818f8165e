"""Is the evaluation trustworthy? Known broken defences are flagged, each by the right check; honest
models are not.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

import worldline as wl
from worldline.attacks import (
    FGSM,
    PGD,
    Square,
    WorstCase,
    noise_twin,
    strong_attack,
    told_elsewhere,
)
from worldline.checks import (
    Check,
    Curve,
    CurvePoint,
    accuracy_curve,
    check_evaluation,
    fit_standin,
    plant_and_attack,
)
from worldline.errors import ShapeError, UsageError
from worldline.statistics import wilson

spec = importlib.util.spec_from_file_location("defences", Path(__file__).parent / "defences.py")
defences = importlib.util.module_from_spec(spec)
spec.loader.exec_module(defences)

EPSILON, SAMPLES, FEW = 0.15, 60, 24
SLOW = ("cnn", "cnn-adv", "vit")


def examine(
    model: nn.Module,
    digits,
    *,
    attack=None,
    epsilon: float = EPSILON,
    norm: str = "linf",
    samples: int = SAMPLES,
) -> dict[str, Check]:
    """Every check, as ``worldline doctor`` runs them, on fewer samples."""
    x, y = digits.x[:samples], digits.y[:samples]
    attack = attack or strong_attack(epsilon=epsilon, norm=norm, classes=10, steps=40)
    with told_elsewhere():
        found = attack(model, x, y)
    noise = noise_twin(x, found.x, generator=torch.Generator().manual_seed(0))
    curve = accuracy_curve(model, x, y, attack=PGD(epsilon=epsilon, norm=norm, steps=20))
    checks = check_evaluation(
        model,
        x,
        noise,
        found.x,
        y,
        attack=attack,
        epsilon=epsilon,
        norm=norm,
        curve=curve,
        thorough=True,
        reference=digits.reference_x,
        queries=200,
    )
    return {check.name: check for check in checks}


def warned(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.status == "warned"}


NAMES = [
    *(
        "finite",
        "epsilon",
        "deterministic",
        "logits",
        "gradient",
        "ball",
        "rounding",
        "chance",
        "noise",
        "fgsm",
        "steps",
        "curve",
    ),
    *("unbounded", "restarts", "gradient-free", "transfer"),
]

BROKEN = {  # defence → checks that must warn
    "rounded inputs": {"gradient", "unbounded", "gradient-free", "transfer"},
    "thermometer": {"gradient", "unbounded", "gradient-free", "transfer"},
    "saturated logits": {"gradient", "unbounded"},
    "distilled": {"gradient", "unbounded"},
    "noise": {"deterministic"},
    "random resizing": {"deterministic"},
    "jpeg": {"gradient", "unbounded", "gradient-free", "transfer"},
    "median": {"gradient", "unbounded", "gradient-free", "transfer"},
    "steep sigmoids": {"gradient", "gradient-free", "transfer"},
}


@pytest.fixture(scope="module")
def broken(digits) -> dict[str, nn.Module]:
    return defences.broken(digits)


@pytest.mark.law
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_defence_is_flagged_by_the_right_checks(name: str, broken, digits) -> None:
    model = broken[name]
    assert float((wl.attacks.predict(model, digits.x).argmax(1) == digits.y).double().mean()) > 0.5
    torch.manual_seed(0)
    checks = examine(model, digits)
    assert list(checks) == NAMES
    assert warned(checks) >= BROKEN[name]
    for check in checks.values():
        assert check.source
        assert check.status == "not applicable" or (
            check.value is not None and check.threshold is not None
        )


@pytest.mark.law
@pytest.mark.parametrize(
    ("name", "seed"), [*((name, 0) for name in wl.zoo.names()), ("linear", 1), ("mlp", 1)]
)
def test_no_model_of_the_zoo_is_flagged(name: str, seed: int, digits) -> None:
    model = wl.zoo.load(name, seed=seed)
    assert warned(examine(model, digits, samples=FEW if name in SLOW else SAMPLES)) == set()
    assert wl.check_model(model, digits.x, digits.y).sound


@pytest.mark.law
def test_nothing_is_flagged_in_l2_either(mlp: nn.Module, digits) -> None:
    assert warned(examine(mlp, digits, epsilon=0.8, norm="l2")) == set()


@pytest.mark.law
def test_broken_attacks_on_an_honest_model_are_flagged(mlp: nn.Module, digits) -> None:
    few = PGD(epsilon=EPSILON, steps=2, step_size=0.01, random_start=False)
    assert {"steps", "gradient-free", "transfer", "fgsm"} <= warned(
        examine(mlp, digits, attack=few)
    )
    x, y = digits.x[:SAMPLES], digits.y[:SAMPLES]
    good = strong_attack(epsilon=EPSILON, classes=10, steps=20)

    def flagged(model: nn.Module, twin: Tensor) -> set[str]:
        noise = noise_twin(x, twin, generator=torch.Generator().manual_seed(0))
        return warned(
            {
                c.name: c
                for c in check_evaluation(model, x, noise, twin, y, attack=good, epsilon=EPSILON)
            }
        )

    assert flagged(mlp, good(mlp, x, y).x) == set()
    assert {"noise", "fgsm"} <= flagged(mlp, x)
    assert "ball" in flagged(mlp, (x + 0.3).clamp(0, 1))
    assert "ball" in flagged(mlp, x - 0.1)
    found = good(mlp, x, y).x
    assert "rounding" in flagged(
        lambda z: mlp(z) * (z * 255 - (z * 255).round()).abs().amax((1, 2, 3))[:, None].gt(1e-3),
        found,
    )
    upside_down = nn.Sequential(mlp, Turned())
    assert "chance" in flagged(upside_down, good(upside_down, x, y).x)
    softmax = nn.Sequential(mlp, nn.Softmax(1))
    assert "logits" in flagged(softmax, good(softmax, x, y).x)


class Turned(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.flip(1)


@pytest.mark.law
def test_a_check_that_cannot_run_says_so(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:SAMPLES], digits.y[:SAMPLES]

    def away(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (x + 0.1).clamp(0, 1)

    checks = check_evaluation(
        mlp, x, x, away(mlp, x, y), y, attack=away, epsilon=0.1, thorough=True, queries=5
    )
    idle = {check.name: check.sentence for check in checks if check.status == "not applicable"}
    assert set(idle) == {
        *("steps", "restarts", "curve", "unbounded", "transfer"),
        *("noise", "rounding"),  # nothing is fooled
    }
    assert "Only the steps of PGD and APGD can be doubled" in idle["steps"]
    assert "No stand-in and no reference data" in idle["transfer"]
    doubled = check_evaluation(mlp, x, x, x, y, attack=FGSM(epsilon=0.1), epsilon=0.1)
    assert {c.name for c in doubled if c.status == "not applicable"} >= {"fgsm", "steps"}
    mixed = WorstCase([away, PGD(epsilon=0.1, steps=2)])
    status = {
        c.name: c.status for c in check_evaluation(mlp, x, x, x, y, attack=mixed, epsilon=0.1)
    }
    assert status["steps"] == "warned"


@pytest.mark.law
def test_what_the_model_raises_becomes_a_check_that_quotes_it(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:40], digits.y[:40]

    def moody(z: Tensor) -> Tensor:
        if z.requires_grad:
            raise KeyError("no gradients here")
        return mlp(z)

    checks = {
        c.name: c for c in check_evaluation(moody, x, x, x, y, attack=PGD(epsilon=0.1), epsilon=0.1)
    }
    assert checks["gradient"].status == "warned"
    assert "KeyError was raised: 'no gradients here'" in checks["gradient"].sentence


@pytest.mark.law
def test_the_curve_is_what_the_attack_finds_at_each_radius(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:100], digits.y[:100]
    attack = PGD(epsilon=0.1, steps=8, step_size=0.02)
    curve = accuracy_curve(mlp, x, y, attack=attack)
    assert [point.epsilon for point in curve.points][:4] == pytest.approx([0.0, 0.025, 0.05, 0.1])
    assert curve.points[0].accuracy == pytest.approx(float((mlp(x).argmax(1) == y).double().mean()))
    assert curve.points[-1].accuracy <= curve.chance < curve.points[-2].accuracy
    here = curve.points[2]
    again = PGD(epsilon=0.05, steps=8, step_size=0.01)(mlp, x, y)
    assert here.accuracy == pytest.approx(1 - float(again.success.double().mean()))
    assert here.interval[0] < here.accuracy < here.interval[1]
    assert here.noise_accuracy > here.accuracy
    assert curve.chance == pytest.approx(float(y.bincount().max()) / 100)
    stubborn = accuracy_curve(lambda z: mlp(z.round()), x, y, attack=PGD(epsilon=0.3, steps=2))
    assert stubborn.points[-1].epsilon == 1.0
    assert (
        accuracy_curve(mlp, x, y, attack=FGSM(epsilon=0.1), epsilons=(0.05,)).points[0].epsilon
        == 0.05
    )
    whole = accuracy_curve(
        lambda z: mlp(z.round()), x, y, attack=PGD(epsilon=1.0, norm="l2", steps=1)
    ).points[-1]
    assert whole.epsilon == pytest.approx(8.0)  # the diagonal of 64 pixels


@pytest.mark.law
def test_a_curve_that_rises_or_ends_above_chance_is_flagged(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:40], digits.y[:40]

    def status(*accuracy: float) -> tuple[str, str]:
        points = tuple(
            CurvePoint(i / (len(accuracy) - 1), value, (0.0, 1.0), 1.0)
            for i, value in enumerate(accuracy)
        )
        curve = Curve("linf", "PGD-9", 40, 0.1, points)
        checks = check_evaluation(
            mlp, x, x, x, y, attack=PGD(epsilon=0.1), epsilon=0.1, curve=curve
        )
        found = {check.name: check.status for check in checks}
        return found["curve"], found["unbounded"]

    assert status(1.0, 0.5, 0.1) == ("passed", "passed")
    assert status(1.0, 0.5, 0.55, 0.0) == ("warned", "passed")
    assert status(1.0, 0.5, 0.2) == ("passed", "warned")


@pytest.mark.oracle
def test_wilson_solves_its_equation() -> None:
    for hits, trials in ((0, 10), (3, 10), (10, 10), (500, 1000)):
        for end in wilson(hits, trials):
            if 0 < end < 1:
                assert (hits / trials - end) ** 2 == pytest.approx(
                    norm.ppf(0.975) ** 2 * end * (1 - end) / trials, rel=1e-9
                )


@pytest.mark.law
def test_planted_examples_are_there_and_good_attacks_find_them(
    mlp: nn.Module, broken, digits
) -> None:
    right = digits.x[mlp(digits.x).argmax(1) == digits.y]

    def rate(model: nn.Module, attack, samples: int = 12) -> tuple[float, Check]:
        found = plant_and_attack(
            model, right, attack=attack, epsilon=EPSILON, samples=samples, inner=249
        )
        assert int(found.planted.sum()) == samples
        assert int(found.random.sum()) <= samples // 4
        return int(found.found.sum()) / samples, found.check

    good, check = rate(mlp, strong_attack(epsilon=EPSILON, classes=2, steps=40))
    assert (good >= 0.95, check.status) == (True, "passed")
    lazy, check = rate(mlp, lambda model, x, y: x, 6)
    assert (lazy, check.status) == (0.0, "warned")
    assert "0.0% of 6 adversarial examples that are there by construction" in check.sentence
    masked, check = rate(broken["rounded inputs"], PGD(epsilon=EPSILON, steps=20), 8)
    assert (masked, check.status) == (0.0, "warned")
    assert rate(broken["rounded inputs"], Square(epsilon=EPSILON, queries=400), 8)[0] > 0.8
    outside = rate(mlp, lambda model, x, y: (x + 0.5).clamp(0, 1), 6)[0]
    assert outside == 0.0


@pytest.mark.law
def test_the_stand_in_imitates_and_transfers(mlp: nn.Module, digits) -> None:
    copy = fit_standin(mlp, digits.reference_x)
    agree = float((copy(digits.x).argmax(1) == mlp(digits.x).argmax(1)).double().mean())
    assert agree > 0.9
    again = fit_standin(mlp, digits.reference_x)
    assert torch.equal(again(digits.x[:5]), copy(digits.x[:5]))


@pytest.mark.message
def test_what_no_check_can_use(mlp: nn.Module, digits) -> None:
    def mine(model, x, y):
        return x

    x, y = digits.x[:10], digits.y[:10]
    with pytest.raises(UsageError, match=r"whose ε can be set \(PGD, APGD, Square\); got mine"):
        accuracy_curve(mlp, x, y, attack=mine)
    with pytest.raises(UsageError, match=r"epsilons must grow from at least 0; got \(0.2, 0.1\)"):
        accuracy_curve(mlp, x, y, attack=PGD(epsilon=0.1), epsilons=(0.2, 0.1))
    with pytest.raises(UsageError, match="must be at least 1; got 0, 499, 200"):
        plant_and_attack(mlp, x, attack=PGD(epsilon=0.1), epsilon=0.1, samples=0)


@pytest.mark.law
def test_what_a_stronger_attack_could_not_fool_counts_as_right_up_to_its_radius(
    mlp: nn.Module, digits
) -> None:
    x, y = digits.x[:100], digits.y[:100]
    attack = PGD(epsilon=0.1, steps=5)
    radii = 0.0, 0.05, 0.1, 0.2
    alone = accuracy_curve(mlp, x, y, attack=attack, epsilons=radii)
    none = accuracy_curve(
        mlp, x, y, attack=attack, epsilons=radii, held=torch.zeros(100, dtype=torch.bool)
    )
    assert none == alone
    right = mlp(x).argmax(1) == y
    every = accuracy_curve(mlp, x, y, attack=attack, epsilons=radii, held=right)
    clean = float(right.double().mean())
    assert [it.accuracy for it in every.points][:3] == pytest.approx([clean] * 3)
    assert every.points[3] == alone.points[3]


@pytest.mark.law
def test_in_brief_the_steps_are_doubled_where_the_twins_came_nearest(
    mlp: nn.Module, digits
) -> None:
    x, y = digits.x, digits.y
    attack = PGD(epsilon=0.05, steps=1, step_size=0.01, random_start=False)
    twins = attack(mlp, x, y).x
    given = {"attack": attack, "epsilon": 0.05, "samples": len(x)}
    whole, brief = (
        {it.name: it for it in check_evaluation(mlp, x, x, twins, y, brief=short, **given)}
        for short in (False, True)
    )
    assert "on the 32 that came nearest to it of the" in brief["steps"].sentence
    fell = {short["steps"].value for short in (whole, brief)}
    assert whole["steps"].value >= brief["steps"].value > 0, fell
    assert "of 128 samples misclassified" in brief["fgsm"].sentence
    for name in ("deterministic", "logits", "gradient"):
        assert "64 inputs" in brief[name].sentence
    assert {name: it.status for name, it in brief.items()} == {
        name: it.status for name, it in whole.items()
    }


@pytest.mark.oracle
def test_what_a_trace_heard_is_not_asked_again(mlp: nn.Module, digits) -> None:
    """The same checks from the trace's answers, NaN and infinity among them, as from asking."""
    x, y = digits.x[:60], digits.y[:60]

    def odd(x: Tensor) -> Tensor:
        bad = (x.flatten(1)[:, :1] * 0).where(x.flatten(1)[:, 36:37] < 0.9, torch.nan)
        return mlp(x) + bad + torch.where(x.flatten(1)[:, 20:21] > 0.95, torch.inf, 0.0)

    attack, given = PGD(epsilon=0.1, steps=2), {"epsilon": 0.1, "brief": True}
    twins = x, x.flip(0).lerp(x, 0.9), attack(odd, x, y).x
    layers = wl.trace.find_layers(odd, x)
    means = wl.trace.trace_reference(odd, x, y, layers, classes=10)
    heard = wl.trace.trace_twins(odd, *twins, y, means, layers).answers.values()
    asked = check_evaluation(odd, *twins, y, attack=attack, **given)
    assert check_evaluation(odd, *twins, y, attack=attack, answers=[*heard], **given) == asked
    assert 0 < asked[0].value < 1
    assert "left out of all other checks" in asked[0].sentence
    with pytest.raises(ShapeError, match=r"of the 60 inputs.*got answers of \[60\]"):
        check_evaluation(odd, *twins, y, attack=attack, answers=[*heard][:1], **given)
