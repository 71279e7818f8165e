"""The encoder's experiments from the command line to the page."""

from __future__ import annotations

import io
import json
import os
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, PngImagePlugin
from selenium.webdriver.common.by import By

import worldline as wl
from worldline.cli import commands
from worldline.commands import load
from worldline.commands.encode.config import NAMES, EncodeConfig
from worldline.commands.encode.drawn import DRAWN
from worldline.commands.encode.page import figures
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.commands.encode.run import prepare
from worldline.commands.encode.words import compared, evidence, tables, words
from worldline.encoder.experiments import EXPERIMENTS, Control, Controls, Finding, Measurement
from worldline.errors import InputError, RunError
from worldline.runs.codec import from_json, to_json
from worldline.runs.store import RunFolder
from worldline.settings import silent

FOUR = ("no_selection", "rank_one", "sign_kept", "eavesdropper")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["encode", *map(str, arguments)])


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("encode") / "all"
    result = run("all", "--setting", "quick", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told.pop("report") == str(out / "report.html")
    assert told == json.loads((out / "summary.json").read_text())
    return out


@pytest.fixture(scope="module")
def report(everything: Path) -> EncoderReport:
    return RunFolder(everything).read_record(EncoderReport)


@pytest.mark.end_to_end
def test_all_experiments_store_what_they_found(everything: Path, report: EncoderReport) -> None:
    assert report.experiment == "all"
    assert report.headline is None
    assert report.agrees
    assert report.verdict == "23 of 23 experiments as the exact law says."
    assert tuple(it.experiment for it in report.experiments) == NAMES == tuple(EXPERIMENTS)
    for it in report.experiments:
        assert it.finding.agrees, it.finding.verdict
        headline = it.finding.measurements[0]
        assert abs(headline.measured - headline.predicted) <= 4 * headline.standard_error + 1e-6
        for _, control in it.finding.controls.named():
            assert control.sentence.endswith(".")
        table = pq.read_table(everything / it.table)
        assert table.num_rows > 0
        assert table.schema.metadata[b"worldline_schema"] == b"worldline.encode/2"
        picture = np.asarray(Image.open(everything / it.figure).convert("L"))
        assert picture.shape[1] > 1000
        assert picture.std() > 5  # something is drawn
    for name in FOUR:
        found = [getattr(it.finding.controls, name).evidence for it in report.experiments]
        assert any(found), f"{name} applies nowhere"


@pytest.mark.law
def test_published_settings_are_the_defaults(report: EncoderReport) -> None:
    used = {name: kind().settings() for name, kind in EXPERIMENTS.items()}
    published = {
        name: tuple(it.get(key) for key in ("candidates", "width", "depth"))
        for name, it in used.items()
    }
    assert published["dilation"] == (10, 2, 20)
    assert published["contraction"] == (100, 2, 50)
    assert published["path3d"] == (5, 3, 200)
    assert published["collapse"] == (16384, 256, 10)
    assert published["pairs"] == (20, 10, 1)
    shown = used["dilation"]["pairs"], used["contraction"]["pairs"], used["collapse"]["vectors"]
    assert shown == (50, 50, 5000)
    assert (used["image"]["depth"], used["image"]["strength"]) == (100, 100.0)
    assert used["reconcile"]["depth"] == 185
    assert tuple(used["spacetime"][it] for it in ("candidates", "depth", "speed")) == (100, 12, 100)
    assert tuple(used["descent"][it] for it in ("rate", "target", "steps", "vectors")) == (
        *(0.01, 1e4, 5, 5000),
    )
    assert published["hamming"] == (1000, 512, 50)
    assert published["margin"] == (10_000, 512, 50)
    assert published["squash"] == (5000, 100, 15)
    assert published["leading"] == (100, 3, 15)
    assert published["clusters"] == (256, 50, 12)
    assert used["clusters"]["rounds"] == 6
    assert (used["labels"]["candidates"], used["labels"]["depth"]) == (8000, 4)
    uniform, digit = used["uniform"], used["digit"]
    assert (uniform["candidates"], uniform["depth"], uniform["strength"]) == (500_000, 12, 1e5)
    assert (digit["candidates"], digit["strength"]) == (5000, 1e4)
    quick = {it.experiment: it.settings for it in report.experiments}
    assert quick["collapse"]["vectors"] == 1000
    assert quick["dilation"] == used["dilation"]


@pytest.mark.law
def test_embedded_pictures_are_of_the_published_size_or_small(everything: Path) -> None:
    published = {
        name: [tuple(it.shape) for it in prepare(EncodeConfig(name=name), silent)[0].given]
        for name in ("image", "pictures")
    }
    assert published == {"image": [(50, 50)], "pictures": [(50, 50), (50, 50)]}
    assert pq.read_table(everything / "image.parquet").num_rows == 400


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
    rate = wl.encoder.rapidity_rate(wl.encoder.Selection(candidates=10**12, width=2))
    assert summary["headline"]["predicted"] == pytest.approx(rate)
    assert {"measured", "standard_error", "agrees"} <= set(summary["headline"])
    assert {"agrees", "verdict", "experiments", "versions"} <= set(summary)
    assert set(FOUR) <= set(summary["experiments"][0]["finding"]["controls"])
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
    again = one["experiments"][0]["command"].split()[2:]
    assert run(*again, "--out", tmp_path / "two", "--quiet").exit_code == 0
    assert json.loads((tmp_path / "two" / "summary.json").read_text()) == one


@pytest.mark.end_to_end
def test_a_configuration_runs_again_to_the_same_numbers(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[encode]\nname = "flip"\ndepth = 9\nseed = 5\n')
    given = ("--config", config, "--depth", "3", "--quiet", "--out")
    assert run(*given, tmp_path / "one").exit_code == 0
    one = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert one["experiments"][0]["settings"]["depth"] == 3  # the command line wins
    again = ("--config", tmp_path / "one" / "config.toml", "--quiet", "--out", tmp_path / "two")
    assert run(*again).exit_code == 0
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
def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    config, out = EncodeConfig(name="all"), tmp_path / "run"

    def stop_at(number: int):
        def progress(stage: str, done: int, _total: int) -> None:
            if stage == "Running experiments" and done == number:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        load("encode")(config, out, progress=stop_at(2))
    first = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {"dilation.json", "contraction.json"} <= set(first)
    (out / "contraction.parquet").write_bytes(b"damaged")
    changed = {"contraction.json", "contraction.parquet"}
    with pytest.raises(KeyboardInterrupt):
        load("encode")(config, out, progress=stop_at(3), resume=True)
    after = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {name for name, time in first.items() if after[name] != time} == changed
    assert "path3d.json" in after
    assert not RunFolder(out).finished


@pytest.mark.end_to_end
def test_an_image_that_changed_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same name; finished or not, its numbers are never those of the earlier one."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 40).save("mine.png")
    given = ("image", "--image", "mine.png", "--depth", "3", "--out", "run", "--quiet", "--resume")
    assert run(*given[:-1]).exit_code == 0
    assert run(*given).exit_code == 0  # the same again: what there is
    Image.new("L", (8, 8), 90).save("mine.png")
    for finished in (True, False):
        if not finished:
            (tmp_path / "run" / "summary.json").unlink()
        refused = run(*given)
        assert refused.exit_code == 3
        assert "another configuration" in refused.stderr


@pytest.mark.end_to_end
def test_a_stored_finding_of_other_inputs_is_not_taken(tmp_path: Path) -> None:
    """The key of an experiment is made from its settings and inputs, not from its name."""
    config, folder = EncodeConfig(name="dilation", pairs=5), RunFolder(tmp_path / "run")
    first = load("encode")(config, folder.path).record
    (folder.path / "summary.json").unlink()
    report = folder.read_record(ExperimentReport, "dilation.json")
    folder.write_record(replace(report, key="0" * 16, title="of another"), "dilation.json")
    assert load("encode")(config, folder.path, resume=True).record == first


BAD = [
    (["dilatoin"], 2, "Did you mean dilation?"),
    (["nothing-like-it"], 2, "There are dilation, contraction"),
    ([], 2, "Name one. There are dilation"),
    (
        ["bell", "--width", "3"],
        2,
        "bell has no --width; it has --candidates, --seed, --setting, --trials",
    ),
    (["all", "--depth", "3"], 2, "all has no --depth; it has --seed, --setting"),
    (["flip", "--data", "a.npz"], 2, "flip has no --data"),
    (["flip", "--candidates", "3"], 2, "keep 100 of 3"),
    (["dilation", "--width", "0"], 2, "at least 1"),
    (["dilation", "--depth", "0"], 2, "depth"),
    (["dilation", "--candidates", str(2**60)], 2, "2**53"),
    (["dilation", "--candidates", "99999999999999999999"], 2, "larger than any run could use"),
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
    (["image", "--image", "words.npz"], 3, "a picture: it is of no format that is known"),
    (["image", "--image", "grey.png", "--candidates", "5"], 2, "keep 64 of 5"),
    (["flip", "--seed", "-1"], 2, "--seed must be at least 0; got -1"),
    (["flip", "--seed", str(2**64)], 2, "--seed"),
    (["flip", "--seed", "9" * 5000], 2, "--seed"),
    (["flip", "--depth", "9" * 5000], 2, "--depth"),
    (["flip", "--depth", "many"], 2, "--depth must be a whole number; got 'many'"),
    (["spacetime", "--speed", "nan"], 2, "--speed"),
    (["dilation", "--setting", "slow"], 2, "--setting must be one of published, quick; got 'slow'"),
    (["dilation", "--receiver", "grey.png"], 2, "dilation has no --receiver"),
    (["pictures", "--image", "grey.png"], 3, "must have one size"),
    (["pictures", "--image", "grey.png", "--receiver", "grey.png"], 3, "is black"),
    (["pictures", "--receiver", "missing.png"], 3, "no picture 'missing.png'"),
    (["digit", "--image", "grey.png"], 2, "digit has no --image"),
    (["digit", "--dimension", "9"], 2, "digit has no --dimension"),
    (["margin", "--margin", "90"], 2, "below 90"),
    (["descent", "--rate", "0"], 2, "--rate must be positive"),
    (["descent", "--steps", "51"], 2, "at most 50 --steps"),
    (["onestep", "--rate", "-1"], 2, "--rate must be positive"),
    (["clusters", "--rounds", "101"], 2, "at most 100"),
    (["likelihood", "--trials", "9"], 2, "from 100 to 100,000"),
    (["spacetime", "--speed", "1e400"], 2, "--speed"),
    (["image", "--image", "a\0b"], 2, "null byte"),
    (["image", "--image", "pipe"], 3, "is a pipe, socket or device, not a file"),
    (["image", "--image", "."], 3, "is a folder, not a file"),
    (["image", "--image", "n" * 5000], 3, "cannot be opened"),
    (["pairs", "--data", "pipe"], 3, "is a pipe, socket or device, not a file"),
    (["flip", "--out", "file/run"], 3, "file is a file"),
    (["flip", "--out", "a\0b"], 2, "--out must be the name of a folder"),
    (["flip", "--config", "missing.toml"], 2, "There is no configuration"),
    (["flip", "--config", "pipe"], 2, "is a pipe, socket or device"),
    (["--config", "list.toml"], 2, "NAME must be text"),
    (["--config", "unknown.toml"], 2, "Unknown keys in unknown.toml: eps. [encode] knows"),
]


@pytest.mark.message
@pytest.mark.parametrize(
    ("arguments", "code", "words"), BAD, ids=[" ".join(row[0])[:60] for row in BAD]
)
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
    os.mkfifo("pipe")
    Path("file").touch()
    Path("list.toml").write_text("[encode]\nname = [3]\n")
    Path("unknown.toml").write_text('[encode]\nname = "flip"\neps = 3\n')
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
    assert len(result.stderr) < 1000
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.law
def test_pictures_of_sixteen_bits_and_of_one_are_grey_too(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (2, 1), 1).save(tmp_path / "binary.png")
    assert wl.loading.load_picture(tmp_path / "deep.png").tolist() == [[0.0, 1.0]]
    assert wl.loading.load_picture(tmp_path / "binary.png").tolist() == [[1.0, 1.0]]


ODD = {  # format → the place of a byte that, flipped, sent its reader astray
    "PNG": 30,
    "SGI": 2,
    "PPM": 5,
    "XBM": 8,
    "IM": 60,
    "BMP": 20,
    "GIF": 11,
    "TIFF": 10,
    "TGA": 12,
    "JPEG": 20,
    "WEBP": 20,
    "ICO": 8,
    "PCX": 10,
}


@pytest.mark.message
@pytest.mark.parametrize("form", ODD)
def test_damaged_pictures_of_every_format_are_a_sentence(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flipped bytes all over the head, a cut, and an end that lies: read, or refused in words."""
    monkeypatch.chdir(tmp_path)
    buffer, mode = io.BytesIO(), "1" if form == "XBM" else "L"
    with warnings.catch_warnings():  # of formats that Pillow will drop
        warnings.simplefilter("ignore", DeprecationWarning)
        Image.new(mode, (9, 7), 1).save(buffer, form)
    whole = buffer.getvalue()
    places = sorted({ODD[form], *range(0, min(len(whole), 200))})
    damaged = [
        *(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in places),
        whole[: len(whole) // 2],
        whole[: len(whole) // 2] + b"\xff" * 5000,
    ]
    for content in damaged:
        Path("odd.bin").write_bytes(content)
        with suppress(InputError):  # anything else is a failure
            assert wl.loading.load_picture(Path("odd.bin")).shape
    Path("odd.bin").write_bytes(whole[:5])
    result = run("image", "--image", "odd.bin", "--out", "run")
    assert result.exit_code == 3
    assert "odd.bin cannot be read as a picture" in result.stderr


@pytest.mark.message
def test_a_picture_full_of_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG whose comment unpacks to more than its reader takes."""
    monkeypatch.chdir(tmp_path)
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 100_000_000, zip=True)
    Image.new("L", (8, 8)).save("bomb.png", pnginfo=text)
    result = run("image", "--image", "bomb.png")
    assert result.exit_code == 3
    assert "bomb.png cannot be read as a picture" in result.stderr


def finding(*measured: float, unit: str = "nats") -> Finding:
    """Each measured beside the law 1 ± 0.1; the second control does not apply."""
    numbers = tuple(Measurement(f"q{at}", it, 1.0, 0.1, unit) for at, it in enumerate(measured))
    controls = {name: Control(f"{name}.", numbers[0]) for name in FOUR}
    made = Controls(**{**controls, "rank_one": Control("Does not apply.")})
    return Finding(measurements=numbers, controls=made, verdict="So.", replicas=1)


def report_of(*findings: Finding) -> EncoderReport:
    parts = tuple(
        ExperimentReport(
            experiment=name,
            title=name.title(),
            group="g",
            claim="c",
            law="l",
            shown="s",
            command="worldline",
            settings={"seed": 0},
            input="",
            replicate="independent encoder",
            finding=it,
            key="k",
        )
        for name, it in zip(NAMES, findings, strict=False)
    )
    return EncoderReport(
        experiment="all" if len(parts) > 1 else parts[0].experiment,
        headline=None,
        agrees=all(it.agrees for it in findings),
        verdict="1 of 2 experiments as the exact law says.",
        experiments=parts,
        versions={},
    )


@pytest.mark.message
def test_words_and_tables_at_their_extremes() -> None:
    one, contrary = report_of(finding(1.0)), report_of(finding(float("inf"), -9.0))
    assert words(one).headline == "Dilation: as the law says"
    assert words(contrary).headline == "Dilation: not as the law says"
    assert words(contrary).findings[:2] == ("Dilation: So.", "Control, no selection: no_selection.")
    assert tables(contrary)[0].rows[0] == ("q0", "nats", "∞", "1", "0.1", "+∞")
    assert tables(contrary)[0].rows[1][2:] == ("−9", "1", "0.1", "−100.0")
    assert [row[0] for row in evidence(one.experiments[0].finding.controls).rows] == [
        *("no selection", "sign kept", "eavesdropper")
    ]
    both = report_of(finding(1.0), finding(5.0))
    assert words(both).headline == "The selecting encoder: 1 of 2 experiments as the exact law says"
    assert [row[:2] for row in compared(both).rows] == [("dilation", "yes"), ("contraction", "no")]
    no_law = replace(one.experiments[0].finding, measurements=(Measurement("q", 2.0, None, 0.0),))
    assert tables(report_of(no_law))[0].rows == (("q", "", "2", "–", "0", "–"),)


@pytest.mark.law
def test_a_record_comes_back_from_json_with_its_infinities(report: EncoderReport) -> None:
    for it in (report, report_of(finding(float("inf"), float("-inf")))):
        assert from_json(EncoderReport, to_json(it), "here") == it


@pytest.mark.message
@pytest.mark.parametrize("name", {DRAWN[name]: name for name in NAMES}.values())
def test_a_table_of_something_else_is_a_sentence(name: str, everything: Path, tmp_path) -> None:
    """No rows, those of another experiment, text where numbers should be: drawn, or refused."""
    result = load("encode").read(RunFolder(everything))
    it = next(it for it in result.record.experiments if it.experiment == name)
    table = pq.read_table(everything / it.table)
    other = pq.read_table(everything / ("bell.parquet" if name != "bell" else "flip.parquet"))
    column = table.column_names[-1]
    text = table.drop([column]).append_column(column, [["a"] * table.num_rows])
    alone = replace(result.record, experiments=(it,))
    for damaged in (table.slice(0, 0), other, text):
        folder = RunFolder(tmp_path)
        pq.write_table(damaged, tmp_path / it.table)
        with suppress(RunError):
            figures(replace(result, record=alone, folder=folder))
