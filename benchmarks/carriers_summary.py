"""Parts of the benchmark of carriers, summed up over its networks' seeds."""

from __future__ import annotations

import math
import statistics
from typing import Any

from scipy.stats import spearmanr, t

import carriers_models as zoo

COMPARED = (
    ("PGD", "PGD, seed 1"),
    ("APGD", "APGD, seed 1"),
    ("Square", "Square, seed 1"),
    ("PGD", "APGD"),
    ("PGD", "FGSM"),
    ("PGD", "Square"),
    ("APGD", "FGSM"),
    ("APGD", "Square"),
    ("Square", "FGSM"),
)


ANY, SHARE, SIGNED = (-math.inf, math.inf), (0.0, 1.0), (-1.0, 1.0)


def over_seeds(values: list[float], ends: tuple[float, float] = ANY) -> dict[str, float] | None:
    """Mean with its 95 % t interval, cut to the values that there can be; only the mean of a single
    seed; None of no seed.
    """
    if not values:
        return None
    mean = statistics.mean(values)
    if len(values) == 1:
        return {"mean": mean, "seeds": 1}
    spread = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    low, high = max(mean - spread, ends[0]), min(mean + spread, ends[1])
    return {"mean": mean, "low": low, "high": high, "seeds": len(values)}


def known(values: list[Any]) -> list[float]:
    """Those that there are."""
    return [float(it) for it in values if it is not None]


def depth_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By kind of unit and layer, over the seeds."""
    tables: dict[str, Any] = {}
    for by in ("channel", "position"):
        tables[by] = {
            layer: {
                "units": it["units"],
                "an_eighth": it["eighth"],
                "trusted": sum(run[by][layer]["trust"] == "ok" for run in runs),
                **{
                    what: over_seeds(known([run[by][layer].get(what) for run in runs]), SHARE)
                    for what in ("share", "carriers", "random", "change", "noise")
                },
            }
            for layer, it in runs[0][by].items()
        }
    return {
        "seeds": len(runs),
        "accuracy": over_seeds([run["accuracy"] for run in runs], SHARE),
        "fooled": [run["fooled"] for run in runs],
        "layers": tables,
        "place": place_of(runs),
    }


def place_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether concentration is where the swap layer and the excess boost are."""
    order = ["input", *zoo.LAYERS, "logits"]
    swaps, most, boosts, moved = [], [], [], []
    for run in runs:
        swaps.append(run["swap_layer"])
        shares = [run["channel"][it]["share"] for it in zoo.LAYERS]
        most.append(zoo.LAYERS[shares.index(min(shares))])
        boosts.append(spearman(shares, [run["excess_boost"][it] for it in zoo.LAYERS]))
        moved.append(spearman(shares, [run["moved_share"][it] for it in zoo.LAYERS]))
    both = [(order.index(a), order.index(b)) for a, b in zip(swaps, most, strict=True) if a]
    return {
        "swap_layer": swaps,
        "most_concentrated": most,
        "at_or_after_swap": sum(b >= a for a, b in both),
        "with_swap_layer": len(both),
        "rank_correlation_with_excess_boost": over_seeds(known(boosts), SIGNED),
        "rank_correlation_with_moved_share": over_seeds(known(moved), SIGNED),
        "excess_boost": {
            it: over_seeds(known([run["excess_boost"][it] for run in runs])) for it in order[1:]
        },
    }


def spearman(one: list[float], two: list[float]) -> float | None:
    """Over the layers; None where either is constant."""
    if len(set(one)) < 2 or len(set(two)) < 2:
        return None
    return float(spearmanr(one, two).statistic)


def attacks_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By pair of attacks and layer, over the seeds."""
    table = {}
    for title in (
        *(f"{one} – {two}" for one, two in COMPARED),
        "PGD, another picture of the same mistake",
        "PGD, another picture",
    ):
        rows = [run["common"][title] for run in runs if title in run["common"]]
        rows = [row for row in rows if zoo.LAYERS[0] in row]
        if not rows:
            continue
        table[title] = {
            "pictures": sum(row["pictures"] for row in rows),
            **{
                f"{what} {layer}": over_seeds([row[layer][what] for row in rows], ends)
                for what, ends in (("overlap", SHARE), ("rank_correlation", SIGNED))
                for layer in zoo.LAYERS
            },
        }
    return {"seeds": len(runs), "fooled": [run["fooled"] for run in runs], "common": table}


RIVALS = {
    "zeroed, carriers": "zeroed, random",
    "noise, carriers": "noise, random",
    "steady, carriers": "steady, random",
}


def hardening_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each change over the seeds, and paired differences."""
    names = list(runs[0]["changes"])
    columns = list(runs[0]["changes"][names[0]])

    def values(name: str, column: str) -> list[float]:
        return [run["changes"][name][column] for run in runs]

    def beside(name: str, other: str, column: str) -> dict[str, float] | None:
        both = zip(values(name, column), values(other, column), strict=True)
        return over_seeds([a - b for a, b in both], SIGNED)

    compared = ("clean", "adaptive", "adaptive_worst_classes")
    return {
        "seeds": len(runs),
        "pairs": [run["pairs"] for run in runs],
        "repaired": {
            it: over_seeds([run["repaired"][it] for run in runs], SHARE)
            for it in ("carriers", "random")
        },
        "changes": {
            name: {
                column: over_seeds(values(name, column), ANY if column == "seconds" else SHARE)
                for column in columns
            }
            for name in names
        },
        "beside_unchanged": {
            name: {column: beside(name, "unchanged", column) for column in (*compared, "old_twins")}
            for name in names[1:]
        },
        "beside_rival": {
            f"{name} – {other}": {column: beside(name, other, column) for column in compared}
            for name, other in (
                *RIVALS.items(),
                *((name, "tuned adversarially") for name in RIVALS),
                ("steady, all channels", "tuned adversarially"),
            )
        },
    }


SUMMED = {"depth": depth_of, "attacks": attacks_of, "hardening": hardening_of}
