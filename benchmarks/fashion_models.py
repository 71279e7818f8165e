"""60 small Fashion-MNIST classifiers: 12 architectures × 5 trainings, trained once and kept in the
zoo's cache folder.

The second world of what was developed on digits: 784 inputs, other shapes. The architectures were
split into two halves, alike in families, before any figure was looked at. The pictures are those of
Debian's package dataset-fashion-mnist; what needs them is left out where it is not installed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import worldline as wl
from transfer_models import Mean, Residual, Swap, label
from worldline.inputs import Data
from worldline.loading import load_data

__all__ = ["HALVES", "TRAININGS", "label", "load", "names", "pictures", "there"]

FOLDER = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
TRAINED_ON, EPOCHS, BATCH = 12_000, 3, 64
RECIPE = 1  # another number trains all models anew
TRAININGS = {
    "plain": {},
    "noise": {"sigma": 0.15},
    "decay": {"decay": 0.5},
    "adversarial": {"epsilon": 8 / 255},
}
RUNS = (("plain", 0), ("noise", 0), ("decay", 0), ("adversarial", 0), ("plain", 1))


def perceptron(
    widths: tuple[int, ...], act: Callable[[], nn.Module], norm: Callable[[int], nn.Module]
) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip((784, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), norm(after), act()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def low_rank() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.Linear(24, 10))


def convolutions(
    widths: tuple[int, int],
    act: Callable[[], nn.Module],
    norm: Callable[[int], nn.Module],
    *,
    kernel: int,
    stride: int,
) -> nn.Module:
    first, second = widths
    pool = nn.MaxPool2d(2) if stride == 1 else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(1, first, kernel, stride=stride, padding=kernel // 2),
        norm(first),
        act(),
        pool,
        nn.Conv2d(first, second, 3, stride=stride, padding=1),
        norm(second),
        act(),
        pool,
        nn.Flatten(),
        nn.Linear(49 * second, 64),
        act(),
        nn.Linear(64, 10),
    )


def residual(width: int, stem: int, *, pool: bool) -> nn.Module:
    """Pre-activation blocks with batch normalisation on 14 × 14, then on 7 × 7."""

    def block(channels: int) -> nn.Module:
        return Residual(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    head: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if pool else [nn.AvgPool2d(2, ceil_mode=True)]
    return nn.Sequential(
        nn.Conv2d(1, width, stem, stride=2, padding=stem // 2),
        block(width),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        block(2 * width),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        *head,
        nn.Flatten(),
        nn.Linear(2 * width * (1 if pool else 16), 10),
    )


class Attention(nn.Module):
    """Self-attention of a block, to be added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


class Place(nn.Module):
    """Adds what each token learnt about its place."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.place


def transformer(patch: int, width: int, depth: int, act: Callable[[], nn.Module]) -> nn.Module:
    tokens = (28 // patch) ** 2

    def block() -> list[nn.Module]:
        wide = [nn.Linear(width, 2 * width), act(), nn.Linear(2 * width, width)]
        return [Residual(Attention(width, 4)), Residual(nn.LayerNorm(width), *wide)]

    blocks = [part for _ in range(depth) for part in block()]
    patches = [nn.Conv2d(1, width, patch, stride=patch), nn.Flatten(2), Swap()]
    return nn.Sequential(
        *patches, Place(tokens, width), *blocks, nn.LayerNorm(width), Mean(), nn.Linear(width, 10)
    )


def plainly(_width: int) -> nn.Module:
    return nn.Identity()


DEVELOPMENT: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
    "mlp-relu": partial(perceptron, (256, 128), nn.ReLU, plainly),
    "cnn-relu-maxpool": lambda: convolutions((12, 24), nn.ReLU, plainly, kernel=3, stride=1),
    "cnn-gelu-batchnorm": lambda: convolutions(
        (16, 32), nn.GELU, nn.BatchNorm2d, kernel=5, stride=2
    ),
    "resnet": partial(residual, 12, 3, pool=True),
    "vit": partial(transformer, 7, 48, 2, nn.GELU),
}
REPORT: dict[str, Callable[[], nn.Module]] = {
    "low-rank-linear": low_rank,
    "mlp-silu-layernorm": partial(perceptron, (192, 96, 96), nn.SiLU, nn.LayerNorm),
    "cnn-tanh-strided": lambda: convolutions((16, 24), nn.Tanh, plainly, kernel=5, stride=2),
    "cnn-elu-batchnorm": lambda: convolutions((8, 16), nn.ELU, nn.BatchNorm2d, kernel=3, stride=1),
    "resnet-wide-stem": partial(residual, 8, 7, pool=False),
    "vit-fine": partial(transformer, 4, 32, 3, nn.ReLU),
}
HALVES = {"development": DEVELOPMENT, "report": REPORT}


def there() -> bool:
    """Whether the pictures are installed."""
    return FOLDER.exists()


@cache
def pictures() -> Data:
    """Its test pictures, with those of training as the reference."""
    return load_data(str(FOLDER))


def names(half: str) -> list[tuple[str, str, int]]:
    return [(shape, training, seed) for shape in HALVES[half] for training, seed in RUNS]


def load(half: str, shape: str, training: str, seed: int) -> nn.Module:
    """One model in eval mode; trained on the first call, in tens of seconds."""
    options = TRAININGS[training]
    text = json.dumps([shape, training, options, seed, RECIPE, torch.__version__])
    key = f"{zlib.crc32(text.encode()):08x}"
    folder = wl.zoo.cache_folder() / "benchmark" / "fashion"
    path = folder / f"{shape}-{training}-{seed}-{key}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HALVES[half][shape]()
        try:
            model.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError):
            train(model, seed, slow="vit" in shape, **options)
            folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            save_file(model.state_dict(), temporary)
            temporary.replace(path)
    return model.eval()


def train(
    model: nn.Module,
    seed: int,
    *,
    slow: bool,
    sigma: float = 0.0,
    decay: float = 0.0,
    epsilon: float = 0.0,
) -> None:
    """AdamW with one warm cycle; with noise, with decoupled weight decay, or on PGD twins (L∞,
    three steps; ε rises from 0).
    """
    data = pictures()
    x, y = data.reference_x[:TRAINED_ON], data.reference_y[:TRAINED_ON]
    steps = EPOCHS * -(-TRAINED_ON // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3 if slow else 5e-3, total_steps=steps
    )
    model.train()
    step = 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED_ON).split(BATCH):
            inputs = x[rows]
            if sigma:
                inputs = (inputs + sigma * torch.randn_like(inputs)).clamp(0, 1)
            if epsilon:
                size = epsilon * min(1.0, 2 * (step + 1) / steps)
                attack = wl.attacks.PGD(
                    epsilon=size, steps=3, step_size=size / 2, keep="last", seed=seed + step
                )
                inputs = attack(model, inputs, y[rows]).x
            loss = nn.functional.cross_entropy(model(inputs), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1


if __name__ == "__main__":
    import time

    torch.set_num_threads(1)
    data = pictures()
    for run in range(len(RUNS)):  # all architectures by one training, then by the next
        for half in HALVES:
            for name in names(half)[run :: len(RUNS)]:
                start = time.perf_counter()
                model = load(half, *name)
                rows = slice(0, 1000)
                guess = wl.attacks.predict(model, data.x[rows]).argmax(1)
                accuracy = (guess == data.y[rows]).float().mean()
                seconds = time.perf_counter() - start
                print(f"{half} {label(*name)} {accuracy:.3f} {seconds:.1f} s", flush=True)
