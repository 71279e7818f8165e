"""The page of a comparison."""

from __future__ import annotations

from worldline.commands.base import Result
from worldline.commands.compare import tables
from worldline.commands.compare.record import MATRICES, Comparison, Matrix
from worldline.report.figures import Tree
from worldline.report.heat import Heat, heat_cells, widest
from worldline.report.numbers import count, norm_sign

__all__ = ["context"]


def context(result: Result[Comparison], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    return {
        "norm": norm_sign(record.norm),
        "names": record.ordered,
        "labels": MATRICES,
        "heats": _heats(record),
        "tree": Tree(
            leaves=record.ordered,
            joins=record.tree,
            order=record.order,
            label="1 − mean cosine of displacements",
        ),
        "judged": tables.judged(record),
        "stand_ins": tables.stand_ins(record),
        "ensembles": tables.ensembles(record),
        "resamples": count(record.judge.resamples, "time") if record.judge else "",
    }


def _heats(record: Comparison) -> dict[str, Heat]:
    """Cells of every matrix that there is; the score has no scale of its own but the largest."""
    found = {name: table for name in MATRICES if (table := record.matrix(name)) is not None}
    known = [value for row in found["predicted"] for value in row if value is not None]
    spans = {"similarity": (-0.2, 1.0), "predicted": (min([*known, 0.0]), max([*known, 0.01]))}
    heats = {name: heat_cells(it, spans.get(name, (0.0, 1.0))) for name, it in found.items()}
    fitted, measured = record.matrix("fitted"), record.matrix("measured")
    if fitted is not None and measured is not None:
        gap = _difference(measured, fitted)
        heats["difference"] = heat_cells(gap, widest([gap], 0.1), diverging=True)
        heats["fitted"] = heat_cells(fitted, (0.0, 1.0))
    return heats


def _difference(measured: Matrix, fitted: Matrix) -> Matrix:
    """Measured less fitted; nothing on the diagonal, which the fit leaves out."""

    def cell(source: int, target: int) -> float | None:
        rate, fit = measured[source][target], fitted[source][target]
        return None if source == target or rate is None or fit is None else rate - fit

    every = range(len(measured))
    return tuple(tuple(cell(source, target) for target in every) for source in every)
