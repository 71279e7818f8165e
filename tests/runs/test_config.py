"""Configurations: what is said of an option holds on the command line, in TOML and in Python."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldline.commands import COMMANDS, config_of
from worldline.errors import UsageError
from worldline.runs.config import AttackConfig, ModelConfig, option, options_of, parse_number


@dataclass(frozen=True, kw_only=True)
class Example(ModelConfig, AttackConfig):
    """One with every kind of option."""

    command: ClassVar[str] = "example"

    layers: tuple[str, ...] = option((), "Layers.")
    make: tuple[int, int] | None = option(None, "Two rows.")
    memory: str = option("", "A size.", kind="size")
    share: float = option(0.5, "A share.", least=0, below=1)


@pytest.mark.law
def test_toml_round_trip(tmp_path: Path) -> None:
    config = Example(eps="8/255", bounds=(0.0, 255.0), layers=("a*", "b"), make=(3, 5), share=0.25)
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert Example.read(tmp_path / "c.toml") == config
    assert Example.from_text({}, str(tmp_path / "c.toml")) == config
    assert Example.from_text({"eps": "0.1"}, str(tmp_path / "c.toml")).eps == "0.1"  # it wins


@pytest.mark.law
def test_command_line_text_is_read_by_type() -> None:
    found = Example.from_text(
        {"bounds": "0,255", "steps": "7", "make": ("1", "2"), "layers": ("x",), "share": "0.1"}
    )
    assert (found.bounds, found.steps, found.make) == ((0.0, 255.0), 7, (1, 2))
    assert (found.layers, found.share) == (("x",), 0.1)


@pytest.mark.message
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": "9" * 5000}, "--seed must be a whole number"),
        ({"seed": "-1"}, "--seed must be at least 0"),
        ({"seed": str(2**64)}, "larger than any run could use"),
        ({"eps": "1e999999999/3"}, "--eps must be a number or a fraction"),
        ({"eps": "0"}, "--eps must be positive"),
        ({"eps": ""}, "--eps must be a number"),
        ({"bounds": "0"}, "--bounds must be 'low,high'"),
        ({"bounds": "1,0"}, "low < high"),
        ({"norm": "l7"}, "one of linf, l2; got 'l7'"),
        ({"data": "\0"}, "null byte"),
        ({"steps": "nan"}, "--steps must be a whole number"),
        ({"steps": "1.5"}, "--steps must be a whole number"),
        ({"share": "nan"}, "--share must be a finite number"),
        ({"share": "1"}, "--share must be below 1"),
        ({"memory": "2"}, "--memory must be a size with its unit"),
        ({"attack": "magic"}, "--attack is pgd, fgsm, square, package.module:callable"),
        ({"image_size": "-3"}, "--image-size must be at least 0"),
        ({"make": ("1", "x")}, "--make must be a list of whole numbers"),
    ],
)
def test_what_no_run_could_use_is_refused_in_words(given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as found:
        Example.from_text(given)
    assert words in str(found.value)
    assert len(str(found.value)) < 400


@pytest.mark.message
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[example]\nbounds = [0]", "--bounds must be two numbers"),
        ("[example]\nseed = 1.5", "--seed must be a whole number"),
        ("[example]\nseed = 2024-01-01", "seed must be a whole number; got a date"),
        ("[example]\nunsafe_pickle = 1", "must be true or false"),
        ("[example]\nbogus = 1", "Unknown keys in c.toml: bogus"),
        ("x = 1", "Unknown keys in c.toml: x"),
        ("example = 3", "must be a table"),
        ("[example\n", "is not TOML"),
        ("[example]\nseed = " + "9" * 5000, "is not TOML"),
        ("[example]\nlayers = " + "[" * 3000, "is not TOML"),
    ],
)
def test_a_bad_file_is_wrong_usage(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError) as found:
        Example.read(tmp_path / "c.toml")
    assert words in str(found.value)


@pytest.mark.message
def test_what_is_no_file_is_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    for path, words in (
        ("/dev/zero", "is a pipe, socket or device"),
        (tmp_path / "pipe", "is a pipe, socket or device"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "There is no configuration"),
        (tmp_path / "bytes", "not text in UTF-8"),
        (tmp_path / "large", "longer than"),
    ):
        with pytest.raises(UsageError, match=words):
            Example.read(path)


@pytest.mark.oracle
@given(st.integers(1, 1000), st.integers(1, 1000))
def test_fractions_are_what_they_say(top: int, bottom: int) -> None:
    assert parse_number(f"{top}/{bottom}", "--eps") == top / bottom


@pytest.mark.law
@pytest.mark.parametrize("name", COMMANDS)
def test_every_field_is_an_option_with_words(name: str) -> None:
    kind = config_of(name)
    assert kind.command == name
    described = {it.name: it for it in options_of(kind)}
    for it in fields(kind):
        if it.name == "handed":  # by a call in Python
            continue
        assert it.name in described, f"{kind.__name__}.{it.name} is no option"
        assert described[it.name].option.help.endswith((".", "]")), it.name
