"""One small residual network on digits and on Fashion-MNIST, plainly and adversarially trained.

Each is trained once from its seed and kept in the zoo's cache folder. Every stage cuts the network:
nothing goes around it. The samples that carriers are found on were not trained on, and no judged
sample is among either.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import worldline as wl

FOLDERS = (
    Path("/usr/share/datasets/fashion-mnist"),
    Path(os.environ.get("FASHION_MNIST", "fashion-mnist")),
)
TRAININGS = ("plain", "adversarial")
SEEDS = (0, 1, 2, 3, 4)
LAYERS = ("stem", "stage1", "stage2", "stage3")


@dataclass(frozen=True)
class Task:
    """A data set: three sets apart, and how it is attacked and trained for."""

    epsilon: float
    said: str
    stride: int
    epochs: dict[str, int]
    train: tuple[Tensor, Tensor]
    find: tuple[Tensor, Tensor]
    judge: tuple[Tensor, Tensor]


class Stem(nn.Module):
    """ReLU of one convolution, normalised."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, width, H / stride, W / stride)."""
        return nn.functional.relu(self.norm(self.convolution(x)))


class Block(nn.Module):
    """ReLU(x + two convolutions)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.skip = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, width, H / stride, W / stride)."""
        return nn.functional.relu(self.body(x) + self.skip(x))


class Net(nn.Module):
    """Stem and three stages of 16, 16, 32 and 64 channels, their means, ten logits."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stem = Stem(16, stride)
        self.stage1 = Block(16, 16, 1)
        self.stage2 = Block(16, 32, 2)
        self.stage3 = Block(32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        """What the last stage makes, (N, 64, H, W)."""
        result: Tensor = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return result

    def answer(self, features: Tensor) -> Tensor:
        """Logits (N, 10) of the last stage's features."""
        result: Tensor = self.logits(self.pool(features).flatten(1))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of pictures (N, 1, H, W)."""
        return self.answer(self.features(x))


@lru_cache
def tasks() -> dict[str, Task]:
    """Digits, and Fashion-MNIST where its IDX files are."""
    data = wl.zoo.digits()
    found = {
        "digits": Task(
            epsilon=0.15,
            said="0.15",
            stride=1,
            epochs={"plain": 15, "adversarial": 15},
            train=(data.reference_x, data.reference_y),
            find=(data.x[:300], data.y[:300]),
            judge=(data.x[300:], data.y[300:]),
        )
    }
    folder = next((it for it in FOLDERS if it.is_dir()), None)
    if folder is not None:
        data = wl.loading.load_data(str(folder))
        x, y = data.reference_x, data.reference_y
        found["Fashion-MNIST"] = Task(
            epsilon=8 / 255,
            said="8/255",
            stride=2,
            epochs={"plain": 4, "adversarial": 4},
            train=(x[:4000].clone(), y[:4000].clone()),
            find=(x[4000:4300].clone(), y[4000:4300].clone()),
            judge=(data.x[:300].clone(), data.y[:300].clone()),
        )
    return found


def key() -> str:
    """Of the code that decides the models."""
    return hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:12]


def load(name: str, training: str, seed: int) -> Net:
    """One network in eval mode; trained on the first call."""
    task = tasks()[name]
    path = (
        wl.zoo.cache_folder()
        / "benchmark"
        / "carriers"
        / f"{name}-{training}-{seed}-{key()}.safetensors"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Net(task.stride)
        try:
            model.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError):
            train(model, task, training, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            save_file(model.state_dict(), temporary)
            temporary.replace(path)
    return model.eval()


def train(model: Net, task: Task, training: str, seed: int) -> None:
    """AdamW with one cycle of the learning rate; adversarially on PGD twins of three steps, made in
    eval mode.
    """
    x, y = task.train
    generator = torch.Generator().manual_seed(seed)
    batch = 64
    total = task.epochs[training] * -(-len(x) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=total)
    step = 0
    for _ in range(task.epochs[training]):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            inputs = x[rows]
            if training == "adversarial":
                size = task.epsilon * min(1.0, 2 * (step + 1) / total)
                inputs = twins(model.eval(), inputs, y[rows], size, seed=seed + step)
            loss = nn.functional.cross_entropy(model.train()(inputs), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1


def twins(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, *, seed: int) -> Tensor:
    """PGD twins for training: three steps."""
    attack = wl.attacks.PGD(
        epsilon=epsilon, steps=3, step_size=epsilon / 1.5, keep="last", seed=seed
    )
    return attack(model, x, y).x


def describe() -> str:
    """What was trained, in words."""
    parts = [
        f"{name}: ε = {it.said} (L∞), {len(it.train[0]):,} pictures trained on, carriers found on "
        f"{len(it.find[0])} others, {len(it.judge[0])} others judged"
        for name, it in tasks().items()
    ]
    return "; ".join(parts) + f"; epochs {json.dumps([it.epochs for it in tasks().values()])}"


if __name__ == "__main__":
    import sys
    import time

    torch.set_num_threads(1)
    for name in sys.argv[1].split(","):
        for seed in [int(it) for it in sys.argv[2].split(",")]:
            for training in TRAININGS:
                start = time.perf_counter()
                model = load(name, training, seed)
                task = tasks()[name]
                (x, y), size = task.find, task.epsilon
                right = (wl.attacks.predict(model, x).argmax(1) == y).double().mean()
                held = 1 - wl.attacks.PGD(epsilon=size)(model, x, y).success.double().mean()
                print(
                    f"{name} {training} {seed}: right {right:.3f}, under PGD {held:.3f}, "
                    f"{time.perf_counter() - start:.0f} s",
                    flush=True,
                )
