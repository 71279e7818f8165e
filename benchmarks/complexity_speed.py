"""Claims: fragility costs two forward passes, the limits three, Lanczos a tenth of a Jacobian.

Rivals: the bare forward passes themselves; ``torch.autograd.functional.jacobian`` of each sample,
the plain way; and, harder to beat, the rows of all samples of the batch at once by
``torch.autograd.grad`` (samples do not see each other). ResNet-18 at 64×64 with random weights,
whose spectrum is flat, the hard case for Lanczos, and 1,000 logits. All rows of a Jacobian are
equal work: 40 of them are timed, of one sample or of the batch, and scaled to the 1,000 rows of 64
samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification

import measure
import worldline as wl
from worldline.explain.measures import find_linear, limit_use, linear_origins

CLAIM = (
    "fragility of a model costs at most 1.1 of two bare forward passes a sample, the use of all "
    "speed limits at most 3 passes over the "
    "pairs, and the 20 largest singular values of a ResNet-18's Jacobian at 64 samples a tenth of "
    "the plain Jacobian's time"
)
LOGITS, ROWS, TOP = 1000, 40, 20


class Logits(nn.Module):
    """The tensor out of the answer of a Hugging Face classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x).logits
        return logits


def resnet18() -> nn.Module:
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=LOGITS,
    )
    return Logits(ResNetForImageClassification(config)).eval()


def bare(model: nn.Module, x: Tensor, times: int) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            for _ in range(times):
                for batch in x.split(256):
                    model(batch)

    return run


def plain_rows(model: nn.Module, x: Tensor, rows: int) -> Tensor:
    """(N, rows, D) the first rows of the Jacobian at every sample, as one would write it."""
    model.requires_grad_(False)
    point = x.clone().requires_grad_(True)
    out = model(point)
    found = [
        torch.autograd.grad(out[:, row].sum(), point, retain_graph=True)[0].flatten(1)
        for row in range(rows)
    ]
    return torch.stack(found, 1)


def passes(model: nn.Module, x: Tensor, rounds: int) -> dict[str, Any]:
    first, second = x, x.roll(1, 0)
    layers = find_linear(model, x)

    def use() -> None:
        limit_use(model, first, second, layers, linear_origins(model, first, layers))

    return {
        "fragility": measure.side_by_side(
            {
                "two bare passes a sample": bare(model, x, 2),
                "fragility, noise probe": lambda: wl.explain.fragility(model, x),
                "fragility, aimed probe": lambda: wl.explain.fragility(model, x, probe="aimed"),
            },
            "two bare passes a sample",
            rounds=rounds,
        ),
        "limits": measure.side_by_side(
            {
                "one bare pass over both inputs of the pairs": bare(
                    model, torch.cat((first, second)), 1
                ),
                "origins and use of all limits": use,
            },
            "one bare pass over both inputs of the pairs",
            rounds=rounds,
        ),
    }


def jacobian(model: nn.Module, x: Tensor) -> dict[str, Any]:
    """One round without warming up: each contestant runs for seconds."""
    contestants = {
        "plain Jacobian, sample by sample": lambda: torch.autograd.functional.jacobian(
            lambda z: model(z)[:, :ROWS], x[:1]
        ),
        "rows, batched over samples": lambda: plain_rows(model, x, ROWS),
        "Lanczos": lambda: wl.explain.jacobian_spectrum(model, x, top=TOP),
    }
    seconds = {}
    for name, run in contestants.items():
        start = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - start
    seconds["plain Jacobian, sample by sample"] *= len(x) * LOGITS / ROWS
    seconds["rows, batched over samples"] *= LOGITS / ROWS
    exact = torch.linalg.svdvals(plain_rows(model, x[:1], LOGITS).double())[:, :TOP]
    error = (wl.explain.jacobian_spectrum(model, x[:1], top=TOP).singular_values / exact - 1).abs()
    return {
        "samples": len(x),
        "seconds": seconds,
        "times_faster": {
            name: value / seconds["Lanczos"] for name, value in seconds.items() if name != "Lanczos"
        },
        "largest_error": float(error.max()),
    }


def main() -> None:
    measure.threads()
    torch.manual_seed(0)
    model = resnet18()
    images = torch.rand(64, 3, 64, 64)
    found = {
        "ResNet-18, 64 images of 64×64": passes(model, images, 5),
        "zoo cnn, 600 digits": passes(wl.zoo.load("cnn"), wl.zoo.digits().x, 9),
    }
    document = {
        "tables": {
            f"{what} of {name}": table for name, it in found.items() for what, table in it.items()
        },
        "jacobian": jacobian(model, images),
    }
    measure.write("complexity_speed", CLAIM, document)


if __name__ == "__main__":
    main()
