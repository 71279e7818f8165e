"""Files of a finished run, damaged: every answer is a sentence and an exit code."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worldline.cli import commands as command_line
from worldline.commands import COMMANDS

QUICK = {
    "explore": ["linear", "--samples", "60", "--steps", "3"],
    "carriers": ["linear", "--samples", "60", "--steps", "3"],
    "compare": ["linear", "mlp", "--samples", "60", "--probed-samples", "20", "--probes", "8"],
    "complexity": ["linear", "--samples", "40"],
    "distant": ["linear", "--samples", "80", "--nulls", "0", "--pairs", "2"],
    "encode": ["dilation", "--pairs", "3"],
    "doctor": ["linear", "--samples", "40", "--steps", "3"],
}
TRIALS = int(os.environ.get("WORLDLINE_DAMAGES", "8"))  # of each command in CI; more by hand


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line, list(map(str, arguments)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("finished")
    for name in COMMANDS:
        found = run(name, *QUICK[name], "--out", place / name, "--quiet")
        assert found.exit_code == 0, found.output
    return {name: place / name for name in COMMANDS}


def truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(max(len(content), 1))])


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 8])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def swap(path: Path, chance: random.Random) -> None:
    others = [it for it in path.parent.iterdir() if it.is_file() and it != path]
    shutil.copy(chance.choice(others), path)


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def pipe(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path, _: random.Random) -> None:
    path.unlink()


def unreadable(path: Path, _: random.Random) -> None:
    path.write_bytes(b"\xff\xfe" + path.read_bytes())


HARMS: tuple[Callable[[Path, random.Random], None], ...] = (
    truncate,
    flip,
    flip,
    swap,
    empty,
    pipe,
    folder,
    gone,
    unreadable,
)


@pytest.mark.message
@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_run_is_answered_in_a_sentence(
    name: str, trial: int, finished: dict[str, Path], tmp_path: Path
) -> None:
    chance = random.Random(f"{name} {trial}")
    copy = tmp_path / "run"
    shutil.copytree(finished[name], copy)
    files = sorted(it for it in copy.iterdir() if it.is_file() and it.name != "report.html")
    path, harm = chance.choice(files), chance.choice(HARMS)
    harm(path, chance)
    for given in (
        ["report", copy],
        [name, *QUICK[name], "--out", copy, "--resume", "--quiet"],
        ["report", copy, "--format", "md,json"],
    ):
        found = run(*given)
        told = f"{harm.__name__} of {path.name}, then {given[0]}: {found.output[-400:]}"
        assert found.exit_code in (0, 2, 3), told
        assert "internal failure" not in found.output, told
        assert "Traceback" not in found.output, told
        assert not [it.name for it in copy.iterdir() if it.name.endswith(".tmp")], told


@pytest.mark.message
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_leaves_no_temporary_file(
    name: str, finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = run(name, *QUICK[name], "--out", tmp_path / "run")
    assert found.exit_code == 3
    assert "No space left on device" in found.stderr
    assert not (tmp_path / "run").exists()
    copy = tmp_path / "copy"
    shutil.copytree(finished[name], copy)
    before = sorted(it.name for it in copy.iterdir())
    found = run("report", copy)
    assert found.exit_code == 3
    assert sorted(it.name for it in copy.iterdir()) == before


@pytest.mark.message
def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    found = run("encode", *QUICK["encode"])
    assert found.exit_code == 3
    assert "cannot be made" in found.stderr
    monkeypatch.chdir(tmp_path)


@pytest.mark.message
def test_names_of_runs_cannot_speak_to_the_terminal(
    finished: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "a\x1b]0;title\x07"
    shutil.copytree(finished["encode"], copy)
    found = run("report", copy)
    assert found.exit_code == 0, found.output
    assert "\x1b" not in found.output
    found = run("encode", *QUICK["encode"], "--out", copy)
    assert found.exit_code == 3
    assert not set(found.output) & {"\x1b", "\x07"}
