"""Two or more explored models side by side: which is more fragile, and where they differ."""

from __future__ import annotations

from worldline.plot.classes import Proportion
from worldline.report.explore.content import Model
from worldline.report.numbers import share
from worldline.report.old_numbers import interval, number
from worldline.report.views import Table, View
from worldline.runs import twin_words

__all__ = ["side_by_side"]

SAME = ("data", "samples", "bounds", "epsilon", "norm", "attack", "steps")


def side_by_side(models: list[Model]) -> View | None:
    """Models that were attacked alike, compared by their accuracy under attack; None for a single
    one.
    """
    if len(models) < 2:
        return None
    summaries = [model.explored.summary for model in models]
    table, basis = (
        _table(models),
        f"{len(models)} models; 95% Wilson intervals of shares, bootstrap intervals of medians",
    )
    differing = [
        key for key in SAME if any(it.get(key) != summaries[0].get(key) for it in summaries)
    ]
    if differing:
        sentence = (
            f"They were not tested alike: {', '.join(differing)} differ. Run them with the "
            f"same settings to compare them."
        )
        return View("These models cannot be compared by these runs", sentence, basis, table)
    kept = sorted(((_kept(model), model) for model in models), key=lambda it: it[0].value or 0.0)
    (worst, weakest), (next_worst, second) = kept[0], kept[1]
    words = twin_words(summaries[0])
    values = "; ".join(
        f"{model.name} keeps {share(part.value)} ({interval(part.interval)})"
        for part, model in kept
    )
    if worst.apart(next_worst) < 0:
        title = (
            f"{weakest.name} is more fragile than "
            f"{'the others' if len(models) > 2 else second.name}"
        )
    else:
        title = (
            f"{weakest.name} and {second.name} are not told apart by their accuracy under attack"
        )
    return View(title, f"Under {words}: {values}. {_why(weakest, second)}", basis, table)


def _why(weak: Model, strong: Model) -> str:
    """Where the twins of two models part, with intervals; said as what was seen, not as a cause."""
    parts = []
    for model in (weak, strong):
        summary = model.explored.summary
        swap, depth = summary["swap_layer"], summary["proper_depth"]["adversarial_clean"]
        place = (
            "never for good"
            if swap is None
            else f"at {swap['name']} (layer {swap['index']} of {len(summary['layers']) - 1})"
        )
        ends = depth["interval"]
        told = f", {number(ends[0])} to {number(ends[1])}" if ends else ""
        parts.append(
            f"in {model.name} the twins change sides {place} and are told apart for a proper "
            f"depth of {number(depth['median'])} of "
            f"{len(summary['layers'])} layers{told}; {model.views['driver'].title}"
        )
    return f"What differs: {'. '.join(part[0].upper() + part[1:] for part in parts)}."


def _kept(model: Model) -> Proportion:
    data = model.explored
    return Proportion(int((data.said["adversarial"] == data.labels).sum()), len(data.labels))


def _table(models: list[Model]) -> Table:
    heads = (
        "clean",
        "95% interval",
        "noise",
        "95% interval",
        "under attack",
        "95% interval",
        "sides change at",
        "proper depth",
        "checks that warn",
    )
    rows = []
    for model in models:
        data = model.explored
        cells = [model.name]
        for twin in ("clean", "noise", "adversarial"):
            part = Proportion(int((data.said[twin] == data.labels).sum()), len(data.labels))
            cells += [share(part.value), interval(part.interval)]
        swap = data.summary["swap_layer"]
        warned = sum(check["status"] == "warned" for check in data.summary["checks"])
        cells += [
            "never" if swap is None else swap["name"],
            number(data.summary["proper_depth"]["adversarial_clean"]["median"]),
        ]
        rows.append((*cells, f"{warned} of {len(data.summary['checks'])}"))
    return Table(("model", *heads), tuple(rows))
