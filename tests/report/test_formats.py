"""Pictures, text and data beside the page: the same numbers; a page shown on this machine alone."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import subprocess
import sys
from urllib.request import urlopen

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes
from PIL import Image

import worldline as wl
from worldline.cli import commands
from worldline.commands.explore import views as drawn
from worldline.commands.explore.explored import Explored, read_explored
from worldline.commands.rendering import render_report
from worldline.report.images import picture, picture_array, sheet

from .conftest import CURVE


def page_data(page: str) -> dict:
    return json.loads(re.search(r'id="page-data">(.*?)</script>', page, re.S).group(1))["models"][0]


@pytest.mark.end_to_end
def test_all_formats_say_the_same(explored, copy_of) -> None:
    run = copy_of(explored, curve=CURVE)
    result = CliRunner().invoke(
        commands, ["report", str(run.folder.path), "--format", "html,png,svg,md,json"]
    )
    assert result.exit_code == 0, result.output
    names = (
        "boosts",
        "classes",
        "concentration",
        "curve",
        "flow",
        "limits",
        "map",
        "rapidity",
        "sides",
        "spacetime",
        "waterfall",
    )
    assert sorted(path.name for path in (run.folder.path / "figures").iterdir()) == [
        f"{name}.{end}" for name in names for end in ("png", "svg")
    ]
    with Image.open(run.folder.path / "figures" / "rapidity.png") as drawn:
        assert min(drawn.size) > 500
    page = page_data((run.folder.path / "report.html").read_text())
    plain = json.loads((run.folder.path / "report.json").read_text())
    text = (run.folder.path / "report.md").read_text()
    assert plain["title"] == page["headline"]
    assert plain["findings"] == page["findings"]
    shared = {
        name: view
        for name, view in plain["views"].items()
        if not name.startswith(("complexity ", "carriers "))
    }
    assert shared == page["views"]
    assert len(plain["views"]) - len(shared) >= 4
    assert plain["summary"]["schema"] == plain["run"] == "worldline.explore/3"
    for view in plain["views"].values():
        assert view["title"].replace("_", "\\_").replace("&", "&#38;") in text
    assert "| 0.1 | 45% | 38% to 52% | 97% |" in text
    again = CliRunner().invoke(commands, ["report", str(run.folder.path), "--format", "svg"])
    assert again.exit_code == 0
    assert "<svg" in (run.folder.path / "figures" / "map.svg").read_text()


@pytest.mark.oracle
def test_figures_have_the_numbers_of_the_page_and_of_the_summary(explored, copy_of) -> None:
    run = copy_of(explored, curve=CURVE)
    page, record = page_data(render_report(run.folder)), run.record
    layers = len(page["layers"])

    def lines(ax: Axes) -> dict[str, np.ndarray]:
        return {str(it.get_label()): np.asarray(it.get_ydata(), float) for it in ax.get_lines()}

    shown = lines(drawn.rapidity_by_layer(run))
    pairs = {
        "adversarial_clean": "attacked – original",
        "noise_clean": "noise – original",
        "adversarial_wrong": "attacked – wrong class",
    }
    for pair, label in pairs.items():
        stored = [getattr(layer.rapidity, pair).median for layer in record.layers]
        np.testing.assert_allclose(shown[label], stored, rtol=1e-12)
        np.testing.assert_allclose(
            shown[label], page["bands"][pair]["median"], atol=1e-5
        )  # the page has five decimals
        np.testing.assert_allclose(
            shown[f"{label}, untrained"], page["untrained"][pair]["median"], atol=1e-5
        )
    boosts = np.asarray(drawn.excess_boost(run).containers[0].lines[0].get_ydata(), float)
    np.testing.assert_allclose(boosts, [it[0] for it in page["boosts"][1:]])
    assert [layer.excess_boost.median for layer in record.layers[1:]] == list(boosts)
    assert boosts.max() > 0  # apart is positive, in the record, on the page and in print
    sides = drawn.changed_sides(run).containers
    for container, (key, share_of) in zip(
        sides,
        {
            "wrong": "wrong_side",
            "clean": "clean_wrong_side",
            "moved": "moved_share",
            "noise": "noise_wrong_side",
        }.items(),
        strict=True,
    ):
        stored = [getattr(layer, share_of) for layer in record.layers]
        assert list(container.lines[0].get_ydata()) == [it.value for it in stored]
        assert page["shares"][key] == [[it.value, *it.interval] for it in stored]
    steps = (
        np.frombuffer(base64.b64decode(page["phi"]["adversarial_clean"]["content"]), "<i2").reshape(
            -1, layers
        )
        / page["phi"]["adversarial_clean"]["steps"]
    )
    points = drawn.sample_map(run, layer=2).get_lines()
    states = np.array(page["samples"]["state"])
    for state, line in enumerate(points[:3]):
        np.testing.assert_allclose(
            line.get_xdata(), steps[states == state, 2], atol=3e-4
        )  # steps of 0.0005 nats
    packed = page["proper"]["noise_clean"]
    proper = np.frombuffer(base64.b64decode(packed["content"]), "<i2").reshape(-1, layers)[:, -1]
    stored = run.folder.read_table("samples.parquet")["proper_depth_noise_clean"].to_numpy()
    np.testing.assert_allclose(proper / packed["steps"], stored, atol=3e-4)
    bars = drawn.class_flow(run, layer=1).patches
    flows = page["flows"][:12]
    assert [bar.get_width() for bar in bars] == [it["count"] for it in flows] + [
        it["by"][1] for it in flows
    ]
    curve = drawn.figures(run)["curve"].axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(np.asarray(curve, float), [point.accuracy for point in CURVE.points])
    accuracy = drawn.class_accuracy(run).containers[2].lines[0].get_ydata()
    np.testing.assert_allclose(
        np.asarray(accuracy, float), [it["adversarial"][0] for it in page["classes"]]
    )


@pytest.mark.law
def test_figures_leave_gaps_where_nothing_is_finite(explored) -> None:
    from dataclasses import replace

    data: Explored = read_explored(explored)
    table = data.rapidity["adversarial_clean"].copy()
    table[:, 3], table[5, 1] = np.inf, np.nan
    odd = replace(data, rapidity={**data.rapidity, "adversarial_clean": table})
    assert np.isinf(odd.bands("adversarial_clean").median[3])
    first = drawn.rapidity_by_layer(odd).get_lines()[0]
    assert [bool(np.isnan(it)) for it in first.get_ydata()] == [False, False, False, True, False]
    assert drawn.spacetime(odd, sample=5).get_title() == "sample 5"
    line = odd.worldline(5, "adversarial_clean")
    assert np.isnan(line.place[2:]).all()
    assert np.isnan(line.proper[2:]).all()
    assert np.isfinite(line.place[:2]).all()


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    "kind", ["searched", "compared", "encoded", "measured", "examined", "carried"]
)
def test_other_runs_have_formats_too(kind: str, request) -> None:
    run = request.getfixturevalue(kind)
    result = CliRunner().invoke(
        commands, ["report", str(run.folder.path), "--format", "md,json,png"]
    )
    assert result.exit_code == 0, result.output
    plain = json.loads((run.folder.path / "report.json").read_text())
    assert plain["views"]
    assert list((run.folder.path / "figures").glob("*.png"))


@pytest.mark.message
def test_what_cannot_be_rendered_is_one_sentence(explored, searched, tmp_path) -> None:
    def told(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(commands, ["report", *map(str, arguments)])
        assert "Traceback" not in result.output
        return result.exit_code, result.stderr

    code, words = told(explored.folder.path, "--format", "pdf")
    assert (code, "html, png, svg, md, json" in words, "got pdf" in words) == (2, True, True)
    code, words = told(searched.folder.path, "--with", explored.folder.path)
    assert (code, "is no run of explore: only its page takes other runs" in words) == (3, True)
    code, words = told(explored.folder.path, "--with", tmp_path)
    assert (code, "There is no summary.json of a run" in words) == (3, True)
    code, words = told(explored.folder.path, "--port", "80")
    assert (code, "give --serve too" in words) == (2, True)
    code, words = told(explored.folder.path, "--serve", "--format", "md")
    assert (code, "leave out --format md" in words) == (2, True)
    code, words = told(explored.folder.path, "--serve", "--port", "70000")
    assert (code, "--port 70000 cannot be used" in words) == (2, True)
    with pytest.raises(wl.errors.UsageError, match=r"no sample 600 in this run.*0 to 599"):
        drawn.spacetime(explored, sample=600)
    with pytest.raises(wl.errors.UsageError, match=r"no layer 5: this run has 5, from 0"):
        drawn.sample_map(explored, layer=5)


@pytest.mark.end_to_end
def test_a_served_page_is_for_this_machine_alone(explored) -> None:
    page = (explored.folder.path / "report.html").read_text()
    with wl.report.serving(page) as address:
        assert address.startswith("http://127.0.0.1:")
        with urlopen(address) as answer:
            assert answer.read().decode() == page
            assert answer.headers["Cache-Control"] == "no-store"
        port = int(address.rsplit(":", 1)[1].rstrip("/"))

        def status(path: str, host: str, method: str = "GET") -> int:
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            asked.request(method, path, headers={"Host": host})
            return asked.getresponse().status

        assert status("/report.html", f"localhost:{port}") == 200
        assert status("/", f"127.0.0.1:{port}", "HEAD") == 200
        assert status("/", f"evil.example:{port}") == 403  # another name for this machine
        assert status("/", "127.0.0.1") == 403
        for path in (
            "/summary.json",
            "/../config.toml",
            "/%2e%2e/config.toml",
            "/twins.safetensors",
        ):
            assert status(path, f"127.0.0.1:{port}") == 404
        assert status("/", f"127.0.0.1:{port}", "POST") == 501


@pytest.mark.end_to_end
def test_serving_ends_with_an_interrupt(encoded) -> None:
    command = [
        sys.executable,
        "-u",
        "-m",
        "worldline",
        "report",
        str(encoded.folder.path),
        "--serve",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        address = served.stdout.readline().split()[0]
        with urlopen(address) as answer:
            assert answer.status == 200
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
        assert served.stdout.read().strip() == "Ended."


@pytest.mark.law
def test_large_samples_are_thinned_vectors_become_sheets_and_sheets_keep_their_order() -> None:
    import torch

    assert picture_array(torch.rand(3, 224, 224)).shape == (45, 45, 3)
    assert picture_array(torch.rand(1, 8, 8)).shape == (8, 8)
    assert picture_array(torch.rand(65)).shape == (8, 9)
    assert picture_array(torch.rand(4, 5, 6)).shape == (11, 11)
    assert len(picture(torch.rand(1, 8, 8), (0, 1))) < 300
    four = torch.stack([torch.full((1, 2, 2), value) for value in (0.0, 0.2, 0.6, 1.0)])
    with Image.open(
        __import__("io").BytesIO(base64.b64decode(sheet(four, (0, 1), 2).split(",")[1]))
    ) as image:
        assert [image.getpixel(place) for place in ((0, 0), (3, 1), (0, 2), (3, 3))] == [
            0,
            51,
            153,
            255,
        ]


@pytest.mark.law
def test_results_show_themselves_in_notebooks(explored, digits, mlp) -> None:
    x, y = digits.x[:60], digits.y[:60]
    story = wl.explain.twins(mlp, x, wl.attacks.FGSM(epsilon=0.15)(mlp, x, y).x, y)
    found = wl.explain.distant(mlp, x, y, nulls=0, k=3)
    predicted = wl.compare.predict(
        {"<b>": mlp, "linear": wl.zoo.load("linear")}, digits.x[:100], epsilon=0.15
    )
    for result, words in (
        (story, "samples are fooled"),
        (found, "3 brought together, 3 made opposites"),
        (predicted, "&lt;b&gt;"),
        (explored, "cnn"),
    ):
        markup = result._repr_html_()
        assert words in markup
        assert "<b>" not in markup
        assert markup.count("<tr>") >= 3
