"""The encoder's experiments from the command line to the page."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from selenium.webdriver.common.by import By

import worldline as wl
from worldline.cli import commands
from worldline.encoder.experiments import CONTROLS, EXPERIMENTS
from worldline.runs import EncodeConfig, RunFolder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["encode", *map(str, arguments)])


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("encode") / "all"
    result = run("all", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert {**json.loads(result.stdout), "report": "report.html"} == json.loads(
        (out / "summary.json").read_text()
    )
    return out


@pytest.mark.end_to_end
def test_all_experiments_store_what_they_found(everything: Path) -> None:
    summary = json.loads((everything / "summary.json").read_text())
    assert [it["experiment"] for it in summary["experiments"]] == list(EXPERIMENTS)
    for it in summary["experiments"]:
        assert it["agrees"], it["verdict"]
        assert abs(it["measured"] - it["predicted"]) <= 4 * it["standard_error"] + 1e-6
        assert set(CONTROLS) <= set(it["controls"])
        for control in it["controls"].values():
            assert control["sentence"].endswith(".")
            assert control["applies"] == ("measured" in control)
        table = pq.read_table(everything / it["table"])
        assert table.num_rows > 0
        assert table.schema.metadata[b"worldline_schema"] == b"worldline.encode/1"
        picture = np.asarray(Image.open(everything / it["figure"]).convert("L"))
        assert picture.shape[1] > 1000
        assert picture.std() > 5  # something is drawn
    applies = {
        name
        for it in summary["experiments"]
        for name, control in it["controls"].items()
        if control["applies"]
    }
    assert set(CONTROLS) <= applies


@pytest.mark.end_to_end
def test_published_settings_are_the_defaults(everything: Path) -> None:
    config = tomllib.loads((everything / "config.toml").read_text())
    published = {
        name: (it.get("candidates"), it.get("width"), it.get("depth"))
        for name, it in config.items()
    }
    assert published["dilation"] == (10, 2, 20)
    assert published["contraction"] == (100, 2, 50)
    assert published["path3d"] == (5, 3, 200)
    assert published["collapse"] == (16384, 256, 10)
    assert published["pairs"] == (20, 10, 1)
    assert (
        config["dilation"]["pairs"],
        config["contraction"]["pairs"],
        config["collapse"]["vectors"],
    ) == (50, 50, 5000)
    assert (
        config["image"]["depth"],
        config["image"]["strength"],
        config["reconcile"]["depth"],
    ) == (100, 100.0, 185)
    assert [
        pq.read_table(everything / f"{name}.parquet").num_rows for name in ("image", "reconcile")
    ] == [2500, 2500]
    assert np.unique(pq.read_table(everything / "collapse.parquet")["depth"]).tolist() == [
        0,
        2,
        4,
        6,
        8,
        10,
    ]


@pytest.mark.end_to_end
def test_the_page_of_all_experiments(browser, everything: Path) -> None:
    page = everything / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    assert page.stat().st_size <= 2_500_000
    sections = browser.find_elements(By.TAG_NAME, "section")
    assert [section.get_attribute("id") for section in sections] == list(EXPERIMENTS)
    for section in sections:
        for word in (
            "Claim.",
            "Law.",
            "Controls.",
            "No selection.",
            "Rank one.",
            "Sign kept.",
            "Eavesdropper.",
            "Verdict.",
        ):
            assert word in section.text
    for picture in browser.find_elements(By.CSS_SELECTOR, "img.plot"):
        assert browser.execute_script("return arguments[0].naturalWidth", picture) > 1000
        assert picture.get_attribute("alt")
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )


@pytest.mark.end_to_end
def test_one_experiment_and_its_report_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(
        "dilation", "--candidates", "1000000000000", "--depth", "5", "--pairs", "7", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert "Control, no selection: Plain Gaussian layers" in result.stdout
    assert f"Report: {out / 'report.html'}" in result.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["predicted"] == pytest.approx(
        wl.encoder.rapidity_rate(wl.encoder.Selection(candidates=10**12, width=2))
    )
    assert {"measured", "predicted", "standard_error", "controls", "verdict"} <= set(summary)
    assert sorted(path.name for path in out.iterdir()) == [
        *(
            "config.toml",
            "dilation.json",
            "dilation.parquet",
            "dilation.png",
            "report.html",
            "summary.json",
        )
    ]
    before = (out / "report.html").read_text()
    (out / "report.html").unlink()
    (out / "dilation.png").unlink()
    assert CliRunner().invoke(commands, ["report", str(out)]).exit_code == 0
    assert (out / "report.html").read_text() == before
    assert (out / "dilation.png").is_file()


@pytest.mark.end_to_end
def test_the_command_in_the_report_runs_to_the_same_numbers(tmp_path: Path) -> None:
    assert (
        run("flip", "--depth", "3", "--seed", "5", "--out", tmp_path / "one", "--quiet").exit_code
        == 0
    )
    one = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert run(*one["command"].split()[2:], "--out", tmp_path / "two", "--quiet").exit_code == 0
    assert json.loads((tmp_path / "two" / "summary.json").read_text()) == one


@pytest.mark.end_to_end
def test_own_embeddings_and_own_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, noise = torch.randn(2, 100, 32, generator=torch.Generator().manual_seed(0)).numpy()
    np.savez("mine.npz", a=a, b=a + 0.5 * noise)
    assert run("pairs", "--data", "mine.npz", "--out", "pairs", "--quiet").exit_code == 0
    table = pq.read_table("pairs/pairs.parquet")
    assert table.num_rows == 200
    before, matched = table["rapidity_before"].to_numpy(), table["matched"].to_numpy()
    assert before[matched].mean() > 1
    assert abs(before[~matched].mean()) < 0.1
    pixels = (np.indices((9, 14)).sum(0) * 11).astype(np.uint8)
    Image.fromarray(pixels).save("mine.png")
    assert run("image", "--image", "mine.png", "--out", "image", "--quiet").exit_code == 0
    shown = pq.read_table("image/image.parquet")
    np.testing.assert_allclose(shown["message"].to_numpy().reshape(9, 14), pixels / 255)
    np.testing.assert_allclose(shown["received"], shown["message"], atol=1e-6)


@pytest.mark.end_to_end
def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, calls = EncodeConfig(name="all", settings={}), []

    def stop_at(number: int):
        def tick(_stage: str, done: int, _total: int) -> None:
            calls.append(done)
            if done == number:
                raise KeyboardInterrupt

        return tick

    with pytest.raises(KeyboardInterrupt):
        wl.runs.encode(config, tmp_path / "run", tick=stop_at(2))
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    assert {"dilation.json", "contraction.json"} <= set(first)
    with pytest.raises(KeyboardInterrupt):
        wl.runs.encode(config, tmp_path / "run", tick=stop_at(3), resume=True)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    assert {name: after[name] for name in first} == first
    assert "path3d.json" in after
    assert not RunFolder(tmp_path / "run").finished


BAD = [
    (["dilatoin"], 2, "Did you mean dilation?"),
    (["nothing-like-it"], 2, "There are dilation, contraction"),
    (["bell", "--width", "3"], 2, "bell has no --width; it has --seed, --candidates, --trials"),
    (["all", "--depth", "3"], 2, "all has no --depth; it has --seed"),
    (["flip", "--data", "a.npz"], 2, "flip has no --data"),
    (["flip", "--candidates", "3"], 2, "keep 100 of 3"),
    (["dilation", "--width", "0"], 2, "at least 1"),
    (["dilation", "--depth", "0"], 2, "depth"),
    (["dilation", "--candidates", "99999999999999999999"], 2, "2**53"),
    (["pairs", "--data", "missing.npz"], 3, "no data file 'missing.npz'"),
    (["pairs", "--data", "width.npz"], 3, "(40, 3) and (40, 4)"),
    (["pairs", "--data", "count.npz"], 3, "(40, 3) and (39, 3)"),
    (["pairs", "--data", "one.npz"], 3, "b is missing"),
    (["pairs", "--data", "array.npy"], 3, "single array"),
    (["pairs", "--data", "words.npz"], 3, "must hold numbers"),
    (["pairs", "--data", "few.npz"], 3, "At least 30"),
    (["pairs", "--data", "zero.npz"], 3, "zero embedding"),
    (["image", "--image", "missing.png"], 3, "no picture 'missing.png'"),
    (["image", "--image", "colour.png"], 3, "not grey: its mode is RGB"),
    (["image", "--image", "large.png"], 3, "300×20"),
    (["image", "--image", "words.npz"], 3, "cannot be read as a picture"),
    (["image", "--image", "grey.png", "--candidates", "5"], 2, "keep 64 of 5"),
]


@pytest.mark.message
@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ones = np.ones((40, 3))
    np.savez("width.npz", a=ones, b=np.ones((40, 4)))
    np.savez("count.npz", a=ones, b=ones[1:])
    np.savez("one.npz", a=ones)
    np.savez("words.npz", a=np.array([["x"]]), b=np.array([["y"]]))
    np.savez("few.npz", a=ones[:5], b=ones[:5])
    np.savez("zero.npz", a=0 * ones, b=ones)
    np.save("array.npy", ones)
    for name, mode, size in (
        ("colour", "RGB", (8, 8)),
        ("large", "L", (300, 20)),
        ("grey", "L", (8, 8)),
    ):
        Image.new(mode, size).save(f"{name}.png")
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.law
def test_pictures_of_sixteen_bits_and_of_one_are_grey_too(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (2, 1), 1).save(tmp_path / "binary.png")
    assert wl.loading.load_picture(tmp_path / "deep.png").tolist() == [[0.0, 1.0]]
    assert wl.loading.load_picture(tmp_path / "binary.png").tolist() == [[1.0, 1.0]]
