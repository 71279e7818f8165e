"""What is said of a comparison: as much as its intervals support, and nothing else."""

from __future__ import annotations

from worldline.commands.base import Result
from worldline.commands.compare import tables
from worldline.commands.compare.record import MATRICES, Comparison
from worldline.report.numbers import interval, norm_sign, number, share
from worldline.report.views import View, Words
from worldline.statistics import apart

__all__ = ["views", "words"]

Pair = tuple[float, int, int]
NO_RATE = "a score: it orders the sources of one target, and is no rate"


def words(record: Comparison) -> Words:
    """The finding, the sentences under it, and what must be known of it."""
    found = (_nearest(record), _stand_in(record), _ensemble(record), _transfer(record))
    dropped = tuple(f"{it.model} dropped out: {it.reason}" for it in record.failures)
    said = (*found, _judge(record), *dropped)
    return Words(_headline(record), tuple(it for it in said if it), record.notes)


def views(result: Result[Comparison]) -> dict[str, View]:
    """Every matrix that there is."""
    record = result.record
    basis = f"n = {record.probed_samples} probed samples; 95% intervals over samples"
    return {
        name: View(
            title, "Sources down, targets across.", basis, tables.matrix(record, name, places=3)
        )
        for name, title in MATRICES.items()
        if record.matrix(name) is not None
    }


def _similar(record: Comparison) -> list[Pair]:
    """(mean cosine, one, other) of all pairs, the most alike last."""
    count, table = range(len(record.models)), record.similarity
    known = ((table[a][b], b, a) for a in count for b in range(a))
    return sorted((value, b, a) for value, b, a in known if value is not None)


def _headline(record: Comparison) -> str:
    """The pair that shares most; not alone where the next pair's interval overlaps its own."""
    if not _similar(record):
        return f"Of {len(record.models)} models, no two could be compared"
    value, one, two = _similar(record)[-1]
    spread = record.similarity_interval
    level = [
        it for it in _similar(record)[:-1] if not apart(spread[one][two], spread[it[1]][it[2]])
    ]
    names = f"{record.models[one]} and {record.models[two]}"
    who = f"Of {len(record.models)} models, {names}"
    if len(record.models) == 2:
        return f"{names} share displacements with a mean cosine of {number(value)}"
    most = "are among those that share most" if level else "share most"
    return f"{who} {most}: a mean cosine of {number(value)}"


def _told(record: Comparison, pair: Pair) -> str:
    value, one, two = pair
    ends = interval(record.similarity_interval[one][two])
    return f"with a mean cosine of {number(value)} (95% interval {ends})"


def _nearest(record: Comparison) -> str:
    pairs = _similar(record)
    if not pairs:
        return "No two models could be compared: their answers to the probes are unknown."
    most, least = pairs[-1], pairs[0]
    one, two = (record.models[place] for place in most[1:])
    if len(record.models) == 2:
        return f"{one} and {two}, the two models, share displacements {_told(record, most)}."
    far, away = (record.models[place] for place in least[1:])
    return (
        f"Of {len(record.models)} models, {one} and {two} answer the same small changes most "
        f"alike, {_told(record, most)}; {far} and {away} least, {_told(record, least)}."
    )


def _stand_in(record: Comparison) -> str:
    """For which target a stand-in ranks clearly first; scores are compared within a column only."""
    clear = []
    for target, ranked in record.surrogates.items():
        if len(ranked) > 1 and apart(ranked[0].interval, ranked[1].interval) > 0:
            clear.append((ranked[0].name, target))
    if not any(len(ranked) > 1 for ranked in record.surrogates.values()):
        return ""
    if not clear:
        return (
            "For no target is one stand-in clearly the best: the intervals of the first two "
            "overlap."
        )
    named = ", ".join(f"{name} for {target}" for name, target in clear[:4])
    more = f" and {len(clear) - 4} more" if len(clear) > 4 else ""
    return f"Clearly the best stand-in is {named}{more} (by {NO_RATE})."


def _ensemble(record: Comparison) -> str:
    if not record.ensembles:
        return ""
    largest = record.ensembles[-1]
    return (
        f"The {len(largest.models)} models that share least are {', '.join(largest.models)} (mean "
        f"cosine of two of them {number(largest.shared)})."
    )


def _transfer(record: Comparison) -> str:
    if record.measured is None or record.measured_interval is None:
        return ""
    count = range(len(record.models))
    known = ((record.measured[s][t], s, t) for s in count for t in count if s != t)
    pairs = sorted((rate, s, t) for rate, s, t in known if rate is not None)
    if not pairs:
        return "No transfer could be measured: no model had a sample right to lose."

    def told(pair: Pair) -> str:
        rate, source, target = pair
        ends = record.measured_interval[source][target] if record.measured_interval else None
        names = f"from {record.models[source]} to {record.models[target]}"
        return f"{names}, {share(rate)} (95% interval {interval(ends, share)})"

    attack = record.attack or ""
    name = attack if ":" in attack else attack.upper()
    steps = f"-{record.steps}" if record.steps else ""
    (_, *lowest), (_, *highest) = pairs[0], pairs[-1]
    least = f", and smallest {told(pairs[0])}" if len(pairs) > 1 else ""
    ends = [record.measured_interval[s][t] for s, t in (highest, lowest)]
    if least and not apart(*ends):
        least += "; the two intervals overlap, so neither pair is shown to carry over more"
    return (
        f"Measured with {name}{steps} ({norm_sign(record.norm)}, ε = {record.epsilon_text}), "
        f"beyond noise of the same size: transfer is largest {told(pairs[-1])}{least}."
    )


def _judge(record: Comparison) -> str:
    if record.measured is not None and record.judge is None:
        return "Too few models, or rates, to judge the prediction: at least four are needed."
    if record.judge is None or record.judge.predicted.within_target.value is None:
        return ""
    found = record.judge.predicted
    rival = record.judge.rivals.get("gradient_cosine")
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
