"""The table twins of a model's complexity."""

from __future__ import annotations

from typing import Any

from worldline.report.numbers import share
from worldline.report.old_numbers import interval, number
from worldline.report.views import Table

__all__ = ["known", "layers", "limits", "ranking", "spectrum"]

KINDS = {
    "noise": "noise",
    "strangers": "strangers",
    "adversarial": "adversarial",
    "matched_noise": "noise of its size",
}


def ranking(models: list[dict[str, Any]], order: list[int]) -> Table:
    """Models, the most fragile first, beside the field's measures."""
    names = [it["name"] for it in models[0]["known"]]
    rows = []
    for place in order:
        it = models[place]
        changed = it["fragility"]["changed"]
        values = {measure["name"]: measure["value"] for measure in it["known"]}
        boost = it["total_boost"]["noise"]
        rows.append(
            (
                it["model"],
                share(changed["value"]),
                interval(changed["interval"]),
                number(boost["median"], boost["status"]),
                ends(boost),
                share(it["clean_accuracy"]),
                *(_short(values.get(name)) for name in names),
            )
        )
    heads = (
        "answers that noise changes",
        "95% interval",
        "total boost of noise, nats",
        "95% interval",
        "clean accuracy",
    )
    return Table(("model", *heads, *names), tuple(rows))


def layers(document: dict[str, Any]) -> Table:
    """φ and boost of each kind of pairs by layer, the untrained boost, and effective dimensions."""
    kinds = [kind for kind in KINDS if kind in document["pairs"]]
    heads = [
        head
        for kind in kinds
        for head in (f"φ {KINDS[kind]}", "boost", "95% interval", "untrained boost")
    ]
    rows = []
    for layer in document["layers"]:
        cells = [f"{layer['index']} {layer['name']}", f"{layer['width']:,}"]
        for kind in kinds:
            it, boost = layer["rapidity"][kind], layer["boost"].get(kind)
            null = (layer["untrained_boost"] or {}).get(kind)
            cells.append(number(it["median"], it["status"]))
            cells += (
                ["–", "–"]
                if boost is None
                else [number(boost["median"], boost["status"]), ends(boost)]
            )
            cells.append("–" if null is None else number(null["median"], null["status"]))
        dimension, fresh = layer["dimension"], layer["untrained_dimension"]
        cells += [
            number(dimension["participation"], places=1),
            _between(dimension["participation_interval"]),
            number(dimension["two_nn"], places=1),
            number(fresh["participation"], places=1) if fresh else "–",
            dimension["status"],
        ]
        rows.append(tuple(cells))
    ending = ("participation ratio", "95% interval", "TwoNN", "participation untrained", "remark")
    return Table(("layer", "width", *heads, *ending), tuple(rows))


def limits(document: dict[str, Any]) -> Table:
    """Limit, change and share of each linear layer, by kind of pairs."""
    kinds = [kind for kind in KINDS if kind in document["pairs"]]
    heads = [
        head
        for kind in kinds
        for head in (f"{KINDS[kind]}: limit, nats", "change", "share", "untrained share")
    ]
    rows = []
    for it in document["limits"]:
        cells = [it["name"], it["kind"]]
        for kind in kinds:
            null = (it["untrained_share"] or {}).get(kind)
            cells += [
                number(it["limit"][kind]["median"], it["limit"][kind]["status"]),
                number(it["change"][kind]["median"], it["change"][kind]["status"]),
                share(it["share"][kind]["median"]),
                share(null["median"]) if null else "–",
            ]
        rows.append(tuple(cells))
    return Table(("layer", "kind", *heads), tuple(rows), words=2)


def known(document: dict[str, Any]) -> Table:
    """The field's measures, each with its untrained value and what it is."""
    rows = tuple(
        (
            it["name"],
            it["definition"]
            if it["status"] == "measured"
            else f"{it['definition']}. {it['status']}",
            _short(it["value"]),
            _between(it["interval"], ".3g"),
            _short(it["untrained"]),
        )
        for it in document["known"]
    )
    return Table(("measure", "what it is", "value", "95% interval", "untrained"), rows, words=2)


def spectrum(document: dict[str, Any]) -> Table:
    """Singular values of the Jacobian and their exponents, trained and untrained."""
    it, fresh = document["spectrum"], document["untrained_spectrum"]
    rows = []
    for place, value in enumerate(it["singular_values"]):
        null = (
            fresh["singular_values"][place]
            if fresh and place < len(fresh["singular_values"])
            else None
        )
        exponent = it["exponents"][place]
        rows.append(
            (
                str(place + 1),
                _short(value["median"]),
                ends(value, 3),
                number(exponent["median"], exponent["status"]),
                _short(null["median"]) if null else "–",
            )
        )
    heads = ("singular value, median", "95% interval", "exponent, nats a layer", "untrained")
    return Table(("number", *heads), tuple(rows), words=0)


def ends(it: dict[str, Any], places: int = 2) -> str:
    """The interval of a median."""
    if not it["interval"]:
        return "–"
    low, high = (number(end, it["status"], places) for end in it["interval"])
    return f"{low} to {high}"


def _between(pair: list[float | None] | None, form: str = ".1f") -> str:
    if not pair or None in pair:
        return "–"
    return " to ".join(format(end, form) for end in pair if end is not None)


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
