"""Accuracy by class and the flow between classes: sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from worldline.commands.explore.explored import ClassRow, Explored, Flow, read_explored
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.views.shared import Source, fooled_basis, layer_index, listed
from worldline.plot.axes import new_axes, plain, short, with_intervals
from worldline.plot.colours import LOOKS
from worldline.report.numbers import count, estimate, interval, share
from worldline.report.views import Column, Table, View, tabulate
from worldline.statistics import apart, proportion

__all__ = ["class_accuracy", "class_flow", "classes_view", "flow_view"]

VERDICTS = {-1: "worse", 0: "not told apart", 1: "better"}


CLASSES = (
    Column[ClassRow]("class", lambda it: it.name, words=True),
    Column[ClassRow]("clean", lambda it: it.right["clean"], interval=True),
    Column[ClassRow]("noise", lambda it: it.right["noise"], interval=True),
    Column[ClassRow]("under attack", lambda it: it.right["adversarial"], interval=True),
    Column[ClassRow](
        "against the others, under attack", lambda it: VERDICTS[it.apart("adversarial")]
    ),
    Column[ClassRow]("samples", lambda it: it.right["clean"].count),
)


TOLD_FLOWS = 3


MOST_FLOWS = 200


DRAWN_FLOWS = 12


def classes_view(data: Explored) -> View:
    """Which classes the attack hits harder than the others."""
    rows = data.classes
    worse = sorted((row for row in rows if row.apart("adversarial") < 0), key=_kept)
    better = [row.name for row in rows if row.apart("adversarial") > 0]
    if worse:
        title = f"Under attack the model is worse on class {listed([it.name for it in worse])}"
        sentence = f"Class {worse[0].name} keeps {_beside(worse[0])}."
    elif len(rows) == 1:
        title, only = "There is one class only", rows[0]
        sentence = f"Class {only.name} keeps {estimate(only.right['adversarial'])}."
    else:
        title = "Under attack no class is worse than the others beyond its interval"
        lowest = min(rows, key=_kept)
        sentence = (
            f"The lowest is class {lowest.name} with {_beside(lowest)}: the intervals overlap."
        )
    if better:
        sentence += f" Better than the others: {listed(better)}."
    clean = [row.name for row in rows if row.apart("clean") < 0]
    sentence += (
        f" On clean samples it is worse on {listed(clean)}."
        if clean
        else " On clean samples no class is worse."
    )
    told = tuple((row.name, _class_sentence(row)) for row in rows)
    samples, classes = count(len(data.fooled), "sample"), count(len(rows), "class", "classes")
    basis = f"n = {samples} in {classes}; 95% Wilson intervals"
    return View(title, sentence, basis, tabulate(CLASSES, rows), told)


def _kept(row: ClassRow) -> float:
    return row.right["adversarial"].value or 0.0


def _class_sentence(row: ClassRow) -> str:
    verdicts = {-1: "worse than", 0: "not told apart from", 1: "better than"}
    twins = {"clean": "clean", "noise": "under noise", "adversarial": "under attack"}
    parts = [
        f"{words} {share(row.right[twin].value)} right ({interval(row.right[twin].interval, share)}"
        f"), {verdicts[row.apart(twin)]} the other classes"
        for twin, words in twins.items()
    ]
    return f"Class {row.name}, {count(row.right['clean'].count, 'sample')}: {'; '.join(parts)}."


def _beside(row: ClassRow) -> str:
    own, rest = row.right["adversarial"], row.rest["adversarial"]
    return (
        f"{share(own.value)} of its {count(own.count, 'sample')} ({interval(own.interval, share)}),"
        f" the other classes {estimate(rest)}"
    )


def class_accuracy(source: Source, *, ax: Axes | None = None) -> Axes:
    """Accuracy by class, clean, under noise and under attack, with 95 % Wilson intervals."""
    data, ax = read_explored(source), new_axes(ax)
    looks = (("clean", "true"), ("noise", "noise"), ("adversarial", "adversarial"))
    for place, (twin, role) in enumerate(looks):
        at = np.arange(len(data.classes)) + 0.2 * (place - 1)
        shares = [row.right[twin] for row in data.classes]
        values, ends = [it.value for it in shares], [it.interval for it in shares]
        with_intervals(ax, at, values, ends, role, twin, line=False)
    ax.set_xticks(range(len(data.classes)), short([row.name for row in data.classes]))
    ax.set(xlabel="class", ylabel="accuracy", ylim=(-0.02, 1.02))
    ax.legend(frameon=False)
    return plain(ax)


def flow_view(record: Exploration, data: Explored) -> View:
    """From which class to which the fooled samples go."""
    flows, layers, total = data.flows, data.layer_names, record.fooled
    if not flows:
        told = ("No class flows into another", "No sample was fooled.")
        return View(*told, fooled_basis(record), None, (told,) * len(layers))
    top = flows[0]
    level = [it for it in flows[1:] if not _apart(top, it, total)]
    change = f"{top.source} → {top.target}"
    title = f"Most often {top.source} becomes {top.target}: {top.count:,} of {total:,} fooled"
    title += " samples"
    if level:
        title = (
            f"{change} is the most frequent change ({top.count:,} of {total:,}), not clearly ahead "
            f"of {len(level):,} more"
        )
    by_layer = []
    for place, layer in enumerate(layers):
        lost = proportion(sum(it.by_layer[place] for it in flows), total)
        largest = ", ".join(
            f"{it.source} → {it.target} {it.by_layer[place]:,} of {it.count:,}"
            for it in flows[:TOLD_FLOWS]
        )
        sentence = (
            f"By {layer}, {estimate(lost)} of the fooled samples are closer to the wrong class for "
            f"good: {largest}."
        )
        by_layer.append((title, sentence))
    basis = f"n = {count(total, 'fooled sample')}; 95% Wilson intervals"
    return View(*by_layer[-1], basis, _flows_table(flows, layers), tuple(by_layer))


def _apart(one: Flow, other: Flow, total: int) -> int:
    return apart(proportion(one.count, total).interval, proportion(other.count, total).interval)


def _flows_table(flows: Sequence[Flow], layers: Sequence[str]) -> Table:
    """Fooled samples from class to class, and how many were lost for good by each layer."""

    def by(place: int) -> Column[Flow]:
        return Column(f"by {layers[place]}", lambda it: it.by_layer[place])

    columns: list[Column[Flow]] = [
        Column("class", lambda it: it.source, words=True),
        Column("becomes", lambda it: it.target, words=True),
        Column("samples", lambda it: it.count),
        *map(by, range(len(layers))),
    ]
    return tabulate(columns, flows[:MOST_FLOWS])


def class_flow(source: Source, *, layer: int | None = None, ax: Axes | None = None) -> Axes:
    """The largest flows of fooled samples from class to class, and how many are lost by a layer."""
    data, ax = read_explored(source), new_axes(ax)
    at, flows = layer_index(data, layer), data.flows[:DRAWN_FLOWS]
    places = range(len(flows))
    counts = [it.count for it in flows]
    ax.barh(places, counts, color="none", edgecolor=LOOKS["other"].paper, label="fooled")
    told = f"closer to the wrong class for good by {short(data.layer_names)[at]}"
    ax.barh(places, [it.by_layer[at] for it in flows], color=LOOKS["wrong"].paper, label=told)
    ax.set_yticks(places, [" → ".join(short([it.source, it.target])) for it in flows])
    ax.invert_yaxis()
    ax.set_xlabel("samples")
    ax.legend(frameon=False)
    return plain(ax)
