"""A stranger's first attempt: a network, data of its kind, a command, and what comes of it.

Run by itself it writes the table of ``docs/models.md``.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from sklearn.datasets import load_breast_cancer

from worldline import loading
from worldline.cli import commands as command_line

HERE = Path(__file__).parent
NETWORKS: dict[str, str] = runpy.run_path(str(HERE / "networks.py"))["DATA"]  # kind of data by name
CONFIGURATIONS: dict[str, Any] = runpy.run_path(str(HERE / "configurations.py"))
SHAPES: dict[str, tuple[tuple[int, ...], int]] = {  # of one sample, and the number of classes
    "pictures": ((3, 16, 16), 4),
    "large": ((3, 32, 32), 4),
    "bytes": ((3, 16, 16), 4),
    "grey": ((1, 16, 16), 4),
    "pair": ((3, 16, 16), 2),
    "three": ((3, 16, 16), 3),
    "thousand": ((3, 16, 16), 40),
    "signal": ((2, 24), 4),
    "video": ((1, 4, 8, 8), 4),
    "embeddings": ((10, 6), 4),
    "bytes_last": ((16, 16, 3), 4),
}
BOUNDS = {"embeddings": (-3.0, 3.0), "bytes": (0.0, 255.0), "table": (0.0, 5000.0)}
OPTIONS = {
    "explore": ("--samples", "24", "--steps", "3"),
    "doctor": ("--samples", "24", "--steps", "3"),
    "complexity": ("--samples", "24"),
    "distant": ("--samples", "40", "--nulls", "0", "--pairs", "2"),
    "compare": ("--samples", "40", "--probed-samples", "12", "--probes", "4"),
}
NO_GRADIENT = r"pgd cannot attack .*: no gradient comes back.*--attack square"
ZERO_GRADIENT = r"the gradient is exactly 0 for all of 24 inputs.*--attack square"
SAYS: dict[str, dict[str, str]] = {
    "two_outputs": {"": r"tuple with 2 tensors that could be them"},
    "quantised": {"explore": NO_GRADIENT},
    "one_probability": {"": r"ends in a sigmoid.*Leave the sigmoid out"},
    "under_no_grad": {"explore": NO_GRADIENT},
    "detached": {"explore": NO_GRADIENT},
    "integer_cast": {"explore": NO_GRADIENT},
    "rounded": {"explore": ZERO_GRADIENT},
    "saturated": {"explore": ZERO_GRADIENT, "compare": r"gives the same answer to all \d+ inputs"},
}
"""What gives no report, and the sentence that is right instead, by command; "" is every command."""


@dataclass(frozen=True)
class Attempt:
    """What came of it: the exit code, and what was printed."""

    code: int
    said: str
    folder: Path


def make_data(folder: Path) -> Path:
    """Samples of every kind, each class around a centre of its own."""
    chance = np.random.default_rng(0)
    for name, (shape, classes) in SHAPES.items():
        low, high = BOUNDS.get(name, (0.0, 1.0))
        y = np.arange(96) % classes
        x = chance.uniform(low, high, (96, *shape))
        x = 0.4 * x + 0.6 * chance.uniform(low, high, (classes, *shape))[y]
        whole = (255 * x).astype(np.uint8) if name == "bytes_last" else x.astype(np.float32)
        np.savez(folder / f"{name}.npz", x=whole, y=y)
    table = load_breast_cancer()
    np.savez(folder / "table.npz", x=table.data.astype(np.float32), y=table.target)
    return folder


def attempt(command: str, name: str, data: Path, out: Path) -> Attempt:
    """A command on a network of the table and data of its kind; ``compare`` gets a second model."""
    kind = NETWORKS[name]
    models = [f"{HERE / 'networks.py'}:{name}"]
    if command == "compare":
        models.append(f"{HERE / 'partners.py'}:{kind}")
    return _run(command, models, data / f"{kind}.npz", BOUNDS.get(kind, (0.0, 1.0)), out)


def attempt_transformer(command: str, name: str, data: Path, out: Path) -> Attempt:
    """A command on a classifier of transformers with random weights, saved as its folder."""
    model = save_transformer(name, out.parent / f"{name}-saved")
    pictures = name in CONFIGURATIONS["PICTURES"]
    file, bounds = data / "large.npz", (0.0, 1.0)
    if not pictures:
        reader = loading.load_model(f"hf:{model}")
        ids = torch.from_numpy(np.random.default_rng(0).integers(1, 99, (96, 12)))
        x = reader.embed(ids, torch.ones_like(ids)).detach()  # type: ignore[operator]
        file, bounds = out.parent / f"{name}.npz", reader.bounds
        np.savez(file, x=x.numpy(), y=np.arange(96) % 4)
    return _run(command, [f"hf:{model}"], file, bounds, out)


def save_transformer(name: str, folder: Path) -> Path:
    """The classifier of this name, as ``save_pretrained`` leaves it."""
    import transformers

    pictures = name in CONFIGURATIONS["PICTURES"]
    options = CONFIGURATIONS["PICTURES" if pictures else "TEXTS"][name]
    head = "ForImageClassification" if pictures else "ForSequenceClassification"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**options)
        getattr(transformers, f"{name}{head}")(config).save_pretrained(folder)
    return folder


def _run(
    command: str, models: Sequence[str], data: Path, bounds: Sequence[float], out: Path
) -> Attempt:
    low, high = map(float, bounds)
    given = ["--data", str(data), f"--bounds={low!r},{high!r}", "--out", str(out), "--quiet"]
    found = CliRunner().invoke(command_line, [command, *models, *given, *OPTIONS[command]])
    return Attempt(found.exit_code, found.output.replace(f"{HERE}{os.sep}", ""), out)


def table() -> str:
    """What the first attempt of each gives, as Markdown."""
    rows = []
    others = (*CONFIGURATIONS["PICTURES"], *CONFIGURATIONS["TEXTS"])
    tries: list[tuple[str, Callable[..., Attempt]]] = [
        *((it, attempt) for it in NETWORKS),
        *((it, attempt_transformer) for it in others),
    ]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = make_data(Path(folder))
        for name, make in tries:
            cells = []
            for command in ("explore", "doctor") if make is attempt else ("explore",):
                found = make(command, name, data, Path(folder) / f"{name}-{command}")
                said = found.said.strip().removeprefix("worldline: ")
                cells.append("report" if found.code == 0 else f"exit {found.code}: {said}")
                sys.stderr.write(f"{name} {command} {found.code}\n")
            kind = NETWORKS[name] if make is attempt else "transformers, random weights"
            names = f"{name} | {kind}".replace("_", " ")
            rows.append(f"| {names} | {' | '.join(cells)} |")
            if make is not attempt:
                rows[-1] += " – |"
    return "\n".join(rows)


def main() -> None:
    """Write ``docs/models.md``."""
    page = HERE.parents[1] / "docs" / "models.md"
    begin = page.read_text("utf-8").split("| model |")[0] if page.exists() else ""
    head = "| model | data | `explore` | `doctor` |\n|---|---|---|---|\n"
    page.write_text(f"{begin}{head}{table()}\n", "utf-8")


if __name__ == "__main__":
    main()
