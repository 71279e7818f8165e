"""Fuzz the command line: random arguments must end in a documented exit code and a sentence.

    python fuzz/command.py --seconds 600 --seed 0

A find is exit code 1 ("internal failure"), an undocumented code, a traceback, or a rejection
without words. Prints every find with the arguments that make it again; exit code 1 if there was
one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner

import worldline as wl
from worldline.cli import commands

MODELS = """
import torch
from torch import nn
def build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
def narrow(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
def nothing(): return None
def raises(): raise OSError("no licence")
def exits(): raise SystemExit(5)
class Strange(nn.Module):
    def __init__(self, kind): super().__init__(); self.kind = kind; self.w = nn.Linear(64, 10)
    def forward(self, x):
        z = self.w(x.flatten(1))
        if self.kind == "nan": return z * torch.nan
        if self.kind == "tuple": return z, z
        if self.kind == "raise": raise KeyError("x")
        if self.kind == "detach": return z.detach()
        if self.kind == "random": return z + torch.randn_like(z)
        if self.kind == "one": return z[:, :1]
        return z.half()
def nan(): return Strange("nan")
def tupled(): return Strange("tuple")
def fails(): return Strange("raise")
def detached(): return Strange("detach")
def randomly(): return Strange("random")
def one(): return Strange("one")
def half(): return Strange("half")
def away(model, x, y): return (x + 0.1).clamp(0, 1)
def no_attack(model, x, y): return None
def raising_attack(model, x, y): raise IndexError("none left")
seven = 7
"""
NAMES = (
    "build",
    "narrow",
    "nothing",
    "raises",
    "exits",
    "nan",
    "tupled",
    "fails",
    "detached",
    "randomly",
    "one",
    "half",
    "seven",
    "gone",
)
FILES = (
    "data.npz",
    "tiny.npz",
    "one.npz",
    "bytes.npz",
    "broken.npz",
    "good.toml",
    "bad.toml",
    "gone.npz",
    ".",
    "",
    "nets.py",
    "w.safetensors",
)
WORDS = (
    "0",
    "-1",
    "1",
    "2",
    "0.1",
    "1e9",
    "nan",
    "inf",
    "8/255",
    "1/0",
    "é",
    "",
    "\u0000",
    "--",
    "0,1",
    "1,0",
    "0,255",
    "linf",
    "l2",
    "l1",
    "pgd",
    "fgsm",
    "strong",
    "cpu",
    "cuda",
    "meta",
    "raw",
    "centered",
    "whitened",
    "*",
    "logits",
    "a:b",
    ":",
    "/",
    "None",
)
CODES = {0, 2, 3, 4}
QUICK = ("--samples", "12", "--steps", "2")
ODD = 0.35


def make_files(folder: Path) -> None:
    """The files that argument vectors name: good ones and broken ones."""
    data = wl.zoo.digits()
    (folder / "nets.py").write_text(MODELS)
    np.savez(folder / "data.npz", x=data.x[:60].numpy(), y=data.y[:60].numpy())
    np.savez(folder / "tiny.npz", x=data.x[:2].numpy(), y=data.y[:2].numpy())
    np.savez(folder / "one.npz", x=data.x[:20].numpy(), y=0 * data.y[:20].numpy())
    np.savez(folder / "bytes.npz", x=(255 * data.x[:40]).byte().numpy(), y=data.y[:40].numpy())
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    (folder / "w.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    (folder / "good.toml").write_text("[doctor]\nsamples = 12\nsteps = 2\n")
    (folder / "bad.toml").write_text("[explore]\nnorm = 3\n[doctor]\nsteps = 'x'\n")


def arguments(dice: random.Random) -> list[str]:
    """Random arguments, mostly of options that exist; models are small and attacks short."""
    name = dice.choice(
        [
            "doctor",
            "doctor",
            "explore",
            "carriers",
            "compare",
            "complexity",
            "complexity",
            "distant",
            "encode",
            "report",
            "",
            "nonsense",
        ]
    )
    if name not in commands.commands:
        return dice.sample(
            ["", "nonsense", "--help", "--version", "-h", "--x", "\u00fc", "doctor\n"],
            dice.randrange(1, 4),
        )
    vector = [name]
    if name == "encode":
        vector += [
            dice.choice(["dilation", "bell", "flip", "pairs", "", "nope"]),
            "--depth",
            "2",
            "--pairs",
            "2",
            "--vectors",
            "5",
            "--trials",
            "5",
        ]
    elif name == "report":
        vector += [dice.choice(FILES)]
    elif name in ("compare", "complexity"):
        vector += dice.choices(
            ["linear", "nets.py:build", f"nets.py:{dice.choice(NAMES)}", "nope"],
            k=dice.randrange(0, 4),
        )
        vector += ["--probes", "4"] if name == "compare" else []
    else:
        vector += [
            "--model",
            dice.choice(
                [
                    "linear",
                    "nets.py:build",
                    f"nets.py:{dice.choice(NAMES)}",
                    f"nets.py:{dice.choice(NAMES)}",
                ]
            ),
        ]
    if name in ("doctor", "explore", "carriers"):
        vector += QUICK
    if name in ("compare", "complexity", "distant"):
        vector += ["--samples", "12"] + (
            ["--nulls", "1", "--pairs", "2"] if name == "distant" else []
        )
    options = [
        option
        for option in commands.commands[name].params
        if getattr(option, "opts", [""])[0].startswith("--")
    ]
    for option in dice.sample(options, min(len(options), dice.randrange(0, 4))):
        flag = option.opts[0]
        if flag in ("--help", "--thorough", "--zoo", "--probes", "--nulls", "--serve"):
            continue
        vector.append(flag)
        if getattr(option, "is_flag", False):
            continue
        for _ in range(max(1, option.nargs)):
            vector.append(_value(dice, flag))
    if dice.random() < 0.1:
        vector.insert(dice.randrange(len(vector) + 1), dice.choice(WORDS + FILES))
    return vector


def _value(dice: random.Random, flag: str) -> str:
    if dice.random() < ODD:
        odd = dice.choice(WORDS + FILES)
        return "7" if odd == "1e9" and flag in ("--steps", "--samples", "--batch-size") else odd
    return {
        "--data": dice.choice(["digits", "data.npz", *FILES[:5]]),
        "--bounds": "0,1",
        "--eps": dice.choice(["0.1", "8/255", "5"]),
        "--norm": dice.choice(["linf", "l2"]),
        "--steps": "2",
        "--samples": dice.choice(["1", "2", "9"]),
        "--batch-size": dice.choice(["1", "7"]),
        "--attack": dice.choice(
            [
                "l1",
                "pgd",
                "fgsm",
                "strong",
                "nets.py:away",
                "nets.py:no_attack",
                "nets.py:raising_attack",
                "nets.py:seven",
            ]
        ),
        "--seed": dice.choice(["0", "-1", "123456789012345678901234567890"]),
        "--out": dice.choice(["runs/x", "nets.py", "."]),
        "--config": dice.choice(["good.toml", "bad.toml"]),
        "--model": "linear",
        "--weights": "w.safetensors",
        "--frame": "raw",
        "--layers": "logits",
        "--layer": "logits",
        "--device": "cpu",
        "--make": dice.choice(["0", "3"]),
    }.get(flag, dice.choice(WORDS))


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder of its own."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def judge(vector: list[str]) -> str | None:
    """Run one argument vector; what is wrong with how it ended, or None."""
    result = CliRunner().invoke(commands, vector)
    said = result.output + result.stderr
    if "--debug" in vector:
        return None  # shows the traceback on purpose
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"raised {''.join(traceback.format_exception(result.exception)[-3:])}"
    if result.exit_code not in CODES or "internal failure" in said or "Traceback" in said:
        return f"exit code {result.exit_code}: {said[-600:]}"
    if result.exit_code in (2, 3) and not result.stderr.strip():
        return f"exit code {result.exit_code} without a word"
    if result.exit_code == 0 and "--json" in vector and "--help" not in vector:
        json.loads(result.stdout)
    return None


def once(seed: int) -> str | None:
    """One argument vector, in the current folder, and what was wrong with it."""
    vector = arguments(random.Random(seed))
    found = judge(vector)
    return f"{vector}: {found}" if found else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    end, seed, finds = time.monotonic() + options.seconds, options.seed, 0
    with tempfile.TemporaryDirectory() as name, inside(Path(name)):
        make_files(Path(name))
        while time.monotonic() < end:
            found = once(seed)
            if found:
                finds += 1
                print(f"seed {seed}: {found}", flush=True)
            seed += 1
    print(f"{seed - options.seed} argument vectors, {finds} finds")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
