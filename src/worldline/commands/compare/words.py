"""What is said of a comparison: as much as its intervals support, and nothing else.

Each quantity has its sentence and its columns beside each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worldline.commands.base import Result
from worldline.commands.compare.record import MATRICES, RIVALS, Comparison, Matrix
from worldline.compare import Agreement, Ensemble, Surrogate, Verdict
from worldline.report.numbers import NONE, attack_name, interval, number, p_value, share
from worldline.report.views import Column, Table, View, Words, tabulate
from worldline.statistics import apart

__all__ = ["alike", "ensembles", "judged", "stand_ins", "tables", "views", "words"]

Pair = tuple[float, int, int]
MOST_STAND_INS = 6
MOST_CLEAR = 4


def words(record: Comparison) -> Words:
    """The finding, the sentences under it, and what must be known of it."""
    found = (_nearest(record), _stand_in(record), _ensemble(record), _transfer(record))
    dropped = tuple(f"{it.model} dropped out: {it.reason}" for it in record.failures)
    said = (*found, _judge(record), *dropped)
    return Words(_headline(record), tuple(it for it in said if it), record.notes)


def tables(record: Comparison) -> tuple[Table, ...]:
    """What the terminal shows."""
    title = "Expected rate beyond noise of the same size: rows are attacked, columns are fooled"
    shown = [_matrix(record, "predicted", title)]
    if record.measured is not None:
        shown.append(_matrix(record, "measured", "Measured rate beyond noise of the same size"))
    return tuple(shown)


def views(result: Result[Comparison]) -> dict[str, View]:
    """Every matrix that there is."""
    record, said = result.record, "Sources down, targets across."
    basis = f"n = {record.probed_samples} samples; 95% intervals"
    return {
        name: View(title, said, basis, _matrix(record, name, title, places=3))
        for name, title in MATRICES.items()
        if record.matrix(name) is not None
    }


def _matrix(record: Comparison, name: str, title: str, *, places: int = 2) -> Table:
    """A matrix in the order of the tree."""
    rows = tuple(
        (source, *(number(value, places) for value in row))
        for source, row in zip(record.ordered, record.matrix(name) or (), strict=True)
    )
    return Table(("source", *record.ordered), rows, title=title)


# Which models share most


def alike(record: Comparison) -> str:
    """What the similarity is the mean cosine of."""
    return "input gradients" if record.white else "displacements"


def _headline(record: Comparison) -> str:
    """The pair that shares most; not alone where the next pair's interval overlaps its own."""
    pairs = _similar(record)
    if not pairs:
        return f"Of {len(record.models)} models, no two could be compared"
    value, one, two = pairs.pop()
    names, spread = f"{record.models[one]} and {record.models[two]}", record.similarity_interval
    if len(record.models) == 2:
        return f"{names} answer small changes alike with a mean cosine of {number(value)}"
    level = any(not apart(spread[one][two], spread[a][b]) for _, a, b in pairs)
    share_most = "are among those that share most" if level else "share most"
    return f"Of {len(record.models)} models, {names} {share_most}: a mean cosine of {number(value)}"


def _nearest(record: Comparison) -> str:
    pairs = _similar(record)
    if not pairs:
        return "No two models could be compared: their answers to small changes are unknown."

    def told(pair: Pair) -> str:
        value, one, two = pair
        ends = interval(record.similarity_interval[one][two])
        return f"with a mean cosine of {alike(record)} of {number(value)} (95% interval {ends})"

    (_, *far), (_, *near) = pairs[0], pairs[-1]
    one, two, distant, away = (record.models[place] for place in (*near, *far))
    if len(record.models) == 2:
        return f"{one} and {two}, the two models, answer small changes alike {told(pairs[-1])}."
    return (
        f"Of {len(record.models)} models, {one} and {two} answer the same small changes most "
        f"alike, {told(pairs[-1])}; {distant} and {away} least, {told(pairs[0])}."
    )


def _similar(record: Comparison) -> list[Pair]:
    """(mean cosine, one, other) of all pairs, the most alike last."""
    return [pair for pair in _sorted(record.similarity) if pair[1] < pair[2]]


def _sorted(table: Matrix) -> list[Pair]:
    """(value, row, column) of what is known off the diagonal, the largest last."""
    count = range(len(table))
    known = ((table[row][column], row, column) for row in count for column in count)
    return sorted(
        (it, row, column) for it, row, column in known if it is not None and row != column
    )


# Stand-ins and ensembles


def _stand_in(record: Comparison) -> str:
    """For which target a stand-in is clearly expected to be the best."""
    firsts = {it: ranked[:2] for it, ranked in record.surrogates.items() if len(ranked) > 1}
    if not firsts:
        return ""
    clear = [
        f"{one.name} for {target}"
        for target, (one, two) in firsts.items()
        if apart(one.interval, two.interval) > 0
    ]
    if not clear:
        return (
            "For no target is one stand-in clearly the best: the intervals of the first two "
            "overlap."
        )
    more = f" and {len(clear) - MOST_CLEAR} more" if len(clear) > MOST_CLEAR else ""
    return (
        f"Clearly the best stand-in is {', '.join(clear[:MOST_CLEAR])}{more} (by expected rates)."
    )


def stand_ins(record: Comparison) -> Table:
    """For each target the other models, the best stand-in first."""
    Target = Column[tuple[str, Sequence[Surrogate]]]
    columns = (
        Target("target", lambda it: it[0], words=True),
        Target(
            "stand-ins with their expected rates, the best first",
            lambda it: _ranked(it[1]),
            words=True,
        ),
    )
    return tabulate(columns, record.surrogates.items())


def _ranked(ranked: Sequence[Surrogate]) -> str:
    """The first stand-ins, with their expected rates."""
    named = ", ".join(f"{it.name} ({number(it.rate)})" for it in ranked[:MOST_STAND_INS])
    return named + (", …" if len(ranked) > MOST_STAND_INS else "")


def _ensemble(record: Comparison) -> str:
    if not record.ensembles:
        return ""
    largest = record.ensembles[-1]
    return (
        f"The {len(largest.models)} models that fall least to each other's attacks are expected to "
        f"be {', '.join(largest.models)} (mean rate {number(largest.shared)})."
    )


def ensembles(record: Comparison) -> Table:
    """The models that fall least to each other's attacks, by how many they are."""
    columns = (
        Column[Ensemble]("models that share least", lambda it: ", ".join(it.models), words=True),
        Column[Ensemble]("mean expected rate among them", lambda it: it.shared),
    )
    return tabulate(columns, record.ensembles)


# What was measured


def _transfer(record: Comparison) -> str:
    if record.measured is None or record.measured_interval is None:
        return ""
    ends, pairs = record.measured_interval, _sorted(record.measured)
    if not pairs:
        return "No transfer could be measured: no model had a sample right to lose."

    def told(pair: Pair) -> str:
        rate, source, target = pair
        names = f"from {record.models[source]} to {record.models[target]}"
        return f"{names}, {share(rate)} (95% interval {interval(ends[source][target], share)})"

    least = f", and smallest {told(pairs[0])}" if len(pairs) > 1 else ""
    (_, *low), (_, *high) = pairs[0], pairs[-1]
    if least and not apart(ends[high[0]][high[1]], ends[low[0]][low[1]]):
        least += "; the two intervals overlap, so neither pair is shown to carry over more"
    name = attack_name(record.attack, record.steps, record.norm, record.epsilon_text)
    return (
        f"Measured with {name}, beyond noise of the same size: transfer is largest "
        f"{told(pairs[-1])}{least}."
    )


# How good the prediction is


@dataclass(frozen=True)
class _Score:
    """One row of the judgement: a score, and by how much the prediction is ahead of it."""

    name: str
    verdict: Verdict
    ahead: tuple[Agreement | None, Agreement | None] = (None, None)


JUDGED = (
    Column[_Score]("score", lambda it: it.name, words=True),
    Column[_Score]("within target (Spearman)", lambda it: _agreement(it.verdict.within_target)),
    Column[_Score]("double-centred (Spearman)", lambda it: _agreement(it.verdict.double_centred)),
    Column[_Score]("p, Mantel", lambda it: p_value(it.verdict.within_target.p)),
    Column[_Score]("prediction ahead by, within target", lambda it: _agreement(it.ahead[0])),
    Column[_Score]("prediction ahead by, double-centred", lambda it: _agreement(it.ahead[1])),
)


def judged(record: Comparison) -> Table | None:
    """How well the prediction agrees with what was measured, beside its rivals."""
    if record.judge is None:
        return None
    rows = [
        _Score(RIVALS.get(key, key), verdict, record.judge.ahead[key])
        for key, verdict in record.judge.rivals.items()
    ]
    return tabulate(JUDGED, [_Score("this prediction", record.judge.predicted), *rows])


def _judge(record: Comparison) -> str:
    if record.measured is not None and record.judge is None:
        return "Too few models, or rates, to judge the prediction: at least four are needed."
    if record.judge is None or record.judge.predicted.within_target.value is None:
        return ""
    found, rival = record.judge.predicted, record.judge.rivals.get("gradient_cosine")
    beside = centred = ""
    if rival and rival.within_target.value is not None:
        beside = (
            f"; the cosine of input gradients has {number(rival.within_target.value)} and "
            f"{number(rival.double_centred.value)}"
        )
    if found.double_centred.value is not None:
        centred = f", {number(found.double_centred.value)} after row and column effects"
    ends = interval(found.within_target.interval)
    return (
        "The prediction orders the sources of a target as the attack does, with a Spearman "
        f"correlation of {number(found.within_target.value)} (95% interval over models "
        f"{ends}){centred}{beside}."
    )


def _agreement(it: Agreement | None) -> str:
    """A correlation with its interval."""
    if it is None or it.value is None:
        return NONE
    return f"{number(it.value)} [{interval(it.interval)}]"
