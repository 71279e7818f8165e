"""The tables of a comparison: each column's title and value, said once for every form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worldline.commands.compare.record import MATRICES, Comparison
from worldline.compare import Agreement, Ensemble, Surrogate, Verdict
from worldline.report.numbers import interval, number, p_value
from worldline.report.views import Column, Table, tabulate

__all__ = ["RIVALS", "ensembles", "judged", "matrix", "stand_ins", "tables"]

RIVALS = {
    "gradient_cosine": "input-gradient cosine",
    "feature_cka": "CKA of features",
    "logit_cka": "CKA of logits",
    "agreement": "agreement of predictions",
}
MOST_STAND_INS = 6


@dataclass(frozen=True)
class _Score:
    """One row of the judgement."""

    name: str
    verdict: Verdict
    ahead: tuple[Agreement, Agreement] | None


def _agreement(it: Agreement | None) -> str:
    """A correlation with its interval."""
    if it is None or it.value is None:
        return "–"
    return f"{number(it.value)} [{interval(it.interval)}]"


def _ranked(ranked: Sequence[Surrogate]) -> str:
    """The first stand-ins, with their scores."""
    named = ", ".join(f"{it.name} ({number(it.score)})" for it in ranked[:MOST_STAND_INS])
    return named + (", …" if len(ranked) > MOST_STAND_INS else "")


JUDGED = (
    Column[_Score]("score", lambda it: it.name, words=True),
    Column[_Score]("within target (Spearman)", lambda it: _agreement(it.verdict.within_target)),
    Column[_Score]("double-centred (Spearman)", lambda it: _agreement(it.verdict.double_centred)),
    Column[_Score]("p, Mantel", lambda it: p_value(it.verdict.within_target.p)),
    Column[_Score](
        "prediction ahead by, within target",
        lambda it: _agreement(it.ahead[0] if it.ahead else None),
    ),
    Column[_Score](
        "prediction ahead by, double-centred",
        lambda it: _agreement(it.ahead[1] if it.ahead else None),
    ),
)

STAND_INS = (
    Column[tuple[str, Sequence[Surrogate]]]("target", lambda it: it[0], words=True),
    Column[tuple[str, Sequence[Surrogate]]](
        "stand-ins with their scores, the best first", lambda it: _ranked(it[1]), words=True
    ),
)
ENSEMBLES = (
    Column[Ensemble]("models that share least", lambda it: ", ".join(it.models), words=True),
    Column[Ensemble]("mean cosine of two of them", lambda it: it.shared),
)


def tables(record: Comparison) -> tuple[Table, ...]:
    """What the terminal shows."""
    title = "Predicted score: rows are attacked, columns are fooled; compare within a column"
    shown = [matrix(record, "predicted", title)]
    if record.measured is not None:
        shown.append(matrix(record, "measured", "Measured rate beyond noise of the same size"))
    return tuple(shown)


def matrix(record: Comparison, name: str, title: str = "", *, places: int = 2) -> Table:
    """A matrix in the order of the tree."""
    table = record.matrix(name) or ()
    rows = tuple(
        (source, *(number(value, places) for value in row))
        for source, row in zip(record.ordered, table, strict=True)
    )
    return Table(("source", *record.ordered), rows, title=title or MATRICES.get(name, name))


def judged(record: Comparison) -> Table | None:
    """How well the prediction agrees with what was measured, beside its rivals."""
    if record.judge is None:
        return None
    rows = [_Score("this prediction", record.judge.predicted, None)]
    for key, verdict in record.judge.rivals.items():
        one, two = record.judge.ahead[key]
        rows.append(_Score(RIVALS.get(key, key), verdict, (one, two)))
    return tabulate(JUDGED, rows)


def stand_ins(record: Comparison) -> Table:
    """For each target the other models, the best stand-in first."""
    return tabulate(STAND_INS, record.surrogates.items())


def ensembles(record: Comparison) -> Table:
    """The models that share least, by how many they are."""
    return tabulate(ENSEMBLES, record.ensembles)
