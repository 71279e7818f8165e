"""The page's titles and sentences, made from the numbers and nothing else; a difference is claimed
only where intervals support it.
"""

from __future__ import annotations

from typing import Any

from worldline.plot.classes import ClassRow, Flow, Proportion
from worldline.plot.explored import Explored
from worldline.report.explore import tables
from worldline.report.numbers import count, share
from worldline.report.old_numbers import interval, number
from worldline.report.views import View

__all__ = ["headline", "tell"]

HALF = 0.5
TOLD_FLOWS = 3
MOST_NAMED = 6


def tell(data: Explored, change: View) -> dict[str, View]:
    """Every view of one model by its name, ``change`` being what the attack did to the inputs."""
    summary = data.summary
    views = {
        "trust": _trust(summary),
        "layers": _rapidity(data),
        "turn": _turn(summary),
        "driver": _driver(summary),
    }
    views |= {"map": _map(data), "classes": _classes(data), "flow": _flow(data), "change": change}
    if summary.get("curve"):
        views["curve"] = _curve(summary["curve"])
    return views


def headline(summary: dict[str, Any]) -> str:
    """The finding in one line."""
    model = summary["model"]
    if not summary["fooled"]:
        return f"{model} was not fooled on any of {summary['samples']:,} samples"
    fooled = f"{model} is fooled on {summary['fooled']:,} of {summary['samples']:,} samples"
    swap = summary["swap_layer"]
    if swap is None:
        return f"{fooled}; most twins never change sides for good"
    return f"{fooled}; their twins change sides at {swap['name']}"


def _basis(summary: dict[str, Any]) -> str:
    return (
        f"n = {count(summary['fooled'], 'fooled sample')} of {summary['samples']:,}; 95% "
        f"bootstrap intervals over samples"
    )


def _trust(summary: dict[str, Any]) -> View:
    checks = summary["checks"]
    warned = [check for check in checks if check["status"] == "warned"]
    idle = sum(check["status"] not in ("passed", "warned") for check in checks)
    apply = f"{len(checks)} checks" + (f", {idle} of which do not apply" if idle else "")
    if not checks:
        title = "Can this evaluation be trusted? It was not checked."
    elif warned:
        title = f"Can this evaluation be trusted? {len(warned)} of {len(checks)} checks warn."
    else:
        title = f"Can this evaluation be trusted? None of {len(checks)} checks warns."
    sentence = (
        f"Not as it stands: {', '.join(check['name'] for check in warned)} must be looked at first."
        if warned
        else "Nothing speaks against it. A determined failure can still pass such checks, and "
        "another attack may do better: "
        "accuracy under an attack is an upper bound on robustness."
    )
    return View(title, sentence, f"n = {apply}", tables.checks(checks))


def _rapidity(data: Explored) -> View:
    summary = data.summary
    layers = summary["layers"]
    last = layers[-1]
    adversarial, noise = (last["rapidity"][name] for name in ("adversarial_clean", "noise_clean"))
    table = tables.rapidity(summary)
    if adversarial["median"] is None or noise["median"] is None:
        return View(
            "Rapidity by layer",
            "No median of the fooled samples is finite at the last layer.",
            _basis(summary),
            table,
        )
    values = (
        f"φ = {number(adversarial['median'])} at {last['name']}, against "
        f"{number(noise['median'])} for noise"
    )
    apart = _apart(adversarial["interval"], noise["interval"])
    if apart == 0:
        title = (
            f"Adversarial twins stay as near to their clean twins as noise does: {values}; "
            f"the intervals overlap"
        )
    else:
        title = f"Adversarial twins {'lose' if apart < 0 else 'keep'} their clean twins: {values}"
    by_layer = tuple((title, _at_layer(layer)) for layer in layers)
    return View(title, _way(summary), _basis(summary), table, by_layer)


def _way(summary: dict[str, Any]) -> str:
    first, last = summary["layers"][0], summary["layers"][-1]

    def way(name: str) -> str:
        ends = (layer["rapidity"][name] for layer in (first, last))
        return "from {} to {}".format(*(number(end["median"], end["status"]) for end in ends))

    return (
        f"From {first['name']} to {last['name']}, the median φ to the clean twin goes "
        f"{way('adversarial_clean')} for adversarial twins and "
        f"{way('noise_clean')} for noise; to the wrong class's mean it goes "
        f"{way('adversarial_wrong')}."
    )


def _at_layer(layer: dict[str, Any]) -> str:
    parts = []
    for name, words in (
        ("adversarial_clean", "adversarial to clean"),
        ("noise_clean", "noise to clean"),
    ):
        it = layer["rapidity"][name]
        ends = it["interval"]
        told = (
            f" ({number(ends[0], it['status'])} to {number(ends[1], it['status'])})" if ends else ""
        )
        parts.append(f"{words} φ = {number(it['median'], it['status'])}{told}")
    turned = layer["swapped"]
    told = f" ({interval(turned['interval'])})" if turned["interval"] else ""
    return (
        f"{layer['name']}: {'; '.join(parts)}; nearer to the wrong class "
        f"{share(turned['value'])}{told}."
    )


def _turn(summary: dict[str, Any]) -> View:
    last, swap, table = summary["layers"][-1], summary["swap_layer"], tables.sides(summary)
    turned = last["swapped"]
    if turned["value"] is None:
        return View("No twin changes sides", "No sample was fooled.", _basis(summary), table)
    low, high = turned["interval"] or (turned["value"],) * 2
    if swap is not None:
        here = summary["layers"][swap["index"]]["swapped"]["interval"]
        sure = here is not None and here[0] > HALF
        title = f"Most twins have changed sides from {swap['name']} on"
        if not sure:
            title = f"From {swap['name']} on about half of the twins or more have changed sides"
    elif high < HALF:
        title = "Most twins do not change sides for good"
    else:
        title = "Whether most twins change sides for good is open"
    sentence = (
        f"At {last['name']}, {share(turned['value'])} of the adversarial twins are nearer to the "
        f"wrong class ({interval([low, high])}) "
        f"and {share(last['noise_swapped']['value'])} of the noise twins "
        f"({interval(last['noise_swapped']['interval'])})."
    )
    own = last["misclassified_swapped"]
    if own["count"]:
        sentence += (
            f" Of {count(own['count'], 'clean sample')} that the model gets wrong by itself it is "
            f"{share(own['value'])} "
            f"({interval(own['interval'])})."
        )
    return View(title, sentence, _basis(summary), table)


def _driver(summary: dict[str, Any]) -> View:
    """Which layer drives the twins apart most; layers whose intervals overlap the first one's share
    the claim.
    """
    table = tables.boosts(summary)
    boosts = [
        (-it["median"], -it["interval"][1], -it["interval"][0], layer["name"])
        for layer in summary["layers"]
        if (it := layer["excess_boost"])
        and it["median"] is not None
        and it["interval"]
        and None not in it["interval"]
    ]
    boosts.sort(reverse=True)
    advice = "Look there first when regularising; that it helps has to be tried."
    if not boosts or boosts[0][1] <= 0:
        title = "No layer drives the twins apart by more than noise does"
        sentence = (
            "Every layer's interval includes 0, or lies below it: no layer stands out as "
            "the one to regularise."
        )
        return View(title, sentence, _basis(summary), table)
    value, low, high, name = boosts[0]
    told = (
        f"{name} drives the adversarial twins away by {value:.2f} nats of rapidity more than "
        f"noise (95% interval "
    )
    told += f"{low:.2f} to {high:.2f})"
    level = [it[3] for it in boosts[1:] if it[2] >= low]
    if level:
        title = f"{_listed([name, *level])} drive the twins apart most"
        sentence = f"{told}; the intervals of {_listed(level)} overlap it. {advice}"
    else:
        title = f"{name} drives the twins apart most"
        rest = (
            "; next comes {3} with {0:.2f} ({1:.2f} to {2:.2f})".format(*boosts[1])
            if boosts[1:]
            else ""
        )
        sentence = f"{told}{rest}. {advice}"
    return View(title, sentence, _basis(summary), table)


def _map(data: Explored) -> View:
    total, summary = int(data.fooled.sum()), data.summary
    states = f"{int((data.states == 0).sum()):,} fooled, {int((data.states == 1).sum()):,} held, "
    states += f"{int((data.states == 2).sum()):,} wrong by itself"
    if not total:
        told = ("No sample was fooled, so no twin has joined strangers", f"{states}.")
        return View(*told, _basis(summary), None, (told,) * len(data.layers))
    by_layer = []
    for place, layer in enumerate(data.layers):
        nearer = (
            data.rapidity["adversarial_wrong"][:, place]
            > data.rapidity["adversarial_clean"][:, place]
        )
        part = Proportion(int(nearer[data.fooled].sum()), total)
        title = (
            f"At {layer}, {share(part.value)} of the fooled twins are nearer to strangers "
            f"than to their own clean twin"
        )
        by_layer.append(
            (title, f"{part.hits:,} of {total:,} ({interval(part.interval)}). {states}.")
        )
    return View(
        *by_layer[-1],
        f"n = {count(len(data.fooled), 'sample')}; 95% Wilson intervals",
        None,
        tuple(by_layer),
    )


def _classes(data: Explored) -> View:
    rows = data.classes
    worse = sorted(
        (row for row in rows if row.apart("adversarial") < 0),
        key=lambda row: row.right["adversarial"].value or 0,
    )
    better = [row for row in rows if row.apart("adversarial") > 0]
    if worse:
        first = worse[0]
        title = f"Under attack the model is worse on class {_names(worse)}"
        sentence = f"Class {first.name} keeps {_beside(first)}."
    else:
        title = "Under attack no class is worse than the others beyond its interval"
        lowest = min(rows, key=lambda row: row.right["adversarial"].value or 0)
        sentence = (
            f"The lowest is class {lowest.name} with {_beside(lowest)}: the intervals overlap."
        )
    if better:
        sentence += f" Better than the others: {_names(better)}."
    clean = [row for row in rows if row.apart("clean") < 0]
    sentence += (
        f" On clean samples it is worse on {_names(clean)}."
        if clean
        else " On clean samples no class is worse."
    )
    told = tuple((row.name, _class_sentence(row)) for row in rows)
    basis = f"n = {count(len(data.fooled), 'sample')} in {len(rows)} classes; 95% Wilson intervals"
    return View(title, sentence, basis, tables.classes(rows), told)


def _class_sentence(row: ClassRow) -> str:
    words = {-1: "worse than", 0: "not told apart from", 1: "better than"}
    parts = [
        f"{name} {share(row.right[twin].value)} right ({interval(row.right[twin].interval)}), "
        f"{words[row.apart(twin)]} the other classes"
        for twin, name in (
            ("clean", "clean"),
            ("noise", "under noise"),
            ("adversarial", "under attack"),
        )
    ]
    return f"Class {row.name}, {count(row.right['clean'].count, 'sample')}: {'; '.join(parts)}."


def _beside(row: ClassRow) -> str:
    own, rest = row.right["adversarial"], row.rest["adversarial"]
    return (
        f"{share(own.value)} of its {count(own.count, 'sample')} ({interval(own.interval)}), the "
        f"other classes {share(rest.value)} "
        f"({interval(rest.interval)})"
    )


def _names(rows: list[ClassRow]) -> str:
    return _listed([row.name for row in rows])


def _listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _flow(data: Explored) -> View:
    flows, layers, total = data.flows, data.layers, int(data.fooled.sum())
    if not flows:
        told = ("No class flows into another", "No sample was fooled.")
        return View(*told, _basis(data.summary), None, (told,) * len(layers))
    top, table = flows[0], tables.flows(flows, layers)
    level = [it for it in flows[1:] if not _proportion(top, total).apart(_proportion(it, total))]
    title = (
        f"Most often {top.source} becomes {top.target}: {top.count:,} of {total:,} fooled samples"
    )
    if level:
        title = (
            f"{top.source} → {top.target} is the most frequent change ({top.count:,} of "
            f"{total:,}), "
        )
        title += f"not clearly ahead of {len(level)} more"
    by_layer = []
    for place, layer in enumerate(layers):
        turned = Proportion(sum(it.by_layer[place] for it in flows), total)
        largest = ", ".join(
            f"{it.source} → {it.target} {it.by_layer[place]} of {it.count}"
            for it in flows[:TOLD_FLOWS]
        )
        sentence = (
            f"By {layer}, {share(turned.value)} of the fooled samples "
            f"({interval(turned.interval)}) have changed sides for good: "
        )
        sentence += f"{largest}."
        by_layer.append((title, sentence))
    return View(
        *by_layer[-1],
        f"n = {count(total, 'fooled sample')}; 95% Wilson intervals",
        table,
        tuple(by_layer),
    )


def _proportion(flow: Flow, total: int) -> Proportion:
    return Proportion(flow.count, total)


def _curve(curve: dict[str, Any]) -> View:
    points = curve["points"]
    first, last, chance = points[0], points[-1], curve.get("chance")
    apart = _apart(first["interval"], last["interval"])
    values = (
        f"{share(first['accuracy'])} at ε = {first['epsilon']:g} to "
        f"{share(last['accuracy'])} at ε = {last['epsilon']:g}"
    )
    title = (
        f"Accuracy falls from {values}"
        if apart > 0
        else f"Accuracy does not fall beyond its intervals: {values}"
    )
    if apart < 0:
        title = f"Accuracy rises from {values}: that should not be"
    sentence = f"At ε = {last['epsilon']:g} the interval is {interval(last['interval'])}."
    if chance is not None:
        reached = last["interval"] is not None and last["interval"][0] <= chance
        sentence += (
            f" Chance is {share(chance)}: it is {'reached' if reached else 'not reached'} "
            f"within this range."
        )
    noise = last.get("noise_accuracy")
    if noise is not None:
        sentence += f" Noise of that size leaves {share(noise)}."
    basis = f"n = {count(curve['samples'], 'sample')}, {curve['attack']}; 95% intervals"
    return View(title, sentence, basis, tables.curve(points))


def _apart(one: list[float] | None, other: list[float] | None) -> int:
    """+1 or −1 where one interval lies above or below the other, 0 where they overlap or one is
    missing.
    """
    if not one or not other or None in one or None in other:
        return 0
    return int(one[0] > other[1]) - int(one[1] < other[0])
