"""Claim: at equal steps FMN's median smallest change is within 1 % of Foolbox's and adv_lib's, or
below, and takes at most 1.1 of their time.

Rivals, in the same rounds: Foolbox's L∞, L2, L1 and L0 FMN and adv_lib's fmn. Sizes are measured by
one rule for all: a twin counts if the model, asked again sample by sample, is fooled by it; else
its size is infinite. Samples that the model gets right: the zoo's CNN on digits, and a ResNet with
BatchNorm on Fashion-MNIST (Debian's dataset-fashion-mnist; left out where it is not installed).
adv_lib declares torchvision and visdom, which FMN does not use: empty modules stand for them.
"""

from __future__ import annotations

import gzip
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import measure
import worldline as wl
from worldline.attacks.norms import named_ball

CLAIM = (
    "FMN at equal steps: a median smallest change within 1 % of Foolbox's and adv_lib's or below, "
    "in at most 1.1 of the faster one's time"
)
STEPS = 40
FASHION = Path("/usr/share/datasets/fashion-mnist")
ATTACKS = {
    "linf": ("LInfFMNAttack", float("inf")),
    "l2": ("L2FMNAttack", 2),
    "l1": ("L1FMNAttack", 1),
    "l0": ("L0FMNAttack", 0),
}


class Block(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip = nn.Conv2d(width, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.body(x) + self.skip(x))


def fashion(part: str, count: int) -> tuple[Tensor, Tensor]:
    def read(kind: str, skip: int) -> Tensor:
        name = f"{part}-{kind}-ubyte.gz"
        return torch.frombuffer(
            bytearray(gzip.open(FASHION / name).read()[skip:]), dtype=torch.uint8
        )

    x = read("images-idx3", 16).reshape(-1, 1, 28, 28)[:count]
    return x / 255, read("labels-idx1", 8)[:count].long()


def resnet() -> nn.Module:
    """A ResNet with BatchNorm after one pass over 12,000 pictures: about 30 seconds."""
    torch.manual_seed(0)
    model = nn.Sequential(
        Block(1, 16, 1),
        Block(16, 32, 2),
        Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    x, y = fashion("train", 12_000)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, nesterov=True)
    for rows in torch.randperm(len(x)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model.eval()


def rivals(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> dict[str, Callable[[], Tensor]]:
    for name in ("visdom", "torchvision", "torchvision.models"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
    import foolbox
    from adv_lib.attacks import fmn

    name, power = ATTACKS[norm]
    theirs = getattr(foolbox.attacks, name)(steps=STEPS)
    return {
        "Foolbox": lambda: theirs(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)[
            0
        ],
        "adv_lib": lambda: fmn(model, x, y, power, steps=STEPS),
        "worldline": lambda: wl.attacks.FMN(norm=norm, steps=STEPS)(model, x, y).x,  # type: ignore[arg-type]
    }


def sizes(model: nn.Module, x: Tensor, y: Tensor, twins: Tensor, norm: str) -> Tensor:
    said = wl.attacks.predict(model, twins, batch_size=1).argmax(1)
    return torch.where(said != y, named_ball(norm).size(twins - x), torch.inf)


def models() -> dict[str, tuple[nn.Module, Tensor, Tensor, int]]:
    data = wl.zoo.digits()
    found = {"zoo CNN, 1×8×8": (wl.zoo.load("cnn"), data.x, data.y, 128)}
    if FASHION.exists():
        found["ResNet, Fashion-MNIST"] = (resnet(), *fashion("t10k", 400), 32)
    return found


PEAK = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
warnings.filterwarnings("ignore")
import torch, minimum_norm, worldline as wl
torch.set_num_threads(1)
model, data = wl.zoo.load("cnn"), wl.zoo.digits()
run = minimum_norm.rivals(model, data.x[:512], data.y[:512], sys.argv[3])
if sys.argv[2] in run: run[sys.argv[2]]()
"""


def main() -> None:
    measure.threads()
    warnings.filterwarnings("ignore")
    tables: dict[str, Any] = {}
    medians: dict[str, Any] = {}
    for name, (model, inputs, labels, samples) in models().items():
        hit = wl.attacks.predict(model, inputs).argmax(1) == labels
        x, y = inputs[hit][:samples], labels[hit][:samples]
        for norm in ATTACKS:
            runs = rivals(model, x, y, norm)
            title = f"{name}, {norm}, {len(x)} samples, {STEPS} steps"
            medians[title] = {}
            for who, run in runs.items():
                found = sizes(model, x, y, run(), norm)
                medians[title][who] = {
                    "median": float(found.quantile(0.5)) if found.median() < torch.inf else None,
                    "fooled": float((found < torch.inf).float().mean()),
                }
            tables[title] = measure.side_by_side(runs, "adv_lib", rounds=5)
    here = str(Path(__file__).parent)
    peak = {
        f"{who}, {norm}": measure.peak_mebibytes(PEAK, here, who, norm)
        for norm in ("linf", "l1")
        for who in ("nobody", "Foolbox", "adv_lib", "worldline")
    }
    measure.write(
        "minimum_norm", CLAIM, {"tables": tables, "medians": medians, "peak_mebibytes": peak}
    )


if __name__ == "__main__":
    main()
