"""Claim: a report is small and answers at once: the default at most 2.5 MB with its first paint
under 1 s; of 10,000 samples under 10 MB, with a click answered under 100 ms.

Rivals, measured earlier: a plotly scatter of 2,000 points is 4.9 MB and paints after 1.7 s, a Bokeh
one 1.3 MB and 0.32 s; the default report with Bokeh was 2.3 MB. A click is timed in the page, from
the event to the frame that shows its answer. The 10,000 samples are digits, shifted and jittered.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import measure
from worldline import commands, zoo
from worldline.commands.rendering import write_report

CLAIM = (
    "default report ≤ 2.5 MB, first paint ≤ 1 s; 10,000 samples ≤ 10 MB, a click answered ≤ 0.1 s"
)
SAMPLES = 10_000
ROUNDS = 9
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--window-size=1200,1000",
)
ACTIONS = {
    "next sample": "document.getElementById('next-sample').click()",
    "another layer": "const it = document.getElementById('choose-layer'); it.value = "
    "(Number(it.value) + 1) % it.options.length;"
    "it.dispatchEvent(new Event('change'))",
    "a click on the map": "const box = document.querySelector('#figure-map "
    "svg.chart').getBoundingClientRect();"
    "const ring = document.getElementById('map-ring').getBoundingClientRect();"
    "document.getElementById('figure-map').dispatchEvent(new MouseEvent('click', {bubbles: true,"
    "clientX: ring.x + ring.width / 2 + (window.shift = -(window.shift ?? 40)), clientY: ring.y + "
    "ring.height / 2}))",
    "an arrow key on the map": "document.getElementById('figure-map').dispatchEvent(new "
    "KeyboardEvent('keydown', {key: 'PageDown'}))",
    "a class": "document.getElementById('figure-classes').dispatchEvent(new "
    "KeyboardEvent('keydown',"
    "{key: window.turn = window.turn === 'End' ? 'Home' : 'End'}))",
    "light or dark": "document.getElementById('toggle-theme').click()",
}
TIMED = """
const done = arguments[0];
requestAnimationFrame(() => {
  const start = performance.now();
  ACTION;
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start), 0));
});
"""


def many_digits(path: Path) -> None:
    """Digits in random order, each shifted by up to a pixel, with a little noise; a new sample each
    time.
    """
    data, draw = zoo.digits(), np.random.default_rng(0)
    x, y = data.x.numpy(), data.y.numpy()
    rows = draw.integers(0, len(x), SAMPLES)
    shifts = draw.integers(-1, 2, (SAMPLES, 2))
    moved = np.stack(
        [np.roll(x[row], tuple(shift), (-2, -1)) for row, shift in zip(rows, shifts, strict=True)]
    )
    noisy = np.clip(moved + draw.normal(0, 0.03, moved.shape), 0, 1).astype(np.float32)
    assert data.reference_x is not None
    assert data.reference_y is not None
    np.savez(
        path,
        x=noisy,
        y=y[rows],
        reference_x=data.reference_x.numpy(),
        reference_y=data.reference_y.numpy(),
    )


def look_at(page: Path) -> dict[str, Any]:
    """Size, paints, readiness and answers of a page in headless Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    window = webdriver.Chrome(
        options=options, service=Service(shutil.which("chromedriver") or "chromedriver")
    )
    paints, ready = [], []
    try:
        for _ in range(5):
            window.get(page.resolve().as_uri())
            time.sleep(2)
            paints.append(
                float(
                    window.execute_script(
                        "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
                    )
                )
            )
            ready.append(
                float(
                    window.execute_script(
                        "return performance.getEntriesByType('navigation')[0].loadEventEnd"
                    )
                )
            )
        answers = {}
        for name, action in ACTIONS.items():
            script = TIMED.replace("ACTION", action)
            every = [float(window.execute_async_script(script)) for _ in range(ROUNDS + 1)]
            times = [milliseconds / 1000 for milliseconds in every[1:]]
            answers[name] = {
                "seconds": statistics.median(times),
                "low": min(times),
                "high": max(times),
                "rounds": ROUNDS,
            }
    finally:
        window.quit()
    return {
        "bytes": page.stat().st_size,
        "first_paint_milliseconds": statistics.median(paints),
        "loaded_milliseconds": statistics.median(ready),
        "answers": answers,
    }


def main() -> None:
    measure.threads()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        many_digits(here / "many.npz")
        explore, config = commands.load("explore"), commands.config_of("explore")
        small = explore(config(), here / "default")
        many = config(data=str(here / "many.npz"), samples=SAMPLES, steps=5, batch_size=1000)
        large = explore(many, here / "large")
        result: dict[str, Any] = {}
        for name, run in (("default", small), ("10,000 samples", large)):
            start = time.perf_counter()
            page = write_report(run.folder)
            result[name] = {"rendered_seconds": time.perf_counter() - start, **look_at(page)}
    for name, it in result.items():
        result[name] = {
            **it,
            "slowest_answer_seconds": max(row["seconds"] for row in it["answers"].values()),
        }
    measure.write("report", CLAIM, {"pages": result})


if __name__ == "__main__":
    main()
