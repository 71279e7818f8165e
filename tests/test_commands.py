"""Seven commands of one shape, and a command line that is made from their configurations."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from click.testing import CliRunner

import worldline
from worldline.cli import commands as command_line
from worldline.cli.printing import plain
from worldline.commands import COMMANDS, config_of, load
from worldline.commands.base import Command
from worldline.runs.codec import schema_of
from worldline.runs.config import options_of

SOURCE = Path(worldline.__file__).parent
FILES = {"__init__", "command", "config", "page", "record", "run", "words"}
FURTHER = {
    "carriers": {"measuring", "shown", "views"},
    "encode": {"drawn"},
    "explore": {"explored", "side", "views"},
}
VERSIONS = {"carriers": 1, "compare": 3, "explore": 3}
"""Of records that are not of the second version."""
SHARED = {"page", "record", "run", "words"}
"""What one command may show of another, by its public names."""


@pytest.mark.law
@pytest.mark.parametrize("name", COMMANDS)
def test_a_field_is_named_in_few_files(name: str) -> None:
    """What a result holds is named where it is computed, kept, said and drawn, nowhere else."""
    folder = SOURCE / "commands" / name
    found = {path.stem for path in folder.iterdir() if path.suffix == ".py"}
    found |= {path.name for path in folder.iterdir() if list(path.glob("*.py"))}
    assert found - FURTHER.get(name, set()) == FILES


@pytest.mark.law
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_one_object_of_the_same_methods(name: str) -> None:
    command = load(name)
    assert type(command) is Command
    assert command.name == name == command.config.command
    assert schema_of(command.record) == f"worldline.{name}/{VERSIONS.get(name, 2)}"
    for it in fields(command):
        given = getattr(command, it.name)
        if callable(given) and given is not it.default:
            home = given.__module__
            assert home.startswith(f"worldline.commands.{name}."), f"{it.name} lives in {home}"


@pytest.mark.law
def test_no_command_imports_another_s_insides() -> None:
    for path in (SOURCE / "commands").rglob("*.py"):
        own = path.relative_to(SOURCE / "commands").parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            parts = node.module.split(".")
            if parts[:2] != ["worldline", "commands"] or len(parts) < 3 or parts[2] == own:
                continue
            if parts[2] in COMMANDS:
                assert set(parts[3:4]) & SHARED, f"{path} imports {node.module}"
                public = import_module(node.module).__all__
                inside = {it.name for it in node.names} - set(public)
                assert not inside, f"{path} imports {inside} of {node.module}"


def _holds(hint: object, kinds: tuple[str, ...], seen: set[object]) -> bool:
    """Whether a type holds one of these, however deep."""
    if hint in seen:
        return False
    seen.add(hint)
    if getattr(hint, "__name__", "") in kinds:
        return True
    parts = list(get_args(hint))
    if is_dataclass(hint) and isinstance(hint, type):
        parts += list(get_type_hints(hint).values())
    return any(_holds(part, kinds, seen) for part in parts)


@pytest.mark.law
@pytest.mark.parametrize("name", COMMANDS)
def test_records_are_typed_frozen_and_hold_no_tensor(name: str) -> None:
    record = load(name).record
    assert record.__dataclass_params__.frozen
    assert not _holds(record, ("Tensor", "ndarray", "Any"), set())


@pytest.mark.law
@pytest.mark.parametrize("name", [*COMMANDS, None])
def test_help_needs_no_torch_and_names_every_option(name: str | None) -> None:
    given = [name, "--help"] if name else ["--help"]
    code = (
        "import sys; from worldline.cli import commands\n"
        f"try: commands.main({given!r}, prog_name='worldline')\n"
        "except SystemExit: pass\n"
        "print([it for it in ('torch', 'numpy', 'pydantic', 'matplotlib') if it in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout[-200:]
    for it in options_of(config_of(name)) if name else ():
        assert it.flag.removesuffix("S") in done.stdout, it.flag


@pytest.mark.law
def test_options_of_one_meaning_have_one_name_and_one_sentence() -> None:
    said: dict[str, set[str]] = {}
    for name in COMMANDS:
        for it in options_of(config_of(name)):
            said.setdefault(it.name, set()).add(str(it.plain))
    differing = {name: kinds for name, kinds in said.items() if len(kinds) > 1}
    assert not differing


@pytest.mark.law
def test_every_command_takes_the_options_of_every_run() -> None:
    for name in COMMANDS:
        known = {it for param in command_line.commands[name].params for it in param.opts}
        assert {"--config", "--out", "--resume", "--json", "--quiet", "--debug", "--seed"} <= known


@pytest.mark.message
def test_control_characters_never_reach_the_terminal() -> None:
    assert plain("a\x1b]0;t\x07\u202eb\ud800é\n") == "a\\x1b]0;t\\x07\\u202eb\\ud800é\n"
    found = CliRunner().invoke(command_line, ["explore", "--\x1b]0;title\x07"])
    assert found.exit_code == 2
    assert "\x1b" not in found.output
    found = CliRunner().invoke(command_line, ["explore", "no\x1b[2Jsuch", "--samples", "5"])
    assert found.exit_code in (2, 3)
    assert "\x1b" not in found.output


@pytest.mark.law
def test_only_the_printer_prints() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        if path.name != "printing.py":
            assert "click.echo(" not in text, path
            assert "sys.stdout.write" not in text, path


NOISY = """
import torch
class Leaves(torch.nn.Linear):
    def forward(self, x):
        raise GeneratorExit("gone")
def leave():
    return Leaves(64, 10)
class Talks(torch.nn.Linear):
    def forward(self, x):
        import logging, os, sys, warnings
        print("printed \\x1b]0;title\\x07")
        warnings.warn("warned \\x1b[2J")
        sys.stdout.buffer.write(b"raw \\x1b[1m\\xff")
        logging.getLogger("talks").error("logged \\x1b[3m")
        assert sys.stderr.isatty() == os.isatty(sys.stderr.fileno())
        return super().forward(x.flatten(1))
def talk():
    return Talks(64, 10)
def shout():
    raise RuntimeError("shouted \\x1b]0;title\\x07")
"""


THRICE = """
import sys
from worldline.cli import commands
given = ["distant", "noisy.py:talk", "--samples", "40", "--nulls", "0", "--pairs", "2"]
for further in (["--json"], ["--quiet"], []):
    try:
        commands.main([*given, *further])
    except SystemExit as end:
        assert end.code == 0
    for stream in (sys.stdout, sys.stderr):
        print("NEXT", file=stream, flush=True)
"""


@pytest.mark.end_to_end
def test_nothing_that_a_model_says_is_obeyed_or_spoils_json(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    command = [sys.executable, "-W", "always", "-c", THRICE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"\x07" not in done.stderr
    printed, told = done.stdout.decode().split("NEXT"), done.stderr.decode().split("NEXT")
    assert len(printed) == len(told) == 4
    assert json.loads(printed[0])["model"] == "noisy.py:talk"
    assert printed[1].strip() == ""
    for text in told[:3]:
        for said in (
            "printed \\x1b]0;title\\x07",
            "warned \\x1b[2J",
            "raw \\x1b[1m",
            "logged \\x1b[3m",
        ):
            assert said in text


@pytest.mark.end_to_end
@pytest.mark.parametrize("debug", [True, False])
def test_nothing_that_an_error_says_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    monkeypatch.chdir(tmp_path)
    given = ["explore", "noisy.py:shout", *["--debug"] * debug]
    found = CliRunner().invoke(command_line, given)
    assert found.exit_code == 3
    assert "\x1b" not in found.output
    assert "\x07" not in found.output
    assert "shouted" in found.output
    assert ("Traceback" in found.output) is debug


@pytest.mark.end_to_end
def test_a_model_that_ends_the_program_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(command_line, ["explore", "noisy.py:leave", "--samples", "40"])
    assert found.exit_code == 3
    assert "The model, on inputs of shape (2, 1, 8, 8) torch.float32, raised" in found.output
    assert "GeneratorExit: gone" in found.output
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.end_to_end
def test_a_result_says_itself_in_one_line_and_in_notebooks(tmp_path: Path) -> None:
    config = config_of("encode")(name="dilation", pairs=5)
    result = load("encode")(config, tmp_path / "run")
    assert "\n" not in repr(result)
    assert load("encode").words(result.record).headline in repr(result)
    assert "<table>" in result._repr_html_()


@pytest.mark.end_to_end
def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m worldline encode dilation --pairs 5 --json | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "failure" not in done.stderr


@pytest.mark.end_to_end
def test_bars_are_drawn_and_what_a_model_says_stands_above_them(tmp_path: Path) -> None:
    """On a terminal the bars need control characters of their own, which pass unchanged."""
    (tmp_path / "noisy.py").write_text(NOISY)
    command = [sys.executable, "-m", "worldline", "distant", "noisy.py:talk", "--samples", "40"]
    main, side = os.openpty()
    with subprocess.Popen(
        [*command, "--nulls", "0", "--pairs", "2"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=side,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(side)
        said = b""
        with suppress(OSError):  # the end, on Linux
            while part := os.read(main, 2**16):
                said += part
    os.close(main)
    assert process.returncode == 0, said
    assert b"\x1b[2K" in said, "there are bars"
    assert b"printed \\x1b]0;title\\x07" in said
    assert b"\x1b]0;" not in said
    assert b"\x07" not in said
