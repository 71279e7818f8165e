"""Claim: what ranks models by how robust they are on digits does so on Fashion-MNIST.

The halves of :mod:`transfer_worlds`. Truth: accuracy under each of its attacks, PGD and APGD in
both norms. Every score had its direction before (larger should be more robust) and nothing was
chosen on Fashion-MNIST. Intervals resample models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

import measure
import worldline as wl
from complexity import correlation, placed
from transfer_worlds import ABLE, WORLDS, World, measured, models_of

CLAIM = (
    "the share of answers that noise changes ranks models by their accuracy under attack in both "
    "worlds, and so does the linearised margin, where there are gradients"
)
RESAMPLES = 500


def scores(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    noise = wl.explain.fragility(model, x, gradients=True)
    aimed = wl.explain.fragility(model, x, probe="aimed")
    logits = wl.attacks.predict(model, x)
    known = noise.linearised or {}
    linf, l2 = known["linf"], known["l2"]
    return {
        "noise: share unchanged": 1 - (noise.changed.value or 0.0),
        "noise: lower tenth of φ": float(noise.tail or 0.0),
        "noise: median radius": float(noise.radius["linf"].median()),
        "aimed: share unchanged": 1 - (aimed.changed.value or 0.0),
        "aimed: median radius": float(aimed.radius["linf"].median()),
        "linearised margin, L∞ (gradients): median": float(linf.median()),
        "linearised margin, L∞ (gradients): lower quarter": float(linf.quantile(0.25)),
        "linearised margin, L2 (gradients): median": float(l2.median()),
        "accuracy (labels)": float((logits.argmax(1) == y).float().mean()),
    }


def half_of(world: World, half: str) -> dict[str, Any]:
    x, y = world.data
    models = models_of(world, half)
    found = {name: scores(model, x, y) for name, model in models.items()}
    able = [name for name in models if found[name]["accuracy (labels)"] >= ABLE]
    truth = {}
    for threat in world.threats:
        it = measured(world, half, models, threat).only(able)
        truth[str(threat)] = (it.accuracy * (1 - it.adversarial_rate.diagonal())).numpy()
    generator = np.random.default_rng(0)
    drawn = [generator.integers(0, len(able), len(able)) for _ in range(RESAMPLES)]
    draws = np.stack([np.bincount(rows, minlength=len(able)) for rows in drawn]).astype(float)
    every = np.ones((1, len(able)))

    def judged(values: np.ndarray) -> dict[str, Any]:
        def by_attack(weights: np.ndarray) -> np.ndarray:
            mine = placed(values, weights)
            return np.stack([correlation(mine, placed(it, weights)) for it in truth.values()])

        return {
            "value": float(by_attack(every).mean()),
            "interval": np.quantile(by_attack(draws).mean(0), (0.025, 0.975)).tolist(),
            "attacks": dict(zip(truth, by_attack(every)[:, 0].tolist(), strict=True)),
        }

    kinds = found[able[0]]
    tables = {kind: np.array([found[name][kind] for name in able]) for kind in kinds}
    result = {kind: judged(values) for kind, values in tables.items()}
    print(
        world.name, half, {kind: round(it["value"], 3) for kind, it in result.items()}, flush=True
    )
    return {"models": len(able), "scores": result}


def main() -> None:
    measure.threads()
    found = {
        world.name: {half: half_of(world, half) for half in world.halves}
        for world in WORLDS.values()
    }
    measure.write("fragility", CLAIM, {"fragility": found})


if __name__ == "__main__":
    main()
