"""Every reader: axe-core, light and dark, narrow screens; pages that look as they did."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import axe_core_python
import numpy as np
import pytest
from PIL import Image, ImageFilter

from worldline.commands.rendering import write_report

AXE = next(Path(axe_core_python.__file__).parent.rglob("axe.min.js"))
REFERENCES = Path(__file__).parent / "reference"
ARTIFACTS = Path(os.environ.get("WORLDLINE_ARTIFACTS", Path(__file__).parents[2] / ".artifacts"))
KINDS = ("explored", "searched", "compared", "encoded", "measured", "examined", "carried")
FURTHEST = {"encoded-dark": 60.0}
USUALLY = 14.0
"""Of 255: mean difference of two blurred grey thumbnails. Measured: a serif font 0.4 to 0.7, a
monospaced one 3 to 9, letters of 15 pixels 2 to 12 (on the dark encoder page, whose white figures
move with the text, up to 45); the other theme 150 and more, the heat maps or cards gone 10 to 22.
The thin lines of the figures of an exploration weigh only 3.6: that they are drawn is tested one by
one.
"""


@pytest.mark.end_to_end
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_serious_and_the_page_looks_as_it_did(
    kind: str, theme: str, visitor, request
) -> None:
    run = request.getfixturevalue(kind)
    page = run.folder.path / "report.html"
    if not page.exists():
        write_report(run.folder)
    dark = {"name": "prefers-color-scheme", "value": theme}
    visitor.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": "screen", "features": [dark]}
    )
    resize(visitor, 1200, 1400)
    visitor.open(page)
    assert visitor.browser.complaints() == []
    compare(f"{kind}-{theme}", visitor)
    if theme == "light":  # everything, with what is folded away, but for rows like those above
        visitor.run("for (const it of document.querySelectorAll('details')) it.open = true")
        visitor.run(
            "for (const it of document.querySelectorAll('tbody tr:nth-child(n+3)')) it.remove()"
        )
        assert serious(visitor, "{preload: false}") == []
    else:
        assert serious(visitor, "{preload: false, runOnly: ['color-contrast']}") == []


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wider_than_a_narrow_screen(kind: str, visitor, request) -> None:
    run = request.getfixturevalue(kind)
    page = run.folder.path / "report.html"
    if not page.exists():
        write_report(run.folder)
    resize(visitor, 360, 800)
    visitor.open(page)
    assert visitor.run("return document.documentElement.scrollWidth") <= 360
    charts = ".figure:not([data-figure=sparkline]) svg.chart"
    for chart in visitor.browser.find_elements("css selector", charts):
        assert 200 < chart.rect["width"] <= 345


@pytest.mark.end_to_end
def test_the_button_changes_the_theme_of_page_and_figures(visitor, explored) -> None:
    visitor.open(explored.folder.path / "report.html")
    colours = (
        "return [document.body, document.querySelector('#figure-boosts .marks')]"
        ".map((it) => getComputedStyle(it)).map((it) => [it.backgroundColor, it.fill])"
    )
    before = visitor.run(colours)
    visitor.click("#toggle-theme")
    after = visitor.run(colours)
    assert before[0] != after[0]
    assert before[1] != after[1]
    visitor.click("#toggle-theme")
    assert visitor.run(colours) == before


def resize(visitor, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    visitor.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def serious(visitor, options: str) -> list[Any]:
    visitor.run(AXE.read_text("utf-8"))
    run = (
        f"const done = arguments[0]; axe.run(document, {options}).then((it) => done(it.violations))"
    )
    found = visitor.browser.execute_async_script(run)
    return [
        (it["id"], it["impact"], [node["html"][:200] for node in it["nodes"]])
        for it in found
        if it["impact"] in ("serious", "critical")
    ]


def compare(name: str, visitor) -> None:
    """Keep the screenshot, and compare its thumbnail with the stored one.

    WORLDLINE_NEW_REFERENCES=1 stores it instead.
    """
    shot = base64.b64decode(
        visitor.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    )
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    (ARTIFACTS / f"{name}.png").write_bytes(shot)
    whole = Image.open(io.BytesIO(shot)).convert("L").filter(ImageFilter.GaussianBlur(24))
    thumbnail = whole.resize((64, 64), Image.Resampling.BOX)
    reference = REFERENCES / f"{name}.png"
    if os.environ.get("WORLDLINE_NEW_REFERENCES"):
        thumbnail.save(reference, optimize=True)
    with Image.open(reference) as stored:
        difference = np.abs(np.asarray(thumbnail, float) - np.asarray(stored, float)).mean()
    assert difference <= FURTHEST.get(name, USUALLY), (
        f"{name} looks different by {difference:.1f}: see {ARTIFACTS / name}.png"
    )
