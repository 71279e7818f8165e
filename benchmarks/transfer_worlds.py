"""Two worlds in which transfer is measured: digits (64 inputs) and Fashion-MNIST (784).

Each has two halves of architectures, and attacks in both norms. What an attack on one source did to
all targets is kept in the cache folder, so that a run that was cut off goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import fashion_models
import transfer_models
import worldline as wl
from worldline.settings import NormName

__all__ = ["ABLE", "WORLDS", "Threat", "World", "measured", "models_of"]

ABLE = 0.8
"""Accuracy under which a model did not learn and is left out by name."""


@dataclass(frozen=True)
class Threat:
    """An attack, told as it stands in the tables: its kind, norm and size in pixel units."""

    kind: str
    norm: NormName
    size: str

    @property
    def epsilon(self) -> float:
        top, _, bottom = self.size.partition("/")
        return float(top) / float(bottom or 1)

    def __str__(self) -> str:
        return f"{self.kind} {'L∞' if self.norm == 'linf' else 'L2'} {self.size}"

    @property
    def attack(self) -> wl.attacks.Attack:
        options = {"epsilon": self.epsilon, "norm": self.norm}
        if self.kind == "one step":
            return wl.attacks.FGSM(**options)
        return {"PGD": wl.attacks.PGD, "APGD": wl.attacks.APGD}[self.kind](steps=20, **options)

    @property
    def one_step(self) -> Threat:
        return Threat("one step", self.norm, self.size)


@dataclass(frozen=True)
class World:
    """Data, models in two halves, and the attacks that are measured on them."""

    name: str
    pictures: Callable[[], tuple[Tensor, Tensor]]
    halves: Mapping[str, Mapping[str, Callable[[], nn.Module]]]
    names: Callable[[str], list[tuple[str, str, int]]]
    load: Callable[[str, str, str, int], nn.Module]
    threats: tuple[Threat, ...]
    trained_by: str

    @cached_property
    def data(self) -> tuple[Tensor, Tensor]:
        return self.pictures()


def _digits() -> tuple[Tensor, Tensor]:
    data = wl.zoo.digits()
    return data.x, data.y


def _fashion() -> tuple[Tensor, Tensor]:
    data = fashion_models.pictures()
    return data.x[:400], data.y[:400]


def _threats(linf: str, l2: str, adaptive: tuple[str, str]) -> tuple[Threat, ...]:
    plain = [Threat("PGD", "linf", size) for size in linf.split()]
    plain += [Threat("PGD", "l2", size) for size in l2.split()]
    return (*plain, Threat("APGD", "linf", adaptive[0]), Threat("APGD", "l2", adaptive[1]))


WORLDS = {
    "digits": World(
        "digits",
        _digits,
        transfer_models.HALVES,
        transfer_models.names,
        transfer_models.load,
        _threats("0.05 0.1 0.2", "0.5 1", ("0.1", "0.5")),
        hashlib.sha256(Path(transfer_models.__file__).read_bytes()).hexdigest()[:12],
    ),
    "Fashion-MNIST": World(
        "Fashion-MNIST",
        _fashion,
        fashion_models.HALVES,
        fashion_models.names,
        fashion_models.load,
        _threats("4/255 8/255 16/255", "1 2", ("8/255", "1")),
        f"recipe-{fashion_models.RECIPE}",
    ),
}


def models_of(world: World, half: str) -> dict[str, nn.Module]:
    return {transfer_models.label(*name): world.load(half, *name) for name in world.names(half)}


def measured(
    world: World, half: str, models: wl.compare.Models, threat: Threat
) -> wl.compare.Measured:
    """Transfer as the attack finds it, beyond noise of the same size."""
    x, y = world.data
    targets = tuple(models)
    folder = wl.zoo.cache_folder() / "benchmark" / "transfer" / world.name / half
    folder /= str(threat).replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)

    def path(source: str) -> Path:
        key = f"{world.trained_by}-{torch.__version__}"
        return folder / f"{source.replace('/', '-')}-{key}.safetensors"

    done = {}
    for source in targets:
        try:
            found = load_file(path(source))
        except (OSError, SafetensorError):
            continue
        done[source] = wl.compare.SourceResult(
            source, targets, found["adversarial"].long(), found["noise"].long()
        )

    def keep(result: wl.compare.SourceResult) -> None:
        kept = {"adversarial": result.adversarial, "noise": result.noise}
        small = {name: it.to(torch.int8).contiguous() for name, it in kept.items()}
        save_file(small, path(result.source))

    return wl.compare.measure(models, x, y, threat.attack, done=done, on_source=keep)


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    for world in WORLDS.values():
        if sys.argv[1:] and world.name not in sys.argv[1:]:
            continue
        for half in world.halves:
            models = models_of(world, half)
            every = [*world.threats, *dict.fromkeys(it.one_step for it in world.threats)]
            for threat in every:
                rate = measured(world, half, models, threat).rate
                off = ~torch.eye(len(rate), dtype=torch.bool)
                print(world.name, half, threat, float(rate[off].mean()), flush=True)
