"""Claim: tracing twins with all pair quantities and class means costs little over the bare forward
passes.

Targets, default layers / every leaf module: the zoo's CNN at most 1.5 on both; a ResNet-18-shaped
network at 64×64 and a ResNet-50-shaped one at 224×224 at most 1.15 / 1.35; a vision transformer of
12 blocks at 224×224 at most 1.15 / 1.30. Floor: the forward passes of the very same inputs
(reference and three twins of each sample), without hooks, in batches of the same size; layers are
found beforehand. Rivals: Captum's ``LayerActivation`` and torchextractor's ``Extractor`` capture
the same layers of the same batches; they keep the features of a batch and compute nothing from
them. Captum runs the model once for all layers. Both list a reused module once: its last call.
Twins are uniform in L∞ balls of 0.15 (zoo) and 8/255. All contestants take turns in one process, so
a ratio is of the same moments. Peak memory is that of processes of their own, less what a process
holds that has the model and the inputs and has run nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import measure
import shapes
import worldline as wl
from worldline.trace import Layer, choose_layers, find_layers, trace_reference, trace_twins

CLAIM = (
    "tracing over the bare forward, default layers / every leaf: zoo CNN ≤ 1.5; ResNet-18 at "
    "64×64 and ResNet-50 at 224×224 ≤ 1.15 / 1.35; "
    "12-block transformer at 224×224 ≤ 1.15 / 1.30"
)
# name → network, samples, channels, size, ε, inputs in a pass, rounds
SETTINGS: dict[str, tuple[Callable[[], nn.Module], int, int, int, float, int, int]] = {
    "zoo CNN, 1×8×8": (lambda: wl.zoo.load("cnn"), 1024, 1, 8, 0.15, 256, 15),
    "ResNet-18, 3×64×64": (shapes.resnet18, 255, 3, 64, 8 / 255, 255, 5),
    "ResNet-50, 3×224×224": (lambda: shapes.resnet50(10), 24, 3, 224, 8 / 255, 24, 3),
    "transformer, 3×224×224": (shapes.transformer, 48, 3, 224, 8 / 255, 48, 5),
}
CONTESTANTS = (
    "bare forward",
    "default",
    "every leaf",
    "Captum, every leaf",
    "torchextractor, every leaf",
)
MEMORY = "ResNet-18, 3×64×64"


def inputs(samples: int, size: int, channels: int, epsilon: float) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    clean, noise, adversarial, reference = (
        torch.rand(samples, channels, size, size, generator=generator) for _ in range(4)
    )
    noise, adversarial = (clean + epsilon * (2 * step - 1) for step in (noise, adversarial))
    return clean, noise, adversarial, reference, torch.randint(10, (samples,), generator=generator)


def contestants(
    model: nn.Module, data: tuple[Tensor, ...], batch: int
) -> dict[str, Callable[[], object]]:
    clean, noise, adversarial, reference, labels = data
    leaves = {name: module for name, module in model.named_modules() if not list(module.children())}
    step = batch // 3

    def over_batches(run: Callable[[Tensor], object]) -> None:
        with torch.no_grad():
            for part in reference.split(batch):
                run(part)
            for start in range(0, len(clean), step):
                rows = slice(start, start + step)
                run(torch.cat((clean[rows], noise[rows], adversarial[rows])))

    found = find_layers(model, clean)

    def traced(layers: tuple[Layer, ...]) -> None:
        settings = wl.Settings(batch_size=batch)
        means = trace_reference(model, reference, labels, layers, classes=10, settings=settings)
        trace_twins(model, clean, noise, adversarial, labels, means, layers, batch_size=batch)

    every_leaf = tuple(
        layer for layer in found if layer.module in leaves or layer.module == "input"
    )

    def captum() -> None:
        from captum.attr import LayerActivation

        ran = {layer.module for layer in every_leaf}
        capture = LayerActivation(model, [module for name, module in leaves.items() if name in ran])
        over_batches(capture.attribute)

    def torchextractor() -> None:
        from torchextractor import Extractor

        extractor = Extractor(model, list(leaves))
        over_batches(extractor)
        for handle in extractor.hook_handles:
            handle.remove()
        extractor.hook_handles.clear()

    runs = (
        lambda: over_batches(model),
        lambda: traced(choose_layers(found)),
        lambda: traced(every_leaf),
        captum,
        torchextractor,
    )
    return dict(zip(CONTESTANTS, runs, strict=True))


def prepared(name: str, samples: int | None = None) -> dict[str, Callable[[], object]]:
    build, usual, channels, size, epsilon, batch, _ = SETTINGS[name]
    return contestants(build().eval(), inputs(samples or usual, size, channels, epsilon), batch)


def peak(samples: int, which: str) -> float:
    """MiB in this process, over those with the model and the inputs alone."""
    status = Path("/proc/self/status")
    run = prepared(MEMORY, samples)[which]
    before = int(status.read_text("utf-8").split("VmRSS:")[1].split()[0])
    run()
    return (int(status.read_text("utf-8").split("VmHWM:")[1].split()[0]) - before) / 1024


def peak_in_a_child(samples: int, which: str, threads: int) -> float:
    program = (
        "import sys, torch, tracing; torch.set_num_threads(int(sys.argv[3])); "
        "print(tracing.peak(int(sys.argv[1]), sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(samples), which, str(threads)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    threads = measure.threads()
    tables = {
        name: measure.side_by_side(prepared(name), CONTESTANTS[0], rounds=SETTINGS[name][-1])
        for name in SETTINGS
    }
    memory = {
        f"{MEMORY}, {samples} samples, {which}, beyond model and inputs": peak_in_a_child(
            samples, which, threads
        )
        for samples in (128, 512)
        for which in CONTESTANTS
    }
    measure.write("tracing", CLAIM, {"tables": tables, "peak_mebibytes": memory})


if __name__ == "__main__":
    main()
