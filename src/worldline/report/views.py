"""What a result says: words, and views with their tables, the same in every form.

A command declares the columns of a table once, and the terminal, the page, Markdown and JSON show
the same cells::

    LAYERS: tuple[Column[LayerRow], ...] = (
        Column("layer", lambda it: it.name, words=True),
        Column("closer to the wrong class", lambda it: it.wrong_side, interval=True),
        Column("damage beyond noise, nats", lambda it: it.damage, interval=True),
    )
    table = tabulate(LAYERS, record.layers)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from worldline.report import numbers
from worldline.statistics import Share, Summary

__all__ = ["Column", "Table", "Value", "View", "Words", "tabulate"]

Row = TypeVar("Row")
Value = str | int | float | Share | Summary | None


@dataclass(frozen=True)
class Words:
    """What a result says in sentences.

    Attributes:
        headline: the finding in one line, as far as its interval goes.
        findings: the sentences under it.
        notes: what a reader must know of how this was done.
        warnings: what speaks against the result.
    """

    headline: str
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; ``words``: how many of the first columns are words."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    title: str = ""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: its title, and its value in a row.

    Attributes:
        value: words, a count (int), a number, a share or a summary; None is shown as –.
        words: whether it is text, which stands on the left; only first columns can be.
        interval: whether a column with the 95 % interval of the share or summary follows.
        form: writes a number or share otherwise than the house does, in the cells of this column.
    """

    title: str
    value: Callable[[Row], Value]
    words: bool = False
    interval: bool = False
    form: Callable[[float], str] | None = None


@dataclass(frozen=True)
class View:
    """One view of a result.

    Attributes:
        title: the finding.
        sentence: what the numbers say.
        basis: over how many samples, with which interval.
        table: the figure's twin.
        by_layer: (title, sentence) for each layer, where the view follows the chosen layer.
    """

    title: str
    sentence: str
    basis: str
    table: Table | None = None
    by_layer: tuple[tuple[str, str], ...] = ()


def tabulate(columns: Sequence[Column[Row]], rows: Iterable[Row], *, title: str = "") -> Table:
    """The table of some rows.

    >>> from worldline.report.views import Column, tabulate
    >>> from worldline.statistics import proportion
    >>> of_four = Column("of 4", lambda it: proportion(it, 4), interval=True)
    >>> tabulate((Column("n", lambda it: it), of_four), [1, 4]).rows
    (('1', '25%', '5% to 70%'), ('4', '100%', '51% to 100%'))
    """
    heads = [part for it in columns for part in (it.title, *["95% interval"] * it.interval)]
    cells = tuple(tuple(part for it in columns for part in _cells(it, row)) for row in rows)
    return Table(tuple(heads), cells, sum(it.words for it in columns), title)


def _cells(column: Column[Row], row: Row) -> tuple[str, ...]:
    value = column.value(row)
    form = column.form or (numbers.share if isinstance(value, Share) else numbers.number)
    ends = value.interval if isinstance(value, (Share, Summary)) else None
    return (_shown(value, form), *[numbers.interval(ends, form)] * column.interval)


def _shown(value: Value, form: Callable[[float], str]) -> str:
    match value:
        case str():
            return value
        case int():
            return f"{value:,}"
        case Share(value=middle) | Summary(median=middle):
            return numbers.NONE if middle is None else form(middle)
        case None:
            return numbers.NONE
        case _:
            return form(value)
