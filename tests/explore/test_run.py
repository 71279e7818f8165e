"""The run behind ``worldline explore``: models that are not ours, shards, and what fails early."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from worldline.commands.explore.config import ExploreConfig
from worldline.commands.explore.record import (
    PAIRS,
    SAMPLES,
    Exploration,
    PairColumns,
    SampleColumns,
)
from worldline.commands.explore.run import prepare, run
from worldline.commands.explore.words import words
from worldline.errors import InputError, ShapeError, UsageError
from worldline.runs.store import RunFolder, open_run
from worldline.settings import silent

NETS = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.skip = nn.Sequential(
            nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(y)) + self.skip(x))


def resnet():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        Block(8, 8, 2), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError("one of a kind")


def uncopied():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), Uncopied(784, 16), nn.ReLU(), nn.Linear(16, 4))


class Never(nn.Module):
    def forward(self, x):
        raise AssertionError("attacked")


def attack(model, x, y):
    raise AssertionError("attacked before everything was checked")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a ResNet with BatchNorm, trained a little, and 28×28 pictures of bars."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    generator = np.random.default_rng(0)
    y = np.arange(240) % 4
    x = 0.3 * generator.random((240, 1, 28, 28), dtype=np.float32)
    for row, label in enumerate(y):
        x[row, 0, 6 * label + 2 : 6 * label + 6] += 0.5
    np.savez(tmp_path / "bars.npz", x=x, y=y)
    space: dict[str, object] = {}
    exec(NETS, space)  # our own text
    model = space["resnet"]()  # type: ignore[operator]
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(15):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    return tmp_path


def explore(out: Path, **options: object) -> tuple[Exploration, RunFolder]:
    config = ExploreConfig(
        **{"model": "nets.py:resnet", "data": "bars.npz", "eps": "16/255", "steps": 5, **options}
    )
    given = prepare(config, silent)
    with open_run(out, config.to_toml(), stem="run", resume=out.exists()) as folder:
        record = run(config, given, folder, silent)
        folder.write_record(record)
    return record, folder


@pytest.mark.end_to_end
def test_a_resnet_with_batch_norm_is_explored(here: Path) -> None:
    """Old: an internal failure, as the key viewed a 0-dimensional buffer as bytes."""
    record, folder = explore(here / "run", weights="w.safetensors", batch_size=50)
    assert record.samples == 120
    assert record.clean_accuracy > 0.9
    assert record.fooled > 20
    assert record.complexity is not None
    assert folder.read_record(Exploration) == record
    layers = len(record.layers)
    pairs = folder.read_columns(PairColumns, PAIRS)
    samples = folder.read_columns(SampleColumns, SAMPLES)
    assert pairs.rapidity("adversarial_clean", layers).shape == (120, layers)
    y = np.load(here / "bars.npz")["y"]  # a sample is called by its row in what was given
    assert (samples.label == y[samples.sample]).all()
    assert int(samples.sample.max()) > 200
    assert (pairs.sample.reshape(120, layers)[:, 0] == samples.sample).all()
    assert any("every second sample of each class" in it for it in record.notes)
    fooled = samples.fooled
    assert int(fooled.sum()) == record.fooled
    moved = pairs.rapidity("adversarial_wrong", layers) > pairs.rapidity("adversarial_true", layers)
    stood = pairs.rapidity("clean_wrong", layers) > pairs.rapidity("clean_true", layers)
    for place, layer in enumerate(record.layers):
        share = moved[fooled, place].mean() - stood[fooled, place].mean()
        assert layer.moved_share.value == pytest.approx(share)
    depth = (1 / np.cosh(pairs.rapidity("noise_clean", layers))).sum(1)
    np.testing.assert_allclose(samples.proper_depth_noise_clean, depth)
    assert "nan" not in " ".join(words(record).findings)


@pytest.mark.end_to_end
def test_shards_are_kept_and_weights_that_were_replaced_are_attacked_anew(here: Path) -> None:
    config = ExploreConfig(
        model="nets.py:resnet",
        weights="w.safetensors",
        data="bars.npz",
        eps="16/255",
        steps=5,
        batch_size=60,
    )
    given = prepare(config, silent)

    class StoppedError(Exception):
        pass

    def stop(stage: str, done: int, _total: int) -> None:
        if stage == "Attacking" and done:
            raise StoppedError

    out = here / "run"
    with pytest.raises(StoppedError), open_run(out, config.to_toml(), stem="run") as folder:
        run(config, given, folder, stop)
    (kept,) = (out / "shards").iterdir()
    first = load_file(kept)["adversarial"]
    stamp = kept.stat().st_mtime_ns
    with (
        pytest.raises(StoppedError),
        open_run(out, config.to_toml(), stem="run", resume=True) as folder,
    ):
        run(config, given, folder, stop)
    assert kept.stat().st_mtime_ns == stamp
    weights = load_file(here / "w.safetensors")
    save_file({**weights, "7.weight": -weights["7.weight"]}, here / "w.safetensors")
    # the same configuration, other content
    record, folder = explore(out, weights="w.safetensors", batch_size=60)
    assert not (out / "shards").exists()
    assert not torch.equal(folder.read_tensors("twins.safetensors")["adversarial"][:60], first)
    assert record.samples == 120


@pytest.mark.end_to_end
def test_a_model_that_cannot_be_copied_gets_a_note(here: Path) -> None:
    record, _ = explore(here / "run", model="nets.py:uncopied")
    assert record.untrained_proper_depth is None
    assert all(layer.untrained_rapidity is None for layer in record.layers)
    assert any("There is no untrained null." in note for note in record.notes)


@pytest.mark.message
@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"frame": "whitened", "layers": ("*",)}, ShapeError, "Choose|narrower layers"),
        ({"memory": "30kB"}, UsageError, "30,000 bytes of memory are too few"),
        ({"layers": ("none*",)}, InputError, "No layer matches 'none\\*'"),
        ({"seed": -1}, UsageError, "--seed must be at least 0; got -1"),
        ({"bounds": (1.0, 0.0)}, UsageError, "low < high"),
        ({"batch_size": 0}, UsageError, "--batch-size must be at least 1"),
    ],
)
def test_everything_is_checked_before_the_attack_and_before_a_folder(
    here: Path, options: dict[str, object], error: type[Exception], said: str
) -> None:
    (here / "wide.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 676, 4))\n"
    )
    with pytest.raises(error, match=said):
        explore(here / "run", model="wide.py:build", attack="nets.py:attack", **options)
    assert not (here / "run").exists()
