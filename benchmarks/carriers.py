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
tuned on what is judged: the sizes were set with a network of another seed, on the pictures that
carriers are found on; a penalty ten times as strong was tried there, and did worse. Each part
is kept in the zoo's cache, and what is there is written, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import carriers_hardening as hardening
import carriers_models as zoo
import measure
import worldline as wl
from carriers_summary import COMPARED, SUMMED

CLAIM = (
    "few units carry an attack, the same ones whichever attack makes the mistake, and taking them "
    "away, training with noise in them or holding them steady hardens the network against an "
    "attack that knows it, more than the same done to random units"
)
EIGHTH = 1 / 8
DEPTH, OTHERS = 200, 150
VERSION = 1
STRONGER = zoo.SEEDS[0], "plain"
"""The network on which the attack's strength is looked at."""


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


def strength(name: str, training: str, seed: int) -> dict[str, Any]:
    """What a stronger attack would have left: five times the steps and the queries."""
    model, task = zoo.load(name, training, seed), zoo.tasks()[name]
    x, y = (it[: hardening.JUDGED] for it in task.judge)
    units = hardening.units_of(model, task, seed)
    strong = wl.attacks.strong_attack(epsilon=task.epsilon, classes=10, steps=5 * hardening.STEPS)
    square = wl.attacks.Square(epsilon=task.epsilon, queries=5 * hardening.QUERIES)
    attack = wl.attacks.WorstCase((*strong.attacks, square))
    result = {"unchanged": attack(model, x, y).remaining[-1]}
    for title, kind in (("noise, carriers", "noise"), ("tuned adversarially", "adversarial")):
        which = units.carriers if kind == "noise" else units.everyone
        changed = hardening.tuned(model, name, seed, kind=kind, units=which, moved=units.moved)
        result[title] = attack(changed, x, y).remaining[-1]
    return result


PARTS: dict[str, Callable[[str, str, int], dict[str, Any]]] = {
    "depth": depth,
    "attacks": attacks,
    "hardening": hardening.hardening,
    "strength": strength,
}


def path_of(part: str, name: str, training: str, seed: int) -> Path:
    """Where a part of one network is kept, by the code that decides it."""
    code = zoo.key()
    if part in ("hardening", "strength"):
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


def document() -> dict[str, Any]:
    """All parts that are kept, summed up over their seeds."""
    result: dict[str, Any] = {
        "setup": zoo.describe(),
        "strong": {
            "steps": hardening.STEPS,
            "queries": hardening.QUERIES,
            "judged": hardening.JUDGED,
        },
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
    result["strength"] = {}
    seed, training = STRONGER
    for name in zoo.tasks():
        used, more = (kept(part, name, training, seed) for part in ("hardening", "strength"))
        if used and more:
            result["strength"][f"{name}, {training}, seed {seed}"] = {
                change: {"as used": used["changes"][change]["adaptive"], "stronger": left}
                for change, left in more.items()
            }
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
                    if part != "strength" or (seed, training) == STRONGER:
                        measured(part, name, training, seed)
    measure.write("carriers", CLAIM, document())


if __name__ == "__main__":
    main()
