"""Runs whose reports are looked at, and what a person does in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worldline import commands
from worldline.checks import Curve, CurvePoint
from worldline.commands.base import Result
from worldline.commands.rendering import write_report
from worldline.runs.store import RunFolder

CURVE = Curve(
    norm="linf",
    attack="PGD-20",
    samples=200,
    chance=0.113,
    points=(
        CurvePoint(0.0, 0.98, (0.95, 0.99), 0.98),
        CurvePoint(0.1, 0.45, (0.38, 0.52), 0.97),
        CurvePoint(0.3, 0.0, (0.0, 0.02), 0.75),
    ),
)


MEANS = """
import torch, worldline as wl
def build():
    data = wl.zoo.digits()
    x, y = data.reference_x.flatten(1), data.reference_y
    means = torch.stack([x[y == label].mean(0) for label in range(10)])
    logits = torch.nn.Linear(64, 10)
    logits.weight.data, logits.bias.data = 4 * means, -2 * means.square().sum(1)
    return torch.nn.Sequential(torch.nn.Flatten(), logits)
"""


def done(name: str, folder: Path, /, **settings: Any) -> Result[Any]:
    """A run of a command."""
    return commands.load(name)(commands.config_of(name)(**settings), folder)


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    """The default run, with its page."""
    run = done("explore", tmp_path_factory.mktemp("report") / "cnn")
    write_report(run.folder)
    return run


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    """The nearest class mean under the very same attack: less fragile, and needs no training."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "means.py").write_text(MEANS)
    return done("explore", folder / "other", model=f"{folder / 'means.py'}:build")


@pytest.fixture(scope="session")
def unfooled(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    """An attack too weak to fool anything."""
    folder = tmp_path_factory.mktemp("report") / "unfooled"
    return done("explore", folder, model="linear", eps="0.000001", samples=60, steps=2)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    folder = tmp_path_factory.mktemp("report") / "distant"
    settings = {"samples": 150, "nulls": 1, "pairs": 4, "make": (3, 5), "eps": "0.3", "steps": 20}
    return done("distant", folder, **settings)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    return done(
        "compare",
        tmp_path_factory.mktemp("report") / "compare",
        models=("linear", "mlp", "cnn", "mlp@1"),
        measure=True,
        samples=60,
        steps=3,
        probed_samples=20,
        probes=16,
    )


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    return done("encode", tmp_path_factory.mktemp("report") / "encode", name="dilation")


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    folder = tmp_path_factory.mktemp("report") / "complexity"
    return done("complexity", folder, models=("mlp", "linear"), samples=100)


@pytest.fixture(scope="session")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    folder = tmp_path_factory.mktemp("report") / "carriers"
    return done("carriers", folder, model="cnn", samples=60, steps=5)


@pytest.fixture(scope="session")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Result[Any]:
    folder = tmp_path_factory.mktemp("report") / "doctor"
    return done("doctor", folder, model="linear", samples=60, steps=10)


@pytest.fixture
def copy_of(tmp_path: Path) -> Any:
    """A copy of a run whose record a test may change."""

    def copied(run: Result[Any], name: str = "copy", **changes: Any) -> Result[Any]:
        shutil.copytree(run.folder.path, tmp_path / name)
        found = Result(replace(run.record, **changes), RunFolder(tmp_path / name))
        found.folder.write_record(found.record)
        return found

    return copied


class Visitor:
    """A person at the page: counts clicks, types, looks."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.clicks = 0

    def open(self, path: Path) -> list[str]:
        self.clicks = 0
        found: list[str] = self.browser.open(path)
        return found

    def click(self, selector: str, index: int = 0) -> None:
        self.clicks += 1
        self.browser.find_elements("css selector", selector)[index].click()

    def click_at(self, selector: str, x: float, y: float) -> None:
        """A click at a place of an element, both in parts of its size."""
        self.clicks += 1
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._mouse(kind, selector, x, y)

    def point_at(self, selector: str, x: float, y: float) -> None:
        self._mouse("mouseMoved", selector, x, y)

    def text(self, selector: str) -> str:
        return str(self.browser.find_element("css selector", selector).text)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def _mouse(self, kind: str, selector: str, x: float, y: float) -> None:
        find = (
            "const it = document.querySelector(arguments[0]); it.scrollIntoView({block: 'center', "
            "behavior: 'instant'});"
            "const box = it.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]"
        )
        left, top, width, height = self.run(find, selector)
        button = "none" if kind == "mouseMoved" else "left"
        event = {"type": kind, "x": left + x * width, "y": top + y * height, "button": button}
        self.browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent", {**event, "clickCount": int(button == "left")}
        )


@pytest.fixture
def visitor(browser: Any) -> Iterator[Visitor]:
    yield Visitor(browser)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
