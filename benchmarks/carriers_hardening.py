"""What becomes of a network whose carriers of the worst class pairs are removed or made steady.

Carriers are learnt on pictures that are neither trained on nor judged. Each change is made to them
and to as many random channels of the same layer; each changed network is attacked anew by an attack
that knows it: APGD on the cross-entropy, targeted APGD on the DLR loss (nine targets), and Square,
the three sorts of AutoAttack. Nothing random is left in a changed network, so no gradient is
masked.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import carriers_models as zoo
import worldline as wl

LAYER = "stage3"
COUNT = 8
PAIRS = 3
STEPS, QUERIES, JUDGED = 20, 200, 150
TUNING = {"digits": (3, 1197), "Fashion-MNIST": (1, 3000)}
"""Epochs of fine-tuning, and on how many of the pictures trained on."""
BATCH, RATE = 64, 1e-3
WEIGHT = 1.0


@dataclass(frozen=True)
class Units:
    """Eight channels, and how far the attack moves each of the layer's (root mean square)."""

    carriers: Tensor
    random: Tensor
    everyone: Tensor
    moved: Tensor
    pairs: tuple[tuple[int, int], ...]
    repaired: dict[str, float]


def units_of(model: zoo.Net, task: zoo.Task, seed: int) -> Units:
    """Of the fooled samples of the three pairs of classes most often confused under attack: the
    channels of largest mean effect.
    """
    x, y = task.find
    adversarial = wl.attacks.PGD(epsilon=task.epsilon)(model, x, y).x
    found = wl.explain.carriers(model, x, adversarial, y, layers=LAYER, shares=(), resamples=2)
    pairs = list(zip(found.true.tolist(), found.wrong.tolist(), strict=True))
    worst = tuple(pair for pair, _ in Counter(pairs).most_common(PAIRS))
    chosen = torch.tensor([pair in worst for pair in pairs])
    effect = found[LAYER].effect
    carriers = effect[chosen].mean(0).argsort(descending=True)[:COUNT]
    generator = torch.Generator().manual_seed(seed)
    random = torch.randperm(effect.shape[1], generator=generator)[:COUNT]
    with torch.no_grad():
        change = model.features(adversarial[found.rows]) - model.features(x[found.rows])
    rows = found.rows[chosen]
    repaired = {
        name: float(
            (wl.explain.patch(model, adversarial[rows], x[rows], LAYER, units).argmax(1) == y[rows])
            .double()
            .mean()
        )
        for name, units in (("carriers", carriers), ("random", random))
    }
    everyone = torch.arange(effect.shape[1])
    moved = change.square().mean((0, 2, 3)).sqrt()
    return Units(carriers, random, everyone, moved, worst, repaired)


def zeroed(model: zoo.Net, units: Tensor) -> zoo.Net:
    """Without these channels: what follows the last stage is linear in them."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.logits.weight[:, units] = 0
    return changed


def tuned(
    model: zoo.Net, name: str, seed: int, *, kind: str, units: Tensor, moved: Tensor
) -> zoo.Net:
    """Fine-tuned, with as many steps whatever the kind: ``plain``; ``noise`` in these channels, as
    large as what the attack does to each; ``steady``, cross-entropy and how far PGD twins move
    these channels, |a − a'|² / |a|²; ``adversarial``, on PGD twins.
    """
    task = zoo.tasks()[name]
    epochs, count = TUNING[name]
    x, y = (it[:count] for it in task.train)
    changed = copy.deepcopy(model).eval()
    optimizer = torch.optim.AdamW(changed.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // BATCH))
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            inputs, labels = x[rows], y[rows]
            other = inputs
            if kind in ("steady", "adversarial"):
                other = zoo.twins(changed, inputs, labels, task.epsilon, seed=seed + step)
            features = changed.features(other if kind == "adversarial" else inputs)
            extra = torch.zeros(())
            if kind == "noise":
                size = torch.zeros(len(moved)).index_put((units,), moved[units])
                noise = torch.randn(features.shape, generator=generator)
                features = features + size[:, None, None] * noise
            if kind == "steady":
                own, twin = features[:, units], changed.features(other)[:, units]
                extra = (own - twin).square().sum() / own.detach().square().sum().clamp_min(1e-6)
            loss = nn.functional.cross_entropy(changed.answer(features), labels) + WEIGHT * extra
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    return changed.eval()


def judged(model: zoo.Net, task: zoo.Task, old: Tensor, units: Units) -> dict[str, float]:
    """Right answers without attack, on the twins of the unchanged network, and under an attack of
    its own; the last also of the true classes of the worst pairs.
    """
    x, y = (it[:JUDGED] for it in task.judge)
    strong = wl.attacks.strong_attack(epsilon=task.epsilon, classes=10, steps=STEPS)
    square = wl.attacks.Square(epsilon=task.epsilon, queries=QUERIES)
    attack = wl.attacks.WorstCase((*strong.attacks, square))
    found = attack(model, x, y)
    classes = torch.tensor(sorted({true for true, _ in units.pairs}))
    held = ~found.success
    return {
        "clean": found.remaining[0],
        "old_twins": float((wl.attacks.predict(model, old).argmax(1) == y).double().mean()),
        "adaptive": found.remaining[-1],
        "adaptive_worst_classes": float(held[torch.isin(y, classes)].double().mean()),
        "square_alone_fooled": float((found.found_by == 2).double().mean()),
    }


def hardening(name: str, training: str, seed: int) -> dict[str, object]:
    """All changes of one network."""
    task = zoo.tasks()[name]
    model = zoo.load(name, training, seed)
    units = units_of(model, task, seed)
    x, y = (it[:JUDGED] for it in task.judge)
    old = wl.attacks.PGD(epsilon=task.epsilon)(model, x, y).x
    results: dict[str, dict[str, float]] = {}

    def judge(title: str, kind: str, which: Tensor | None = None) -> None:
        start = time.process_time()
        some = units.everyone if which is None else which
        if kind == "none":
            changed = model
        elif kind == "zero":
            changed = zeroed(model, some)
        else:
            changed = tuned(model, name, seed, kind=kind, units=some, moved=units.moved)
        seconds = time.process_time() - start
        results[title] = {"seconds": seconds, **judged(changed, task, old, units)}

    judge("unchanged", "none")
    for title, which in (("carriers", units.carriers), ("random", units.random)):
        judge(f"zeroed, {title}", "zero", which)
    for title, which in (("carriers", units.carriers), ("random", units.random)):
        judge(f"noise, {title}", "noise", which)
    for title, which in (
        ("carriers", units.carriers),
        ("random", units.random),
        ("all channels", units.everyone),
    ):
        judge(f"steady, {title}", "steady", which)
    judge("tuned plainly", "plain")
    judge("tuned adversarially", "adversarial")
    return {
        "pairs": units.pairs,
        "common": len(set(units.carriers.tolist()) & set(units.random.tolist())),
        "repaired": units.repaired,
        "changes": results,
    }
