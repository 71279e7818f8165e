"""First contact: the first attempt at a stranger's model gives a report, or the right sentence."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_breast_cancer

from worldline.cli import commands as command_line

HERE = Path(__file__).parent
KINDS: dict[str, str] = runpy.run_path(str(HERE / "networks.py"))["DATA"]  # by network
SHAPES: dict[str, tuple[tuple[int, ...], int]] = {  # of one sample, and the number of classes
    "pictures": ((3, 16, 16), 4),
    "bytes": ((3, 16, 16), 4),
    "grey": ((1, 16, 16), 4),
    "pair": ((3, 16, 16), 2),
    "three": ((3, 16, 16), 3),
    "thousand": ((3, 16, 16), 40),
    "signal": ((2, 24), 4),
    "video": ((1, 4, 8, 8), 4),
    "embeddings": ((10, 6), 4),
}
BOUNDS = {"embeddings": (-3.0, 3.0), "bytes": (0.0, 255.0), "table": (0.0, 5000.0)}
OPTIONS = {
    "explore": ["--samples", "24", "--steps", "3"],
    "doctor": ["--samples", "24", "--steps", "3"],
    "complexity": ["--samples", "24"],
    "distant": ["--samples", "40", "--nulls", "0", "--pairs", "2"],
    "compare": ["--samples", "40", "--probed-samples", "12", "--probes", "4"],
}
NO_GRADIENT = r"pgd cannot attack .*: no gradient comes back.*--attack square"
ZERO_GRADIENT = r"the gradient is exactly 0 for all of 24 inputs.*--attack square"
# What gives no report, and the sentence that is right instead, by command; "" is every command.
SAYS: dict[str, dict[str, str]] = {
    "two_outputs": {"": r"tuple with 2 tensors that could be them"},
    "quantised": {"explore": NO_GRADIENT},
    "under_no_grad": {"explore": NO_GRADIENT},
    "detached": {"explore": NO_GRADIENT},
    "integer_cast": {"explore": NO_GRADIENT},
    "rounded": {"explore": ZERO_GRADIENT},
    "saturated": {"explore": ZERO_GRADIENT, "compare": r"gives the same answer to all 40 inputs"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of every kind, each class around a centre of its own."""
    folder = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(0)
    for name, (shape, classes) in SHAPES.items():
        low, high = BOUNDS.get(name, (0.0, 1.0))
        y = np.arange(96) % classes
        x = chance.uniform(low, high, (96, *shape))
        x = 0.4 * x + 0.6 * chance.uniform(low, high, (classes, *shape))[y]
        np.savez(folder / f"{name}.npz", x=x.astype(np.float32), y=y)
    table = load_breast_cancer()
    np.savez(folder / "table.npz", x=table.data.astype(np.float32), y=table.target)
    return folder


@pytest.mark.end_to_end
@pytest.mark.filterwarnings("ignore")  # torch deprecates what these networks use
@pytest.mark.parametrize("command", OPTIONS)
@pytest.mark.parametrize("name", KINDS)
def test_the_first_attempt_works_or_says_why_not(
    name: str, command: str, data: Path, tmp_path: Path
) -> None:
    kind = KINDS[name]
    low, high = BOUNDS.get(kind, (0.0, 1.0))
    models = [f"{HERE / 'networks.py'}:{name}"]
    if command == "compare":
        models.append(f"{HERE / 'partners.py'}:{kind}")
    given = ["--data", data / f"{kind}.npz", f"--bounds={low},{high}", "--out", tmp_path / "run"]
    found = CliRunner().invoke(
        command_line, [command, *models, *map(str, given), *OPTIONS[command], "--quiet"]
    )
    said = SAYS.get(name, {})
    sentence = said.get(command, said.get(""))
    if sentence is None:
        assert found.exit_code == 0, found.output
        assert json.loads((tmp_path / "run" / "summary.json").read_text())
    else:
        assert found.exit_code == 3, found.output
        assert re.search(sentence, found.output), found.output
