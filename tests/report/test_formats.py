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
from worldline.report.images import picture, picture_array, sheet

from .conftest import CURVE


def page_data(page: str) -> dict:
    return json.loads(re.search(r'id="page-data">(.*?)</script>', page, re.S).group(1))["models"][0]


@pytest.mark.end_to_end
def test_all_formats_say_the_same(explored, copy_of) -> None:
    run = copy_of(explored, curve=CURVE)
    result = CliRunner().invoke(
        commands, ["report", str(run.path), "--format", "html,png,svg,md,json"]
    )
    assert result.exit_code == 0, result.output
    names = (
        "boosts",
        "classes",
        "curve",
        "flow",
        "limits",
        "map",
        "rapidity",
        "sides",
        "spacetime",
        "waterfall",
    )
    assert sorted(path.name for path in (run.path / "figures").iterdir()) == [
        f"{name}.{end}" for name in names for end in ("png", "svg")
    ]
    with Image.open(run.path / "figures" / "rapidity.png") as drawn:
        assert min(drawn.size) > 500
    page = page_data((run.path / "report.html").read_text())
    plain = json.loads((run.path / "report.json").read_text())
    text = (run.path / "report.md").read_text()
    assert plain["title"] == page["headline"]
    assert plain["findings"] == page["findings"]
    shared = {
        name: view for name, view in plain["views"].items() if not name.startswith("complexity ")
    }
    assert shared == page["views"]
    assert len(plain["views"]) - len(shared) == 4
    for view in plain["views"].values():
        assert view["title"].replace("_", "\\_").replace("&", "&#38;") in text
    assert "| 0.1 | 45% | 38% to 52% | 97% |" in text
    again = CliRunner().invoke(commands, ["report", str(run.path), "--format", "svg"])
    assert again.exit_code == 0
    assert "<svg" in (run.path / "figures" / "map.svg").read_text()


@pytest.mark.oracle
def test_figures_have_the_numbers_of_the_page_and_of_the_summary(explored, copy_of) -> None:
    run = copy_of(explored, curve=CURVE)
    page, summary = page_data(wl.report.render_report(run)), run.read_json("summary.json")
    layers = len(page["layers"])

    def lines(ax: Axes) -> dict[str, np.ndarray]:
        return {str(it.get_label()): np.asarray(it.get_ydata(), float) for it in ax.get_lines()}

    drawn = lines(wl.plot.rapidity_by_layer(run))
    pairs = {
        "adversarial_clean": "adversarial – clean",
        "noise_clean": "noise – clean",
        "adversarial_wrong": "adversarial – wrong class",
    }
    for pair, label in pairs.items():
        stored = [layer["rapidity"][pair]["median"] for layer in summary["layers"]]
        np.testing.assert_allclose(drawn[label], stored, rtol=1e-12)
        np.testing.assert_allclose(
            drawn[label], page["bands"][pair]["median"], atol=1e-5
        )  # the page has five decimals
        np.testing.assert_allclose(
            drawn[f"{label}, untrained"], page["untrained"][pair]["median"], atol=1e-5
        )
    boosts = np.asarray(wl.plot.excess_boost(run).containers[0].lines[0].get_ydata(), float)
    np.testing.assert_allclose(boosts, [it[0] for it in page["boosts"][1:]])
    assert [-layer["excess_boost"]["median"] for layer in summary["layers"][1:]] == list(boosts)
    steps = (
        np.frombuffer(base64.b64decode(page["phi"]["adversarial_clean"]), "<i2").reshape(-1, layers)
        / 2000
    )
    points = wl.plot.sample_map(run, layer=2).get_lines()
    states = np.array(page["samples"]["state"])
    for state, line in enumerate(points[:3]):
        np.testing.assert_allclose(
            line.get_xdata(), steps[states == state, 2], atol=3e-4
        )  # steps of 0.0005 nats
    bars = wl.plot.class_flow(run, layer=1).patches
    flows = page["flows"][:12]
    assert [bar.get_width() for bar in bars] == [it["count"] for it in flows] + [
        it["by"][1] for it in flows
    ]
    curve = wl.plot.accuracy_curve(run).containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(
        np.asarray(curve, float), [point["accuracy"] for point in CURVE["points"]]
    )
    accuracy = wl.plot.class_accuracy(run).containers[2].lines[0].get_ydata()
    np.testing.assert_allclose(
        np.asarray(accuracy, float), [it["adversarial"][0] for it in page["classes"]]
    )


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", ["searched", "compared", "encoded"])
def test_other_runs_have_formats_too(kind: str, request) -> None:
    run = request.getfixturevalue(kind)
    result = CliRunner().invoke(commands, ["report", str(run.path), "--format", "md,json,png"])
    assert result.exit_code == 0, result.output
    plain = json.loads((run.path / "report.json").read_text())
    assert plain["views"]
    assert list((run.path / "figures").glob("*.png"))


@pytest.mark.message
def test_what_cannot_be_rendered_is_one_sentence(explored, searched, tmp_path) -> None:
    def told(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(commands, ["report", *map(str, arguments)])
        assert "Traceback" not in result.output
        return result.exit_code, result.stderr

    code, words = told(explored.path, "--format", "pdf")
    assert (code, "html, png, svg, md, json" in words, "got pdf" in words) == (2, True, True)
    code, words = told(searched.path, "--with", explored.path)
    assert (code, "only a page of explore takes other runs" in words) == (3, True)
    code, words = told(explored.path, "--with", tmp_path)
    assert (code, "not a finished run" in words) == (3, True)
    code, words = told(explored.path, "--port", "80")
    assert (code, "give --serve too" in words) == (2, True)
    code, words = told(explored.path, "--serve", "--format", "md")
    assert (code, "leave out --format md" in words) == (2, True)
    code, words = told(explored.path, "--serve", "--port", "70000")
    assert (code, "--port 70000 cannot be used" in words) == (2, True)
    with pytest.raises(wl.errors.UsageError, match=r"no sample 600: this run has 600, from 0"):
        wl.plot.spacetime(explored, sample=600)
    with pytest.raises(wl.errors.RunError, match="is no run of explore"):
        wl.plot.sample_map(searched)


@pytest.mark.end_to_end
def test_a_served_page_is_for_this_machine_alone(explored) -> None:
    page = (explored.path / "report.html").read_text()
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
def test_serving_ends_with_an_interrupt(explored) -> None:
    command = [sys.executable, "-u", "-m", "worldline", "report", str(explored.path), "--serve"]
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
        (found, "3 merged, 3 opposed"),
        (predicted, "&lt;b&gt;"),
        (explored, "cnn"),
    ):
        markup = result._repr_html_()
        assert words in markup
        assert "<b>" not in markup
        assert markup.count("<tr>") >= 3
