"""The scripts of examples/ run and say what they promise; the notebook is run by ``make docs``."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

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


@pytest.mark.end_to_end
@pytest.mark.parametrize(("floor", "code"), [(0.5, 0), (0.99, 1)])
def test_the_check_fails_a_build_where_robustness_fell(
    floor: float, code: int, monkeypatch: pytest.MonkeyPatch, checked: ModuleType
) -> None:
    monkeypatch.setattr(checked, "FLOOR", floor)
    assert checked.main() == code


@pytest.fixture(scope="module")
def checked() -> ModuleType:
    """The example with one examination for all floors."""
    module = example("ci_check")
    held = module.wl.doctor(
        module.wl.zoo.load("mlp-adv"), *_digits(module), eps=0.15, attack="pgd", samples=60
    )
    module.wl = type("Told", (), {"zoo": module.wl.zoo, "doctor": lambda *_, **__: held})
    return module


def _digits(module: ModuleType) -> tuple[object, object]:
    data = module.wl.zoo.digits()
    return data.x, data.y


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
