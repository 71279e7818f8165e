"""Distant pairs from the command line to the page."""

from __future__ import annotations

import json
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import worldline as wl
from worldline.cli import commands
from worldline.runs import RunFolder

QUICK = ["--model", "mlp", "--samples", "200", "--pairs", "5", "--nulls", "2"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["distant", *map(str, arguments)])


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("distant") / "run"
    result = run(
        *QUICK, "--make", "3", "5", "--eps", "0.3", "--steps", "60", "--out", out, "--json"
    )
    assert result.exit_code == 0, result.output
    assert {**json.loads(result.stdout), "report": "report.html"} == json.loads(
        (out / "summary.json").read_text()
    )
    return out


@pytest.mark.end_to_end
def test_the_summary_and_the_tables_say_the_same(found: Path) -> None:
    summary = json.loads((found / "summary.json").read_text())
    assert [len(summary[side]) for side in ("merged", "opposed")] == [5, 5]
    pairs = pq.read_table(found / "pairs.parquet").to_pylist()
    lines = pq.read_table(found / "worldlines.parquet")
    assert (
        pq.read_table(found / "pairs.parquet").schema.metadata[b"worldline_schema"]
        == b"worldline.distant/1"
    )
    layers = len(summary["layers"])
    worldlines = lines["rapidity"].to_numpy().reshape(-1, layers)
    for row, (stored, told) in enumerate(
        zip(pairs, [*summary["merged"], *summary["opposed"]], strict=True)
    ):
        assert [stored["first"], stored["second"]] == told["samples"]
        assert [stored["first_label"], stored["second_label"]] == told["labels"]
        assert stored["first_label"] != stored["second_label"]
        assert stored["rapidity"] == pytest.approx(told["rapidity"])
        assert stored["input_distance"] >= summary["least_distance"]
        np.testing.assert_allclose(worldlines[row], told["worldline"])
        assert worldlines[row][summary["layer_index"]] == pytest.approx(told["rapidity"])
    assert [row["rapidity"] for row in pairs[:5]] == sorted(
        (row["rapidity"] for row in pairs[:5]), reverse=True
    )
    assert [row["rapidity"] for row in pairs[5:]] == sorted(row["rapidity"] for row in pairs[5:])
    classes = pq.read_table(found / "classes.parquet")
    assert classes.num_rows == 10 * 10 * layers
    assert summary["classes"]["labels"] == list(range(10))


@pytest.mark.oracle
def test_the_found_pairs_are_the_most_entangled_of_all(found: Path) -> None:
    """Every pair, one by one, in float64."""
    summary = json.loads((found / "summary.json").read_text())
    data, model = wl.zoo.digits(), wl.zoo.load("mlp")
    x, y, name = data.x[:200], data.y[:200], summary["layer"]
    features = wl.trace.collect(model, x, [name])[name].double()
    features = features - wl.trace.collect(model, data.reference_x, [name])[name].double().mean(0)
    first, second = torch.triu_indices(200, 200, 1)
    far = (x[first] - x[second]).flatten(1).double().norm(dim=1) >= summary["least_distance"] - 1e-6
    eligible = far & (y[first] != y[second])
    phi = wl.rapidity(features[first[eligible]], features[second[eligible]])
    for side, expected in (
        ("merged", phi.topk(5).values),
        ("opposed", phi.topk(5, largest=False).values),
    ):
        np.testing.assert_allclose(
            [pair["rapidity"] for pair in summary[side]], expected, atol=1e-4
        )


@pytest.mark.end_to_end
def test_the_made_pair_keeps_its_budget(found: Path) -> None:
    summary, data = json.loads((found / "summary.json").read_text()), wl.zoo.digits()
    tensors = load_file(found / "inputs.safetensors")
    change = (tensors["made"][0] - data.x[3]).abs().max()
    assert change <= 0.3 + 1e-6
    assert float(change) == pytest.approx(summary["made"]["change"], abs=1e-6)
    assert torch.equal(tensors["stranger"][0], data.x[5])
    assert summary["made"]["distance"] < summary["made"]["distance_before"]
    assert len(summary["made"]["path_distance"]) == 61
    assert len(tensors["path"]) == len(summary["made"]["shown_steps"])


@pytest.mark.end_to_end
def test_the_configuration_runs_again_to_the_same_numbers(found: Path, tmp_path: Path) -> None:
    config = tomllib.loads((found / "config.toml").read_text())["distant"]
    assert (config["model"], config["make"], config["eps"], config["nulls"]) == (
        "mlp",
        [3, 5],
        "0.3",
        2,
    )
    assert (
        run("--config", found / "config.toml", "--out", tmp_path / "again", "--quiet").exit_code
        == 0
    )
    again, first = (
        json.loads((folder / "summary.json").read_text()) for folder in (tmp_path / "again", found)
    )
    assert again == first


@pytest.mark.end_to_end
def test_the_page_of_distant_pairs(browser, found: Path) -> None:
    page = found / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    assert page.stat().st_size <= 2_500_000
    summary = json.loads((found / "summary.json").read_text())
    text = browser.find_element(By.TAG_NAME, "main").text
    for sentence in wl.runs.distant_findings(summary):
        assert sentence in text
    assert len(browser.find_elements(By.CSS_SELECTOR, ".card")) == 10
    assert (
        len(browser.find_elements(By.CSS_SELECTOR, ".card svg polyline")) == 20
    )  # trained and untrained
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
    select = Select(browser.find_element(By.ID, "choose-layer"))
    assert select.first_selected_option.text == summary["layer"]
    script = "return [...document.querySelectorAll('#classes td')].map((it) => it.textContent)"
    for layer in (0, len(summary["layers"]) - 1):
        select.select_by_value(str(layer))
        cells = [cell[layer] for row in summary["classes"]["median"] for cell in row]
        told = ["–" if it is None else f"{it:.2f}".replace("0.", ".", 1) for it in cells]
        assert browser.execute_script(script) == told
    assert browser.complaints() == []


@pytest.mark.end_to_end
def test_hostile_names_are_text(browser, found: Path, tmp_path: Path) -> None:
    hostile = '</script><img src=x onerror="document.title=1"><b>'
    copy = RunFolder(tmp_path / "hostile")
    summary = json.loads((found / "summary.json").read_text())
    summary |= {
        "model": hostile,
        "data": hostile,
        "layer": hostile,
        "notes": [hostile],
        "class_names": [hostile] * 10,
    }
    summary["layers"][0]["name"] = hostile
    copy.write_json("summary.json", summary)
    copy.write_bytes("inputs.safetensors", (found / "inputs.safetensors").read_bytes())
    requested = browser.open(wl.report.write_report(copy))
    assert all(url.startswith(("file:", "data:")) for url in requested)
    assert browser.find_elements(By.CSS_SELECTOR, "img[src='x'], main b") == []
    assert browser.complaints() == []


BAD = [
    (["--make", "3", "3"], 2, "two different samples"),
    (["--make", "3", "700"], 2, "there are 200"),
    (["--eps", "0.1"], 2, "--make A B"),
    (["--opposite"], 2, "--make A B"),
    (["--make", "1", "2", "--eps", "-1"], 2, "--eps must be positive"),
    (["--pairs", "0"], 2, "--pairs must be at least 1"),
    (["--nulls", "-1"], 2, "--nulls must be at least 0"),
    (["--input-quantile", "1"], 2, "--input-quantile must be in [0, 1)"),
    (["--frame", "moving"], 2, "moving"),
    (["--layer", "relu9"], 3, "relu9"),
    (["--data", "one.npz"], 3, "class"),
    (["--data", "copies.npz"], 3, "identical"),
    (["--model", "mpl"], 3, "Did you mean 'mlp'?"),
    (["--resume"], 2, "--out"),
    (["--config", "bad.toml"], 2, "Unknown keys"),
]


@pytest.mark.message
@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = wl.zoo.digits()
    same = data.x[:1].expand(60, -1, -1, -1)
    reference = {
        "reference_x": data.reference_x[:50].numpy(),
        "reference_y": data.reference_y[:50].numpy(),
    }
    np.savez("one.npz", x=data.x[:60].numpy(), y=np.zeros(60, dtype=int), **reference)
    np.savez("copies.npz", x=same.numpy(), y=data.y[:60].numpy(), **reference)
    Path("bad.toml").write_text(
        textwrap.dedent("""\
        [distant]
        pears = 3
    """)
    )
    given = [] if "--model" in arguments else ["--model", "linear"]
    result = run(*given, "--samples", "200", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.end_to_end
def test_without_nulls_and_with_images_of_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = wl.zoo.digits()
    np.savez("mine.npz", x=data.x[:120].numpy(), y=data.y[:120].numpy())
    result = run(
        "--model",
        "linear",
        "--layer",
        "logits",
        "--data",
        "mine.npz",
        "--nulls",
        "0",
        "--out",
        "run",
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["untrained"] is None
    assert summary["merged_beyond_untrained"] is None
    assert "untrained" not in " ".join(wl.runs.distant_findings(summary))
    assert f"Report: {Path('run/report.html')}" in result.stdout
