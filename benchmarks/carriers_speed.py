"""Claims: effects of all units of all layers cost at most 12 passes and 1.3 of their time; exact
patching is at least 3 times faster than a plain loop.

Rivals: 12 bare forward and backward passes over the same samples, in the same batches; Captum's
LayerIntegratedGradients, which takes a path of its own for each layer, with as many points; and,
for exact patching, a loop over the units that puts one unit back by a hook and runs the whole
model. A ResNet of 16/16/32/64 channels at 28×28 with random weights, 256 samples: what is computed
does not depend on what the weights are, and its twins are other inputs that it answers differently.
Captum runs on 32 of the samples. Memory is the peak of a process of its own, over that of one that
makes model and data alone (and imports what torch imports on the way).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import measure
import worldline as wl

CLAIM = (
    "all layers, all units, 256 samples at 10 points: at most 12 forward and backward passes and "
    "1.3 of their time; exact patching at least 3 times faster than a plain loop; within --memory"
)
SAMPLES, FEW, POINTS, ROWS = 256, 32, 10, 256
MEMORY = 100_000_000


class Block(nn.Module):
    """A residual block with two convolutions."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        same = given == made and stride == 1
        down = () if same else (nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))
        self.down = nn.Sequential(*down)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        made: Tensor = self.relu(inner + self.down(x))
        return made


def resnet() -> nn.Module:
    torch.manual_seed(0)
    stem = nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
    stages = Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    return nn.Sequential(*stem, *stages, *head).eval()


def answer(model: nn.Module, x: Tensor) -> Tensor:
    """In small batches, so that what is measured later stands above it."""
    return torch.cat([model(it).argmax(1) for it in x.split(16)])


def twins(model: nn.Module, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, others that the model answers differently, and its own answers as labels."""
    x = torch.rand(4 * samples, 1, 28, 28)
    with torch.no_grad():
        answers = answer(model, x)
        scale = torch.linspace(0, 3, len(x)).view(-1, 1, 1, 1)
        other = (x * scale).clamp(0, 1).roll(1, 0)
        keep = (answer(model, other) != answers).nonzero().flatten()[:samples]
    return x[keep], other[keep], answers[keep]


def passes(model: nn.Module, x: Tensor, times: int) -> Callable[[], None]:
    """Bare forward and backward passes to the input."""

    def run() -> None:
        model.requires_grad_(False)
        for _ in range(times):
            for batch in x.split(ROWS):
                point = batch.clone().requires_grad_(True)
                torch.autograd.grad(model(point)[:, 0].sum(), point)

    return run


def captum(model: nn.Module, x: Tensor, other: Tensor, y: Tensor, names: list[str]) -> Any:
    from captum.attr import LayerIntegratedGradients

    modules = dict(model.named_modules())
    chosen = [modules[name] for name in names if name in modules]

    def run() -> None:
        for module in chosen:
            LayerIntegratedGradients(model, module).attribute(
                x, other, target=y, n_steps=POINTS, internal_batch_size=ROWS
            )

    return run


def plain_loop(model: nn.Module, x: Tensor, other: Tensor, name: str, units: int) -> None:
    """One unit of one layer at a time, the whole model each time."""
    module = dict(model.named_modules())[name]
    kept: list[Tensor] = []
    with torch.no_grad():
        handle = module.register_forward_hook(lambda _m, _i, output: kept.append(output.clone()))
        model(x)
        handle.remove()
        for unit in range(units):

            def put(_module: nn.Module, _given: object, output: Tensor, unit: int = unit) -> Tensor:
                made = output.clone()
                made[:, unit] = kept[0][:, unit]
                return made

            handle = module.register_forward_hook(put)
            model(other)
            handle.remove()


def exact(model: nn.Module, x: Tensor, other: Tensor, y: Tensor, names: list[str]) -> Any:
    """Every channel of every stage."""
    widths = {"2": 16, "3": 16, "4": 32, "5": 64}

    def loop() -> None:
        for name, units in widths.items():
            plain_loop(model, x, other, name, units)

    def ours() -> None:
        wl.explain.carriers(model, x, other, y, layers=names, exact=True, shares=())

    return loop, ours


def peak(part: str) -> float:
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" + (
        "import carriers_speed as it, torch, torch._dynamo, worldline as wl\n"
        "torch.set_num_threads(1)\n"
        "model = it.resnet(); x, other, y = it.twins(model, it.SAMPLES)\n" + part
    )
    return measure.peak_mebibytes(script)


def main() -> None:
    measure.threads()
    model = resnet()
    x, other, y = twins(model, SAMPLES)
    few = x[:FEW], other[:FEW], y[:FEW]
    layers = [it.name for it in wl.trace.find_layers(model, x) if it.default]

    def along(*given: Tensor) -> Callable[[], object]:
        return lambda: wl.explain.carriers(model, *given, shares=())

    loop, ours = exact(model, x, other, y, ["2", "3", "4", "5"])
    bare, alone = "12 forward and backward passes", "one layer at a time, Captum"
    tables = {
        f"effects along the path, {len(x)} samples": measure.side_by_side(
            {bare: passes(model, x, 12), "carriers, all layers": along(x, other, y)}, bare, rounds=5
        ),
        f"exact patching of 128 channels, {len(x)} samples": measure.side_by_side(
            {"plain loop": loop, "carriers, exact": ours}, "plain loop", rounds=3
        ),
    }
    if importlib.util.find_spec("captum"):
        named = ["2", "3", "4", "5", "6", "8"]  # it takes modules that run once
        contestants = {
            alone: captum(model, *few, named),
            "carriers": lambda: wl.explain.carriers(model, *few, layers=named, shares=()),
        }
        tables[f"effects along the path, {len(named)} layers, {FEW} samples"] = (
            measure.side_by_side(contestants, alone, rounds=1)
        )
    call = "wl.explain.carriers(model, x, other, y, memory={})"
    nothing = peak("")
    limits = {f"{MEMORY / 2**20:.0f} MiB allowed": MEMORY, "no limit": None}
    document = {
        "samples": len(x),
        "layers": layers,
        "tables": tables,
        "peak_mebibytes": {
            f"over model and data, {name}": peak(call.format(limit)) - nothing
            for name, limit in limits.items()
        },
    }
    measure.write("carriers_speed", CLAIM, document)


if __name__ == "__main__":
    main()
