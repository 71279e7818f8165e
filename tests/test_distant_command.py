"""Distant pairs from the command line to the page."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import shutil
import sys
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
from worldline.cli import commands as command_line
from worldline.commands import load
from worldline.commands.distant.record import DistantPairs
from worldline.commands.distant.words import fate, made_words, tables, views, words
from worldline.commands.rendering import write_report
from worldline.errors import RunError
from worldline.explain import UntrainedNull
from worldline.report.numbers import cell
from worldline.runs.codec import from_json, to_json
from worldline.runs.store import RunFolder

QUICK = ["mlp", "--samples", "200", "--pairs", "5", "--nulls", "2"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line, ["distant", *map(str, arguments)])


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


@pytest.fixture(scope="module")
def record(found: Path) -> DistantPairs:
    return RunFolder(found).read_record(DistantPairs)


@pytest.mark.end_to_end
def test_the_summary_and_the_tables_say_the_same(found: Path) -> None:
    summary = json.loads((found / "summary.json").read_text())
    assert [len(summary[side]) for side in ("merged", "opposed")] == [5, 5]
    pairs = pq.read_table(found / "pairs.parquet").to_pylist()
    lines = pq.read_table(found / "worldlines.parquet")
    assert (
        pq.read_table(found / "pairs.parquet").schema.metadata[b"worldline_schema"]
        == b"worldline.distant/2"
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
def test_the_page_of_distant_pairs(browser, found: Path, record: DistantPairs) -> None:
    page = found / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    assert page.stat().st_size <= 2_500_000
    text = browser.find_element(By.TAG_NAME, "main").text
    for sentence in (*words(record).findings, *record.notes):
        assert sentence in text
    cards = browser.find_elements(By.CSS_SELECTOR, ".card")
    assert len(cards) == 10
    for card, pair in zip(cards, (*record.merged, *record.opposed), strict=True):
        assert fate(pair) in card.text
        assert f"sample {pair.samples[0]}" in card.text
    lines = browser.find_elements(By.CSS_SELECTOR, ".card svg.chart path.line")
    assert len(lines) == 20  # trained and untrained
    assert len(browser.find_elements(By.CSS_SELECTOR, "#way svg.chart path.line")) == 1
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
    select = Select(browser.find_element(By.ID, "choose-layer"))
    assert select.first_selected_option.text == record.layer
    script = "return [...document.querySelectorAll('#classes td')].map((it) => it.textContent)"
    for layer in (0, len(record.layers) - 1):
        select.select_by_value(str(layer))
        told = [cell(it[layer]) for row in record.classes.median for it in row]
        assert browser.execute_script(script) == told
    assert browser.complaints() == []


@pytest.mark.end_to_end
def test_hostile_names_are_text(browser, found: Path, tmp_path: Path, record) -> None:
    hostile = '</script><img src=x onerror="document.title=1"><b>'
    copy = RunFolder(tmp_path / "hostile")
    layers = (dataclasses.replace(record.layers[0], name=hostile), *record.layers[1:])
    names = (hostile,) * 10
    copy.write_bytes("inputs.safetensors", (found / "inputs.safetensors").read_bytes())
    copy.write_record(
        dataclasses.replace(
            record,
            model=hostile,
            data=hostile,
            layer=hostile,
            notes=(hostile,),
            class_names=names,
            layers=layers,
        )
    )
    requested = browser.open(write_report(copy))
    assert all(url.startswith(("file:", "data:")) for url in requested)
    assert browser.find_elements(By.CSS_SELECTOR, "img[src='x'], main b") == []
    assert browser.complaints() == []


@pytest.mark.law
def test_the_record_and_its_tables_survive_their_files(found: Path, record: DistantPairs) -> None:
    assert from_json(DistantPairs, to_json(record), "here") == record
    assert next(iter(json.loads((found / "summary.json").read_text()))) == "schema"
    pairs, lines, classes = (
        RunFolder(found).read_table(f"{name}.parquet").to_pydict()
        for name in ("pairs", "worldlines", "classes")
    )
    assert pairs["sign"] == [1] * 5 + [-1] * 5
    assert len(lines["untrained_rapidity"]) == 10 * len(record.layers)
    assert record.classes is not None
    table = np.reshape(classes["median"], (10, 10, -1))
    assert table[3, 5].tolist() == list(record.classes.median[3][5])


@pytest.mark.message
def test_a_damaged_run_is_one_sentence(found: Path, tmp_path: Path, record: DistantPairs) -> None:
    plain = json.loads((found / "summary.json").read_text())
    copy = tmp_path / "copy"
    shutil.copytree(found, copy)
    for change, said in (
        ({"layer_index": 9}, "a layer is named that is none of the"),
        ({"same_class": [1.0]}, "not every row of numbers is of the"),
        ({"classes": {**plain["classes"], "labels": [0, 1]}}, "not one of 2 classes"),
        ({"made": {**plain["made"], "path_rapidity": [0.0]}}, "two lengths"),
        ({"made": {**plain["made"], "shown_steps": [0]}}, "'path' must hold 1 inputs"),
        ({"schema": "worldline.distant/1"}, "this version reads 'worldline.distant/2'"),
    ):
        (copy / "summary.json").write_text(json.dumps({**plain, **change}))
        result = CliRunner().invoke(command_line, ["report", str(copy)])
        assert result.exit_code == 3, result.output
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.law
def test_merged_is_said_of_one_prediction_alone(record: DistantPairs) -> None:
    """A pair that is predicted differently was brought together at the layer, and told apart."""
    pair = dataclasses.replace(record.merged[0], predictions=(7, 7))
    apart = dataclasses.replace(pair, predictions=(7, 9))
    open_end = dataclasses.replace(pair, predictions=(7, None))
    for side, said, unsaid in (
        ((pair,), "merged", "told apart"),
        ((apart,), "told apart in the end", "merged"),
        ((open_end,), "without a prediction", "merged"),
        ((pair, apart), "1 merged, 1 told apart in the end", "all"),
        ((apart, apart), "all told apart in the end", "merged"),
    ):
        told = words(
            dataclasses.replace(record, merged=side, merged_beyond_untrained=len(side), opposed=())
        )
        assert said in told.headline
        assert unsaid not in told.headline
    text = " ".join(words(dataclasses.replace(record, merged=(apart,), opposed=())).findings)
    assert "brought together at the layer, told apart in the end (7 and 9)" in text
    assert "merged" not in text
    assert [fate(it) for it in (pair, apart, open_end)] == ["merged", "told apart", "no prediction"]


@pytest.mark.law
def test_words_of_the_empty_the_tiny_the_contrary_and_the_infinite(record: DistantPairs) -> None:
    empty = dataclasses.replace(record, merged=(), opposed=(), made=None)
    assert words(empty).headline == "mlp brings no distant pair together at relu2"
    assert words(empty).findings[1:] == ("No pair was found.",)
    contrary = dataclasses.replace(record, merged_beyond_untrained=0)
    assert "no pair of strangers closer together than 2 untrained networks do" in (
        words(contrary).headline
    )
    assert "0 of 5 pairs brought together" in " ".join(words(contrary).findings)
    null = UntrainedNull(1, (0.0,), (0.0,), (0.0,), (0.0,), ())
    tiny = dataclasses.replace(
        record,
        merged=record.merged[:1],
        merged_beyond_untrained=1,
        opposed=(),
        untrained=null,
        least_distance=0.0,
        input_quantile=0.0,
        same_class=(None,) * len(record.layers),
    )
    assert "1 pair of strangers" in words(tiny).headline
    assert "1 more alike there than any in 1 untrained network" in words(tiny).headline
    assert "however far apart at the input" in words(tiny).findings[0]
    assert "None" not in " ".join(words(tiny).findings)
    ends = tuple(
        dataclasses.replace(
            pair,
            rapidity=sign * math.inf,
            worldline=(None, *[sign * math.inf] * (len(record.layers) - 1)),
        )
        for pair, sign in ((record.merged[0], 1), (record.opposed[0], -1))
    )
    infinite = dataclasses.replace(record, merged=ends[:1], opposed=ends[1:])
    text = " ".join(words(infinite).findings)
    assert "similarity (rapidity) ∞" in text.replace("+∞", "∞")
    assert "similarity (rapidity) −∞" in text
    assert "inf" not in " ".join(it for row in tables(infinite)[0].rows for it in row)
    plain = dataclasses.replace(record, untrained=None, merged_beyond_untrained=None)
    assert "untrained" not in " ".join((words(plain).headline, *words(plain).findings))


@pytest.mark.law
def test_words_of_a_made_pair(record: DistantPairs) -> None:
    assert record.made is not None
    made = dataclasses.replace(record.made, success=True, same_class_closer=0.0, input_closer=0.5)
    told = made_words(record, made)
    assert "was made to meet sample 5" in told
    assert "no pair of one class is closer" in told
    assert "ε = 0.3" in told
    near = made_words(record, dataclasses.replace(made, input_closer=0.01))
    assert "nearly become the other" in near
    assert "a smaller budget" in near
    opposite = made_words(record, dataclasses.replace(made, sign=-1, input_closer=0.01))
    assert "the opposite of sample 5" in opposite
    assert "trivial" not in opposite
    failed = dataclasses.replace(made, success=False, same_class_closer=1.0, epsilon_text=None)
    assert "could not be made to meet" in made_words(record, failed)
    assert "anywhere inside the bounds" in made_words(record, failed)
    silent = dataclasses.replace(made, predictions=(None, None, None))
    assert "The model says" not in made_words(record, silent)


@pytest.mark.law
def test_for_good_ends_at_the_searched_layer(record: DistantPairs) -> None:
    first = dataclasses.replace(record.merged[0], meets=1)
    last = dataclasses.replace(first, meets=record.layer_index)
    for pair, said in ((first, "From relu1 to relu2 they are"), (last, "At relu2 they are")):
        told = dataclasses.replace(record, merged=(pair,), opposed=())
        assert said in " ".join(words(told).findings)
    never = dataclasses.replace(record, merged=(dataclasses.replace(first, meets=None),))
    assert "99%" not in words(never).findings[1]


@pytest.mark.law
def test_views_have_tables_and_one_figure_is_for_papers(found: Path, record: DistantPairs) -> None:
    command = load("distant")
    result = command.read(RunFolder(found))
    shown = views(result)
    assert list(shown) == ["made", "merged", "opposed", "classes"]
    assert len(shown["made"].table.rows) == 61
    assert len(shown["merged"].table.rows) == 5
    assert len(shown["classes"].table.rows) == 55
    assert list(command.figures(result)) == ["pairs"]
    attached = command.attach(result, "with0-")
    assert 'id="with0-classes"' in attached.sections
    assert 'id="classes"' not in attached.sections
    with pytest.raises(RunError, match=r"inputs.safetensors .* must hold 5 inputs"):
        command.page([dataclasses.replace(result, record=dataclasses.replace(record, opposed=()))])


@pytest.mark.end_to_end
def test_a_sample_is_called_by_its_row_of_the_file(tmp_path: Path) -> None:
    """Without a reference half of the file becomes it, and what is left keeps its rows."""
    data = wl.zoo.digits()
    file, out = tmp_path / "mine.npz", tmp_path / "run"
    x, y = data.x[:240].numpy(), data.y[:240].numpy()
    np.savez(file, x=x, y=y)
    rows = wl.loading.load_data(str(file)).rows.tolist()
    given = ("mlp", "--data", file, "--nulls", "1", "--pairs", "4")
    made = ("--make", rows[50], rows[60], "--steps", "3")
    result = run(*given, *made, "--out", out)
    assert result.exit_code == 0, result.output
    assert "every second sample of each class is reference" in result.stderr
    assert "rows in what was given" in result.stderr
    told = json.loads((out / "summary.json").read_text())
    tensors = load_file(out / "inputs.safetensors")
    for row, pair in enumerate([*told["merged"], *told["opposed"]]):
        for place, name in enumerate(("first", "second")):
            sample = pair["samples"][place]
            assert sample in rows
            assert pair["labels"][place] == y[sample]
            np.testing.assert_array_equal(tensors[name][row], x[sample])
    assert max(rows) > len(rows), "there are gaps"
    assert told["made"]["samples"] == [rows[50], rows[60]]
    np.testing.assert_array_equal(tensors["stranger"][0], x[rows[60]])
    assert f"Sample {rows[50]}, moved" in result.stdout
    reference = next(row for row in range(240) if row not in rows)
    result = run(*given, "--make", rows[0], reference)
    assert result.exit_code == 2
    assert f"Row {reference} of mine.npz became reference" in result.stderr
    result = run(*given, "--make", rows[0], rows[60], "--samples", "40")
    assert result.exit_code == 2
    assert f"Row {rows[60]} is beyond the first 40 samples" in result.stderr


@pytest.mark.end_to_end
@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is an extra")
def test_an_approximate_search_says_so(tmp_path: Path) -> None:
    result = run(*QUICK, "--search", "approximate", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "were searched approximately" in result.stdout
    assert "The search was approximate" in result.stderr
    told = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert told["search"] == "approximate"
    assert 0.5 < told["recall"] <= 1


@pytest.mark.message
def test_an_approximate_search_needs_faiss_before_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    result = run(*QUICK, "--search", "approximate", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "pip install 'worldline[faiss]'" in result.stderr
    assert not (tmp_path / "run").exists()


BAD = [
    (["--make", "3", "3"], 2, "two different samples"),
    (["--make", "3", "700"], 2, "digits has no row 700"),
    (["--make", "3", "400"], 2, "Row 400 is beyond the first 200 samples"),
    (["--make", "3", "-4"], 2, "numbered from 0"),
    (["--eps", "0.1"], 2, "--make A B"),
    (["--opposite"], 2, "--make A B"),
    (["--make", "1", "2", "--eps", "-1"], 2, "--eps must be positive"),
    (["--pairs", "0"], 2, "--pairs must be at least 1"),
    (["--nulls", "-1"], 2, "--nulls must be at least 0"),
    (["--input-quantile", "1"], 2, "--input-quantile must be below 1"),
    (["--frame", "moving"], 2, "--frame must be one of raw, centered, whitened"),
    (["--search", "lucky"], 2, "--search must be one of exact, approximate"),
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
    given = [] if "--model" in arguments else ["linear"]
    result = run(*given, "--samples", "200", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert not Path("runs").exists() or not any(Path("runs").iterdir())


@pytest.mark.end_to_end
def test_without_nulls_and_with_images_of_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = wl.zoo.digits()
    np.savez("mine.npz", x=data.x[:120].numpy(), y=data.y[:120].numpy())
    result = run(
        "linear", "--layer", "logits", "--data", "mine.npz", "--nulls", "0", "--out", "run"
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["untrained"] is None
    assert summary["merged_beyond_untrained"] is None
    record = RunFolder(Path("run")).read_record(DistantPairs)
    assert "untrained" not in " ".join(words(record).findings)
    assert f"Report: {Path('run/report.html')}" in result.stdout
