"""What was found, in a few plain sentences made from the summary document."""

from __future__ import annotations

from typing import Any

__all__ = ["findings", "norm_sign", "twin_words"]


def findings(summary: dict[str, Any]) -> tuple[str, ...]:
    """Three or four sentences with the numbers; nothing that the document does not hold.

    >>> from worldline.runs import findings
    >>> document = {"model": "m", "data": "d", "samples": 9, "clean_accuracy": 1.0, "adversarial_accuracy": 1.0,
    ...     "noise_accuracy": 1.0, "norm": "linf", "attack": "pgd", "steps": 5, "epsilon_text": "0.1", "fooled": 0}
    >>> findings(document)[1]
    'No sample was fooled, so there is no story to tell at this ε: try a larger one, or more steps.'
    """
    first = _how_fooled(summary)
    if not summary["fooled"]:
        return (
            first,
            "No sample was fooled, so there is no story to tell at this ε: try a larger one, or "
            "more steps.",
        )
    return tuple(
        sentence
        for sentence in (first, _where(summary), _driver(summary), _depth(summary))
        if sentence
    )


def norm_sign(norm: str) -> str:
    """The norm as it is written in mathematics."""
    return {"linf": "L∞", "l2": "L2"}[norm]


def twin_words(summary: dict[str, Any]) -> str:
    """The attack as a phrase, such as ``PGD-40 (L∞, ε = 8/255)``."""
    name = summary["attack"].upper() if ":" not in summary["attack"] else summary["attack"]
    steps = f"-{summary['steps']}" if summary["steps"] else ""
    return f"{name}{steps} ({norm_sign(summary['norm'])}, ε = {summary['epsilon_text']})"


def _how_fooled(summary: dict[str, Any]) -> str:
    return (
        f"{summary['model']} gets {summary['clean_accuracy']:.1%} of {summary['samples']:,} "
        f"samples of {summary['data']} right; under "
        f"{twin_words(summary)} {summary['adversarial_accuracy']:.1%} are still right (an upper "
        f"bound on its robustness), under noise "
        f"of the same size {summary['noise_accuracy']:.1%}."
    )


def _where(summary: dict[str, Any]) -> str:
    layers = summary["layers"]
    last, swap = layers[-1], summary["swap_layer"]
    few = f" (only {summary['fooled']} samples were fooled)" if summary["fooled"] < 20 else ""
    if swap is None:
        return (
            f"At no layer are most of the {summary['fooled']:,} fooled twins nearer to the wrong "
            f"class for good; at {last['name']}, "
            f"the last, {last['swapped_share']:.0%} are{few}."
        )
    low, high = swap["interval"]
    sure = f"layer {low}" if low == high else f"layers {low} to {'none' if high is None else high}"
    here = layers[swap["index"]]["swapped_share"]
    end = (
        ""
        if swap["index"] == len(layers) - 1
        else f", {last['swapped_share']:.0%} at {last['name']}"
    )
    start = (
        "already at the input"
        if swap["index"] == 0
        else f"at {swap['name']} (layer {swap['index']} of {len(layers) - 1})"
    )
    return (
        f"The adversarial twins change sides {start}: from there on most are nearer to the wrong "
        f"class than to their own, "
        f"{here:.0%} there{end} (95% interval: {sure}){few}."
    )


def _driver(summary: dict[str, Any]) -> str:
    boosts = [
        (layer["excess_boost"]["median"], layer)
        for layer in summary["layers"]
        if layer["excess_boost"] and layer["excess_boost"]["median"] is not None
    ]
    if not boosts:
        return ""
    boost, layer = min(boosts, key=lambda pair: pair[0])
    low, high = layer["excess_boost"]["interval"] or (None, None)
    interval = (
        f" (95% interval {-high:.2f} to {-low:.2f})" if low is not None and high is not None else ""
    )
    if boost >= 0 or (high is not None and high >= 0):
        return (
            "No layer drives the adversarial twins away from their clean twins by more than "
            "noise of the same size does."
        )
    level = [
        it["name"]
        for value, it in boosts
        if it is not layer and _reaches(it["excess_boost"]["interval"], high)
    ]
    names = ", ".join([layer["name"], *level])
    first = (
        f"{names} drive them apart most, {layer['name']} by"
        if level
        else f"{layer['name']} drives them apart most:"
    )
    return (
        f"{first} {-boost:.2f} nats of rapidity beyond what it does to noise of the same "
        f"size{interval}."
    )


def _reaches(interval: list[float | None] | None, high: float | None) -> bool:
    """Whether an interval overlaps that of the strongest layer, whose upper end is given; unknown
    intervals may.
    """
    return interval is None or interval[0] is None or high is None or interval[0] <= high


def _depth(summary: dict[str, Any]) -> str:
    depth, null = summary["proper_depth"], summary["untrained_proper_depth"]
    adversarial, noise = depth["adversarial_clean"], depth["noise_clean"]
    if adversarial["median"] is None or noise["median"] is None:
        return ""
    beside = ""
    if null and null["adversarial_clean"]["median"] is not None:
        beside = (
            f"; untrained, the same shape has {null['adversarial_clean']['median']:.2f} and "
            f"{null['noise_clean']['median']:.2f}"
        )
    return (
        f"Over {len(summary['layers'])} layers the proper depth to the clean twin is "
        f"{adversarial['median']:.2f} for the adversarial "
        f"twin and {noise['median']:.2f} for the noise twin (0: never told apart){beside}."
    )
