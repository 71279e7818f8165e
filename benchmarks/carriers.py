"""Claim: few units carry an attack, and knowing them helps. (Whether it does is reported either
way.)

Five networks of each data set and training (:mod:`carriers_models`). Three questions, each beside
its control.

* How the attack spreads with depth: the smallest share of a layer's units whose repair undoes half
  of the successful attacks, by channel and by position, beside random units and those that change
  most.
* Whether carriers are the attack's or the network's: what the sample's carriers have in common when
  PGD, APGD, Square and FGSM make the same mistake, beside two seeds of one attack, another sample
  and chance; and whether concentration is where the swap layer and the excess boost are.
* Whether it hardens a network to take the carriers of its worst class pairs away, to train with
  noise in them, or to hold them steady (:mod:`carriers_hardening`), beside random channels and
  adversarial training, under an attack that knows the change.

Intervals are Student's at 95 % over the seeds; where there is one seed there is none. Nothing was
tuned on what is judged: the sizes were set with a network of another seed. Each part is kept in the
zoo's cache, and what is there is written, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr, t
from torch import Tensor

import carriers_hardening as hardening
import carriers_models as zoo
import measure
import worldline as wl

CLAIM = (
    "few units carry an attack, the same ones whichever attack makes the mistake, and taking them "
    "away, training with noise in them or holding them steady hardens the network against an "
    "attack that knows it, more than the same done to random units"
)
EIGHTH = 1 / 8
DEPTH, OTHERS = 200, 150
VERSION = 1
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


def depth(name: str, training: str, seed: int) -> dict[str, Any]:
    """Concentration by layer, the swap layer and the excess boost, over the fooled pictures."""
    model, task = zoo.load(name, training, seed), zoo.tasks()[name]
    x, y = task.find
    attack = wl.attacks.PGD(epsilon=task.epsilon)
    found = attack(model, x, y)
    story = wl.explain.twins(
        model,
        x,
        found.x,
        y,
        reference=(task.train[0][:1000], task.train[1][:1000]),
        layers=["input", *zoo.LAYERS, "logits"],
        null=False,
        resamples=500,
    )
    result: dict[str, Any] = {
        "accuracy": float((wl.attacks.predict(model, x).argmax(1) == y).double().mean()),
        "fooled": int(story.fooled.sum()),
        "swap_layer": None if story.swap_layer is None else story.swap_layer.name,
        "excess_boost": {
            it.name: None if it.excess_boost is None else it.excess_boost.median
            for it in story.layers
        },
        "moved_share": {it.name: it.moved_share.value for it in story.layers},
    }
    rows = story.fooled.nonzero().flatten()[:DEPTH]
    for by, layers in (("channel", ["input", *zoo.LAYERS]), ("position", list(zoo.LAYERS))):
        seen = wl.explain.carriers(
            model, x[rows], found.x[rows], y[rows], layers=layers, by=by, resamples=2
        )
        result[by] = {it.name: concentration(it) for it in seen.layers}
    return result


def concentration(layer: wl.explain.LayerCarriers) -> dict[str, Any]:
    """What is kept of a layer: share that repairs half, and what an eighth of the units repairs."""
    at = min(range(len(layer.shares)), key=lambda place: abs(layer.shares[place] - EIGHTH))
    repaired = {
        order: curve.repaired[at].value
        for order in ("carriers", "random", "change", "noise")
        if (curve := layer.curve(order)) is not None
    }
    return {
        "units": layer.units,
        "share": layer.concentration.share,
        "eighth": layer.counts[at],
        "trust": layer.trust,
        **repaired,
    }


def attacks(name: str, training: str, seed: int) -> dict[str, Any]:
    """What carriers of different attacks have in common, where both make the same mistake."""
    model, task = zoo.load(name, training, seed), zoo.tasks()[name]
    x, y = (it[:OTHERS] for it in task.find)
    size = task.epsilon
    every = {
        "PGD": wl.attacks.PGD(epsilon=size),
        "PGD, seed 1": wl.attacks.PGD(epsilon=size, seed=1),
        "APGD": wl.attacks.APGD(epsilon=size, steps=30),
        "APGD, seed 1": wl.attacks.APGD(epsilon=size, steps=30, seed=1),
        "Square": wl.attacks.Square(epsilon=size, queries=300),
        "Square, seed 1": wl.attacks.Square(epsilon=size, queries=300, seed=1),
        "FGSM": wl.attacks.FGSM(epsilon=size),
    }
    found = {}
    for title, attack in every.items():
        twins = attack(model, x, y).x
        try:
            found[title] = wl.explain.carriers(
                model, x, twins, y, layers=list(zoo.LAYERS), shares=(), resamples=2
            )
        except wl.errors.ModelError:
            continue  # this attack fools nobody
    result = {
        f"{one} – {two}": common(found[one], found[two])
        for one, two in COMPARED
        if one in found and two in found
    }
    if "PGD" in found:
        result["PGD, another picture"] = common(found["PGD"], found["PGD"], shift=1)
        result["PGD, another picture of the same mistake"] = alike(found["PGD"])
    return {"fooled": {title: len(it.rows) for title, it in found.items()}, "common": result}


def common(one: wl.explain.Carriers, two: wl.explain.Carriers, *, shift: int = 0) -> dict[str, Any]:
    """Over the pictures that both fool with the same wrong class; ``shift`` compares each with
    another one.
    """
    places = {row: at for at, row in enumerate(two.rows.tolist())}
    kept = [
        (at, places[row])
        for at, row in enumerate(one.rows.tolist())
        if row in places and one.wrong[at] == two.wrong[places[row]]
    ]
    ours = torch.tensor([at for at, _ in kept], dtype=torch.long)
    theirs = torch.tensor([at for _, at in kept], dtype=torch.long).roll(shift)
    return agreement(one, two, ours, theirs)


def alike(found: wl.explain.Carriers) -> dict[str, Any]:
    """Each picture beside the next one of the same label and wrong class."""
    groups: dict[tuple[int, int], list[int]] = {}
    for at, pair in enumerate(zip(found.true.tolist(), found.wrong.tolist(), strict=True)):
        groups.setdefault(pair, []).append(at)
    kept = [it for it in groups.values() if len(it) > 1]
    ours = torch.tensor([at for it in kept for at in it], dtype=torch.long)
    theirs = torch.tensor([at for it in kept for at in it[1:] + it[:1]], dtype=torch.long)
    return agreement(found, found, ours, theirs)


def agreement(
    one: wl.explain.Carriers, two: wl.explain.Carriers, ours: Tensor, theirs: Tensor
) -> dict[str, Any]:
    """Part of the first eighth of the channels in common, and rank correlation of all effects."""
    result: dict[str, Any] = {"pictures": len(ours)}
    if len(ours) < 5:
        return result
    for name in zoo.LAYERS:
        a, b = one[name].effect[ours], two[name].effect[theirs]
        count = max(1, round(EIGHTH * a.shape[1]))
        first = a.argsort(descending=True)[:, :count, None]
        second = b.argsort(descending=True)[:, None, :count]
        ranks = [it.argsort(1).argsort(1).double() for it in (a, b)]
        ranks = [it - it.mean(1, keepdim=True) for it in ranks]
        correlation = (ranks[0] * ranks[1]).sum(1) / (ranks[0].norm(dim=1) * ranks[1].norm(dim=1))
        result[name] = {
            "overlap": float((first == second).double().sum((1, 2)).mean() / count),
            "chance": count / a.shape[1],
            "rank_correlation": float(correlation.mean()),
        }
    return result


PARTS: dict[str, Callable[[str, str, int], dict[str, Any]]] = {
    "depth": depth,
    "attacks": attacks,
    "hardening": hardening.hardening,
}


def path_of(part: str, name: str, training: str, seed: int) -> Path:
    """Where a part of one network is kept, by the code that decides it."""
    code = zoo.key()
    if part == "hardening":
        code += hashlib.sha256(Path(hardening.__file__).read_bytes()).hexdigest()
    digest = hashlib.sha256(json.dumps([code, VERSION]).encode()).hexdigest()[:12]
    folder = wl.zoo.cache_folder() / "benchmark" / "carriers"
    return folder / f"{part}-{name}-{training}-{seed}-{digest}.json"


def kept(part: str, name: str, training: str, seed: int) -> dict[str, Any] | None:
    """What is there already."""
    try:
        found: dict[str, Any] = json.loads(path_of(part, name, training, seed).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def measured(part: str, name: str, training: str, seed: int) -> None:
    """Measure one part of one network, unless that is done."""
    if kept(part, name, training, seed) is not None:
        return
    start = time.process_time()
    result = PARTS[part](name, training, seed)
    path = path_of(part, name, training, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(result), "utf-8")
    temporary.replace(path)
    print(part, name, training, seed, f"{time.process_time() - start:.0f} s", flush=True)


def over_seeds(values: list[float], *, within: float = math.inf) -> dict[str, float] | None:
    """Mean with its 95 % t interval, cut to ±``within``; only the mean of a single seed; None of no
    seed.
    """
    if not values:
        return None
    mean = statistics.mean(values)
    if len(values) == 1:
        return {"mean": mean, "seeds": 1}
    spread = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    low, high = max(mean - spread, -within), min(mean + spread, within)
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
                    what: over_seeds(known([run[by][layer].get(what) for run in runs]))
                    for what in ("share", "carriers", "random", "change", "noise")
                },
            }
            for layer, it in runs[0][by].items()
        }
    return {
        "seeds": len(runs),
        "accuracy": over_seeds([run["accuracy"] for run in runs]),
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
        "rank_correlation_with_excess_boost": over_seeds(known(boosts), within=1),
        "rank_correlation_with_moved_share": over_seeds(known(moved), within=1),
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
                f"{what} {layer}": over_seeds([row[layer][what] for row in rows])
                for what in ("overlap", "rank_correlation")
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
        return over_seeds([a - b for a, b in both])

    compared = ("clean", "adaptive", "adaptive_worst_classes")
    return {
        "seeds": len(runs),
        "pairs": [run["pairs"] for run in runs],
        "repaired": {
            it: over_seeds([run["repaired"][it] for run in runs]) for it in ("carriers", "random")
        },
        "changes": {
            name: {column: over_seeds(values(name, column)) for column in columns} for name in names
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


def document() -> dict[str, Any]:
    """All parts that are kept, summed up over their seeds."""
    result: dict[str, Any] = {
        "setup": zoo.describe(),
        "strong": {"steps": hardening.STEPS, "queries": hardening.QUERIES},
        "tuning": hardening.TUNING,
    }
    for part, summed in SUMMED.items():
        result[part] = {}
        for name in zoo.tasks():
            for training in zoo.TRAININGS:
                runs = [kept(part, name, training, seed) for seed in zoo.SEEDS]
                found = [run for run in runs if run is not None]
                if found:
                    result[part][f"{name}, {training}"] = summed(found)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--data", default=",".join(zoo.tasks()))
    parser.add_argument("--trainings", default=",".join(zoo.TRAININGS))
    parser.add_argument("--seeds", type=int, default=len(zoo.SEEDS))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.data.split(","):
        for seed in zoo.SEEDS[: given.seeds]:
            for part in given.parts.split(","):
                for training in given.trainings.split(","):
                    measured(part, name, training, seed)
    measure.write("carriers", CLAIM, document())


if __name__ == "__main__":
    main()
