"""Complexity and fragility from the command line to the page."""

from __future__ import annotations

import copy
import json
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver.common.by import By

import worldline as wl
from worldline.cli import commands
from worldline.runs import RunFolder, complexity_findings

QUICK = ["--samples", "120"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["complexity", *map(str, arguments)])


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("complexity") / "run"
    result = run("mlp", "mlp-adv", *QUICK, "--eps", "0.1", "--steps", "5", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert {**json.loads(result.stdout), "report": "report.html"} == json.loads(
        (out / "summary.json").read_text()
    )
    return out


@pytest.fixture
def summary(found: Path) -> dict:
    return json.loads((found / "summary.json").read_text())


@pytest.mark.end_to_end
def test_the_summary_and_the_tables_say_the_same(found: Path, summary: dict) -> None:
    layers = pq.read_table(found / "layers.parquet")
    assert layers.schema.metadata[b"worldline_schema"] == b"worldline.complexity/1"
    told = [(it["model"], layer["name"]) for it in summary["models"] for layer in it["layers"]]
    assert list(zip(layers["model"].to_pylist(), layers["name"].to_pylist(), strict=True)) == told
    medians = [
        layer["rapidity"]["noise"]["median"] for it in summary["models"] for layer in it["layers"]
    ]
    assert layers["rapidity_noise_median"].to_pylist() == medians
    limits = pq.read_table(found / "limits.parquet")
    assert limits.num_rows == sum(len(it["limits"]) for it in summary["models"])
    samples = pq.read_table(found / "samples.parquet").to_pydict()
    for it in summary["models"]:
        radii = [
            r
            for name, r in zip(samples["model"], samples["radius_linf"], strict=True)
            if name == it["model"]
        ]
        assert len(radii) == 120
        assert it["fragility"]["most_fragile"] == list(np.argsort(radii, kind="stable")[:10])


@pytest.mark.oracle
def test_the_numbers_are_those_of_the_functions(summary: dict) -> None:
    data, first = wl.zoo.digits(), summary["models"][0]
    x, y, model = data.x[:120], data.y[:120], wl.zoo.load("mlp")
    adversarial = wl.attacks.PGD(epsilon=0.1, steps=5)(model, x, y).x
    story = wl.explain.complexity(model, x, y=y, adversarial=adversarial)
    estimate = wl.explain.fragility(model, x)
    assert first["total_boost"]["noise"]["median"] == story.total_boost["noise"].median
    assert first["layers"][1]["excess_boost"]["median"] == story.layers[1].excess_boost.median
    assert first["fragility"]["changed"]["value"] == estimate.changed.value
    assert [it["name"] for it in first["limits"]] == [it.layer.name for it in story.limits]


@pytest.mark.law
def test_no_layer_breaks_its_speed_limit(summary: dict) -> None:
    for it in summary["models"]:
        for limit in it["limits"]:
            for kind in it["pairs"]:
                assert (
                    0 <= limit["share"][kind]["median"] <= limit["share"][kind]["q90"] <= 1 + 1e-6
                )


@pytest.mark.law
def test_the_hardened_model_ranks_behind_the_plain_one(summary: dict) -> None:
    assert [summary["models"][place]["model"] for place in summary["ranking"]] == ["mlp", "mlp-adv"]


def document(name: str, value: float, half: float) -> dict:
    interval = [max(0.0, value - half), min(1.0, value + half)]
    changed = {"value": value, "interval": interval, "count": 100}
    return {
        "model": name,
        "sigma": 0.1,
        "fragility": {"changed": changed, "sigma": 0.25},
        "total_boost": {},
        "layers": [],
        "limits": [],
    }


@pytest.mark.law
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.2))
def test_models_are_told_apart_only_where_their_intervals_leave_a_gap(
    one: float, two: float, half: float
) -> None:
    models = [document("a", one, half), document("b", two, half)]
    ranking = [0, 1] if one >= two else [1, 0]
    sentence = complexity_findings({"models": models, "ranking": ranking})[0]
    intervals = [models[place]["fragility"]["changed"]["interval"] for place in ranking]
    assert (", then " in sentence) == (intervals[0][0] > intervals[1][1])
    assert (", about " in sentence) != (", then " in sentence)


@pytest.mark.end_to_end
def test_the_configuration_runs_again_to_the_same_numbers(
    found: Path, summary: dict, tmp_path: Path
) -> None:
    config = tomllib.loads((found / "config.toml").read_text())["complexity"]
    assert (config["models"], config["eps"], config["sigma"]) == (["mlp", "mlp-adv"], "0.1", "0.1")
    assert (
        run("--config", found / "config.toml", "--out", tmp_path / "again", "--quiet").exit_code
        == 0
    )
    assert json.loads((tmp_path / "again" / "summary.json").read_text()) == summary


@pytest.mark.end_to_end
def test_the_page_of_complexity(browser, found: Path, summary: dict) -> None:
    page = found / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    text = browser.find_element(By.TAG_NAME, "main").text
    for sentence in complexity_findings(summary):
        assert sentence in text
    for it in summary["models"]:
        place = summary["models"].index(it)
        bars = browser.find_elements(
            By.CSS_SELECTOR, f"[aria-labelledby='model{place}-boosts-title'] svg rect"
        )
        assert len(bars) == 2 * (
            len(it["layers"]) + 1
        )  # noise and strangers; the output stands again at the end
    rows = browser.find_elements(By.CSS_SELECTOR, "[aria-labelledby='ranking-title'] tbody tr")
    assert [row.text.split()[0] for row in rows] == ["mlp", "mlp-adv"]


@pytest.mark.end_to_end
def test_the_command_prints_the_ranking_and_what_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("linear", *QUICK)
    assert result.exit_code == 0, result.output
    assert "not a bound" in result.stdout
    assert "Report: runs/complexity-digits-1/report.html" in result.stdout


@pytest.mark.oracle
def test_the_axes_hold_the_numbers_of_the_run(found: Path, summary: dict) -> None:
    run_folder, first = RunFolder(found), summary["models"][summary["ranking"][0]]
    levels = [layer["rapidity"]["noise"]["median"] for layer in first["layers"]]
    heights = [bar.get_height() for bar in wl.plot.boost_waterfall(run_folder).patches]
    np.testing.assert_allclose(np.cumsum(heights), levels)
    shares = [bar.get_width() for bar in wl.plot.speed_limit_use(run_folder).patches]
    np.testing.assert_allclose(
        shares[: len(first["limits"])], [it["share"]["noise"]["median"] for it in first["limits"]]
    )
    points = np.asarray(wl.plot.fragility_ranking(run_folder).lines[0].get_xdata(), dtype=float)
    expected = [
        summary["models"][place]["fragility"]["changed"]["value"] for place in summary["ranking"]
    ]
    np.testing.assert_allclose(points, expected)


STRANGE = """
    import torch
    from torch import nn

    class Squares(nn.Module):
        def forward(self, x):
            x = x.flatten(1)
            return torch.stack([x[:, :32].square().sum(1), x[:, 32:].square().sum(1)], 1).repeat(1,
            5)

    def squares():
        return Squares()
"""


@pytest.mark.end_to_end
def test_a_model_without_linear_layers_has_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "strange.py").write_text(textwrap.dedent(STRANGE))
    result = run(f"{tmp_path / 'strange.py'}:squares", *QUICK, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["models"][0]
    assert told["limits"] == []
    assert "no linear or convolutional" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.message
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "Name at least one model"),
        (("mlp", "mlp"), 2, "mlp is named twice"),
        (("mlp", "--sigma", "0"), 2, "--sigma must be positive; got 0"),
        (("mlp", "--sigma", "much"), 2, "--sigma must be a number or a fraction"),
        (("mlp", "--eps", "-1"), 2, "--eps must be positive; got -1"),
        (("nothing",), 3, "There is no model 'nothing'"),
        (("mlp", "--layers", "conv9"), 3, "No layer matches 'conv9'"),
    ],
)
def test_bad_input_is_refused_in_words(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    result = run(*arguments, "--out", tmp_path / "run")
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.message
def test_figures_of_another_run_are_refused(tmp_path: Path, found: Path) -> None:
    other = RunFolder(tmp_path)
    other.write_json("summary.json", {"schema": "worldline.compare/1"})
    with pytest.raises(wl.errors.UsageError, match="holds no complexity"):
        wl.plot.boost_waterfall(other)
    with pytest.raises(wl.errors.UsageError, match="no model 'vit' in this run: name mlp, mlp-adv"):
        wl.plot.boost_waterfall(RunFolder(found), model="vit")
    with pytest.raises(
        wl.errors.UsageError, match="no pairs of kind 'twins': name one of noise, strangers"
    ):
        wl.plot.boost_waterfall(RunFolder(found), kind="twins")


@pytest.mark.end_to_end
def test_an_infinite_rapidity_leaves_a_gap_and_no_number(
    found: Path, summary: dict, tmp_path: Path
) -> None:
    changed = copy.deepcopy(summary)
    last = changed["models"][0]["layers"][-1]["rapidity"]["noise"]
    last |= {"median": None, "interval": None, "status": "infinite"}
    folder = RunFolder(tmp_path / "infinite")
    folder.write_json("summary.json", changed)
    page = wl.report.render_report(folder)
    assert "∞" in page
    assert ">nan<" not in page.lower()
