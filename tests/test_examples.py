"""The scripts of examples/ run and say what they promise; the notebook is run by ``make docs``."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import worldline as wl
from worldline import zoo

ROOT = Path(__file__).parents[1]


def example(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_model", "moved by the attack"),
        ("table", "of its budget"),
        ("two_models", "hardened: "),
    ],
)
def test_an_example_says_what_it_promises(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example(name).main()
    assert said in capsys.readouterr().out


@pytest.mark.end_to_end
def test_the_report_lies_where_it_was_asked_for(tmp_path: Path) -> None:
    example("report").main(tmp_path)
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.fixture(scope="module")
def checked() -> tuple[ModuleType, Any]:
    """The check, and one examination for all cases."""
    module = example("ci_check")
    data = zoo.digits()
    options = {"eps": 0.15, "attack": "pgd", "steps": 5, "samples": 40}
    return module, wl.doctor(zoo.load("mlp-adv"), data.x, data.y, **options).record


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("floor", "trustworthy", "code"), [(0.5, True, 0), (0.5, False, 4), (0.99, True, 1)]
)
def test_the_check_fails_a_build_where_robustness_fell(
    floor: float,
    trustworthy: bool,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    checked: tuple[ModuleType, Any],
) -> None:
    module, found = checked
    told = SimpleNamespace(record=replace(found, trustworthy=trustworthy))
    monkeypatch.setattr(module.wl, "doctor", lambda *_, **__: told, raising=False)
    monkeypatch.setattr(module, "FLOOR", floor)
    assert module.main() == code


@pytest.mark.law
def test_every_example_is_tested() -> None:
    there = {file.stem for file in (ROOT / "examples").glob("*.py")}
    assert there == {"own_model", "table", "two_models", "report", "ci_check"}


@pytest.mark.law
def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / "CITATION.cff").read_text("utf-8").splitlines()
    assert f"version: {project['version']}" in lines


@pytest.mark.law
def test_the_notebook_holds_no_outputs_that_grow_old() -> None:
    notebook = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text("utf-8"))
    assert not [cell for cell in notebook["cells"] if cell.get("outputs")]
