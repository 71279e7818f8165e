"""What ``worldline encode`` found, in sentences and tables, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from worldline.commands.base import Result
from worldline.commands.encode.config import ALL
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.encoder.experiments import Controls, Measurement
from worldline.report.numbers import count, signed, significant
from worldline.report.views import Column, Table, View, Words, tabulate

__all__ = ["basis", "compared", "evidence", "measured", "tables", "views", "words"]

Row = TypeVar("Row")
four, two = partial(significant, digits=4), partial(significant, digits=2)


def words(record: EncoderReport) -> Words:
    """The headline, then the verdict of each experiment; of a single one what its controls show."""
    found = tuple(f"{it.title}: {it.finding.verdict}" for it in record.experiments)
    if record.experiment == ALL:
        return Words(f"The selecting encoder: {record.verdict.rstrip('.')}", found)
    it = record.experiments[0]
    agrees = "as the law says" if it.finding.agrees else "not as the law says"
    shown = (f"Control, {name}: {made.sentence}" for name, made in it.finding.controls.named())
    return Words(f"{it.title}: {agrees}", (*found, *shown))


def tables(record: EncoderReport) -> tuple[Table, ...]:
    """What the terminal says: every number of one experiment, or the first of each."""
    return (compared(record) if record.experiment == ALL else measured(record.experiments[0]),)


def views(result: Result[EncoderReport]) -> dict[str, View]:
    """One view for each experiment: claim, verdict, and its numbers beside the law's."""
    return {it.experiment: _view(it) for it in result.record.experiments}


def _view(it: ExperimentReport) -> View:
    told = f"{basis(it)}; standard errors"
    return View(it.title, f"{it.claim} {it.finding.verdict}", told, measured(it))


def basis(it: ExperimentReport) -> str:
    """How many independent ones stand behind the numbers."""
    return count(it.finding.replicas, it.replicate)


def measured(it: ExperimentReport) -> Table:
    """The numbers of one experiment beside its law."""
    title = "Measured, and what the exact law says"
    return tabulate(_columns(lambda it: it), it.finding.measurements, title=title)


def compared(record: EncoderReport) -> Table:
    """The first number of each experiment beside its law."""
    columns: tuple[Column[ExperimentReport], ...] = (
        Column("experiment", lambda it: it.experiment, words=True),
        Column("as the law", lambda it: "yes" if it.finding.agrees else "no", words=True),
        *_columns(lambda it: it.finding.measurements[0]),
    )
    return tabulate(columns, record.experiments, title="Measured, and what the exact laws say")


def evidence(controls: Controls) -> Table:
    """The numbers that the controls rest on."""
    rows = [(name, it.evidence) for name, it in controls.named() if it.evidence]
    columns: tuple[Column[tuple[str, Measurement]], ...] = (
        Column("control", lambda it: it[0], words=True),
        *_columns(lambda it: it[1]),
    )
    return tabulate(columns, rows)


def _columns(number: Callable[[Row], Measurement]) -> tuple[Column[Row], ...]:
    """The columns of a measurement, for rows that have one."""
    return (
        Column("quantity", lambda it: number(it).quantity, words=True),
        Column("unit", lambda it: number(it).unit, words=True),
        Column("measured", lambda it: number(it).measured, form=four),
        Column("law", lambda it: number(it).predicted, form=four),
        Column("standard error", lambda it: number(it).standard_error, form=two),
        Column(
            "deviation in errors", lambda it: number(it).deviation, form=partial(signed, places=1)
        ),
    )
