"""The tables of the encoder's experiments: columns said once, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from worldline.commands.encode.config import ALL
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.encoder.experiments import Controls, Measurement
from worldline.report.numbers import signed, significant
from worldline.report.views import Column, Table, tabulate

__all__ = ["as_the_law", "compared", "evidence", "measured", "tables"]

Row = TypeVar("Row")
four, two = partial(significant, digits=4), partial(significant, digits=2)

MEASUREMENTS: tuple[Column[Measurement], ...] = (
    Column("quantity", lambda it: it.quantity, words=True),
    Column("unit", lambda it: it.unit, words=True),
    Column("measured", lambda it: it.measured, form=four),
    Column("law", lambda it: it.predicted, form=four),
    Column("standard error", lambda it: it.standard_error, form=two),
    Column("deviation in errors", lambda it: it.deviation, form=partial(signed, places=1)),
)


def tables(record: EncoderReport) -> tuple[Table, ...]:
    """What the terminal says: every number of one experiment, or the first of each."""
    return (compared(record) if record.experiment == ALL else measured(record.experiments[0]),)


def measured(it: ExperimentReport) -> Table:
    """The numbers of one experiment beside its law."""
    return tabulate(
        MEASUREMENTS, it.finding.measurements, title="Measured, and what the exact law says"
    )


def compared(record: EncoderReport) -> Table:
    """The first number of each experiment beside its law."""
    columns: tuple[Column[ExperimentReport], ...] = (
        Column("experiment", lambda it: it.experiment, words=True),
        Column("as the law", lambda it: "yes" if it.finding.agrees else "no", words=True),
        *_of(lambda it: it.finding.measurements[0]),
    )
    return tabulate(columns, record.experiments, title="Measured, and what the exact laws say")


def evidence(controls: Controls) -> Table:
    """The numbers that the controls rest on."""
    rows = [(name, it.evidence) for name, it in controls.named() if it.evidence]
    columns: tuple[Column[tuple[str, Measurement]], ...] = (
        Column("control", lambda it: it[0], words=True),
        *_of(lambda it: it[1]),
    )
    return tabulate(columns, rows)


def as_the_law(it: ExperimentReport) -> str:
    """Whether all of its numbers are those of the law."""
    return "as the law says" if it.finding.agrees else "not as the law says"


def _of(number: Callable[[Row], Measurement]) -> tuple[Column[Row], ...]:
    """The columns of a measurement, for rows that have one."""

    def moved(column: Column[Measurement]) -> Column[Row]:
        def value(row: Row) -> str | float | None:
            return column.value(number(row))  # type: ignore[return-value]

        return Column(column.title, value, column.words, column.interval, column.form)

    return tuple(map(moved, MEASUREMENTS))
