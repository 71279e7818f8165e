"""What a comparison found, in a few plain sentences made from the summary document."""

from __future__ import annotations

from typing import Any

from worldline.runs.explore_findings import norm_sign

__all__ = ["comparison_findings"]


def comparison_findings(summary: dict[str, Any]) -> tuple[str, ...]:
    """Up to six sentences with the numbers; nothing that the document does not hold.

    >>> from worldline.runs import comparison_findings
    >>> table = [[0.5, 0.1], [0.2, 0.4]]
    >>> spread = [[[1.0, 1.0], [0.2, 0.4]], [[0.2, 0.4], [1.0, 1.0]]]
    >>> document = {"models": ["a", "b"], "similarity": [[1.0, 0.3], [0.3, 1.0]], "similarity_interval": spread,
    ...     "predicted": table, "surrogates": {}, "ensembles": [], "measured": None, "judge": None, "failures": []}
    >>> comparison_findings(document)[0]
    'a and b, the two models, share displacements with a mean cosine of 0.30 (95% interval 0.20 to
    0.40).'
    """
    found = [
        _nearest(summary),
        _stand_in(summary),
        _ensemble(summary),
        _transfer(summary),
        _judge(summary),
    ]
    found += [f"{it['model']} dropped out: {it['reason']}" for it in summary["failures"]]
    return tuple(sentence for sentence in found if sentence)


def _nearest(summary: dict[str, Any]) -> str:
    names, table, spread = summary["models"], summary["similarity"], summary["similarity_interval"]
    pairs = sorted((table[a][b], a, b) for a in range(len(names)) for b in range(a))

    def told(pair: tuple[float, int, int]) -> str:
        value, a, b = pair
        low, high = spread[a][b]
        return f"with a mean cosine of {value:.2f} (95% interval {low:.2f} to {high:.2f})"

    one, two = (names[place] for place in sorted(pairs[-1][1:]))
    if len(names) == 2:
        return f"{one} and {two}, the two models, share displacements {told(pairs[-1])}."
    far, away = (names[place] for place in sorted(pairs[0][1:]))
    return (
        f"Of {len(names)} models, {one} and {two} answer the same small changes most alike, "
        f"{told(pairs[-1])}; {far} and {away} "
        f"least, {told(pairs[0])}."
    )


def _stand_in(summary: dict[str, Any]) -> str:
    best = {target: ranked[0] for target, ranked in summary["surrogates"].items() if ranked}
    if not best:
        return ""
    target, found = max(best.items(), key=lambda item: item[1]["share"] or 0.0)
    weakest, last = min(best.items(), key=lambda item: item[1]["share"] or 0.0)
    if target == weakest or found["share"] is None or last["share"] is None:
        return ""
    return (
        f"The best stand-in is {found['name']} for {target}: an attack on it is expected to do "
        f"{found['share']:.0%} of what one on "
        f"{target} itself does. {weakest} is hardest to reach: its best stand-in, {last['name']}, "
        f"is expected to do {last['share']:.0%}."
    )


def _ensemble(summary: dict[str, Any]) -> str:
    if not summary["ensembles"]:
        return ""
    largest = summary["ensembles"][-1]
    names = ", ".join(largest["models"])
    return (
        f"The {len(largest['models'])} models that share least are {names} (mean cosine of two "
        f"of them {largest['shared']:.2f})."
    )


def _transfer(summary: dict[str, Any]) -> str:
    if summary["measured"] is None:
        return ""
    names, table, spread = summary["models"], summary["measured"], summary["measured_interval"]
    pairs = sorted(
        (table[s][t], s, t)
        for s in range(len(names))
        for t in range(len(names))
        if s != t and table[s][t] is not None
    )
    if not pairs:
        return ""
    (least, *low), (most, *high) = pairs[0], pairs[-1]
    attack = (
        f"{summary['attack'].upper()}-{summary['steps']}" if summary["steps"] else summary["attack"]
    )
    ends = spread[high[0]][high[1]]
    return (
        f"Measured with {attack} ({norm_sign(summary['norm'])}, ε = {summary['epsilon_text']}), "
        f"beyond noise of the same size: transfer is "
        f"largest from {names[high[0]]} to {names[high[1]]}, {most:.0%} (95% interval "
        f"{ends[0]:.0%} to {ends[1]:.0%}), and smallest from "
        f"{names[low[0]]} to {names[low[1]]}, {least:.0%}."
    )


def _judge(summary: dict[str, Any]) -> str:
    judged = summary["judge"]
    if summary["measured"] is not None and judged is None:
        return "Too few models to judge the prediction: at least four are needed."
    if judged is None or judged["within_target"] is None:
        return ""
    low, high = judged["interval"]["within_target"]
    rival = judged["rivals"].get("gradient_cosine")
    beside = ""
    if rival and rival["within_target"] is not None and rival["double_centred"] is not None:
        beside = (
            f"; the cosine of input gradients has {rival['within_target']:.2f} and "
            f"{rival['double_centred']:.2f}"
        )
    centred = (
        ""
        if judged["double_centred"] is None
        else f", {judged['double_centred']:.2f} after row and column effects"
    )
    return (
        f"The prediction orders the sources of a target as the attack does, with a Spearman "
        f"correlation of {judged['within_target']:.2f} "
        f"(95% interval over models {low:.2f} to {high:.2f}){centred}{beside}."
    )
