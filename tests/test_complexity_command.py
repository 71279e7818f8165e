"""Complexity and fragility from the command line to the page."""

from __future__ import annotations

import itertools
import json
import math
import textwrap
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from click.testing import Result as Ran
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver.common.by import By

import worldline as wl
from worldline.cli import commands
from worldline.commands import load
from worldline.commands.base import Result
from worldline.commands.complexity import words
from worldline.commands.complexity.page import boost_waterfall, fragility_ranking, speed_limit_use
from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.commands.complexity.run import measure
from worldline.commands.complexity.words import model_views
from worldline.commands.rendering import read_run, render_report
from worldline.report.numbers import share
from worldline.runs.codec import from_json, to_json
from worldline.runs.store import RunFolder
from worldline.statistics import Share, Summary, proportion

QUICK = ["--samples", "120"]


def run(*arguments: str | Path) -> Ran:
    return CliRunner().invoke(commands, ["complexity", *map(str, arguments)])


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("complexity") / "run"
    result = run("mlp", "mlp-adv", *QUICK, "--eps", "0.1", "--steps", "5", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert {**json.loads(result.stdout), "report": None} == {
        **json.loads((out / "summary.json").read_text()),
        "report": None,
    }
    return out


@pytest.fixture(scope="module")
def result(found: Path) -> Result[ComplexityReport]:
    return read_run(RunFolder(found))[1]


@pytest.fixture(scope="module")
def record(result: Result[ComplexityReport]) -> ComplexityReport:
    return result.record


@pytest.mark.end_to_end
def test_the_record_and_the_tables_say_the_same(found: Path, record: ComplexityReport) -> None:
    layers = pq.read_table(found / "layers.parquet")
    assert layers.schema.metadata[b"worldline_schema"] == b"worldline.complexity/2"
    told = [(it.model, layer.name) for it in record.models for layer in it.layers]
    assert list(zip(layers["model"].to_pylist(), layers["name"].to_pylist(), strict=True)) == told
    medians = [layer.rapidity["noise"].median for it in record.models for layer in it.layers]
    assert layers["rapidity_noise_median"].to_pylist() == medians
    limits = pq.read_table(found / "limits.parquet")
    assert limits["limit"].to_pylist() == [at.limit for it in record.models for at in it.limits]
    samples = pq.read_table(found / "samples.parquet").to_pydict()
    for it in record.models:
        radii = [
            radius
            for name, radius in zip(samples["model"], samples["radius_linf"], strict=True)
            if name == it.model
        ]
        assert len(radii) == 120
        assert list(it.aimed.most_fragile) == list(np.argsort(radii, kind="stable")[:10])


@pytest.mark.oracle
def test_the_numbers_are_those_of_the_functions(record: ComplexityReport) -> None:
    data, first = wl.zoo.digits(), record.models[0]
    x, y, model = data.x[:120], data.y[:120], wl.zoo.load("mlp")
    adversarial = wl.attacks.PGD(epsilon=0.1, steps=5)(model, x, y).x
    story = wl.explain.complexity(model, x, y=y, adversarial=adversarial)
    assert {name: getattr(first, name) for name in vars(story) if name != "notes"} == {
        name: value for name, value in vars(story).items() if name != "notes"
    }
    assert first.fragility == wl.explain.fragility(model, x).summary
    said = wl.attacks.predict(model, x).argmax(1)
    assert first.clean_accuracy == proportion(int((said == y).sum()), 120)
    assert first.adversarial_accuracy.value < first.clean_accuracy.value


@pytest.mark.law
def test_no_layer_breaks_its_speed_limit(record: ComplexityReport) -> None:
    for it in record.models:
        for limit, kind in itertools.product(it.limits, it.pairs):
            for used in (limit.share[kind], limit.plane_share[kind]):
                assert 0 <= used.median <= used.q90 <= 1 + 1e-6
            assert limit.share[kind].median <= limit.plane_share[kind].median


@pytest.mark.law
def test_the_hardened_model_ranks_behind_the_plain_one(record: ComplexityReport) -> None:
    assert [it.model for it in record.ranked] == ["mlp", "mlp-adv"]


@pytest.mark.law
def test_a_record_survives_json(record: ComplexityReport) -> None:
    assert any(limit.limit == math.inf for it in record.models for limit in it.limits)
    assert from_json(ComplexityReport, to_json(record), "here") == record


@pytest.mark.law
def test_clean_accuracy_of_few_samples_is_that_of_a_clean_pass(mlp, digits) -> None:
    """Fault 5: under 20 samples it came from the mean of two noisy outputs."""
    x, y = digits.x[:12], digits.y[:12]
    clean = wl.attacks.predict(mlp, x).argmax(1)
    loud, _ = measure("mlp", mlp, x, clean, sigma=0.1, settings=wl.Settings(seed=4))
    assert loud.aimed is None
    assert loud.clean_accuracy.value == 1
    assert measure("mlp", mlp, x, y, sigma=0.1)[0].clean_accuracy.count == 12


def with_changed(it: ModelComplexity, changed: Share, **other: object) -> ModelComplexity:
    return replace(it, fragility=replace(it.fragility, changed=changed), **other)


def two(record: ComplexityReport, one: Share, other: Share) -> ComplexityReport:
    first, second = record.models
    order = sorted((0, 1), key=lambda place: -((one, other)[place].value or -1))
    models = with_changed(first, one), with_changed(second, other)
    return replace(record, models=models, ranking=tuple(order))


@pytest.mark.law
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.2))
def test_models_are_told_apart_only_where_their_intervals_leave_a_gap(
    record: ComplexityReport, one: float, other: float, half: float
) -> None:
    """Fault 9: "about" is no hedge, and what noise changes is not what an attack does."""
    shares = [
        Share(value, (max(0.0, value - half), min(1.0, value + half)), 100)
        for value in (one, other)
    ]
    changed = two(record, *shares)
    said = words.words(changed)
    first, second = (it.fragility.changed.interval for it in changed.ranked)
    gap = first[0] > second[1]
    assert ("tell" in said.findings[0]) == gap
    assert ("overlap" in said.findings[0]) == (not gap)
    assert ("not told apart" in said.headline) == (not gap)
    assert "fragile" not in " ".join((said.headline, *said.findings[:-1]))
    assert " about " not in said.findings[0]


def summary(low: float, middle: float, high: float) -> Summary:
    return Summary(middle, low, high, (low, high), 50, 0, "ok")


def with_boosts(it: ModelComplexity, boosts: list[Summary], total: Summary) -> ModelComplexity:
    layers = [
        replace(layer, boost={**layer.boost, "noise": boost}) if layer.index else layer
        for layer, boost in zip(it.layers, [boosts[0], *boosts], strict=True)
    ]
    return replace(it, layers=tuple(layers), total_boost={**it.total_boost, "noise": total})


ENDS = st.tuples(*[st.floats(-3, 3).map(lambda value: round(value, 2))] * 3).map(sorted)


@pytest.mark.law
@given(st.lists(ENDS, min_size=3, max_size=3), ENDS)
def test_a_way_and_a_layer_are_named_only_where_their_intervals_stand(
    record: ComplexityReport, boosts, total
) -> None:
    parts = [summary(*it) for it in boosts]
    changed = with_boosts(record.models[0], parts, summary(*total))
    said = words.boost_words(changed)
    low, _, high = total
    assert ("does not tell from 0" in said.split(";")[0]) == (low <= 0 <= high)
    best = max(parts, key=lambda it: it.median)
    if best.interval[0] <= 0:
        assert "No layer surely drives them apart." in said
        return
    assert "driven apart most at" in said
    rivals = [it for it in parts if it is not best and it.interval[1] >= best.interval[0]]
    assert ("not told apart from" in said) == bool(rivals)


@pytest.mark.message
def test_sentences_of_nothing_of_infinity_and_of_one_layer(record: ComplexityReport) -> None:
    one = record.models[0]
    nothing = Share(None, None, 0, 120)
    empty = two(record, nothing, nothing)
    assert "No output of mlp under noise is finite" in words.words(empty).headline
    assert "mlp –" in words.words(empty).findings[0]
    assert "so no answer can be compared" in words.changed_words(empty.models[0])
    merged = summary(-math.inf, -math.inf, -math.inf)
    infinite = with_boosts(one, [merged] * 3, merged)
    assert "∞ nats of rapidity together" in words.boost_words(infinite)
    assert "No layer surely drives them apart" in words.boost_words(infinite)
    assert words.boost_words(replace(one, layers=one.layers[:1])) == ""
    tiny = replace(proportion(1, 1), undefined=3)
    assert "3 left out" in words.changed_words(with_changed(one, tiny))
    gone = Summary(None, None, None, None, 0, 50, "no samples")
    assert "No noise twin has a rapidity" in words.boost_words(with_boosts(one, [gone] * 3, gone))
    bound = [replace(it, limit=math.inf) for it in one.limits]
    assert "None of its 3 linear layers" in words.limit_words(replace(one, limits=tuple(bound)))
    assert words.limit_words(replace(one, limits=())) == ""
    assert "no linear" in model_views(replace(one, limits=()))["limits"].sentence
    early = [replace(it, status="ln κ is at least this") for it in one.limits]
    assert " at most " in words.limit_words(replace(one, limits=tuple(early)))
    bare = [replace(it, predicted_rapidity=None) for it in one.layers]
    none = replace(one, layers=tuple(bare), prediction="No prediction. Layer 3: …")
    assert words.null_words(none).startswith("No prediction.")


@pytest.mark.law
def test_what_the_attack_leaves_stands_beside_what_noise_changes(record: ComplexityReport) -> None:
    said = words.words(record).findings[1]
    for it in record.models:
        assert f"{it.model} {share(it.adversarial_accuracy.value)} (" in said
    assert "ε = 0.1" in said
    plain = replace(record, epsilon_text=None)
    assert not any("ε" in sentence for sentence in words.words(plain).findings)


@pytest.mark.law
def test_predicted_stands_beside_measured_by_layer(record: ComplexityReport) -> None:
    """The null model's predicted rapidity, as `nullmodel.predict` gives it."""
    one = record.models[0]
    assert one.prediction == "predicted"
    table = words.null_table(one)
    assert table.columns[1:3] == ("noise: predicted φ", "drawn φ")
    assert len(table.rows) == len(one.layers)
    assert all(row[1] not in ("–", "") for row in table.rows)
    assert "random weights of infinite width" in words.null_words(one)


@pytest.mark.end_to_end
def test_the_configuration_runs_again_to_the_same_numbers(
    found: Path, record: ComplexityReport, tmp_path: Path
) -> None:
    config = tomllib.loads((found / "config.toml").read_text())["complexity"]
    assert (config["models"], config["eps"], config["sigma"]) == (["mlp", "mlp-adv"], "0.1", "0.1")
    again = run("--config", found / "config.toml", "--out", tmp_path / "again", "--quiet")
    assert again.exit_code == 0
    assert read_run(RunFolder(tmp_path / "again"))[1].record == record


@pytest.mark.end_to_end
def test_the_page_of_complexity(browser, found: Path, record: ComplexityReport) -> None:
    page = found / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    text = browser.find_element(By.TAG_NAME, "main").text
    said = words.words(record)
    for sentence in (said.headline, *said.findings):
        assert sentence in text
    for place, it in enumerate(record.ranked):
        steps = browser.find_elements(
            By.CSS_SELECTOR, f"[aria-labelledby='model{place}-boosts-title'] svg .step rect"
        )
        # noise and strangers; the output stands again at the end
        assert len(steps) == 2 * (len(it.layers) + 1)
        bars = browser.find_elements(By.CSS_SELECTOR, f"#model{place}-plane_share svg .bar-row")
        assert len(bars) == 2 * len(it.limits)
        assert browser.find_elements(By.CSS_SELECTOR, f"#model{place}-null svg path")
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
def test_the_axes_hold_the_numbers_of_the_record(record: ComplexityReport) -> None:
    first = record.ranked[0]
    levels = [layer.rapidity["noise"].median for layer in first.layers]
    heights = [bar.get_height() for bar in boost_waterfall(first).patches]
    np.testing.assert_allclose(np.cumsum(heights[:-1]), levels)
    assert heights[-1] == levels[-1]  # the output stands again at the end
    for whole in (True, False):
        shares = [bar.get_width() for bar in speed_limit_use(first, whole=whole).patches]
        limits = [it for it in first.limits if it.limit < math.inf or not whole]
        kept = [it.share if whole else it.plane_share for it in limits]
        kinds = ("noise", "strangers")
        np.testing.assert_allclose(shares, [it[kind].median for it in kept for kind in kinds])
    ranking = fragility_ranking(record)
    changed = [it.fragility.changed for it in record.ranked]
    np.testing.assert_allclose(
        [bar.get_width() for bar in ranking.patches], [it.value for it in changed]
    )
    ends = [box.get_paths()[0].vertices[:, 0] for box in ranking.collections]
    np.testing.assert_allclose(ends, [it.interval for it in changed])
    assert set(load("complexity").figures(Result(record, RunFolder(Path())))) == {
        "limits",
        "ranking",
        "strangers",
        "waterfall",
    }


STRANGE = """
    import torch
    from torch import nn

    class Squares(nn.Module):
        def forward(self, x):
            x = x.flatten(1)
            both = torch.stack([x[:, :32].square().sum(1), x[:, 32:].square().sum(1)], 1)
            return both.repeat(1, 5)

    def squares():
        return Squares()

    class Broken(nn.Linear):
        def forward(self, x):
            x = x.flatten(1)
            return torch.where(x[:, 20:21] > 0.9, torch.nan, super().forward(x))

    def broken():
        torch.manual_seed(0)
        return Broken(64, 10)
"""


@pytest.mark.end_to_end
def test_a_model_without_linear_layers_has_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "strange.py").write_text(textwrap.dedent(STRANGE))
    result = run(f"{tmp_path / 'strange.py'}:squares", *QUICK, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["models"][0]
    assert told["limits"] == []
    assert "no linear or convolutional" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.end_to_end
def test_outputs_that_are_not_finite_are_counted_on_the_terminal(tmp_path: Path) -> None:
    """Fault 5, through the whole command."""
    (tmp_path / "strange.py").write_text(textwrap.dedent(STRANGE))
    result = run(f"{tmp_path / 'strange.py'}:broken", *QUICK, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["models"][0]
    assert told["undefined"] > 0
    assert told["clean_accuracy"]["undefined"] > 0
    assert f"{told['undefined']} of 120 samples are left out" in result.stderr
    assert "an output that is not finite" in result.stderr


@pytest.mark.message
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "Name at least 1 model"),
        (("mlp", "mlp"), 2, "mlp is named twice"),
        (("mlp", "--sigma", "0"), 2, "--sigma must be positive; got 0"),
        (("mlp", "--sigma", "much"), 2, "--sigma must be a number or a fraction"),
        (("mlp", "--eps", "-1"), 2, "--eps must be positive; got -1"),
        (("nothing",), 3, "There is no model 'nothing'"),
        (("mlp", "--layers", "conv9"), 3, "No layer matches 'conv9'"),
    ],
)
def test_bad_input_is_refused_in_words(
    arguments: tuple[str, ...], code: int, told: str, tmp_path: Path
) -> None:
    result = run(*arguments, "--out", tmp_path / "run")
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.message
def test_kinds_of_pairs_that_are_not_there_are_named(record: ComplexityReport) -> None:
    with pytest.raises(wl.errors.UsageError, match="no pairs of kind 'twins': name one of noise"):
        boost_waterfall(record.models[0], kind="twins")


@pytest.mark.end_to_end
def test_an_infinite_rapidity_leaves_a_gap_and_no_number(
    record: ComplexityReport, tmp_path: Path
) -> None:
    endless = summary(math.inf, math.inf, math.inf)
    one = record.models[0]
    last = replace(one.layers[-1], rapidity={**one.layers[-1].rapidity, "noise": endless})
    model = replace(one, layers=(*one.layers[:-1], last))
    folder = RunFolder(tmp_path / "infinite")
    folder.path.mkdir()
    folder.write_record(replace(record, models=(model, *record.models[1:])))
    page = render_report(folder)
    assert "<td>∞</td>" in page
    assert ">nan<" not in page.lower()
