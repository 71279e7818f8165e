"""Every view of an exploration in words: a difference is claimed only where intervals show it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from worldline.commands.base import Result
from worldline.commands.complexity.words import model_views
from worldline.commands.doctor.words import checks_table, curve_view
from worldline.commands.explore import tables
from worldline.commands.explore.explored import ClassRow, Explored, Flow, read_explored
from worldline.commands.explore.record import TWINS, Exploration
from worldline.commands.explore.words import norm_sign
from worldline.explain import LayerStory
from worldline.report.numbers import count, estimate, interval, number, share, significant
from worldline.report.views import Column, Table, View, tabulate
from worldline.statistics import Summary, apart, proportion

__all__ = ["at_layer", "views", "views_of"]

HALF = 0.5
TOLD_FLOWS = 3
MOST_FLOWS = 200
MOST_NAMED = 6
MOST_ENTRIES = 30_000_000  # of inputs, behind what is said of the change
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


def views(result: Result[Exploration]) -> dict[str, View]:
    """Every view of one model by its name."""
    measured = result.record.complexity
    complexity = {} if measured is None else model_views(measured)
    return {
        **views_of(result, read_explored(result)),
        **{f"complexity {name}": view for name, view in complexity.items()},
    }


def views_of(result: Result[Exploration], data: Explored) -> dict[str, View]:
    """Those of the page's own sections, of numbers by sample that were read already."""
    record = result.record
    return {
        "trust": _trust(record),
        "layers": _similarity(record),
        "turn": _turn(record),
        "driver": _driver(record),
        "map": _map(record, data),
        "classes": _classes(data),
        "flow": _flow(record, data),
        "change": _change(result, data),
        "curve": curve_view(record.curve),
    }


def at_layer(layer: LayerStory) -> str:
    """What the fooled samples do at a layer, in one sentence."""
    to = layer.rapidity
    return (
        f"{layer.name}: similarity φ of attacked twin and original {estimate(to.adversarial_clean)}"
        f", of noise twin and original {estimate(to.noise_clean)}; closer to the wrong class "
        f"{estimate(layer.wrong_side)}, originals {estimate(layer.clean_wrong_side)}; moved by the "
        f"attack {estimate(layer.moved_share)}."
    )


def _basis(record: Exploration) -> str:
    fooled = count(record.fooled, "fooled sample")
    return f"n = {fooled} of {record.samples:,}; 95% bootstrap intervals over samples"


def _trust(record: Exploration) -> View:
    checks = record.checks
    warned = [check.name for check in checks if check.status == "warned"]
    idle = sum(check.status == "not applicable" for check in checks)
    basis = f"n = {count(len(checks), 'check')}"
    basis += f", {idle} of which do not apply" if idle else ""
    table = checks_table(checks)
    question = "Can this evaluation be trusted?"
    if len(checks) == idle:
        return View(f"{question} It was not checked.", "No check applies.", basis, table)
    if warned:
        verb = "warns" if len(warned) == 1 else "warn"
        title = f"{question} {len(warned)} of {count(len(checks), 'check')} {verb}."
        sentence = f"Not as it stands: look at {', '.join(warned)} first."
        return View(title, sentence, basis, table)
    return View(
        f"{question} None of {count(len(checks), 'check')} warns.",
        "Nothing speaks against it. A determined failure can still pass such checks, and another "
        "attack may do better: accuracy under an attack is an upper bound on robustness.",
        basis,
        table,
    )


def _similarity(record: Exploration) -> View:
    """Whether attacked twins lose their originals: φ falls, and ends below that of noise."""
    first, last = record.layers[0], record.layers[-1]
    attacked, noise = last.rapidity.adversarial_clean, last.rapidity.noise_clean
    by_layer = tuple((layer.name, at_layer(layer)) for layer in record.layers)
    rest = (_basis(record), tables.rapidity(record), by_layer)
    if attacked.median is None or noise.median is None:
        return View("Similarity by layer", _no_median(record), *rest)
    start = first.rapidity.adversarial_clean
    values = f"φ = {number(attacked.median)} at {last.name}, against {number(noise.median)}"
    values += " for noise twins"
    if attacked.interval is None or noise.interval is None:
        return View(f"Too few twins to compare: {values}", _way(record), *rest)
    falls = apart(attacked.interval, start.interval) < 0
    title = {
        -1: f"Attacked twins end further from their originals than noise twins do: {values}",
        0: f"Attacked twins stay as close to their originals as noise twins do: {values}; the "
        "intervals overlap",
        1: f"Attacked twins stay closer to their originals than noise twins do: {values}",
    }[apart(attacked.interval, noise.interval)]
    if falls and apart(attacked.interval, noise.interval) < 0:
        title = (
            f"Attacked twins lose their originals: φ falls from {number(start.median)} to "
            f"{number(attacked.median)} at {last.name}, against {number(noise.median)} for noise "
            "twins"
        )
    return View(title, _way(record), *rest)


def _no_median(record: Exploration) -> str:
    if not record.fooled:
        return "No sample was fooled."
    return f"At {record.layers[-1].name}, no fooled sample has a similarity: features are constant."


def _way(record: Exploration) -> str:
    first, last = record.layers[0], record.layers[-1]

    def way(start: Summary, end: Summary) -> str:
        return f"from {number(start.median)} to {number(end.median)}"

    one, other = first.rapidity, last.rapidity
    return (
        f"From {first.name} to {last.name}, the median similarity φ to the original goes "
        f"{way(one.adversarial_clean, other.adversarial_clean)} for attacked twins and "
        f"{way(one.noise_clean, other.noise_clean)} for noise twins; to the wrong class's mean, "
        f"that of attacked twins goes {way(one.adversarial_wrong, other.adversarial_wrong)}."
    )


def _turn(record: Exploration) -> View:
    """Where the attack moves twins to the wrong side; a layer is named where the record has one."""
    last, swap = record.layers[-1], record.swap_layer
    rest = (_basis(record), tables.sides(record))
    moved = last.moved_share
    if moved.value is None:
        told = "No sample was fooled."
        if record.fooled:
            told = f"{record.fooled:,} samples were fooled; none has both of its class means."
        return View("No side is known", told, *rest)
    if swap is not None:
        title = f"From {swap.name} on, the attack has moved most twins closer to the wrong class"
    elif moved.interval and moved.interval[1] < HALF:
        title = "The attack does not move most twins closer to the wrong class"
    else:
        title = "Whether the attack moves most twins closer to the wrong class is open"
    own = last.misclassified_wrong_side
    left_out = f"; {moved.undefined:,} without a class mean are left out" if moved.undefined else ""
    sentence = (
        f"At {last.name}, {estimate(last.wrong_side)} of the attacked twins are closer to the "
        f"wrong class, {estimate(last.clean_wrong_side)} of their originals and "
        f"{estimate(last.noise_wrong_side)} of the noise twins: the attack has moved "
        f"{estimate(moved)}{left_out}."
    )
    if own.count:
        sentence += (
            f" Of {count(own.count, 'original')} that the model gets wrong by itself it is "
            f"{estimate(own)}."
        )
    return View(title, sentence, *rest)


def _driver(record: Exploration) -> View:
    """Which layer does the damage; layers whose intervals reach its own share the claim."""
    rest = (_basis(record), tables.boosts(record))
    known = [
        (layer.name, it, it.interval)
        for layer in record.layers
        if (it := layer.excess_boost) and it.median is not None and it.interval
    ]
    sure = [found for found in known if found[2][0] > 0]
    if not known:
        told = "No sample was fooled."
        if record.fooled:
            told = "No layer's damage has an interval: too few twins have both similarities."
        return View("No layer stands out", told, *rest)
    if not sure:
        return View(
            "No layer drives the twins apart by more than noise does",
            "Every layer's interval includes 0, or lies below it: no layer stands out as the one "
            "to regularise.",
            *rest,
        )
    name, most, ends = max(sure, key=lambda found: _middle(found[1]))
    level = [other for other, _, its in known if other != name and its[1] >= ends[0]]
    told = (
        f"{name} drives attacked twins away from their originals by {number(most.median)} nats of "
        f"similarity more than noise does (95% interval {interval(ends)})"
    )
    advice = "Look there first when regularising; that it helps has to be tried."
    if level:
        return View(
            f"{_listed([name, *level])} drive the twins apart most",
            f"{told}; the intervals of {_listed(level)} overlap it. {advice}",
            *rest,
        )
    others = [found for found in known if found[0] != name]
    if others:
        second, it, its = max(others, key=lambda found: _middle(found[1]))
        told += f"; next comes {second} with {number(it.median)} ({interval(its)})"
    return View(f"{name} drives the twins apart most", f"{told}. {advice}", *rest)


def _middle(it: Summary) -> float:
    return float("-inf") if it.median is None else it.median


def _map(record: Exploration, data: Explored) -> View:
    held, wrong = (int((data.states == state).sum()) for state in (1, 2))
    states = f"{record.fooled:,} fooled, {held:,} held, {wrong:,} wrong by itself"
    basis = f"n = {count(len(data.fooled), 'sample')}; 95% Wilson intervals"
    if not record.fooled:
        told = ("No sample was fooled, so no twin has joined strangers", f"{states}.")
        return View(*told, _basis(record), None, (told,) * len(data.layers))
    by_layer = []
    for place, layer in enumerate(data.layer_names):
        strangers, own = (
            data.rapidity[pair][data.fooled, place]
            for pair in ("adversarial_wrong", "adversarial_clean")
        )
        known = ~(np.isnan(strangers) | np.isnan(own))
        part = proportion(int((strangers > own)[known].sum()), int(known.sum()))
        lost = record.fooled - part.count
        if part.value is None:
            title = f"At {layer}, no fooled twin has a similarity to strangers"
            by_layer.append((title, f"{states}."))
            continue
        by_layer.append(
            (
                f"At {layer}, {share(part.value)} of the fooled twins are closer to strangers than "
                "to their own original",
                f"{estimate(part)} of {count(part.count, 'fooled twin')}"
                f"{f'; {lost:,} more are undefined' if lost else ''}. {states}.",
            )
        )
    return View(*by_layer[-1], basis, None, tuple(by_layer))


def _classes(data: Explored) -> View:
    rows = data.classes
    worse = sorted((row for row in rows if row.apart("adversarial") < 0), key=_kept)
    better = [row.name for row in rows if row.apart("adversarial") > 0]
    if worse:
        title = f"Under attack the model is worse on class {_listed([it.name for it in worse])}"
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
        sentence += f" Better than the others: {_listed(better)}."
    clean = [row.name for row in rows if row.apart("clean") < 0]
    sentence += (
        f" On clean samples it is worse on {_listed(clean)}."
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


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _flow(record: Exploration, data: Explored) -> View:
    flows, layers, total = data.flows, data.layer_names, record.fooled
    if not flows:
        told = ("No class flows into another", "No sample was fooled.")
        return View(*told, _basis(record), None, (told,) * len(layers))
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


def _change(result: Result[Exploration], data: Explored) -> View:
    """What the attack did to the inputs of the fooled samples, or of all where none was."""
    record, inputs = result.record, result.folder.read_tensors(TWINS)
    some = np.flatnonzero(data.fooled) if data.fooled.any() else np.arange(len(data.fooled))
    rows = torch.from_numpy(some[: max(1, MOST_ENTRIES // inputs["clean"][0].numel())])
    clean = inputs["clean"][rows].flatten(1)
    change = inputs["adversarial"][rows].flatten(1) - clean
    largest, length = change.abs().amax(1), change.norm(dim=1)
    moved = (change.abs() > 1e-6 * largest.clamp_min(1e-30)[:, None]).sum(1).double()
    relative = length / clean.norm(dim=1).clamp_min(1e-30)
    own = largest if record.norm == "linf" else length
    low, high = record.bounds
    greatest = float(change.abs().max())
    basis = f"n = {count(len(change), 'fooled sample' if data.fooled.any() else 'sample')}"
    if greatest > 0:
        basis += f"; changes are magnified {number((high - low) / greatest, 1)} times"
        title = (
            f"The attack changes {float(moved.median()):.0f} of {change.shape[1]:,} entries of an "
            f"input by at most {significant(float(largest.median()))}"
        )
    else:
        title = "The attack changes nothing"
    sentence = (
        f"Medians over {count(len(change), 'sample')}. In the {norm_sign(record.norm)} norm that "
        f"is {significant(float(own.median()))} of the allowed {record.epsilon_text}; the change "
        f"is {share(float(relative.median()))} as long as the input itself. In the pictures of the "
        "change, lighter raises a value, darker lowers it, grey leaves it."
    )
    return View(title, sentence, basis)
