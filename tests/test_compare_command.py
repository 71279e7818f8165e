"""Comparing models from the command line to the page."""

from __future__ import annotations

import json
import textwrap
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from selenium.webdriver.common.by import By

import worldline as wl
from worldline.cli import commands
from worldline.commands import load
from worldline.commands.compare.config import CompareConfig
from worldline.commands.compare.record import Comparison
from worldline.commands.compare.run import _content
from worldline.commands.compare.words import words as say
from worldline.commands.rendering import write_report
from worldline.compare import Surrogate
from worldline.report.numbers import cell
from worldline.runs.codec import from_json, to_json
from worldline.runs.store import RunFolder

QUICK = ["--samples", "120", "--probed-samples", "40", "--steps", "5"]
FOUR = ["linear", "linear@1", "mlp", "mlp@1"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "run"
    result = run(*FOUR, *QUICK, "--measure", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert {**json.loads(result.stdout), "report": "report.html"} == json.loads(
        (out / "summary.json").read_text()
    )
    return out


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with factories, weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        textwrap.dedent("""
        import torch
        from torch import nn

        def build():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

        def five():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

        def wide():
            return nn.Sequential(nn.Flatten(), nn.Linear(81, 10))

        def soft():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))

        def constant():
            class Constant(nn.Module):
                def forward(self, x):
                    return torch.zeros(len(x), 10)
            return Constant()

        def explodes():
            raise RuntimeError("no licence")

        def no_gradient():
            class Box(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.inner = nn.Linear(64, 10)
                def forward(self, x):
                    with torch.no_grad():
                        return self.inner(x.flatten(1))
            return Box()
        """)
    )
    torch.manual_seed(0)
    save_file(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).state_dict(),
        tmp_path / "w.safetensors",
    )
    data = wl.zoo.digits()
    np.savez(tmp_path / "few.npz", x=data.x[:40].numpy(), y=data.y[:40].numpy())
    return tmp_path


@pytest.mark.end_to_end
def test_the_summary_holds_prediction_measurement_and_judgement(measured: Path) -> None:
    summary = json.loads((measured / "summary.json").read_text())
    assert summary["models"] == FOUR
    for key in ("predicted", "measured", "similarity", "same_mistake", "noise_rate"):
        assert np.array(summary[key], dtype=float).shape == (4, 4)
    assert np.array(summary["predicted_interval"]).shape == (4, 4, 2)
    judged = summary["judge"]
    within = judged["predicted"]["within_target"]
    assert within["interval"][0] <= within["value"] <= within["interval"][1]
    assert "gradient_cosine" in judged["rivals"]
    assert sorted(summary["order"]) == [0, 1, 2, 3]
    assert len(summary["tree"]) == 3
    assert {it["name"] for it in summary["surrogates"]["mlp"]} == set(FOUR) - {"mlp"}
    assert (
        summary["surrogates"]["linear"][0]["name"] == "linear@1"
    )  # the same shape and data: its nearest stand-in


@pytest.mark.end_to_end
def test_the_table_and_the_samples_agree_with_the_summary(measured: Path) -> None:
    summary = json.loads((measured / "summary.json").read_text())
    table = pq.read_table(measured / "pairs.parquet")
    assert table.schema.metadata[b"worldline_schema"] == b"worldline.compare/3"
    assert table.num_rows == 16
    for key in ("predicted", "measured", "similarity"):
        np.testing.assert_allclose(table[key].to_numpy().reshape(4, 4), np.array(summary[key]))
    samples = load_file(measured / "samples.safetensors")
    right, fooled, noise = (samples[name].double() for name in ("right", "fooled", "noise_fooled"))
    rate = (fooled.sum(-1) - noise.sum(-1)) / right.sum(-1)
    np.testing.assert_allclose(rate.numpy(), np.array(summary["measured"]), atol=1e-12)
    np.testing.assert_allclose(right.mean(1).numpy(), np.array(summary["accuracy"]), atol=1e-12)
    assert not (measured / "sources").exists()


@pytest.mark.end_to_end
def test_the_configuration_runs_again_to_the_same_numbers(measured: Path, tmp_path: Path) -> None:
    config = measured / "config.toml"
    assert tomllib.loads(config.read_text())["compare"]["measure"] is True
    assert run("--config", config, "--out", tmp_path / "again", "--quiet").exit_code == 0
    again, first = (
        json.loads((folder / "summary.json").read_text())
        for folder in (tmp_path / "again", measured)
    )
    assert again == first


@pytest.mark.end_to_end
def test_without_measure_nothing_is_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attacked(*_: object, **__: object) -> None:
        raise AssertionError("something was attacked")

    monkeypatch.setattr("worldline.compare.measure", attacked)
    monkeypatch.setattr("worldline.compare.baselines", attacked)
    result = run("linear", "mlp", *QUICK, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["measured"] is None
    assert summary["judge"] is None
    assert "Expected rate" in result.stdout
    assert f"Report: {tmp_path / 'run' / 'report.html'}" in result.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Nothing was attacked" in page


@pytest.mark.end_to_end
def test_the_page_of_a_comparison(browser, measured: Path) -> None:
    page = measured / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    assert page.stat().st_size <= 2_500_000
    summary = json.loads((measured / "summary.json").read_text())
    text = browser.find_element(By.TAG_NAME, "main").text
    record = from_json(Comparison, (measured / "summary.json").read_text(), "here")
    for sentence in say(record).findings:
        assert sentence in text
    drawn = browser.find_elements(By.CSS_SELECTOR, "[data-figure=tree] svg text")
    assert {it.text for it in drawn} >= set(summary["models"])
    heats = browser.execute_script(
        "return [...document.querySelectorAll('table.heat')].map((it) => "
        "[...it.querySelectorAll('td')].map((it) => it.textContent))"
    )
    for place, key in enumerate(
        ("similarity", "predicted", "measured", "same_mistake", "noise_rate")
    ):
        cells = [
            summary[key][row][column] for row in summary["order"] for column in summary["order"]
        ]
        assert heats[place] == [cell(it) for it in cells], key


@pytest.mark.end_to_end
def test_hostile_model_names_are_text(browser, measured: Path, tmp_path: Path) -> None:
    hostile = '</script><img src=x onerror="document.title=1"><b>'
    copy = RunFolder(tmp_path / "hostile")
    text = (measured / "summary.json").read_text().replace('"mlp"', json.dumps(hostile))
    copy.write_text("summary.json", text)
    requested = browser.open(write_report(copy))
    assert all(url.startswith(("file:", "data:")) for url in requested)
    assert browser.find_elements(By.CSS_SELECTOR, "img, main b") == []
    assert browser.complaints() == []


@pytest.mark.end_to_end
def test_a_measurement_that_was_stopped_goes_on(tmp_path: Path) -> None:
    config = CompareConfig(
        models=("linear", "mlp"), measure=True, samples=60, steps=3, probed_samples=20, eps="0.1"
    )
    attacked: list[str] = []

    def stop(stage: str, done: int, _total: int) -> None:
        attacked.append(stage)
        if stage == "Measuring transfer" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("compare")(config, tmp_path / "run", progress=stop)
    kept = list((tmp_path / "run" / "sources").iterdir())
    assert len(kept) == 1
    again = load("compare")(config, tmp_path / "run", resume=True)
    whole = load("compare")(config, tmp_path / "other")
    assert again.record == whole.record
    assert not (tmp_path / "run" / "sources").exists()


@pytest.mark.end_to_end
def test_replaced_weights_are_attacked_again(here: Path) -> None:
    """The old key knew the names of the models alone: it answered with the old weights' attack."""
    config = CompareConfig(
        models=("linear", "nets.py:build@w.safetensors"),
        measure=True,
        samples=60,
        steps=3,
        probed_samples=20,
    )

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "Measuring what others use":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("compare")(config, here / "run", progress=stop)
    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    save_file(other.state_dict(), here / "w.safetensors")
    again = load("compare")(config, here / "run", resume=True)
    whole = load("compare")(config, here / "other")
    assert again.record == whole.record


@pytest.mark.law
def test_a_key_knows_the_code_of_a_model_as_well(here: Path) -> None:
    """Structure and weights are the same; what the model makes of them is another thing."""

    class Turned(torch.nn.Sequential):
        turned = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flip(1) if self.turned else x)

    model, x = Turned(torch.nn.Linear(8, 3)), torch.rand(30, 8)
    loader = wl.compare.Loader(lambda: model)
    before = _content("a", loader, x, 256)
    assert _content("a", loader, x, 256) == before
    model.turned = True
    assert _content("a", loader, x, 256) != before


def told(**changed: object) -> Comparison:
    """A comparison of two models, with what is changed."""
    two = ((0.5, 0.01), (0.02, 0.4))
    spread = (((0.4, 0.6), (0.0, 0.02)), ((0.0, 0.03), (0.3, 0.5)))
    base = Comparison(
        models=("a", "b"),
        kinds=("logits", "logits"),
        sights=("white", "white"),
        data="d",
        data_split="s",
        samples=60,
        bounds=(0.0, 1.0),
        epsilon=0.1,
        epsilon_text="0.1",
        norm="linf",
        seed=0,
        probed_samples=20,
        probes=16,
        predicted=two,
        predicted_interval=spread,
        similarity=((1.0, 0.3), (0.3, 1.0)),
        similarity_interval=(((1.0, 1.0), (0.2, 0.4)), ((0.2, 0.4), (1.0, 1.0))),
        order=(0, 1),
        tree=((0, 1, 0.7),),
        surrogates={},
        ensembles=(),
        attack=None,
        steps=None,
        measured=None,
        measured_interval=None,
        noise_rate=None,
        same_mistake=None,
        accuracy=None,
        judge=None,
        failures=(),
        notes=(),
        versions={},
    )
    return replace(base, **changed)  # type: ignore[arg-type]


@pytest.mark.message
def test_a_stand_in_is_the_best_only_where_the_intervals_say_so() -> None:
    one, two = Surrogate("b", 0.2, (0.15, 0.25), 0.3), Surrogate("c", 0.1, (0.05, 0.14), 0.0)
    said = " ".join(say(told(surrogates={"a": (one, two)})).findings)
    assert "Clearly the best stand-in is b for a (by expected rates)" in said
    close = replace(two, interval=(0.0, 0.2))
    said = " ".join(say(told(surrogates={"a": (one, close)})).findings)
    assert "Clearly" not in said
    assert "overlap" in said


@pytest.mark.message
def test_sentences_hold_in_the_empty_and_the_contrary_case() -> None:
    none = ((None, None), (None, None))
    unknown = say(told(similarity=none, similarity_interval=none))
    assert "no two could be compared" in unknown.headline
    said = say(told(measured=none, measured_interval=none, attack="pgd", steps=5))
    assert any("No transfer could be measured" in it for it in said.findings)
    assert "a and b answer small changes alike with a mean cosine of 0.30" in said.headline
    zero = ((0.0, 0.0), (0.0, 0.0))
    flat = told(measured=zero, measured_interval=(((0.0, 0.0),) * 2,) * 2, attack="pgd", steps=5)
    assert any("the two intervals overlap" in it for it in say(flat).findings)
    three = told(
        models=("a", "b", "c"),
        similarity=((1.0, 0.3, 0.29), (0.3, 1.0, 0.1), (0.29, 0.1, 1.0)),
        similarity_interval=(((0.2, 0.4),) * 3,) * 3,
    )
    assert "are among those that share most" in say(three).headline
    assert to_json(three)


@pytest.mark.end_to_end
def test_own_models_and_one_that_drops_out(here: Path) -> None:
    own = (
        "linear",
        "nets.py:build@w.safetensors",
        "nets.py:soft",
        "nets.py:explodes",
        "nets.py:no_gradient",
    )
    result = run(*own, *QUICK, "--measure", "--out", "mixed")
    assert result.exit_code == 0, result.output
    summary = json.loads(Path("mixed/summary.json").read_text())
    failed = {it["model"]: it["reason"] for it in summary["failures"]}
    assert "no licence" in failed["nets.py:explodes"]
    assert "nets.py:no_gradient" in failed  # it answers, so it is predicted; it cannot be attacked
    assert summary["models"] == list(own[:3])
    assert summary["kinds"] == ["logits", "logits", "probabilities"]
    assert any("probabilities" in note for note in summary["notes"])
    assert "nets.py:explodes dropped out" in result.stdout


BAD = [
    ([], 2, "Name at least 2 models"),
    (["cnn"], 2, "Name at least 2 models"),
    (["cnn", "cnn"], 2, "cnn is named twice. Another seed of a zoo model is cnn@1"),
    (["cnn", "mpl"], 3, "Did you mean 'mlp'?"),
    (["cnn", "mlp@first"], 3, "comes a seed such as mlp@1; got 'first'"),
    (["--zoo", "all"], 2, "--zoo takes 'default'"),
    (["linear", "nets.py:five"], 3, "5 classes where the models before it have 10"),
    (["linear", "nets.py:wide"], 3, "refused inputs"),
    (["linear", "nets.py:constant"], 3, "the same answer to all"),
    (["linear", "nets.py:explodes"], 3, "no licence"),
    (["linear", "nets.py:build@missing.pt"], 3, "no weights file 'missing.pt'"),
    (["linear", "mlp", "--data", "few.npz"], 3, "At least 30 samples"),
    (["linear", "mlp", "--eps", "0"], 2, "--eps must be positive"),
    (["linear", "mlp", "--probes", "0"], 2, "--probes must be at least 2"),
    (["linear", "mlp", "--norm", "l1"], 2, "one of linf, l2; got 'l1'"),
    (["linear", "mlp", "--resume"], 2, "--out"),
    (["linear", "mlp", "--device", "warp"], 2, "--device 'warp'"),
]


@pytest.mark.message
@pytest.mark.parametrize(
    ("arguments", "code", "words"), BAD, ids=[" ".join(row[0]) or "none" for row in BAD]
)
def test_bad_input_is_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, words: str, here: Path
) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert not (here / "runs").exists() or not list((here / "runs").glob("*/summary.json"))
