"""Runs whose reports are looked at, and what a person does in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import worldline as wl
from worldline.runs import (
    CompareConfig,
    ComplexityConfig,
    DistantConfig,
    DoctorConfig,
    EncodeConfig,
    ExploreConfig,
    RunFolder,
)

CURVE = {
    "norm": "linf",
    "attack": "PGD-20",
    "samples": 200,
    "chance": 0.113,
    "points": [
        {"epsilon": 0.0, "accuracy": 0.98, "interval": [0.95, 0.99], "noise_accuracy": 0.98},
        {"epsilon": 0.1, "accuracy": 0.45, "interval": [0.38, 0.52], "noise_accuracy": 0.97},
        {"epsilon": 0.3, "accuracy": 0.0, "interval": [0.0, 0.02], "noise_accuracy": 0.75},
    ],
}


MEANS = """
import torch, worldline as wl
def build():
    data = wl.zoo.digits()
    means = torch.stack([data.reference_x[data.reference_y == label].flatten(1).mean(0) for label in
    range(10)]) logits = torch.nn.Linear(64, 10)
    logits.weight.data, logits.bias.data = 4 * means, -2 * means.square().sum(1)
    return torch.nn.Sequential(torch.nn.Flatten(), logits)
"""


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The default run, with its page."""
    run = wl.runs.explore(ExploreConfig(), tmp_path_factory.mktemp("report") / "cnn")
    wl.report.write_report(run)
    return run


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Another model under the very same attack: the nearest class mean, which is less fragile and
    needs no training.
    """
    folder = tmp_path_factory.mktemp("report")
    (folder / "means.py").write_text(MEANS)
    return wl.runs.explore(ExploreConfig(model=f"{folder / 'means.py'}:build"), folder / "other")


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = DistantConfig(samples=150, nulls=1, pairs=4, make=(3, 5), eps="0.3", steps=20)
    return wl.runs.distant(config, tmp_path_factory.mktemp("report") / "distant")


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = CompareConfig(
        models=("linear", "mlp", "cnn", "mlp@1"),
        measure=True,
        samples=60,
        steps=3,
        probed_samples=20,
        probes=16,
    )
    return wl.runs.compare(config, tmp_path_factory.mktemp("report") / "compare")


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return wl.runs.encode(
        EncodeConfig(name="dilation", settings={}), tmp_path_factory.mktemp("report") / "encode"
    )


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = ComplexityConfig(models=("mlp", "linear"), samples=100)
    return wl.runs.complexity(config, tmp_path_factory.mktemp("report") / "complexity")


@pytest.fixture(scope="session")
def examined(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = DoctorConfig(model="linear", samples=60, steps=10)
    return wl.runs.doctor(config, tmp_path_factory.mktemp("report") / "doctor")


@pytest.fixture
def copy_of(tmp_path: Path) -> Any:
    """A copy of a run whose summary a test may change."""

    def copied(run: RunFolder, name: str = "copy", **changes: Any) -> RunFolder:
        shutil.copytree(run.path, tmp_path / name)
        found = RunFolder(tmp_path / name)
        found.write_json("summary.json", {**found.read_json("summary.json"), **changes})
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
