"""``worldline doctor``: its files, its words, its page, and every bad input it may be given."""

from __future__ import annotations

import importlib.util
import json
import re
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from axe_core_python.selenium import Axe
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import worldline as wl
from worldline.cli import commands

FUZZ = Path(__file__).parents[2] / "fuzz" / "command.py"
QUICK = ("--samples", "40", "--steps", "10")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mlp"
    result = run(
        "doctor",
        "mlp",
        "--samples",
        "40",
        "--steps",
        "15",
        "--attack-selftest",
        "--out",
        out,
        "--json",
    )
    assert result.exit_code == 0, result.output
    (out / "stdout.json").write_text(result.stdout)
    return out


@pytest.mark.end_to_end
def test_doctor_writes_what_it_says(finished: Path) -> None:
    document = json.loads((finished / "stdout.json").read_text())
    stored = json.loads((finished / "summary.json").read_text())
    assert {**document, "report": "report.html"} == stored
    assert stored["schema"] == "worldline.doctor/2"
    files = {"config.toml", "summary.json", "checks.parquet", "curve.png", "report.html"}
    assert files <= {path.name for path in finished.iterdir()}
    table = pq.read_table(finished / "checks.parquet")
    assert table.schema.metadata[b"worldline_schema"] == b"worldline.doctor/2"
    assert table["name"].to_pylist() == [check["name"] for check in stored["checks"]]
    assert len(set(table["name"].to_pylist())) == len(table)
    assert set(table["about"].to_pylist()) == {"model", "evaluation", "attack"}
    assert set(table["direction"].to_pylist()) == {"at most", "at least", None}
    worst = [row["accuracy"] for row in stored["worst_case"]]
    assert [row["attack"] for row in stored["worst_case"]] == [
        "none",
        "APGD-15 (CE)",
        "APGD-15 (targeted DLR)",
    ]
    assert worst == sorted(worst, reverse=True)
    assert worst[0] == stored["clean_accuracy"]
    assert worst[-1] == stored["adversarial_accuracy"] < stored["noise_accuracy"]
    assert stored["trustworthy"]
    assert (
        stored["selftest"]["planted"]
        >= stored["selftest"]["found"]
        > stored["selftest"]["found_at_random"]
    )
    curve = stored["curve"]
    assert {"norm", "attack", "samples", "chance", "points"} == set(curve)
    assert curve["points"][-1]["accuracy"] <= curve["chance"]
    for point in curve["points"]:
        assert set(point) == {"epsilon", "accuracy", "interval", "noise_accuracy", "undefined"}
        assert point["interval"][0] <= point["accuracy"] <= point["interval"][1]


@pytest.mark.end_to_end
def test_the_configuration_runs_again_to_the_same_numbers(tmp_path: Path) -> None:
    first = run("doctor", "--model", "linear", *QUICK, "--out", tmp_path / "a", "--json")
    assert (
        tomllib.loads((tmp_path / "a" / "config.toml").read_text())["doctor"]["attack"] == "strong"
    )
    again = run(
        "doctor", "--config", tmp_path / "a" / "config.toml", "--out", tmp_path / "b", "--json"
    )
    documents = [{**json.loads(result.stdout), "report": ""} for result in (first, again)]
    assert documents[0] == documents[1]
    stamp = (tmp_path / "a" / "summary.json").stat().st_mtime_ns
    assert (
        run(
            "doctor", "--model", "linear", *QUICK, "--out", tmp_path / "a", "--resume", "--quiet"
        ).exit_code
        == 0
    )
    assert (tmp_path / "a" / "summary.json").stat().st_mtime_ns == stamp


@pytest.mark.end_to_end
def test_explore_holds_the_curve_too(tmp_path: Path) -> None:
    result = run("explore", "--model", "linear", *QUICK, "--out", tmp_path / "run", "--json")
    summary = json.loads(result.stdout)
    assert summary["curve"]["attack"] == "PGD-5"
    assert summary["curve"]["samples"] == 40
    assert {"curve", "unbounded", "rounding"} <= {check["name"] for check in summary["checks"]}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A user's folder with models that hide their gradients."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        textwrap.dedent("""
        import sys
        import torch
        import worldline as wl
        from torch import nn

        class Rounded(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = wl.zoo.load("mlp")
            def forward(self, x):
                return self.model(torch.round(8 * x) / 8)

        class Hollow(nn.Module):
            def __init__(self, everywhere):
                super().__init__()
                self.model, self.everywhere = wl.zoo.load("mlp"), everywhere
            def forward(self, x):
                hollow = self.everywhere | (x.flatten(1)[:, 20:21] > 0.8)
                return self.model(x).where(~hollow, torch.nan)

        def hollow(): return Hollow(True)
        def partly(): return Hollow(False)
        def table():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
        def rounded(): return Rounded()
        def two(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        def exits(): sys.exit(5)
        def idle(model, x, y): return x
        """)
    )
    data = wl.zoo.digits()
    rows = data.y < 2
    np.savez(tmp_path / "two.npz", x=data.x[rows].numpy(), y=data.y[rows].numpy())
    table = np.random.default_rng(0).normal(size=(60, 5)).clip(-4, 4).astype(np.float32)
    np.savez(tmp_path / "table.npz", x=table, y=np.arange(60) % 3)
    return tmp_path


@pytest.mark.end_to_end
def test_the_words_on_the_terminal_and_the_exit_code(here: Path) -> None:
    broken = run("doctor", "nets.py:rounded", *QUICK, "--strict")
    assert broken.exit_code == 4
    for words in (
        "gradient-free",
        "⚠\u00a0warns",
        "at most",
        "APGD-10 (targeted DLR)",
        "upper bound on its robustness",
        "do not believe that number",
    ):
        assert words in broken.stdout, words
    told = r"Warning: gradient: 100.0% of [\d,]+ inputs have a gradient that is zero"
    assert re.search(told, broken.stderr)
    good = run(
        "doctor",
        "linear",
        "--samples",
        "20",
        "--steps",
        "20",
        "--thorough",
        "--strict",
        "--out",
        "good",
    )
    assert good.exit_code == 0, good.output
    for words in (
        "APGD-100 (DLR)",
        "Square (5,000 queries)",
        "AutoAttack",
        "None of 25 checks warns",
    ):
        assert words in good.stdout, words
    assert good.stderr == ""


@pytest.mark.end_to_end
def test_two_classes_and_an_attack_of_ones_own(here: Path) -> None:
    two = run(
        "doctor",
        "nets.py:two",
        "--data",
        "two.npz",
        "--samples",
        "20",
        "--steps",
        "5",
        "--norm",
        "l2",
        "--json",
    )
    assert two.exit_code == 0, two.output
    summary = json.loads(two.stdout)
    assert [row["attack"] for row in summary["worst_case"]][1:] == [
        "APGD-5 (CE)",
        "APGD-5 (targeted CE)",
    ]
    idle = json.loads(
        run(
            "doctor",
            "linear",
            "--samples",
            "20",
            "--attack",
            "nets.py:idle",
            "--attack-selftest",
            "--json",
        ).stdout
    )
    status = {check["name"]: check["status"] for check in idle["checks"]}
    assert (status["noise"], status["fgsm"], status["planted"]) == ("warned", "warned", "warned")
    assert (status["steps"], idle["steps"]) == ("not applicable", None)


@pytest.mark.end_to_end
def test_inputs_without_an_answer_are_counted_left_out_and_said(here: Path) -> None:
    result = run("doctor", "nets.py:partly", *QUICK, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["undefined"] > 0
    assert summary["samples"] + summary["undefined"] == 40
    assert f"{summary['undefined']} of 40 samples were left out" in summary["notes"][0]
    finite = next(check for check in summary["checks"] if check["name"] == "finite")
    assert finite["status"] == "warned"
    assert finite["value"] >= summary["undefined"] / 40  # noise may lead to further ones
    assert summary["clean_accuracy"] > 0.8
    hollow = run("doctor", "nets.py:hollow", *QUICK, "--out", "hollow")
    assert hollow.exit_code == 3
    assert "outputs of all 40 samples hold NaN" in hollow.stderr
    assert not Path("hollow").exists()


@pytest.mark.end_to_end
def test_a_table_outside_of_the_unit_range_is_examined_thoroughly(here: Path) -> None:
    options = ("--data", "table.npz", "--bounds=-4,4", "--eps", "0.5", "--samples", "20")
    result = run("doctor", "nets.py:table", *options, "--steps", "5", "--thorough", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    status = {check["name"]: check["status"] for check in summary["checks"]}
    assert (status["rounding"], status["epsilon"]) == ("not applicable", "passed")
    assert summary["worst_case"][-1]["attack"] == "Square (5,000 queries)"
    assert "every second sample of each class is reference" in summary["notes"][0]
    assert "AutoAttack was left out: it takes pictures" in summary["notes"][1]


BAD = [
    (
        ["--attack", "cw"],
        2,
        "--attack is strong, pgd, fgsm, square, package.module:callable or file.py:callable; got",
    ),
    (["mlp", "--model", "cnn"], 2, "Name the model once"),
    (["--eps", "0"], 2, "--eps must be positive"),
    (["nets.py:exits"], 3, "The factory nets.py:exits raised SystemExit: 5"),
    (["nets.py:two"], 3, "must lie in 0…1, as the model has 2 outputs"),
    (["--out", "a\0b"], 2, "--out must be the name of a folder"),
    (["--bounds", "0,2"], 3, "bounds (0, 2) are not theirs"),
    (["--config", "nets.py"], 2, "is not TOML"),
]


@pytest.mark.message
@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, words: str, here: Path
) -> None:
    result = run("doctor", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (here / "runs").exists()


@pytest.mark.end_to_end
def test_the_page_says_what_was_found(finished: Path, browser) -> None:
    requests = browser.open(finished / "report.html")
    assert [address for address in requests if not address.startswith(("data:", "file:"))] == []
    assert browser.complaints() == []
    summary = json.loads((finished / "summary.json").read_text())
    assert "robust accuracy, and no check warns" in browser.find_element("tag name", "h1").text
    text = browser.find_element("tag name", "main").text
    for check in summary["checks"]:
        assert check["sentence"].split(":")[0] in text
    assert "All checks passing does not prove robustness" in text
    found = Axe().run(browser)["violations"]
    assert [(it["id"], [node["target"] for node in it["nodes"]]) for it in found] == []
    with Image.open(finished / "curve.png") as picture:
        assert picture.size[0] > 800
    before = (finished / "report.html").read_text()
    assert run("report", finished).exit_code == 0
    assert (finished / "report.html").read_text() == before


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("fuzz_command", FUZZ)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("fuzz")
    module.make_files(folder)
    with module.inside(folder):
        yield module


@pytest.mark.message
@pytest.mark.filterwarnings("ignore")
@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_no_arguments_end_in_an_internal_failure(seed: int, fuzz) -> None:
    assert fuzz.once(seed) is None


@pytest.mark.end_to_end
def test_the_smallest_change_that_fools_stands_beside_the_fixed_radius(tmp_path: Path) -> None:
    result = run("doctor", "linear", *QUICK, "--out", tmp_path / "run", "--json")
    found = {it["norm"]: it for it in json.loads(result.stdout)["smallest"]}
    assert list(found) == ["linf", "l2", "l1", "l0"]
    assert 0 < found["linf"]["size"]["median"] < found["l2"]["size"]["median"]
    assert found["l2"]["size"]["median"] < found["l1"]["size"]["median"]
    assert found["l0"]["size"]["median"] == int(found["l0"]["size"]["median"])
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "The smallest L∞ change that fools is" in page
    assert "an upper bound by FMN-50" in page


@pytest.mark.end_to_end
def test_a_thorough_examination_of_two_classes_leaves_the_dlr_loss_out(here: Path) -> None:
    (here / "two.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5, 2))\n"
    )
    np.savez(here / "two.npz", x=np.load(here / "table.npz")["x"], y=np.arange(60) % 2)
    result = run(
        "doctor",
        "two.py:build",
        "--data",
        "two.npz",
        "--bounds=-4,4",
        *QUICK,
        "--thorough",
        "--json",
    )
    names = [it["attack"] for it in json.loads(result.stdout)["worst_case"]]
    assert not any("DLR" in name for name in names)
