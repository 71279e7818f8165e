"""The page of the encoder's experiments: claim, figure, law, controls and verdict of each."""

from __future__ import annotations

import base64
from itertools import groupby

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from worldline.commands.base import Result
from worldline.commands.encode.config import ALL
from worldline.commands.encode.drawn import DRAWN
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.commands.encode.words import basis, compared, evidence, measured
from worldline.encoder.experiments import EXPERIMENTS
from worldline.errors import RunError
from worldline.files import shorten

__all__ = ["context", "figures"]


def context(result: Result[EncoderReport], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    return {
        "compared": compared(record) if record.experiment == ALL else None,
        "groups": [(title, list(of)) for title, of in groupby(record.experiments, _group)],
        "pictures": {name: base64.b64encode(png).decode() for name, png in result.pictures.items()},
        "measured": measured,
        "evidence": evidence,
        "basis": basis,
    }


def figures(result: Result[EncoderReport]) -> dict[str, Figure]:
    """The figure of each experiment, by its name.

    Raises:
        RunError: a table is not there, damaged, or that of something else.
    """
    return {it.experiment: _figure(result, it) for it in result.record.experiments}


def _figure(result: Result[EncoderReport], it: ExperimentReport) -> Figure:
    table: object = result.folder.read_columns(EXPERIMENTS[it.experiment].table, it.table)
    figure = Figure(figsize=(11, 4.4), dpi=96, layout="constrained")
    try:
        DRAWN[it.experiment](figure, it, table)
    except (ValueError, IndexError, TypeError, AttributeError, ZeroDivisionError) as error:
        where = shorten(str(result.folder.path / it.table))
        raise RunError(f"{where} does not fit its record ({error}). Make the run again.") from error
    for axes in figure.axes:
        if axes.get_xlabel() == "layer":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _group(it: ExperimentReport) -> str:
    return it.group
