"""Claim: tracing twins with all pair quantities and class means costs little over the bare forward passes.

Targets, batch 256: the zoo's CNN at most 1.5; a ResNet-18-shaped network at 64×64 at most 1.15 on the default layers and
1.35 on every leaf module. Floor: the forward passes of the very same inputs (reference and three twins of each sample),
without hooks. Twins are uniform in L∞ balls of 0.15 (zoo) and 8/255 (ResNet). Peak memory is measured in processes of
their own, at two sample counts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import measure
import worldline as wl
from worldline.trace import choose_layers, find_layers, trace_reference, trace_twins

CLAIM = (
    "tracing over the bare forward: zoo CNN ≤ 1.5; ResNet-18 at 64×64 ≤ 1.15 on default layers, ≤ 1.35 on every leaf"
)
MEMORY = """
import sys, torch
sys.path.insert(0, {folder!r})
import tracing
tracing.one_run(int(sys.argv[1]), sys.argv[2])
"""


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.shortcut(x))


def resnet18() -> nn.Module:
    torch.manual_seed(0)
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*stem, *(BasicBlock(*width) for width in widths), *head).eval()


def inputs(samples: int, size: int, channels: int, epsilon: float) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    clean, noise, adversarial, reference = (
        torch.rand(samples, channels, size, size, generator=generator) for _ in range(4)
    )
    noise, adversarial = (clean + epsilon * (2 * step - 1) for step in (noise, adversarial))
    return clean, noise, adversarial, reference, torch.randint(10, (samples,), generator=generator)


def contestants(model: nn.Module, data: tuple[Tensor, ...], globs: dict[str, list[str] | None]) -> dict:
    clean, noise, adversarial, reference, labels = data
    leaves = {name for name, module in model.named_modules() if not list(module.children())}

    def bare() -> None:
        step = 256 // 3
        with torch.no_grad():
            for batch in reference.split(256):
                model(batch)
            for start in range(0, len(clean), step):
                rows = slice(start, start + step)
                model(torch.cat((clean[rows], noise[rows], adversarial[rows])))

    def traced(patterns: list[str] | None) -> None:
        found = find_layers(model, clean)
        layers = choose_layers(found) if patterns is None else tuple(x for x in found if x.module in leaves | {"input"})
        means = trace_reference(model, reference, labels, layers, classes=10)
        trace_twins(model, clean, noise, adversarial, labels, means, layers)

    return {"bare forward": bare, **{name: (lambda g=globs[name]: traced(g)) for name in globs}}


def one_run(samples: int, which: str) -> None:
    torch.set_num_threads(2)
    model, data = resnet18(), inputs(samples, 64, 3, 8 / 255)
    contestants(model, data, {"default": None, "every leaf": ["*"]})[which]()


def main() -> None:
    measure.threads()
    zoo = contestants(wl.zoo.load("cnn"), inputs(1024, 8, 1, 0.15), {"default": None, "every leaf": ["*"]})
    large = contestants(resnet18(), inputs(256, 64, 3, 8 / 255), {"default": None, "every leaf": ["*"]})
    tables = {
        "zoo CNN, 1×8×8": measure.side_by_side(zoo, "bare forward", rounds=15),
        "ResNet-18, 3×64×64": measure.side_by_side(large, "bare forward", rounds=9),
    }
    script = MEMORY.format(folder=str(measure.RESULTS.parent))
    memory = {
        f"{samples} samples, {which}": measure.peak_mebibytes(script, str(samples), which)
        for samples in (128, 512)
        for which in ("bare forward", "default", "every leaf")
    }
    measure.write("tracing", CLAIM, {"tables": tables, "peak_mebibytes": memory})


if __name__ == "__main__":
    main()
