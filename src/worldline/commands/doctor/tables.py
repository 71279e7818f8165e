"""The tables of an examination, for terminal, page and Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence

from worldline.checks import Check, Curve, CurvePoint
from worldline.commands.doctor.record import Diagnosis, Remaining
from worldline.report.numbers import count, significant
from worldline.report.views import Column, Table, tabulate
from worldline.statistics import Share

__all__ = ["brief_table", "checks_table", "curve_table", "tables", "worst_table"]

MARKS = {"passed": "✓\u00a0passed", "warned": "⚠\u00a0warns", "not applicable": "–"}


def _should_be(check: Check) -> str | None:
    """``at most 0.05``: on which side of the threshold the value passes."""
    return f"{check.direction} {significant(check.threshold)}" if check.direction else None


NAME = Column[Check]("check", lambda it: it.name, words=True)
STATUS = Column[Check]("status", lambda it: MARKS[it.status], words=True)
VALUE = Column[Check]("value", lambda it: it.value, form=significant)
SHOULD_BE = Column[Check]("should be", _should_be)

CHECKS = (
    NAME,
    STATUS,
    Column[Check]("finding", lambda it: it.sentence, words=True),
    Column[Check]("source", lambda it: it.source, words=True),
    VALUE,
    SHOULD_BE,
)
BRIEF = (NAME, Column[Check]("about", lambda it: it.about, words=True), STATUS, VALUE, SHOULD_BE)

CURVE = (
    Column[CurvePoint]("ε", lambda it: it.epsilon, form=significant),
    Column[CurvePoint](
        "accuracy under attack", lambda it: Share(it.accuracy, it.interval, 0), interval=True
    ),
    Column[CurvePoint]("under noise", lambda it: Share(it.noise_accuracy, None, 0)),
)
UNDEFINED = Column[CurvePoint]("left out: NaN", lambda it: it.undefined)

WORST = (
    Column[Remaining](
        "after", lambda it: "no attack" if it.attack == "none" else it.attack, words=True
    ),
    Column[Remaining]("accuracy", lambda it: Share(it.accuracy, it.interval, 0), interval=True),
)


def checks_table(checks: Sequence[Check]) -> Table:
    """Every check with what was found, its value and its threshold."""
    return tabulate(CHECKS, checks)


def brief_table(checks: Sequence[Check]) -> Table:
    """Every check without its sentence, for the terminal."""
    return tabulate(BRIEF, checks, title="Checks")


def curve_table(curve: Curve) -> Table:
    """Accuracy by ε."""
    columns = (*CURVE, UNDEFINED) if any(it.undefined for it in curve.points) else CURVE
    title = f"Accuracy by ε under {curve.attack} ({count(curve.samples, 'sample')})"
    return tabulate(columns, curve.points, title=title)


def worst_table(record: Diagnosis) -> Table:
    """What is left after each attack."""
    title = "Worst case over attacks, an upper bound on robustness"
    return tabulate(WORST, record.worst_case, title=title)


def tables(record: Diagnosis) -> tuple[Table, ...]:
    """What the terminal shows."""
    return brief_table(record.checks), worst_table(record), curve_table(record.curve)
