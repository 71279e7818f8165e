"""The page's headline, titles and sentences, made from the numbers and nothing else."""

from __future__ import annotations

from typing import Any

from worldline.report.explore.content import Content

__all__ = ["headline", "sentences", "titles"]


def headline(summary: dict[str, Any]) -> str:
    """The finding in one line."""
    model = summary["model"]
    if not summary["fooled"]:
        return f"{model} was not fooled on any of {summary['samples']:,} samples"
    share = f"{model} is fooled on {summary['fooled']:,} of {summary['samples']:,} samples"
    swap = summary["swap_layer"]
    if swap is None:
        return f"{share}; most twins never change sides for good"
    return f"{share}; their twins change sides at {swap['name']}"


def titles(content: Content) -> dict[str, str]:
    """Title by view; each states the finding."""
    summary = content.summary
    shown, total = len(content.samples), summary["samples"]
    part = f"all {total:,}" if shown == total else f"{shown:,} of the {total:,}"
    some = "fooled samples" if summary["fooled"] else "samples"
    swap = summary["swap_layer"]
    return {
        "rapidity": _rapidity_title(summary["layers"][-1]),
        "swapped": "Most twins do not change sides for good"
        if swap is None
        else f"Most twins have changed sides from {swap['name']} on",
        "map": f"Where {part} samples end up",
        "gallery": f"The first {len(content.gallery)} {some}: clean, noise, adversarial, and the change magnified "
        f"{content.magnification:.1f} times",
    }


def sentences(content: Content) -> dict[str, str]:
    """Sentence by view."""
    summary = content.summary
    return {
        "rapidity": _rapidity_sentence(summary),
        "swapped": _swapped_sentence(summary["layers"][-1]),
        "map": _map_sentence(content),
        "gallery": "In the change, red raises a value and blue lowers it; predictions that differ from the label are "
        "set in red.",
    }


def _rapidity_title(last: dict[str, Any]) -> str:
    adversarial, noise = (last["rapidity"][name]["median"] for name in ("adversarial_clean", "noise_clean"))
    if adversarial is None or noise is None:
        return "Rapidity by layer: adversarial twins beside their clean twins, noise twins and class means"
    verb = "lose" if adversarial < noise else "keep"
    return f"Adversarial twins {verb} their clean twins: φ = {adversarial:.2f} at {last['name']}, against {noise:.2f} for noise"


def _rapidity_sentence(summary: dict[str, Any]) -> str:
    first, last = summary["layers"][0], summary["layers"][-1]

    def way(name: str) -> str:
        ends = (layer["rapidity"][name] for layer in (first, last))
        shown = (
            "∞" if end["status"] == "infinite" else "–" if end["median"] is None else f"{end['median']:.2f}"
            for end in ends
        )
        return "from {} to {}".format(*shown)

    return (
        f"From {first['name']} to {last['name']}, the median φ to the clean twin goes {way('adversarial_clean')} for "
        f"adversarial twins and {way('noise_clean')} for noise; to the wrong class's mean it goes "
        f"{way('adversarial_wrong')} ({summary['fooled']:,} samples)."
    )


def _swapped_sentence(last: dict[str, Any]) -> str:
    if last["swapped_share"] is None:
        return ""
    low, high = last["swapped"]["interval"]
    sentence = (
        f"At {last['name']}, {last['swapped_share']:.0%} of the adversarial twins are nearer to the wrong class "
        f"(95% interval {low:.0%} to {high:.0%}) and {last['noise_swapped']['value']:.0%} of the noise twins."
    )
    own = last["misclassified_swapped"]
    if own["count"]:
        sentence += (
            f" Of the {own['count']:,} clean samples that the model gets wrong by itself it is {own['value']:.0%}."
        )
    return sentence


def _map_sentence(content: Content) -> str:
    states = [sample.state for sample in content.samples]
    counts = ", ".join(f"{states.count(state):,} {state}" for state in dict.fromkeys(sorted(states)))
    if len(content.samples) < content.summary["samples"]:
        return f"{counts}. The others are left out to keep the page small; fooled ones come first."
    return f"{counts}."
