"""96 small digit classifiers: 12 architectures × 4 trainings × 2 seeds, trained once and kept in
the zoo's cache folder.

The architectures were split into two halves, alike in families, before any figure was looked at: a
score is developed on the first and reported on the second.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import worldline as wl

TRAININGS = {
    "plain": {"epochs": 20},
    "noise": {"epochs": 25, "sigma": 0.2},
    "decay": {"epochs": 20, "decay": 1.0},
    "adversarial": {"epochs": 20, "epsilon": 0.1},
}
SEEDS = (0, 1)
SLOW = ("vit", "mixer")  # a third of the learning rate, twice the epochs


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Swap(nn.Module):
    """Tokens and channels change places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Mean(nn.Module):
    """The mean token."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def perceptron(
    widths: tuple[int, ...], act: Callable[[], nn.Module], norm: Callable[[int], nn.Module]
) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip((64, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), norm(after), act()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def convolutions(
    widths: tuple[int, int],
    act: Callable[[], nn.Module],
    norm: Callable[[int], nn.Module],
    pool: nn.Module,
    kernel: int,
) -> nn.Module:
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(1, first, kernel, padding=kernel // 2),
        norm(first),
        act(),
        pool,
        nn.Conv2d(first, second, 3, padding=1),
        norm(second),
        act(),
        nn.Flatten(),
        nn.Linear(16 * second, 64),
        act(),
        nn.Linear(64, 10),
    )


def residual_perceptron(width: int, depth: int) -> nn.Module:
    blocks = [
        Residual(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        for _ in range(depth)
    ]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), *blocks, nn.LayerNorm(width), nn.Linear(width, 10)
    )


def residual_convolutions(width: int) -> nn.Module:
    def block() -> nn.Module:
        return Residual(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        block(),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AvgPool2d(2),
        block(),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * width, 10),
    )


def mixer(width: int, depth: int) -> nn.Module:
    def block() -> list[nn.Module]:
        tokens = [
            nn.LayerNorm(width),
            Swap(),
            nn.Linear(16, 32),
            nn.GELU(),
            nn.Linear(32, 16),
            Swap(),
        ]
        return [
            Residual(*tokens),
            Residual(
                nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
            ),
        ]

    blocks = [part for _ in range(depth) for part in block()]
    patches = [nn.Conv2d(1, width, 2, stride=2), nn.Flatten(2), Swap()]
    return nn.Sequential(*patches, *blocks, nn.LayerNorm(width), Mean(), nn.Linear(width, 10))


def vision_transformer() -> nn.Module:
    from worldline.zoo.networks import ViT

    return ViT(width=32, heads=4, depth=2)


def plainly(_width: int) -> nn.Module:
    return nn.Identity()


DEVELOPMENT: dict[str, Callable[[], nn.Module]] = {
    "mlp-relu": partial(perceptron, (128, 128), nn.ReLU, plainly),
    "mlp-tanh-batchnorm": partial(perceptron, (64, 64), nn.Tanh, nn.BatchNorm1d),
    "cnn-relu-maxpool": lambda: convolutions((16, 32), nn.ReLU, plainly, nn.MaxPool2d(2), 3),
    "cnn-gelu-groupnorm": lambda: convolutions(
        (12, 24), nn.GELU, partial(nn.GroupNorm, 4), nn.AvgPool2d(2), 3
    ),
    "residual-mlp-gelu": partial(residual_perceptron, 64, 3),
    "vit": vision_transformer,
}
REPORT: dict[str, Callable[[], nn.Module]] = {
    "mlp-silu-layernorm": partial(perceptron, (192, 96, 96, 48), nn.SiLU, nn.LayerNorm),
    "mlp-sigmoid": partial(perceptron, (96,), nn.Sigmoid, plainly),
    "cnn-elu-batchnorm": lambda: convolutions((24, 24), nn.ELU, nn.BatchNorm2d, nn.MaxPool2d(2), 3),
    "cnn-softplus-wide": lambda: convolutions((8, 48), nn.Softplus, plainly, nn.AvgPool2d(2), 5),
    "resnet-batchnorm": partial(residual_convolutions, 12),
    "mixer": partial(mixer, 32, 2),
}
HALVES = {"development": DEVELOPMENT, "report": REPORT}


def names(half: str) -> list[tuple[str, str, int]]:
    return [
        (shape, training, seed)
        for shape in HALVES[half]
        for training in TRAININGS
        for seed in SEEDS
    ]


def label(shape: str, training: str, seed: int) -> str:
    return f"{shape}/{training}/{seed}"


def load(half: str, shape: str, training: str, seed: int) -> nn.Module:
    """One model in eval mode; trained on the first call, in seconds."""
    text = json.dumps([shape, training, TRAININGS[training], seed, torch.__version__])
    key = hashlib.sha256(text.encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    path = wl.zoo.cache_folder() / "benchmark" / f"{shape}-{training}-{seed}-{key}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HALVES[half][shape]()
        try:
            model.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError):
            train(model, seed, slow=shape in SLOW, **TRAININGS[training])
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            save_file(model.state_dict(), temporary)
            temporary.replace(path)
    return model.eval()


def train(
    model: nn.Module,
    seed: int,
    *,
    slow: bool,
    epochs: int,
    sigma: float = 0.0,
    decay: float = 0.0,
    epsilon: float = 0.0,
) -> None:
    """Adam with a cosine schedule; with noise, with decoupled weight decay, or on PGD twins (L∞,
    five steps; ε rises from 0).
    """
    data = wl.zoo.digits()
    x, y = data.reference_x, data.reference_y
    epochs *= 2 if slow else 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 if slow else 3e-3, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // 64))
    model.train()
    for epoch in range(epochs):
        for number, rows in enumerate(torch.randperm(len(x)).split(64)):
            inputs = x[rows]
            if sigma:
                inputs = (inputs + sigma * torch.randn_like(inputs)).clamp(0, 1)
            if epsilon:
                size = epsilon * min(1.0, (epoch + 1) / (epochs / 2))
                attack = wl.attacks.PGD(
                    epsilon=size, steps=5, step_size=size / 3, keep="last", seed=seed + number
                )
                inputs = attack(model, inputs, y[rows]).x
            loss = nn.functional.cross_entropy(model(inputs), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


if __name__ == "__main__":
    import time

    torch.set_num_threads(1)
    data = wl.zoo.digits()
    for half in HALVES:
        for name in names(half):
            start = time.perf_counter()
            model = load(half, *name)
            accuracy = (wl.attacks.predict(model, data.x).argmax(1) == data.y).float().mean()
            print(
                f"{half} {label(*name)} {accuracy:.3f} {time.perf_counter() - start:.1f} s",
                flush=True,
            )
