"""Claim: a stranger waits seconds: `worldline explore` under 30 s with an empty cache and 15 s
after; `--help` 100 ms.

Also the default report: at most 2.5 MB, first paint under 1 s in headless Chromium. The floor of
`--help` is the interpreter that imports click and does nothing else.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

CLAIM = (
    "explore ≤ 30 s (cache empty), ≤ 15 s (cached); --help ≤ 0.1 s; report ≤ 2.5 MB, first "
    "paint ≤ 1 s"
)
WORLDLINE = [str(Path(sys.executable).parent / "worldline")]


def seconds(command: list[str], cache: Path) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "WORLDLINE_CACHE": str(cache)}
    )
    return time.perf_counter() - start


def median(values: list[float]) -> dict[str, float]:
    return {
        "seconds": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "rounds": len(values),
    }


def first_paint(page: Path) -> float | None:
    """Milliseconds from navigation to the first contentful paint; None without a browser."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        return None
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ):
        options.add_argument(flag)
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        paints = []
        for _ in range(5):
            window.get(page.resolve().as_uri())
            time.sleep(2)
            script = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
            paints.append(float(window.execute_script(script)))
        return statistics.median(paints)
    finally:
        window.quit()


def main() -> None:
    measure.threads()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        empty = [
            seconds([*WORLDLINE, "explore", "--out", str(here / f"e{i}")], here / f"cache{i}")
            for i in range(3)
        ]
        cached = [
            seconds([*WORLDLINE, "explore", "--out", str(here / f"c{i}")], here / "cache0")
            for i in range(3)
        ]
        help_times, floor = [], []
        for _ in range(21):
            help_times.append(seconds([*WORLDLINE, "--help"], here))
            floor.append(seconds([sys.executable, "-c", "import click"], here))
        page = here / "c0" / "report.html"
        result = {
            "explore, cache empty": median(empty),
            "explore, cached": median(cached),
            "--help": median(help_times),
            "floor of --help: import click": median(floor),
            "report_bytes": page.stat().st_size,
            "first_paint_milliseconds": first_paint(page),
        }
    measure.write("explore", CLAIM, result)


if __name__ == "__main__":
    main()
