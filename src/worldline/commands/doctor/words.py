"""What an examination says in sentences, and its views."""

from __future__ import annotations

from collections.abc import Sequence

from worldline.attacks import named_norm
from worldline.checks import Check, Curve
from worldline.commands.base import Result
from worldline.commands.doctor.record import Diagnosis
from worldline.commands.doctor.tables import checks_table, curve_table, worst_table
from worldline.report.numbers import count, estimate, interval, share, significant
from worldline.report.views import View, Words
from worldline.statistics import Share, apart

__all__ = ["ABOUT", "curve_view", "views", "words"]

ABOUT = {
    "model": "The model",
    "evaluation": "The evaluation",
    "attack": "The attack on planted adversarial examples",
}


def words(record: Diagnosis) -> Words:
    """Headline, findings, notes, and the checks that warn with what to do."""
    warned = [check for check in record.checks if check.status == "warned"]
    return Words(
        _headline(record, len(warned)),
        (_worst(record), _believable(record, warned), _reach(record.curve)),
        record.notes,
        tuple(f"{check.name}: {check.sentence}" for check in warned),
    )


def views(result: Result[Diagnosis]) -> dict[str, View]:
    """Worst case, curve, and the checks by what they are about."""
    record = result.record
    last = record.worst_case[-1]
    found = {
        "worst": View(
            f"Worst case over {_attacks(record)}: {share(last.accuracy)} of the samples are left",
            "Each attack takes the samples that still hold. What is left is an upper bound on the "
            "robust accuracy: an attack that was not tried may fool more.",
            f"n = {count(record.samples, 'sample')}; 95% Wilson intervals",
            worst_table(record),
        ),
        "curve": curve_view(record.curve),
    }
    for about, title in ABOUT.items():
        checks = [check for check in record.checks if check.about == about]
        if checks:
            found[about] = View(
                f"{title}: {_warn(checks)}",
                "",
                f"n = {count(len(checks), 'check')}{_idle(checks)}",
                checks_table(checks),
            )
    return found


def curve_view(curve: Curve) -> View:
    """Accuracy by ε in words; it falls or rises only where the intervals of its ends part."""
    last = curve.points[-1]
    reached = last.interval[0] <= curve.chance
    return View(
        _course(curve),
        f"At ε = {significant(last.epsilon)} the interval is {interval(last.interval, share)}. "
        f"Chance is {share(curve.chance)}: it is {'reached' if reached else 'not reached'} within "
        f"this range. Noise of that size leaves {share(last.noise_accuracy)}.",
        f"n = {count(curve.samples, 'sample')}, {curve.attack}; 95% Wilson intervals",
        curve_table(curve),
    )


def _course(curve: Curve) -> str:
    first, last = curve.points[0], curve.points[-1]
    values = (
        f"{share(first.accuracy)} at ε = {significant(first.epsilon)} to {share(last.accuracy)} "
        f"at ε = {significant(last.epsilon)}"
    )
    return {
        1: f"Accuracy falls from {values}",
        0: f"Accuracy does not fall beyond its intervals: {values}",
        -1: f"Accuracy rises from {values}: that should not be",
    }[apart(first.interval, last.interval)]


def _headline(record: Diagnosis, warned: int) -> str:
    if warned:
        checks = f"{count(warned, 'check')} {'warns' if warned == 1 else 'warn'}"
        return f"{record.model}: the evaluation is not to be believed, {checks}"
    last = record.worst_case[-1]
    left = estimate(Share(last.accuracy, last.interval, record.samples))
    return f"{record.model}: at most {left} robust accuracy, and no check warns"


def _worst(record: Diagnosis) -> str:
    last = record.worst_case[-1]
    ball = f"{named_norm(record.norm).sign}, ε = {record.epsilon_text}"
    noise = ""
    if record.noise_accuracy is not None:
        noise = f" Noise of the same size leaves {share(record.noise_accuracy)}."
    return (
        f"{record.model} gets {share(record.clean_accuracy)} of "
        f"{count(record.samples, 'sample')} of {record.data} right, and {share(last.accuracy)} in "
        f"the worst case over {_attacks(record)} ({ball}): an upper bound on its robustness.{noise}"
    )


def _believable(record: Diagnosis, warned: Sequence[Check]) -> str:
    ran = sum(check.status != "not applicable" for check in record.checks)
    if not ran:
        return "No check applies: nothing speaks for that number, or against it."
    if not warned:
        return (
            f"None of {count(ran, 'check')} warns. That makes the number believable, and proves "
            "nothing: a stronger attack may find more."
        )
    names = ", ".join(check.name for check in warned)
    return (
        f"{len(warned)} of {count(ran, 'check')} {'warns' if len(warned) == 1 else 'warn'} "
        f"({names}): do not believe that number before that is dealt with."
    )


def _reach(curve: Curve) -> str:
    """Where the curve ends, by the rule of the check ``unbounded``."""
    last = curve.points[-1]
    where = "at chance or below" if last.accuracy <= curve.chance else "above chance"
    return (
        f"Accuracy under {curve.attack} by ε: at ε = {significant(last.epsilon)} it is "
        f"{share(last.accuracy)}, {where} ({share(curve.chance)})."
    )


def _attacks(record: Diagnosis) -> str:
    return count(len(record.worst_case) - 1, "attack")


def _warn(checks: Sequence[Check]) -> str:
    warned = sum(check.status == "warned" for check in checks)
    if not warned:
        return "no check warns"
    return f"{warned} of {count(len(checks), 'check')} warn{'s' * (warned == 1)}"


def _idle(checks: Sequence[Check]) -> str:
    idle = sum(check.status == "not applicable" for check in checks)
    return f", {idle} of which {'does' if idle == 1 else 'do'} not apply" if idle else ""
