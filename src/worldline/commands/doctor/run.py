"""The run behind ``worldline doctor``: examine a model, attack it, and examine the attack."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

from worldline.attacks import (
    APGD,
    PGD,
    Attack,
    AutoAttack,
    Descent,
    Square,
    WorstCase,
    choices,
    noise_twin,
    predict,
)
from worldline.checks import (
    Planted,
    accuracy_curve,
    check_evaluation,
    check_model,
    plant_and_attack,
)
from worldline.commands.doctor.config import DoctorConfig
from worldline.commands.doctor.record import Diagnosis, Remaining
from worldline.errors import ModelError
from worldline.runs.codec import schema_of
from worldline.runs.opening import Opened, make_attack, open_one, versions
from worldline.runs.store import RunFolder
from worldline.settings import Progress, Settings
from worldline.statistics import wilson

__all__ = ["CHECKS", "Given", "prepare", "run"]

CHECKS = "checks.parquet"
CURVE_SAMPLES, CURVE_STEPS = 256, 20
SELFTEST_SAMPLES = 48
SQUARE_QUERIES = 5000


@dataclass(frozen=True)
class Given:
    """What is examined.

    Attributes:
        opened: device, data and model.
        x, y, said: (N, …), (N,), (N,) inputs whose output names a class, labels, and that class.
        attack: the named one, for as many classes as the model has.
        undefined: inputs that were left out.
    """

    opened: Opened
    x: Tensor
    y: Tensor
    said: Tensor
    attack: Attack
    undefined: int


def prepare(config: DoctorConfig, progress: Progress) -> Given:
    """Open what the configuration names, and ask the model about every input once."""
    opened = open_one(config, progress)
    output = predict(opened.model, opened.x, batch_size=config.batch_size)
    said = choices(output)
    known = (said >= 0).nonzero().flatten()
    if not len(known):
        raise ModelError(
            f"The outputs of all {len(said)} samples hold NaN, so that there is nothing to attack. "
            "Look for a logarithm, a division or an overflow in the model."
        )
    rows = known.to(opened.device)
    attack = make_attack(config, classes=output.shape[1])
    left_out = len(said) - len(known)
    return Given(opened, opened.x[rows], opened.y[rows], said[known], attack, left_out)


def run(config: DoctorConfig, given: Given, folder: RunFolder, progress: Progress) -> Diagnosis:
    """Examine the model, attack it, examine the attack, and keep the checks as a table."""
    model, x, y = given.opened.model, given.x, given.y
    settings = config.settings(progress)
    progress("Examining the model", 0, 1)
    # the inputs as they came: what is left out here is for these checks to say
    report = check_model(model, given.opened.x, given.opened.y, bounds=config.bounds)
    progress("Examining the model", 1, 1)
    twins, worst_case = _attack(given, config, progress)
    generator = torch.Generator().manual_seed(config.seed)
    noise = noise_twin(x, twins, bounds=config.bounds, generator=generator)
    cheap = PGD(
        epsilon=config.epsilon,
        norm=config.norm,
        steps=CURVE_STEPS,
        bounds=config.bounds,
        seed=config.seed,
    )
    few = slice(0, CURVE_SAMPLES)
    curve = accuracy_curve(model, x[few], y[few], attack=cheap, settings=settings)
    evaluation = check_evaluation(
        model,
        x,
        noise,
        twins,
        y,
        attack=given.attack,
        epsilon=config.epsilon,
        norm=config.norm,
        samples=len(x),
        curve=curve,
        thorough=True,
        reference=given.opened.reference[0],
        settings=settings,
    )
    planted = _plant(given, config, settings) if config.attack_selftest else None
    again = {check.name for check in evaluation}
    checks = (
        *(check for check in report.checks if check.name not in again),
        *evaluation,
        *((planted.check,) if planted else ()),
    )
    folder.write_rows(CHECKS, checks, schema=schema_of(Diagnosis))
    named = len(given.attack.attacks) if isinstance(given.attack, WorstCase) else 1
    data = given.opened.data
    return Diagnosis(
        model=config.model,
        data=data.name,
        data_split=data.split,
        bounds=config.bounds,
        epsilon=config.epsilon,
        epsilon_text=config.eps,
        norm=config.norm,
        attack=config.attack,
        steps=config.steps if config.attack in ("strong", "pgd") else None,
        seed=config.seed,
        samples=len(x),
        undefined=given.undefined,
        classes=report.classes,
        layers=report.layers,
        clean_accuracy=worst_case[0].accuracy,
        adversarial_accuracy=worst_case[named].accuracy,
        noise_accuracy=_accuracy(choices(predict(model, noise)), y.cpu()),
        worst_case=worst_case,
        curve=curve,
        checks=checks,
        trustworthy=all(check.status != "warned" for check in checks),
        selftest=planted.summary if planted else None,
        notes=_notes(given),
        versions=versions(given.opened.device),
    )


def _accuracy(said: Tensor, y: Tensor) -> float | None:
    """Share right of those that were told a class; None where none was."""
    known = said >= 0
    return float((said[known] == y[known]).double().mean()) if bool(known.any()) else None


def _notes(given: Given) -> tuple[str, ...]:
    if not given.undefined:
        return ()
    whole = given.undefined + len(given.x)
    return (
        f"{given.undefined:,} of {whole:,} samples were left out, as the model's output for them "
        "holds NaN.",
    )


def _attack(
    given: Given, config: DoctorConfig, progress: Progress
) -> tuple[Tensor, tuple[Remaining, ...]]:
    """Twins of the named attack, and what is left after it and after each further one."""
    attack, model, samples = given.attack, given.opened.model, len(given.x)
    named = list(attack.attacks) if isinstance(attack, WorstCase) else [attack]
    more = _more(config) if config.thorough else []
    progress("Attacking", 0, 1 + len(more))
    found = WorstCase(named, config.batch_size)(model, given.x, given.y)
    left = [round(share * samples) for share in found.remaining]
    held = (~found.success).nonzero().flatten().to(given.x.device)
    for number, extra in enumerate(more):
        progress("Attacking", 1 + number, 1 + len(more))
        if len(held):
            again = WorstCase([extra], config.batch_size)(model, given.x[held], given.y[held])
            held = held[(~again.success).nonzero().flatten().to(given.x.device)]
        left.append(len(held))
    progress("Attacking", 1 + len(more), 1 + len(more))
    names = ("none", *map(_label, (*named, *more)))
    rows = (
        Remaining(name, count / samples, wilson(count, samples))
        for name, count in zip(names, left, strict=True)
    )
    return found.x, tuple(rows)


def _more(config: DoctorConfig) -> list[Attack]:
    """Attacks that thoroughness adds; the authors' AutoAttack where it is installed."""
    epsilon, norm, bounds, seed = config.epsilon, config.norm, config.bounds, config.seed + 1
    more: list[Attack] = [
        APGD(epsilon=epsilon, norm=norm, bounds=bounds, seed=seed),
        APGD(epsilon=epsilon, norm=norm, bounds=bounds, seed=seed, loss="dlr"),
        Square(epsilon=epsilon, norm=norm, bounds=bounds, seed=seed, queries=SQUARE_QUERIES),
    ]
    if find_spec("pyautoattack") is not None:
        size = config.batch_size
        more.append(
            AutoAttack(epsilon=epsilon, norm=norm, bounds=bounds, seed=seed, batch_size=size)
        )
    return more


def _plant(given: Given, config: DoctorConfig, settings: Settings) -> Planted:
    """The self-test on samples that the model gets right, with the attack for two classes."""
    right = (given.said == given.y.cpu()).nonzero().flatten().to(given.x.device)
    whole = isinstance(given.attack, WorstCase)
    return plant_and_attack(
        given.opened.model,
        given.x[right] if len(right) else given.x,
        attack=make_attack(config, classes=2) if whole else given.attack,
        epsilon=config.epsilon,
        norm=config.norm,
        samples=SELFTEST_SAMPLES,
        settings=settings,
    )


def _label(attack: Attack) -> str:
    name = getattr(attack, "__name__", type(attack).__name__)
    if isinstance(attack, APGD):
        aim = "targeted " if attack.targets else ""
        return f"{name}-{attack.steps} ({aim}{attack.loss.upper()})"
    if isinstance(attack, Descent):
        return f"{name}-{attack.steps}" if attack.steps > 1 else name
    return f"{name} ({attack.queries:,} queries)" if isinstance(attack, Square) else name
