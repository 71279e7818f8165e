"""Folders, records and keys: what is written comes back, what is damaged is said."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from worldline.errors import RunError
from worldline.runs.codec import from_json, to_columns, to_json
from worldline.runs.keys import content_key
from worldline.runs.store import RunFolder, open_run
from worldline.statistics import Share


@dataclass(frozen=True)
class Row:
    """One row."""

    name: str
    value: float | None
    share: Share
    by: Mapping[str, float]


@dataclass(frozen=True)
class Example:
    """A record."""

    rows: tuple[Row, ...]
    interval: tuple[float, float] | None
    schema: Literal["worldline.example/2"] = "worldline.example/2"


@dataclass(frozen=True)
class Columns:
    """A record of arrays."""

    sample: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    schema: Literal["worldline.example/2"] = "worldline.example/2"


NUMBERS = st.none() | st.floats(allow_nan=False)


@pytest.mark.law
@given(NUMBERS, st.text(), st.floats(allow_nan=False))
def test_records_come_back_as_they_were(value: float | None, name: str, part: float) -> None:
    name = name.encode("utf-8", "replace").decode()
    record = Example(
        (Row(name, value, Share(0.5, (0.1, 0.9), 3), {name: part}),), (-math.inf, math.inf)
    )
    assert from_json(Example, to_json(record), "here") == record


@pytest.mark.law
def test_the_two_infinities_and_nothing_are_told_apart() -> None:
    said = {
        to_json(Example((), (value, 0.0)) if value is not None else Example((), None), indent=None)
        for value in (math.inf, -math.inf, None)
    }
    assert len(said) == 3


@pytest.mark.message
def test_nan_has_no_place_in_a_record() -> None:
    with pytest.raises(ValueError, match="holds NaN"):
        to_json(Example((), (math.nan, 0.0)))
    assert "NaN" in to_json(Row("NaN", 1.0, Share(None, None, 0), {}))  # a name is no number


@pytest.mark.message
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"schema": "worldline.example/1"}', "this version reads 'worldline.example/2'"),
        ('{"schema": "worldline.example/2", "rows": 3, "interval": null}', "rows"),
        ('{"schema": "worldline.example/2"}', "is damaged"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_damaged_records_are_said(text: str, words: str) -> None:
    with pytest.raises(RunError) as found:
        from_json(Example, text, "summary.json")
    assert words in str(found.value)
    assert "summary.json" in str(found.value)


@pytest.mark.law
def test_rows_become_columns() -> None:
    columns = to_columns([Row("a", None, Share(0.5, (0.25, 0.75), 4), {"x": 1.0})])
    assert columns["share_value"] == [0.5]
    assert columns["share_low"] == [0.25]
    assert columns["by_x"] == [1.0]


@pytest.mark.law
def test_arrays_come_back_and_missing_columns_are_said(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    given = Columns(np.arange(3), np.array([math.inf, -math.inf, math.nan]))
    folder.write_columns("a.parquet", given)
    back = folder.read_columns(Columns, "a.parquet")
    np.testing.assert_array_equal(back.value, given.value)
    folder.write_table("b.parquet", {"sample": [1]}, schema="x")
    with pytest.raises(RunError, match="has no value"):
        folder.read_columns(Columns, "b.parquet")


@pytest.mark.law
def test_a_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "run", "", stem="x"):
        raise ZeroDivisionError
    assert not (tmp_path / "run").exists()
    with open_run(tmp_path / "run", "", stem="x") as folder:
        folder.write_text("part", "kept")
        with pytest.raises(RunError, match="Another process works in"):
            open_run(tmp_path / "run", "", stem="x", resume=True).__enter__()
    with pytest.raises(RunError, match="exists already"):
        open_run(tmp_path / "run", "", stem="x").__enter__()
    with pytest.raises(RunError, match="another configuration"):
        open_run(tmp_path / "run", "other", stem="x", resume=True).__enter__()
    with open_run(tmp_path / "run", "", stem="x", resume=True) as folder:
        assert folder.holds("part")


TAKE = """
import sys
from pathlib import Path
from typing import Any
from worldline.errors import RunError
from worldline.runs.store import open_run
def take(path):
    try:
        with open_run(path, "", stem="x"):
            return "mine"
    except RunError:
        return "taken"
"""
CHILD = """
print("ready", flush=True)
sys.stdin.readline()
print(*(take(Path(sys.argv[1]) / str(number)) for number in range(50)))
"""


@pytest.mark.end_to_end
def test_two_processes_cannot_take_one_folder(tmp_path: Path) -> None:
    """Both go through fifty names at once: they meet inside of some, and come late to others."""
    own: dict[str, Any] = {}
    exec(TAKE, own)
    command = [sys.executable, "-c", TAKE + CHILD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        here = [own["take"](tmp_path / str(number)) for number in range(50)]
        there = other.stdout.read().split()
    assert [sorted(pair) for pair in zip(here, there, strict=True)] == [["mine", "taken"]] * 50


@pytest.mark.message
def test_free_names_and_names_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        with open_run(None, "", stem="x") as folder:
            folder.write_text("part", "")
        assert folder.path == Path(f"runs/x-{number}")
    (tmp_path / "file").write_text("")
    for path, words in (
        ("file", "is a file"),
        ("file/run", "is a file"),
        ("a" * 300, "cannot be made"),
    ):
        with pytest.raises(RunError, match=words):
            open_run(Path(path), "", stem="x").__enter__()


@pytest.mark.message
def test_no_space_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        RunFolder(tmp_path).write_text("a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def everything() -> dict[str, torch.Tensor]:
    """One tensor of each kind that a state dict can hold."""
    ones = torch.ones(2, 3)
    steps = torch.tensor([0.1, 0.2]), torch.tensor([0, 0])
    return {
        "0-dimensional": torch.tensor(3),
        "empty": torch.empty(0, 4),
        "bool": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "half": torch.ones(2, dtype=torch.float16),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "by channel": torch.quantize_per_channel(ones, *steps, 0, torch.qint8),
        "meta": torch.empty(3, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "rows": torch.eye(3).to_sparse_csr(),
        "columns": torch.eye(3).to_sparse_csc(),
        "blocks": torch.eye(4).to_sparse_bsr((2, 2)),
        "strided": torch.arange(6.0).view(2, 3).T,
    }


@pytest.mark.law
@pytest.mark.filterwarnings("ignore:torch.quantize", "ignore:Sparse CSR")
@pytest.mark.filterwarnings("ignore:Sparse BSR", "ignore:Sparse CSC")
def test_everything_that_a_state_dict_can_hold_has_a_key() -> None:
    keys = {name: content_key(tensor) for name, tensor in everything().items()}
    assert keys == {name: content_key(tensor) for name, tensor in everything().items()}
    assert len(set(keys.values())) == len(keys)


@pytest.mark.law
def test_a_model_with_batchnorm_has_a_key_that_its_counters_change() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = content_key(model)
    model(torch.rand(2, 1, 5, 5))
    assert content_key(model) != before
