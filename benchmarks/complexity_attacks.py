"""What attacks find on the benchmark's models: the truth that measures of complexity are judged by.

The models are those of :mod:`transfer_models`. Slow, so cached.

Robust accuracy under PGD-20 and under APGD-50 (the loss CE, then DLR on the survivors; Croce and
Hein 2020) at three ε in L∞ and in L2, and for each sample the smallest ε at which PGD-20 fools the
model, by bisection with one ε a sample.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pyautoattack.autopgd_base import APGDAttack
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import transfer_models as zoo
import worldline as wl

Norm = Literal["linf", "l2"]
EPSILONS: dict[Norm, tuple[float, ...]] = {"linf": (0.05, 0.1, 0.15), "l2": (0.3, 0.5, 0.8)}
LARGEST: dict[Norm, float] = {"linf": 0.5, "l2": 2.0}
SAMPLES = 600
LEVELS = 8
VERSION = 1


@dataclass(frozen=True)
class Attacked:
    """Attack → share of right answers left; norm → (N,) smallest ε that fooled.

    0: wrong by itself; LARGEST: never.
    """

    accuracy: dict[str, float]
    smallest: dict[str, Tensor]


def names() -> list[str]:
    """The attack settings."""
    return [
        f"{kind} {norm} {eps}"
        for kind in ("PGD", "APGD")
        for norm, all_eps in EPSILONS.items()
        for eps in all_eps
    ]


def attacked(half: str, shape: str, training: str, seed: int) -> Attacked:
    """All attacks on one model, kept in the zoo's cache under the hash of settings and code."""
    folder = wl.zoo.cache_folder() / "benchmark" / "complexity"
    path = folder / f"{shape}-{training}-{seed}-{fingerprint()}.safetensors"
    try:
        found = load_file(path)
    except (OSError, SafetensorError):
        found = run(zoo.load(half, shape, training, seed))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(found, temporary)
        temporary.replace(path)
    smallest = {norm: found.pop(f"smallest {norm}") for norm in EPSILONS}
    return Attacked({name: float(value.float().mean()) for name, value in found.items()}, smallest)


def fingerprint() -> str:
    """Of what decides the results; raise VERSION when an attack changes."""
    settings = json.dumps([VERSION, EPSILONS, LARGEST, SAMPLES, LEVELS, torch.__version__])
    return hashlib.sha256(settings.encode() + Path(zoo.__file__).read_bytes()).hexdigest()[:12]


def run(model: nn.Module) -> dict[str, Tensor]:
    """Attack → (N,) whether the sample is still right; ``smallest <norm>`` → (N,) ε."""
    data = wl.zoo.digits()
    x, y = data.x[:SAMPLES], data.y[:SAMPLES]
    right = wl.attacks.predict(model, x).argmax(1) == y
    found = {}
    for norm, epsilons in EPSILONS.items():
        for epsilon in epsilons:
            twin = wl.attacks.PGD(epsilon=epsilon, norm=norm)(model, x, y)
            found[f"PGD {norm} {epsilon}"] = (right & ~twin.success).to(torch.uint8)
            found[f"APGD {norm} {epsilon}"] = apgd(model, x, y, norm, epsilon).to(torch.uint8)
        found[f"smallest {norm}"] = torch.zeros(len(x))
        found[f"smallest {norm}"][right] = smallest_epsilon(model, x[right], y[right], norm)
    return found


def apgd(model: nn.Module, x: Tensor, y: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """(N,) right after APGD-50 on the cross-entropy and, where that failed, on the DLR loss."""
    left = wl.attacks.predict(model, x).argmax(1) == y
    for loss in ("ce", "dlr"):
        rows = left.nonzero().flatten()
        if not len(rows):
            break
        attack = APGDAttack(
            model,
            n_iter=50,
            norm={"linf": "Linf", "l2": "L2"}[norm],
            eps=epsilon,
            loss=loss,
            device="cpu",
        )
        twin = wl.attacks.adversarial_twin(
            lambda _model, a, b, run=attack: run.perturb(a, b), model, x[rows], y[rows]
        )
        left[rows] = wl.attacks.predict(model, twin).argmax(1) == y[rows]
    return left


def smallest_epsilon(model: nn.Module, x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """(N,) by bisection, each sample with its own ε: the attack works on u in x + ε u, |u| ≤ 1."""
    low, high = torch.zeros(len(x)), torch.full((len(x),), LARGEST[norm])
    unit = wl.attacks.PGD(epsilon=1.0, norm=norm, random_start=False, bounds=(-1.0, 1.0))
    for _ in range(LEVELS):
        middle = (low + high) / 2
        size = middle.view(-1, *(1,) * (x.ndim - 1))
        won = unit(
            lambda u, size=size: model((x + size * u).clamp(0, 1)), torch.zeros_like(x), y
        ).success
        high, low = torch.where(won, middle, high), torch.where(won, low, middle)
    return high


if __name__ == "__main__":
    import sys
    import time

    torch.set_num_threads(1)
    for half in sys.argv[1:] or zoo.HALVES:
        for name in zoo.names(half):
            start = time.perf_counter()
            it = attacked(half, *name)
            table = " ".join(f"{value:.2f}" for value in it.accuracy.values())
            print(
                f"{half} {zoo.label(*name)} {table} {time.perf_counter() - start:.1f} s", flush=True
            )
