"""The run behind ``worldline doctor``: examine a model, attack it, and examine the attack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import get_args

import torch
from torch import Tensor

from worldline import attacks, checks
from worldline.commands.doctor.config import DoctorConfig
from worldline.commands.doctor.record import Diagnosis, Remaining, Smallest
from worldline.errors import ModelError
from worldline.runs.budgets import settled
from worldline.runs.codec import schema_of
from worldline.runs.opening import Opened, make_attack, open_one, versions
from worldline.runs.store import RunFolder
from worldline.settings import Progress, Settings
from worldline.statistics import wilson

__all__ = ["CHECKS", "Given", "prepare", "run"]

CHECKS = "checks.parquet"
CURVE_SAMPLES, CURVE_STEPS = 256, 20
SMALLEST_SAMPLES, SMALLEST_STEPS = 128, 50
SELFTEST_SAMPLES = 48
SQUARE_QUERIES = 5000
PICTURES = 4
FEWEST_OF_DLR = 3  # classes that the DLR loss tells apart
"""Dimensions of inputs (N, C, H, W), which AutoAttack needs."""


@dataclass(frozen=True)
class Given:
    """What is examined.

    Attributes:
        opened: device, data and model.
        rows: of the inputs whose output names a class; the others hold NaN and are left out.
        x, y, said: (N, …), (N,), (N,) of these rows: inputs, labels, and the classes named.
        attack: the named one, for as many classes as the model has.
    """

    opened: Opened
    rows: Tensor
    x: Tensor
    y: Tensor
    said: Tensor
    attack: attacks.Attack

    @property
    def budget(self) -> attacks.Budget:
        """Of the attack."""
        assert self.opened.budget is not None
        return self.opened.budget

    @property
    def undefined(self) -> int:
        """How many inputs are left out."""
        return len(self.opened.x) - len(self.x)

    def whole(self, twins: Tensor) -> Tensor:
        """Twins of all inputs: those left out stay as they are, for the checks to count."""
        return self.opened.x.index_copy(0, self.rows, twins)


def prepare(config: DoctorConfig, progress: Progress) -> Given:
    """Open what the configuration names, and ask the model about every input once."""
    opened = open_one(config, progress)
    output = attacks.predict(opened.model, opened.x, batch_size=config.batch_size)
    said = attacks.choices(output)
    known = (said >= 0).nonzero().flatten()
    if not len(known):
        raise ModelError(
            f"The outputs of all {len(said)} samples hold NaN, so that there is nothing to attack. "
            "Look for a logarithm, a division or an overflow in the model."
        )
    rows = known.to(opened.device)
    attack = make_attack(config, classes=output.shape[1], budget=opened.budget)
    return Given(opened, rows, opened.x[rows], opened.y[rows], said[known], attack)


def run(config: DoctorConfig, given: Given, folder: RunFolder, progress: Progress) -> Diagnosis:
    """Examine the model, attack it, examine the attack, and keep the checks as a table."""
    model, x, y, budget = given.opened.model, given.x, given.y, given.budget
    config = settled(config, given.opened.data)
    settings = config.settings(progress)
    progress("Examining the model", 0, 1)
    report = checks.check_model(model, given.opened.x, given.opened.y, bounds=config.bounds)
    progress("Examining the model", 1, 1)
    twins, worst_case = _attack(given, config, progress)
    generator = torch.Generator().manual_seed(config.seed)
    noise = attacks.noise_twin(x, twins, bounds=config.bounds, generator=generator, budget=budget)
    cheap = attacks.PGD(**budget.given, steps=CURVE_STEPS, seed=config.seed)
    few = slice(0, CURVE_SAMPLES)
    curve = checks.accuracy_curve(model, x[few], y[few], attack=cheap, settings=settings)
    smallest = _smallest(given, settings)
    evaluation = checks.check_evaluation(
        model,
        given.opened.x,
        given.whole(noise),
        given.whole(twins),
        given.opened.y,
        attack=given.attack,
        **budget.given,
        samples=len(x),
        curve=curve,
        thorough=True,
        reference=given.opened.reference[0],
        settings=settings,
    )
    planted = _plant(given, config, settings) if config.attack_selftest and budget.plain else None
    again = {check.name for check in evaluation}
    examined = (
        *(check for check in report.checks if check.name not in again),
        *evaluation,
        *((planted.check,) if planted else ()),
    )
    folder.write_rows(CHECKS, examined, schema=schema_of(Diagnosis))
    named = len(given.attack.attacks) if isinstance(given.attack, attacks.WorstCase) else 1
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
        noise_accuracy=_accuracy(attacks.choices(attacks.predict(model, noise)), y.cpu()),
        worst_case=worst_case,
        smallest=smallest,
        curve=curve,
        checks=examined,
        trustworthy=all(check.status != "warned" for check in examined),
        selftest=planted.summary if planted else None,
        notes=tuple(_notes(given, config)),
        versions=versions(given.opened.device),
    )


def _smallest(given: Given, settings: Settings) -> tuple[Smallest, ...]:
    """The smallest change that fools in each norm, on the first samples."""
    model, few = given.opened.model, slice(0, SMALLEST_SAMPLES)
    x, y = given.x[few], given.y[few]
    if attacks.gradient_problem(model, x, y):
        return ()
    budget = None if given.budget.plain else given.budget
    search = partial(
        attacks.smallest_change, model, x, y, steps=SMALLEST_STEPS, budget=budget, settings=settings
    )
    found = (search(norm=norm) for norm in get_args(attacks.BallName))
    return tuple(Smallest(it.norm, f"FMN-{it.steps}", it.median, it.fooled) for it in found)


def _accuracy(said: Tensor, y: Tensor) -> float | None:
    """Share right of those that were told a class; None where none was."""
    known = said >= 0
    return float((said[known] == y[known]).double().mean()) if bool(known.any()) else None


def _notes(given: Given, config: DoctorConfig) -> Iterator[str]:
    yield from given.opened.data.notes
    if given.undefined:
        yield (
            f"{given.undefined:,} of {len(given.opened.x):,} samples were left out, as the model's "
            "output for them holds NaN."
        )
    plain = given.budget.plain
    if isinstance(given.budget.epsilon, Tensor):
        yield "The smallest change that fools is in units of the sizes by feature: 1 is all of ε."
    if config.attack_selftest and not plain:
        yield "No adversarial examples were planted: it is done in one ε for all entries, only."
    if config.thorough and not plain:
        yield "AutoAttack was left out: it knows one ε for all entries, and no mask."
    elif config.thorough and given.x.ndim != PICTURES:
        yield "AutoAttack was left out: it takes pictures (N, C, H, W) only."
    elif config.thorough and not _has_autoattack():
        yield "AutoAttack was left out: pip install 'worldline[autoattack]' adds it."


def _attack(
    given: Given, config: DoctorConfig, progress: Progress
) -> tuple[Tensor, tuple[Remaining, ...]]:
    """Twins of the named attack, and what is left after it and after each further one."""
    attack, model, samples = given.attack, given.opened.model, len(given.x)
    named = list(attack.attacks) if isinstance(attack, attacks.WorstCase) else [attack]
    more = _more(config, given) if config.thorough else []
    progress("Attacking", 0, 1 + len(more))
    found = attacks.WorstCase(named, config.batch_size)(model, given.x, given.y)
    left = [round(share * samples) for share in found.remaining]
    held = (~found.success).nonzero().flatten().to(given.x.device)
    for number, extra in enumerate(more):
        progress("Attacking", 1 + number, 1 + len(more))
        if len(held):
            again = attacks.WorstCase([extra], config.batch_size)(
                model, given.x[held], given.y[held]
            )
            held = held[(~again.success).nonzero().flatten().to(given.x.device)]
        left.append(len(held))
    progress("Attacking", 1 + len(more), 1 + len(more))
    names = ("none", *map(_label, (*named, *more)))
    rows = (
        Remaining(name, count / samples, wilson(count, samples))
        for name, count in zip(names, left, strict=True)
    )
    return found.x, tuple(rows)


def _more(config: DoctorConfig, given: Given) -> list[attacks.Attack]:
    """Attacks that thoroughness adds; the authors' AutoAttack where it is there, on pictures."""
    seed = config.seed + 1
    apgd = attacks.APGD(**given.budget.given, seed=seed)
    square = attacks.Square(**given.budget.given, seed=seed, queries=SQUARE_QUERIES)
    told = attacks.predict(given.opened.model, given.x[:1]).shape[1] >= FEWEST_OF_DLR
    more: list[attacks.Attack] = [apgd, *[replace(apgd, loss="dlr")] * told, square]
    if _has_autoattack() and given.x.ndim == PICTURES and given.budget.plain:
        more.append(
            attacks.AutoAttack(**given.budget.given, seed=seed, batch_size=config.batch_size)
        )
    return more


def _has_autoattack() -> bool:
    return find_spec("pyautoattack") is not None


def _plant(given: Given, config: DoctorConfig, settings: Settings) -> checks.Planted:
    """The self-test on samples that the model gets right, with the attack for two classes."""
    right = (given.said == given.y.cpu()).nonzero().flatten().to(given.x.device)
    whole = isinstance(given.attack, attacks.WorstCase)
    return checks.plant_and_attack(
        given.opened.model,
        given.x[right] if len(right) else given.x,
        attack=make_attack(config, classes=2) if whole else given.attack,
        epsilon=config.epsilon,
        norm=config.norm,
        samples=SELFTEST_SAMPLES,
        settings=settings,
    )


def _label(attack: attacks.Attack) -> str:
    name = getattr(attack, "__name__", type(attack).__name__)
    if isinstance(attack, attacks.APGD):
        aim = "targeted " if attack.targets else ""
        return f"{name}-{attack.steps} ({aim}{attack.loss.upper()})"
    if isinstance(attack, attacks.Descent):
        return f"{name}-{attack.steps}" if attack.steps > 1 else name
    return f"{name} ({attack.queries:,} queries)" if isinstance(attack, attacks.Square) else name
