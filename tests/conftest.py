"""Shared by all tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from worldline import zoo
from worldline.inputs import Data

settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("default")
torch.set_num_threads(1)  # small tensors: threads would wait for each other, and for other programs
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for the processes that start from here
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # behind a shell's &; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file of tests stays on one process, and a folder with a conftest.py: they share runs."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.split("::", 1)[0])
            shared = config.rootpath / file.parent / "conftest.py"
            return str(file.parent if file.parts[1:-1] and shared.exists() else file)

    return ByFixtures(config, log)


@pytest.fixture(scope="session")
def digits() -> Data:
    return zoo.digits()


@pytest.fixture(scope="session")
def mlp() -> torch.nn.Module:
    return zoo.load("mlp")


@pytest.fixture(scope="session")
def cnn() -> torch.nn.Module:
    return zoo.load("cnn")


BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,1000"
)


class Browser(webdriver.Chrome):
    """Headless Chromium that notes what a page asks for and what it complains of."""

    def open(self, path: Path) -> list[str]:
        """Open a page, wait until it is ready, and give the addresses that were requested."""
        self.get_log("browser")
        self.get_log("performance")
        self.get(path.resolve().as_uri())
        WebDriverWait(self, 30).until(
            lambda it: it.execute_script("return document.body.dataset.ready") == "true"
        )
        events = (json.loads(entry["message"])["message"] for entry in self.get_log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Warnings and errors of the page since they were last asked for."""
        return [
            entry["message"]
            for entry in self.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not (BROWSER and DRIVER) and not os.environ.get("WORLDLINE_REQUIRE_BROWSER"):
        pytest.skip(
            "no Chromium with chromedriver on this machine (Debian: apt-get install chromium "
            "chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or "chromium"
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Browser(options=options, service=Service(DRIVER or "chromedriver"))
    yield driver
    driver.quit()
