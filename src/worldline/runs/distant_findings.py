"""What a search for distant pairs found, in a few plain sentences made from the summary
document.
"""

from __future__ import annotations

from typing import Any

from worldline.runs.explore_findings import norm_sign

__all__ = ["distant_findings", "pair_words"]

NEARLY_THE_SAME = 0.1  # share of random pairs that are closer at the input, under which two inputs are no distant pair


def distant_findings(summary: dict[str, Any]) -> tuple[str, ...]:
    """Up to five sentences with the numbers; nothing that the document does not hold.

    >>> from worldline.runs import distant_findings
    >>> document = {"model": "m", "layer": "relu", "counts": {"samples": 9, "pairs": 30}, "least_distance": 2.0, "input_quantile": 0.5,
    ...     "merged": [], "opposed": [], "untrained": None, "made": None, "same_class": [None], "layer_index": 0}
    >>> distant_findings(document)[1]
    'No pair was found.'
    """
    counts = summary["counts"]
    found = [
        f"At {summary['layer']} of {summary['model']} all {counts['pairs']:,} pairs of "
        f"{counts['samples']:,} samples with different labels "
        f"were searched, those at least {summary['least_distance']:.2f} apart at the input (the "
        f"{summary['input_quantile']:.0%} quantile)."
    ]
    if not summary["merged"] and not summary["opposed"]:
        return (*found, "No pair was found.")
    for side, word in (("merged", "merged"), ("opposed", "opposed")):
        if summary[side]:
            found.append(_strongest(summary, side, word))
    if summary["untrained"] is not None:
        found.append(_beyond(summary))
    if summary["made"] is not None:
        found.append(_made(summary))
    return tuple(found)


def pair_words(summary: dict[str, Any], pair: dict[str, Any]) -> str:
    """Two samples with their labels, such as ``sample 3 (an “8”) and sample 5 (a “1”)``."""
    names = summary.get("class_names")
    labels = [names[label] if names else str(label) for label in pair["labels"]]
    return " and ".join(
        f"sample {sample} (label {label})"
        for sample, label in zip(pair["samples"], labels, strict=True)
    )


def _strongest(summary: dict[str, Any], side: str, word: str) -> str:
    pair = summary[side][0]
    phi = "∞" if pair["rapidity"] is None else f"{pair['rapidity']:+.2f}"
    meets = (
        ""
        if pair["meets"] is None
        else f", entangled for good from {summary['layers'][pair['meets']]['name']} on"
    )
    usual = summary["same_class"][summary["layer_index"]]
    beside = (
        ""
        if usual is None or side == "opposed"
        else f"; two samples of one class have {usual:+.2f} (median)"
    )
    return (
        f"The most {word}: {pair_words(summary, pair)}, further apart at the input than "
        f"{pair['input_quantile']:.0%} of such pairs, have "
        f"rapidity {phi}{meets}{beside}."
    )


def _beyond(summary: dict[str, Any]) -> str:
    networks = summary["untrained"]["networks"]
    parts = [
        f"{summary[f'{side}_beyond_untrained']} of {len(summary[side])} {side} pairs"
        for side in ("merged", "opposed")
        if summary[side]
    ]
    return (
        f"Beyond chance: {' and '.join(parts)} are more entangled than the best pair that the "
        f"same search finds in any of {networks} "
        f"untrained networks of the same shape (no p-value under {1 / (1 + networks):.2g} can "
        f"come of that)."
    )


def _made(summary: dict[str, Any]) -> str:
    made = summary["made"]
    first, second = made["samples"]
    budget = (
        "anywhere inside the bounds"
        if made["epsilon"] is None
        else f"within {norm_sign(made['norm'])} ε = {made['epsilon']:g}"
    )
    aim = "the opposite of" if made["sign"] < 0 else ""
    how = "was made to meet" if made["success"] else "could not be made to meet"
    features = (
        f"Sample {first}, moved {budget}, {how} {aim + ' ' if aim else ''}sample {second} at "
        f"{summary['layer']}: its features are closer "
        f"to it than those of {1 - made['same_class_closer']:.0%} of pairs of one class are to "
        f"each other"
    )
    if made["input_closer"] < NEARLY_THE_SAME:
        return (
            f"{features}. But at the input it has nearly become the other, which is the "
            f"trivial way to meet: give a budget with --eps."
        )
    return (
        f"{features}, while at the input it is further from it than {made['input_closer']:.0%} "
        f"of random pairs are from each other."
    )
