"""The run behind ``worldline doctor``: examine a model, attack it, and examine the attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from worldline.attacks import (
    APGD,
    PGD,
    Attack,
    AutoAttack,
    Descent,
    Square,
    WorstCase,
    noise_twin,
    predict,
)
from worldline.checks import (
    Check,
    Planted,
    accuracy_curve,
    check_evaluation,
    check_model,
    plant_and_attack,
)
from worldline.runs import doctor_document as document
from worldline.runs.config import DoctorConfig
from worldline.runs.setup import make_attack, open_one, stem_of, versions
from worldline.runs.store import RunFolder, open_run

__all__ = ["doctor"]

Tick = Callable[[str, int, int], None]
CURVE_SAMPLES, CURVE_STEPS = 256, 20
SELFTEST_SAMPLES = 48


@dataclass(frozen=True)
class _Worst:
    """Twins of the named attack, and accuracy after it and after each that was tried on what it
    left.
    """

    x: Tensor
    attacks: tuple[str, ...]
    remaining: tuple[float, ...]


def doctor(
    config: DoctorConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> RunFolder:
    """Examine a model, attack it, and examine the attack.

    Args:
        config: the whole configuration.
        out: the run's folder; default: the first free ``runs/doctor-<model>-<data>-<number>``.
        resume: a finished run of the same configuration is returned as it is; an unfinished one is
            done again.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``checks.parquet`` and ``summary.json``.

    Raises:
        UsageError, InputError: what was given cannot be used; nothing that existed is overwritten.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.DoctorConfig(model="linear", samples=100, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.doctor(config, Path(folder) / "run")
    ...     run.read_json("summary.json")["schema"]
    'worldline.doctor/1'
    """
    given = open_one(config, tick)
    model, x, y = given.model, given.x, given.y
    attack = make_attack(config, classes=predict(model, x[:2]).shape[1])
    stem = f"doctor-{stem_of(config.model)}-{stem_of(config.data)}"
    run = open_run(out, config.to_toml(), stem=stem, resume=resume)
    if run.finished:
        return run
    tick("Examining the model", 0, 1)
    report = check_model(model, x, y, bounds=config.bounds)
    tick("Examining the model", 1, 1)
    worst = _attack(model, x, y, attack, config, tick)
    noise = noise_twin(
        x, worst.x, bounds=config.bounds, generator=torch.Generator().manual_seed(config.seed)
    )
    tick("Measuring the curve", 0, 1)
    cheap = PGD(
        epsilon=config.epsilon,
        norm=config.norm,
        steps=CURVE_STEPS,
        bounds=config.bounds,
        seed=config.seed,
    )
    few = slice(0, CURVE_SAMPLES)
    curve = accuracy_curve(
        model, x[few], y[few], attack=cheap, batch_size=config.batch_size, seed=config.seed
    )
    tick("Measuring the curve", 1, 1)
    checks = check_evaluation(
        model,
        x,
        noise,
        worst.x,
        y,
        attack=attack,
        epsilon=config.epsilon,
        norm=config.norm,
        bounds=config.bounds,
        samples=len(x),
        curve=curve,
        thorough=True,
        reference=given.reference[0],
        seed=config.seed,
        tick=lambda done, total: tick("Checking the evaluation", done, total),
    )
    planted = _plant(model, x, y, attack, config, tick) if config.attack_selftest else None
    groups: dict[str, tuple[Check, ...]] = {
        "model": report.checks,
        "evaluation": checks,
        "attack": (planted.check,) if planted else (),
    }
    right = {
        name: float((predict(model, twin).argmax(1) == y.cpu()).double().mean())
        for name, twin in (("clean", x), ("adversarial", worst.x), ("noise", noise))
    }
    summary = document.doctor_document(
        config,
        given.data,
        report,
        groups,
        curve,
        right,
        (worst.attacks, worst.remaining),
        planted,
        versions(given.device),
    )
    run.write_table("checks.parquet", document.check_columns(summary), schema=document.SCHEMA)
    run.write_json("summary.json", summary)
    return run


def _attack(
    model: nn.Module, x: Tensor, y: Tensor, attack: Attack, config: DoctorConfig, tick: Tick
) -> _Worst:
    """The named attack, then the others on what is left."""
    named = list(attack.attacks) if isinstance(attack, WorstCase) else [attack]
    more = _more(config) if config.thorough else []
    tick("Attacking", 0, 1 + len(more))
    found = WorstCase(named, config.batch_size)(model, x, y)
    remaining = list(found.remaining)
    held = (~found.success).nonzero().flatten().to(x.device)
    for number, extra in enumerate(more):
        tick("Attacking", 1 + number, 1 + len(more))
        if len(held):
            again = WorstCase([extra], config.batch_size)(model, x[held], y[held])
            held = held[(~again.success).nonzero().flatten().to(x.device)]
        remaining.append(len(held) / len(x))
    tick("Attacking", 1 + len(more), 1 + len(more))
    return _Worst(found.x, tuple(_label(each) for each in (*named, *more)), tuple(remaining))


def _more(config: DoctorConfig) -> list[Attack]:
    """Attacks that thoroughness adds; the authors' AutoAttack where it is installed."""
    same = {
        "epsilon": config.epsilon,
        "norm": config.norm,
        "bounds": config.bounds,
        "seed": config.seed + 1,
    }
    more: list[Attack] = [
        APGD(**same),  # type: ignore[arg-type]
        APGD(loss="dlr", **same),  # type: ignore[arg-type]
        Square(queries=5000, **same),  # type: ignore[arg-type]
    ]
    if find_spec("pyautoattack") is not None:
        more.append(AutoAttack(batch_size=config.batch_size, **same))  # type: ignore[arg-type]
    return more


def _plant(
    model: nn.Module, x: Tensor, y: Tensor, attack: Attack, config: DoctorConfig, tick: Tick
) -> Planted:
    """The self-test on samples that the model gets right, with the attack as it is for two
    classes.
    """
    right = (predict(model, x).argmax(1) == y.cpu()).nonzero().flatten().to(x.device)
    two_classes = make_attack(config, classes=2) if isinstance(attack, WorstCase) else attack
    return plant_and_attack(
        model,
        x[right if len(right) else slice(None)],
        attack=two_classes,
        epsilon=config.epsilon,
        norm=config.norm,
        bounds=config.bounds,
        samples=SELFTEST_SAMPLES,
        seed=config.seed,
        tick=lambda done, total: tick("Planting adversarial examples", done, total),
    )


def _label(attack: Attack) -> str:
    name = getattr(attack, "__name__", type(attack).__name__)
    if isinstance(attack, APGD):
        return (
            f"{name}-{attack.steps} ({'targeted ' if attack.targets else ''}{attack.loss.upper()})"
        )
    if isinstance(attack, Descent):
        return f"{name}-{attack.steps}" if attack.steps > 1 else name
    return f"{name} ({attack.queries:,} queries)" if isinstance(attack, Square) else name
