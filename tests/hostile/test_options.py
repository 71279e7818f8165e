"""One table of hostile values, tried on every option of every command."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from worldline.cli import commands as command_line
from worldline.commands import COMMANDS, base, config_of
from worldline.errors import RunError
from worldline.runs.config import Described, options_of

REACHED = "everything that was given was accepted"
VALUES = {
    "empty": "",
    "null byte": "a\0b",
    "digits": "9" * 5000,
    "too large": str(2**64),
    "negative": "-1",
    "nan": "nan",
    "infinite": "inf",
    "beyond": "1e999",
    "by zero": "8/0",
    "huge fraction": "1e999999999/1e999999999",
    "escape": "\x1b]0;title\x07\x1b[2J",
    "direction": "a\u202eb",
    "surrogate": "a\udcffb",
    "long": "x" * 20_000,
    "brackets": "[red]{0}%s$(id)",
    "folder": "folder",
    "pipe": "pipe",
    "device": "/dev/zero",
    "missing": "missing/file.npz",
    "no text": "bytes.npz",
    "module": "os:getcwd",
    "file": "/etc/passwd",
    "list": "1,2,3",
}
SHARE = 14  # one in so many is tried in CI; every one with WORLDLINE_WHOLE_TABLE=1
EVERY = [
    (name, it, value)
    for name in COMMANDS
    for it in options_of(config_of(name))
    if it.plain is not bool
    for value in VALUES
]
CHOSEN = (
    EVERY
    if os.environ.get("WORLDLINE_WHOLE_TABLE")
    else random.Random(0).sample(EVERY, len(EVERY) // SHARE)
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which hostile names lead somewhere."""
    place = tmp_path_factory.mktemp("hostile")
    (place / "folder").mkdir()
    os.mkfifo(place / "pipe")
    (place / "bytes.npz").write_bytes(bytes(range(256)) * 4)
    return place


def arguments(name: str, it: Described, value: str) -> list[str]:
    """A command that is quick where it is not refused, with one hostile value."""
    own = {
        "compare": ["linear", "mlp", "--samples", "40"],
        "encode": ["dilation", "--pairs", "3"],
    }.get(name, ["linear", "--samples", "40"])
    if it.option.positional:
        return [name, *(own[1:] if name != "compare" else own[:1] + own[2:]), "--", value]
    count = 2 if it.name == "make" else 1
    return [name, *own, it.flag, *[value] * count]


@pytest.mark.message
@pytest.mark.parametrize(("name", "it", "value"), CHOSEN, ids=lambda it: getattr(it, "name", it))
def test_a_hostile_value_is_answered_in_a_sentence(
    name: str, it: Described, value: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: object, **__: object) -> None:
        raise RunError(REACHED)

    monkeypatch.chdir(here)
    monkeypatch.setattr(base, "open_run", reached)
    found = CliRunner().invoke(command_line, arguments(name, it, VALUES[value]))
    assert found.exit_code in (2, 3), (found.exit_code, found.output[-500:])
    assert "Traceback" not in found.output
    assert "internal failure" not in found.output
    assert not set(found.output) & {"\x1b", "\x07", "\u202e", "\0"}
    assert len(found.stderr) < 4000
    assert found.stderr.startswith("worldline: ")


@pytest.mark.message
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("option", ["--out", "--config", "--model"])
def test_the_options_of_every_run_take_no_harm(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["explore", "--samples", "40", "--steps", "2", option, VALUES[value], "--quiet"]
    if option == "--out":
        given = ["encode", "dilation", "--pairs", "3", option, VALUES[value], "--quiet"]
    found = CliRunner().invoke(command_line, given)
    assert found.exit_code in (0, 2, 3), (found.exit_code, found.output[-500:])
    assert "internal failure" not in found.output
    assert not set(found.output) & {"\x1b", "\x07", "\u202e", "\0"}


@pytest.mark.message
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("option", ["", "--with", "--format", "--port"])
def test_report_takes_no_harm(
    option: str, value: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    given = [option, VALUES[value], "folder"] if option else ["--", VALUES[value]]
    found = CliRunner().invoke(command_line, ["report", *given])
    assert found.exit_code in (2, 3), (found.exit_code, found.output[-500:])
    assert "internal failure" not in found.output
    assert not set(found.output) & {"\x1b", "\x07", "\u202e", "\0"}
