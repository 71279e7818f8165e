"""How complex and how fragile models are, in a few plain sentences made from the documents."""

from __future__ import annotations

from typing import Any

from worldline.explain import NOT_A_BOUND

__all__ = ["complexity_findings", "complexity_sentences"]


def complexity_findings(summary: dict[str, Any]) -> tuple[str, ...]:
    """The ranking, if there are several models, and what stands out in the most fragile one.

    >>> from worldline.runs import complexity_findings
    >>> share = {"value": 0.25, "interval": [0.2, 0.3], "count": 60}
    >>> fragility = {"changed": share, "sigma": 0.25}
    >>> document = {"model": "m", "samples": 60, "fragility": fragility, "total_boost": {}, "layers": [], "limits": [], "sigma": 0.1}
    >>> complexity_findings({"models": [document], "ranking": [0]})[0]
    'Noise of σ = 0.25 changes 25% of the answers of m (95% interval 20% to 30%, 60 samples).'
    """
    models, ranking = summary["models"], summary["ranking"]
    first = models[ranking[0]]
    found = [_ranking(models, ranking)] if len(models) > 1 else []
    return (*found, *complexity_sentences(first), NOT_A_BOUND)


def complexity_sentences(document: dict[str, Any]) -> tuple[str, ...]:
    """What was found of one model."""
    sentences = (_changed(document), _total(document), _driver(document), _limit(document))
    return tuple(sentence for sentence in sentences if sentence)


def _ranking(models: list[dict[str, Any]], ranking: list[int]) -> str:
    """Models in order, and between which neighbours the intervals leave a gap."""
    words = []
    for place, number in enumerate(ranking):
        share = models[number]["fragility"]["changed"]
        words.append(f"{models[number]['model']} ({share['value']:.0%})")
        if place + 1 < len(ranking):
            after = models[ranking[place + 1]]["fragility"]["changed"]
            words.append(", then " if share["interval"][0] > after["interval"][1] else ", about ")
    told_apart = "".join(words)
    return (
        f"From most to least fragile, by the share of answers that noise changes: {told_apart}. "
        f"“Then” means that the 95% intervals of "
        "the two do not overlap, “about” that they do."
    )


def _changed(document: dict[str, Any]) -> str:
    share, sigma = document["fragility"]["changed"], document["fragility"]["sigma"]
    low, high = share["interval"]
    return (
        f"Noise of σ = {sigma:.3g} changes {share['value']:.0%} of the answers of "
        f"{document['model']} (95% interval {low:.0%} to "
        f"{high:.0%}, {share['count']:,} samples)."
    )


def _total(document: dict[str, Any]) -> str:
    total = document["total_boost"].get("noise")
    if not total or total["median"] is None:
        return ""
    null = (document["untrained_total_boost"] or {}).get("noise")
    beside = (
        f"; untrained, the same shape does {_way(null['median'])}"
        if null and null["median"] is not None
        else ""
    )
    return (
        f"From {document['layers'][0]['name']} to {document['layers'][-1]['name']} it drives "
        f"noise twins (σ = {document['sigma']:.3g}) "
        f"{_way(total['median'])}{_between(total)}{beside}."
    )


def _driver(document: dict[str, Any]) -> str:
    boosts = [
        (layer["boost"]["noise"]["median"], layer)
        for layer in document["layers"]
        if layer["boost"] and layer["boost"]["noise"]["median"] is not None
    ]
    if not boosts:
        return ""
    boost, layer = max(boosts, key=lambda pair: pair[0])
    interval = layer["boost"]["noise"]["interval"]
    if boost <= 0 or not interval or interval[0] is None or interval[0] <= 0:
        return "No layer drives noise twins apart."
    return (
        f"{layer['name']} drives them apart most: {boost:.2f} "
        f"nats{_between(layer['boost']['noise'])}."
    )


def _limit(document: dict[str, Any]) -> str:
    used = [
        (limit["share"]["noise"]["median"], limit)
        for limit in document["limits"]
        if limit["share"].get("noise") and limit["share"]["noise"]["median"] is not None
    ]
    if not used:
        return ""
    share, limit = max(used, key=lambda pair: pair[0])
    return (
        f"Of its {len(document['limits'])} linear layers {limit['name']} uses most of its speed "
        f"limit for noise twins: {share:.0%} "
        "(median); none can go beyond 100%."
    )


def _way(boost: float) -> str:
    return f"{abs(boost):.2f} nats of rapidity {'apart' if boost >= 0 else 'together'}"


def _between(summary: dict[str, Any]) -> str:
    interval = summary["interval"]
    if not interval or None in interval:
        return ""
    low, high = sorted(abs(end) for end in interval) if interval[0] * interval[1] > 0 else interval
    return f" (95% interval {low:.2f} to {high:.2f})"
