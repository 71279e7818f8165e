"""Claim: the more entries an input has, the further forward passes fall behind gradients.

The same pictures of Fashion-MNIST in three sizes: 8 × 8 grey (64 inputs), 28 × 28 grey (784) and
32 × 32 in a random colour each (3,072); the same four architectures, three trainings each, at each
size. Every score costs the same: 600 forward passes of one input a model, a backward pass counted
as two. ε is the smallest of a ladder at which .06 carry over on average, so that rates are alike in
all sizes. Nothing was chosen here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import fashion_models
import measure
import worldline as wl
from transfer import both, ceiling, dark

CLAIM = (
    "at equal cost, forward passes alone fall the further behind gradients in ordering sources the "
    "more entries an input has"
)
TRAINED_ON, BATCH, SAMPLES = 6000, 64, 300
LADDER, ENOUGH = tuple(it / 255 for it in (2, 4, 6, 8, 12, 16, 24)), 0.06
TRAININGS = {"plain/0": (0, 0.0), "plain/1": (1, 0.0), "noise/0": (2, 0.15)}


def grey(x: Tensor, side: int) -> Tensor:
    return x if side == 28 else nn.functional.interpolate(x, side, mode="area")


def coloured(x: Tensor) -> Tensor:
    """32 × 32, each picture in a colour of its own that says nothing of its class."""
    wide = nn.functional.interpolate(x, 32, mode="bilinear")
    colours = 0.3 + 0.7 * torch.rand(len(x), 3, 1, 1, generator=torch.Generator().manual_seed(0))
    return wide * colours


SHOWN = {64: partial(grey, side=8), 784: partial(grey, side=28), 3072: coloured}


def perceptron(inputs: int, hidden: int, act: type[nn.Module]) -> nn.Module:
    layers = [nn.Linear(inputs, hidden), act(), nn.Linear(hidden, 64), act(), nn.Linear(64, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def convolutions(inputs: int, width: int, act: type[nn.Module], stride: int) -> nn.Module:
    channels = 3 if inputs == 3072 else 1
    body = [
        nn.Conv2d(channels, width, 3, stride=stride, padding=1),
        act(),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        act(),
        nn.AdaptiveAvgPool2d(4),
    ]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(16 * width, 10))


SHAPES = {
    "mlp-relu": partial(perceptron, hidden=128, act=nn.ReLU),
    "mlp-tanh": partial(perceptron, hidden=96, act=nn.Tanh),
    "cnn-relu": partial(convolutions, width=12, act=nn.ReLU, stride=1),
    "cnn-gelu-strided": partial(convolutions, width=16, act=nn.GELU, stride=2),
}


def trained(shape: str, inputs: int, x: Tensor, y: Tensor, seed: int, sigma: float) -> nn.Module:
    torch.manual_seed(seed)
    model = SHAPES[shape](inputs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(2):
        for rows in torch.randperm(len(x)).split(BATCH):
            shown = (x[rows] + sigma * torch.randn(x[rows].shape)).clamp(0, 1)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(shown), y[rows]).backward()
            optimizer.step()
    return model.eval()


def at(inputs: int) -> dict[str, Any]:
    data = fashion_models.pictures()
    shown = SHOWN[inputs]
    learnt = shown(data.reference_x[:TRAINED_ON]), data.reference_y[:TRAINED_ON]
    models = {
        f"{shape}/{name}": trained(shape, inputs, *learnt, *options)
        for shape in SHAPES
        for name, options in TRAININGS.items()
    }
    x, y = shown(data.x[:SAMPLES]), data.y[:SAMPLES]
    off = ~torch.eye(len(models), dtype=torch.bool)
    for epsilon in LADDER:
        truth = wl.compare.measure(models, x, y, wl.attacks.PGD(epsilon=epsilon, steps=10))
        if float(truth.rate[off].mean()) >= ENOUGH:
            break
    black = {name: dark(model) for name, model in models.items()}
    found = {
        "white (200 samples)": wl.compare.predict(models, x, epsilon=epsilon).rate,
        "gradient cosine (200 samples)": wl.compare.predict(models, x).similarity,
    }
    for samples, probes in ((120, 4), (9, 64)):
        seen = wl.compare.predict(black, x, epsilon=epsilon, samples=samples, probes=probes)
        found[f"black ({samples} samples, {probes} probes)"] = seen.rate
        found[f"displacement cosine ({samples} samples, {probes} probes)"] = seen.similarity
    return {
        "epsilon": epsilon,
        "accuracy": [float(truth.accuracy.min()), float(truth.accuracy.max())],
        "mean_rate": float(truth.rate[off].mean()),
        "ceiling": ceiling(truth),
        "scores": {name: both(score, truth.rate) for name, score in found.items()},
    }


def main() -> None:
    measure.threads()
    measure.write("dimension", CLAIM, {"dimensions": {str(it): at(it) for it in SHOWN}})


if __name__ == "__main__":
    main()
