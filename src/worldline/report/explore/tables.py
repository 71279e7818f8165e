"""The table twins of the figures of an exploration."""

from __future__ import annotations

from typing import Any

from worldline.plot.classes import ClassRow, Flow
from worldline.plot.explored import PAIRS
from worldline.report.numbers import share
from worldline.report.old_numbers import interval, number
from worldline.report.views import Table

__all__ = ["boosts", "checks", "classes", "curve", "flows", "rapidity", "sides"]

MARKS = {"passed": "✓\u00a0passed", "warned": "⚠\u00a0warned"}
MOST_FLOWS = 200


def checks(found: list[dict[str, Any]]) -> Table:
    """Every check with its value and threshold."""
    rows = tuple(
        (
            it["name"],
            MARKS.get(it["status"], f"– {it['status']}"),
            it["sentence"],
            it["source"],
            "–" if it["value"] is None else f"{it['value']:.3g}",
            "–" if it["threshold"] is None else f"{it['threshold']:.3g}",
        )
        for it in found
    )
    return Table(("check", "status", "finding", "source", "value", "threshold"), rows, words=4)


def rapidity(summary: dict[str, Any]) -> Table:
    """Median with 95 % interval of each comparison, and the untrained median."""
    heads = tuple(
        head
        for label in PAIRS.values()
        for head in (f"{label}: median", "95% interval", "middle 80%", "untrained")
    )
    rows = []
    for layer in summary["layers"]:
        cells = [f"{layer['index']} {layer['name']}", f"{layer['width']:,}"]
        for name in PAIRS:
            it, null = layer["rapidity"][name], layer["untrained_rapidity"]
            cells += [
                number(it["median"], it["status"]),
                _ends(it),
                f"{_part(it, 'q10')} to {_part(it, 'q90')}",
            ]
            cells.append(number(null[name]["median"], null[name]["status"]) if null else "–")
        rows.append(tuple(cells))
    return Table(("layer", "width", *heads), tuple(rows))


def sides(summary: dict[str, Any]) -> Table:
    """Shares nearer to the wrong class."""
    heads = ("adversarial twins", "noise twins", "clean, wrong by itself")
    rows = []
    for layer in summary["layers"]:
        cells = [layer["name"]]
        for key in ("swapped", "noise_swapped", "misclassified_swapped"):
            cells += [share(layer[key]["value"]), interval(layer[key]["interval"])]
        rows.append(tuple(cells))
    return Table(
        ("layer", *(head for name in heads for head in (name, "95% interval"))), tuple(rows)
    )


def boosts(summary: dict[str, Any]) -> Table:
    """Nats by which a layer drives the adversarial twin away beyond noise."""
    rows = []
    for layer in summary["layers"]:
        it = layer["excess_boost"]
        if it is None or it["median"] is None:
            rows.append((layer["name"], "–", "–"))
            continue
        low, high = it["interval"] or (None, None)
        ends = "–" if low is None or high is None else f"{-high:.2f} to {-low:.2f}"
        rows.append((layer["name"], number(-it["median"]), ends))
    return Table(("layer", "driven apart beyond noise, nats", "95% interval"), tuple(rows))


def classes(rows: tuple[ClassRow, ...]) -> Table:
    """Accuracy by class, and how it stands to the other classes."""
    words = {-1: "worse", 0: "not told apart", 1: "better"}
    heads = []
    for name in ("clean", "noise", "under attack"):
        heads += [name, "95% interval"]
    cells = tuple(
        (
            row.name,
            *(
                cell
                for twin in ("clean", "noise", "adversarial")
                for cell in (share(row.right[twin].value), interval(row.right[twin].interval))
            ),
            words[row.apart("adversarial")],
            str(row.right["clean"].count),
        )
        for row in rows
    )
    return Table(("class", *heads, "against the others, under attack", "samples"), cells)


def flows(found: tuple[Flow, ...], layers: list[str]) -> Table:
    """Fooled samples from class to class, and how many had changed sides for good by each layer."""
    rows = tuple(
        (it.source, it.target, str(it.count), *map(str, it.by_layer)) for it in found[:MOST_FLOWS]
    )
    return Table(
        ("class", "becomes", "samples", *(f"by {layer}" for layer in layers)), rows, words=2
    )


def curve(points: list[dict[str, Any]]) -> Table:
    """Accuracy by ε."""
    rows = tuple(
        (
            f"{it['epsilon']:g}",
            share(it["accuracy"]),
            interval(it["interval"]),
            share(it.get("noise_accuracy")),
        )
        for it in points
    )
    return Table(("ε", "under attack", "95% interval", "under noise"), rows, words=0)


def _ends(it: dict[str, Any]) -> str:
    if not it["interval"]:
        return "–"
    return f"{number(it['interval'][0], it['status'])} to {number(it['interval'][1], it['status'])}"


def _part(it: dict[str, Any], name: str) -> str:
    return number(it[name], it["status"])
