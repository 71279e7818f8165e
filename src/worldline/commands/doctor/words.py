"""What an examination says, for terminal, page and Markdown alike: sentences, tables, views."""

from __future__ import annotations

from collections.abc import Sequence

from worldline.checks import Check, Curve, CurvePoint
from worldline.commands.base import Result
from worldline.commands.doctor.record import Diagnosis, Remaining, Smallest
from worldline.report.numbers import count, estimate, interval, norm_sign, share, significant
from worldline.report.views import Column, Table, View, Words, tabulate
from worldline.statistics import Share, apart

__all__ = ["ABOUT", "checks_table", "curve_view", "tables", "views", "words"]


def words(record: Diagnosis) -> Words:
    """Headline, findings, notes, and the checks that warn with what to do."""
    warned = [check for check in record.checks if check.status == "warned"]
    return Words(
        _headline(record, len(warned)),
        tuple(
            filter(
                None,
                (_worst(record), _least(record), _believable(record, warned), _reach(record.curve)),
            )
        ),
        record.notes,
        tuple(f"{check.name}: {check.sentence}" for check in warned),
    )


def tables(record: Diagnosis) -> tuple[Table, ...]:
    """What the terminal shows."""
    checks = tabulate(BRIEF, record.checks, title="Checks")
    smallest = (_smallest_table(record),) if record.smallest else ()
    return checks, _worst_table(record), *smallest, _curve_table(record.curve)


def views(result: Result[Diagnosis]) -> dict[str, View]:
    """Worst case, curve, and the checks by what they are about."""
    record = result.record
    found = {"worst": _worst_view(record), "curve": curve_view(record.curve)}
    if record.smallest:
        found["smallest"] = _smallest_view(record)
    for about, title in ABOUT.items():
        checks = [check for check in record.checks if check.about == about]
        if checks:
            found[about] = _checks_view(title, checks)
    return found


def _headline(record: Diagnosis, warned: int) -> str:
    if warned:
        checks = f"{count(warned, 'check')} {_warn(warned)}"
        return f"{record.model}: the evaluation is not to be believed, {checks}"
    last = record.worst_case[-1]
    left = estimate(Share(last.accuracy, last.interval, record.samples))
    return f"{record.model}: at most {left} robust accuracy, and no check warns"


# the worst case

WORST = (
    Column[Remaining](
        "after", lambda it: "no attack" if it.attack == "none" else it.attack, words=True
    ),
    Column[Remaining]("accuracy", lambda it: Share(it.accuracy, it.interval, 0), interval=True),
)


def _worst(record: Diagnosis) -> str:
    last = record.worst_case[-1]
    ball = f"{norm_sign(record.norm)}, ε = {record.epsilon_text}"
    noise = ""
    if record.noise_accuracy is not None:
        noise = f" Noise of the same size leaves {share(record.noise_accuracy)}."
    return (
        f"{record.model} gets {share(record.clean_accuracy)} of "
        f"{count(record.samples, 'sample')} of {record.data} right, and {share(last.accuracy)} in "
        f"the worst case over {_attacks(record)} ({ball}): an upper bound on its robustness.{noise}"
    )


def _worst_view(record: Diagnosis) -> View:
    left = share(record.worst_case[-1].accuracy)
    return View(
        f"Worst case over {_attacks(record)}: {left} of the samples are left",
        "Each attack takes the samples that still hold. What is left is an upper bound on the "
        "robust accuracy: an attack that was not tried may fool more.",
        f"n = {count(record.samples, 'sample')}; 95% Wilson intervals",
        _worst_table(record),
    )


def _worst_table(record: Diagnosis) -> Table:
    title = "Worst case over attacks, an upper bound on robustness"
    return tabulate(WORST, record.worst_case, title=title)


def _attacks(record: Diagnosis) -> str:
    return count(len(record.worst_case) - 1, "attack")


# the smallest change that fools

SMALLEST = (
    Column[Smallest]("norm", lambda it: norm_sign(it.norm), words=True),
    Column[Smallest]("median size", lambda it: it.size, interval=True, form=significant),
    Column[Smallest]("10% need", lambda it: it.size.q10, form=significant),
    Column[Smallest]("90% need", lambda it: it.size.q90, form=significant),
    Column[Smallest]("fooled", lambda it: it.fooled),
)


def _least(record: Diagnosis) -> str:
    """How little it takes in the attack's own norm."""
    for it in record.smallest:
        if it.norm == record.norm:
            return (
                f"The smallest {norm_sign(it.norm)} change that fools is "
                f"{significant(it.size.median)} in the median (95% interval "
                f"{interval(it.size.interval, significant)}), an upper bound by {it.attack} on "
                f"{count(it.size.count, 'sample')}."
            )
    return ""


def _smallest_view(record: Diagnosis) -> View:
    return View(
        _least(record).split(" (")[0],
        "Without a fixed ε: how little must change for each sample, by norm. A better attack may "
        "find less, never more. A sample that is wrong by itself needs 0; L0 counts the entries "
        "that change.",
        f"n = {count(record.smallest[0].size.count, 'sample')}, {record.smallest[0].attack}; 95% "
        "bootstrap intervals of medians",
        _smallest_table(record),
    )


def _smallest_table(record: Diagnosis) -> Table:
    return tabulate(SMALLEST, record.smallest, title="Smallest change that fools, an upper bound")


# accuracy by ε

CURVE = (
    Column[CurvePoint]("ε", lambda it: it.epsilon, form=significant),
    Column[CurvePoint](
        "accuracy under attack", lambda it: Share(it.accuracy, it.interval, 0), interval=True
    ),
    Column[CurvePoint]("under noise", lambda it: Share(it.noise_accuracy, None, 0)),
)
UNDEFINED = Column[CurvePoint]("left out: NaN", lambda it: it.undefined)


def _reach(curve: Curve) -> str:
    """Where the curve ends, by the rule of the check ``unbounded``."""
    last = curve.points[-1]
    where = "at chance or below" if last.accuracy <= curve.chance else "above chance"
    return (
        f"Accuracy under {curve.attack} by ε: at ε = {significant(last.epsilon)} it is "
        f"{share(last.accuracy)}, {where} ({share(curve.chance)})."
    )


def curve_view(curve: Curve) -> View:
    """Accuracy by ε in words; it falls or rises only where the intervals of its ends part."""
    first, last = curve.points[0], curve.points[-1]
    values = (
        f"{share(first.accuracy)} at ε = {significant(first.epsilon)} to {share(last.accuracy)} "
        f"at ε = {significant(last.epsilon)}"
    )
    course = {
        1: f"Accuracy falls from {values}",
        0: f"Accuracy does not fall beyond its intervals: {values}",
        -1: f"Accuracy rises from {values}: that should not be",
    }
    reached = "reached" if last.interval[0] <= curve.chance else "not reached"
    return View(
        course[apart(first.interval, last.interval)],
        f"At ε = {significant(last.epsilon)} the interval is {interval(last.interval, share)}. "
        f"Chance is {share(curve.chance)}: it is {reached} within "
        f"this range. Noise of that size leaves {share(last.noise_accuracy)}.",
        f"n = {count(curve.samples, 'sample')}, {curve.attack}; 95% Wilson intervals",
        _curve_table(curve),
    )


def _curve_table(curve: Curve) -> Table:
    columns = (*CURVE, UNDEFINED) if any(it.undefined for it in curve.points) else CURVE
    title = f"Accuracy by ε under {curve.attack} ({count(curve.samples, 'sample')})"
    return tabulate(columns, curve.points, title=title)


# the checks

ABOUT = {
    "model": "The model",
    "evaluation": "The evaluation",
    "attack": "The attack on planted adversarial examples",
}
MARKS = {"passed": "✓\u00a0passed", "warned": "⚠\u00a0warns", "not applicable": "–"}


def _should_be(check: Check) -> str | None:
    """``at most 0.05``: on which side of the threshold the value passes."""
    return f"{check.direction} {significant(check.threshold)}" if check.direction else None


NAME = Column[Check]("check", lambda it: it.name, words=True)
STATUS = Column[Check]("status", lambda it: MARKS[it.status], words=True)
VALUE = Column[Check]("value", lambda it: it.value, form=significant)
SHOULD_BE = Column[Check]("should be", _should_be)
FINDING = Column[Check]("finding", lambda it: it.sentence, words=True)
SOURCE = Column[Check]("source", lambda it: it.source, words=True)
SUBJECT = Column[Check]("about", lambda it: it.about, words=True)

CHECKS = (NAME, STATUS, FINDING, SOURCE, VALUE, SHOULD_BE)
BRIEF = (NAME, SUBJECT, STATUS, VALUE, SHOULD_BE)  # without sentences, for the terminal


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
        f"{len(warned)} of {count(ran, 'check')} {_warn(len(warned))} "
        f"({names}): do not believe that number before that is dealt with."
    )


def _checks_view(title: str, checks: Sequence[Check]) -> View:
    many = count(len(checks), "check")
    warned, idle = (
        sum(check.status == status for check in checks) for status in ("warned", "not applicable")
    )
    told = f"{warned} of {many} {_warn(warned)}" if warned else "no check warns"
    unused = f", {idle} of which {'does' if idle == 1 else 'do'} not apply" if idle else ""
    return View(f"{title}: {told}", "", f"n = {many}{unused}", checks_table(checks))


def checks_table(checks: Sequence[Check]) -> Table:
    """Every check with what was found, its value and its threshold."""
    return tabulate(CHECKS, checks)


def _warn(checks: int) -> str:
    return "warns" if checks == 1 else "warn"
