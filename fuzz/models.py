"""Fuzz ``check_model``: hostile models must become checks that warn, never an exception.

    python fuzz/models.py --seconds 600 --seed 0

Prints every find with the seed that makes it again; exit code 1 if there was one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import worldline as wl


class Hostile(nn.Module):
    """A module that misbehaves in one way, now and then or always."""

    def __init__(self, kind: str, chance: float, seed: int) -> None:
        super().__init__()
        self.kind, self.chance, self.random = kind, chance, random.Random(seed)

    def forward(self, x: Any) -> Any:
        return x if self.random.random() >= self.chance else MISDEEDS[self.kind](x)


def _raise(error: BaseException) -> Any:
    raise error


def _write(x: Tensor) -> Tensor:
    x.add_(1.0)
    return x


MISDEEDS: dict[str, Callable[[Any], Any]] = {
    "raises": lambda x: _raise(ValueError("on\npurpose")),
    "raises without words": lambda x: _raise(RuntimeError()),
    "exits": lambda x: _raise(SystemExit(3)),
    "asserts": lambda x: _raise(AssertionError((1, 2))),
    "stops iteration": lambda x: _raise(StopIteration()),
    "recurses": lambda x: MISDEEDS["recurses"](x),
    "nan": lambda x: x * torch.nan,
    "infinite": lambda x: x / 0,
    "one sample short": lambda x: x[1:],
    "twice the batch": lambda x: torch.cat([x, x]),
    "no batch": lambda x: x.sum(),
    "none": lambda x: None,
    "word": lambda x: "logits",
    "dict": lambda x: {"logits": x},
    "tuple": lambda x: (x, x),
    "empty tuple": lambda x: (),
    "itself in a list": lambda x: [x],
    "writes": _write,
    "no classes": lambda x: x.flatten(1)[:, :0],
    "one class": lambda x: x.flatten(1)[:, :1],
    "integers": lambda x: x.long(),
    "booleans": lambda x: x > 0,
    "complex": lambda x: torch.complex(x, x),
    "half": lambda x: x.half(),
    "bfloat": lambda x: x.bfloat16(),
    "double": lambda x: x.double(),
    "detached": lambda x: x.detach(),
    "constant": lambda x: torch.zeros(len(x), 3),
    "sparse": lambda x: x.flatten(1).to_sparse(),
    "meta": lambda x: x.to("meta"),
    "random": torch.randn_like,
    "seeds": lambda x: (torch.manual_seed(0), x)[1],
    "rounds": lambda x: x.round(),
    "softmax": lambda x: x.flatten(1).softmax(1),
    "huge": lambda x: x * 1e38,
    "of the batch": lambda x: x - x.mean(0),
    "expanded": lambda x: x.flatten(1)[:, :1].expand(-1, 4),
    "inference": lambda x: _inference(x),
    "numpy": lambda x: x.detach().numpy(),
}


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x * 2


class Stubborn(nn.Module):
    """A module whose own machinery raises."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.method = method

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__("__dict__").get("method")
        if name == method:
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)[:, :4])


def random_model(dice: random.Random, width: int) -> Any:
    """A model: often a tree of modules with something hostile in it, sometimes no model at all."""
    case = dice.random()
    if case < 0.08:
        return dice.choice(
            [
                None,
                3,
                "model",
                [],
                nn.Linear,
                torch.zeros(3),
                lambda: None,
                lambda x: x,
                object(),
                torch.nn,
            ]
        )
    if case < 0.16:
        return Stubborn(
            dice.choice(
                [
                    "eval",
                    "modules",
                    "parameters",
                    "named_modules",
                    "training",
                    "forward",
                    "children",
                    "train",
                ]
            )
        )
    parts: list[nn.Module] = []
    if dice.random() < 0.8:
        parts.append(nn.Flatten())
    for _ in range(dice.randrange(1, 5)):
        kind = dice.random()
        if kind < 0.35:
            parts.append(
                Hostile(
                    dice.choice(list(MISDEEDS)),
                    dice.choice([1.0, 1.0, 0.3, 0.05]),
                    dice.randrange(2**31),
                )
            )
        else:
            out = dice.choice([1, 2, 3, 10])
            parts.append(
                dice.choice(
                    [
                        nn.ReLU(inplace=dice.random() < 0.5),
                        nn.Dropout(),
                        nn.LazyLinear(out),
                        nn.Linear(width, out),
                        nn.BatchNorm1d(width),
                        nn.Softmax(1),
                        nn.Identity(),
                        nn.LazyBatchNorm1d(),
                        nn.Sigmoid(),
                        nn.Embedding(3, 3),
                        nn.GRU(width, out, batch_first=True),
                    ]
                )
            )
            width = out if isinstance(parts[-1], (nn.Linear, nn.LazyLinear)) else width
    if dice.random() < 0.7:
        parts.append(nn.LazyLinear(dice.choice([1, 2, 3, 10])))
    model = nn.Sequential(*parts)
    if dice.random() < 0.1:
        model.append(model[0])
    if dice.random() < 0.1:
        model = model.half() if dice.random() < 0.5 else model.double()
    return model.train(dice.random() < 0.5)


def random_inputs(dice: random.Random) -> tuple[Any, Any, tuple[float, float], int]:
    """Inputs, labels and bounds: mostly right."""
    shape = dice.choice([(6,), (1, 4, 4), (3, 2, 2), (16,)])
    samples = dice.choice([0, 1, 2, 5, 20])
    x: Any = torch.rand(samples, *shape)
    y: Any = torch.randint(0, 3, (samples,))
    case = dice.random()
    if case < 0.3:
        x = dice.choice(
            [
                x * torch.nan,
                x / 0,
                x.long(),
                x - 5,
                x * 255,
                x.half(),
                x.double(),
                None,
                [1, 2],
                x.sum(),
                x.flatten(),
            ]
        )
    if 0.3 < case < 0.5:
        y = dice.choice(
            [
                y.float(),
                y + 100,
                y - 100,
                y[:1],
                None,
                "labels",
                y[:, None],
                nn.functional.one_hot(y, 3),
                y.bool(),
                y.int(),
            ]
        )
    bounds = dice.choice(
        [(0.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (1.0, 0.0), (0.0, 0.0)]
    )
    return x, y, bounds, x[0].numel() if isinstance(x, Tensor) and x.ndim > 1 and len(x) else 4


def once(seed: int) -> str | None:
    """One model and what went wrong with its examination, or None."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    x, y, bounds, width = random_inputs(dice)
    model = random_model(dice, width)
    state, dtype, grads, threads = (
        torch.random.get_rng_state(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
    )
    before = x.clone() if isinstance(x, Tensor) else None
    modes = (
        [module.training for module in model.modules()] if type(model) is nn.Sequential else None
    )
    try:
        report = wl.check_model(model, x, y, bounds=bounds)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"raised {''.join(traceback.format_exception(error)[-3:])}"
    if not report.checks or any(not check.sentence for check in report.checks):
        return f"said nothing: {report}"
    if not isinstance(str(report), str):
        return "has no words"
    if not torch.equal(state, torch.random.get_rng_state()) or torch.is_grad_enabled() != grads:
        return "left the random state or the gradient mode changed"
    if torch.get_default_dtype() != dtype or torch.get_num_threads() != threads:
        return "left the default dtype or the threads changed"
    if before is not None and not torch.equal(torch.nan_to_num(before), torch.nan_to_num(x)):
        return "left the inputs changed"
    if modes is not None and modes != [module.training for module in model.modules()]:
        return "left modules in another mode"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    end, seed, finds = time.monotonic() + options.seconds, options.seed, 0
    while time.monotonic() < end:
        found = once(seed)
        if found:
            finds += 1
            print(f"seed {seed}: {found}", flush=True)
        seed += 1
    print(f"{seed - options.seed} models, {finds} finds")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
