"""The report in headless Chromium: nothing leaves the page, nothing fails, a choice moves every view."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

import worldline as wl
from worldline.report.images import change_picture, picture, picture_array
from worldline.runs import ExploreConfig, RunFolder

HOSTILE = '</script><img src=x onerror="document.title=1"><b>'


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> RunFolder:
    run = wl.runs.explore(ExploreConfig(), tmp_path_factory.mktemp("page") / "run")
    wl.report.write_report(run)
    return run


@pytest.mark.end_to_end
def test_the_page_asks_for_nothing_and_complains_of_nothing(browser, run_folder: RunFolder) -> None:
    page = run_folder.path / "report.html"
    requested = browser.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints() == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.stat().st_size <= 2_500_000


@pytest.mark.end_to_end
def test_the_policy_would_stop_a_request_and_a_script(browser, run_folder: RunFolder) -> None:
    browser.open(run_folder.path / "report.html")
    browser.execute_script("""
        window.stopped = [];
        document.addEventListener("securitypolicyviolation", (event) => window.stopped.push(event.effectiveDirective));
        const image = new Image(); image.src = "http://127.0.0.1:9/x.png";
        const script = document.createElement("script"); script.textContent = "window.ran = 1"; document.body.append(script);
        fetch("http://127.0.0.1:9/").catch(() => {});
    """)
    WebDriverWait(browser, 10).until(lambda it: len(it.execute_script("return window.stopped")) >= 3)
    stopped = browser.execute_script("return window.stopped")
    assert {"img-src", "connect-src"} <= set(stopped)
    assert any(directive.startswith("script-src") for directive in stopped)
    assert browser.execute_script("return window.ran") is None


@pytest.mark.end_to_end
def test_every_figure_is_drawn_with_its_sentence_and_table(browser, run_folder: RunFolder) -> None:
    browser.open(run_folder.path / "report.html")
    summary = run_folder.read_json("summary.json")
    for name in ("leaving", "joining", "swapped", "spacetime", "map"):
        drawn = browser.execute_script(
            "const host = document.querySelector(`#figure-${arguments[0]} > div`);"
            "const find = (root) => [...root.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? find(e.shadowRoot) : [])]);"
            "return find(host.shadowRoot ?? host).filter((e) => e.tagName === 'CANVAS' && e.width > 300).length",
            name,
        )
        assert drawn >= 1, name
    text = browser.find_element(By.TAG_NAME, "main").text
    assert f"is fooled on {summary['fooled']} of 600 samples" in text
    for sentence in wl.runs.findings(summary):
        assert sentence in text
    for section in browser.find_elements(By.CSS_SELECTOR, "section"):
        assert section.find_element(By.TAG_NAME, "h2").text
        if section.find_elements(By.CSS_SELECTOR, ".figure"):
            assert len(section.find_elements(By.CSS_SELECTOR, "details table")) == 1
            assert section.find_element(By.TAG_NAME, "p").text
    assert len(browser.find_elements(By.CSS_SELECTOR, ".card")) == 24


@pytest.mark.end_to_end
def test_choosing_a_sample_moves_its_worldlines(browser, run_folder: RunFolder) -> None:
    browser.open(run_folder.path / "report.html")
    pairs = run_folder.read_table("pairs.parquet")
    layers = len(run_folder.read_json("summary.json")["layers"])
    rho = np.tanh(pairs["adversarial_clean"].to_numpy().reshape(-1, layers))
    select = Select(browser.find_element(By.ID, "choose-sample"))
    for position in (3, 400):
        select.select_by_value(str(position))
        line = browser.execute_script(
            "return [...Bokeh.documents].map((d) => d.get_model_by_name('worldline-adversarial_clean')).find((m) => m).data"
        )
        np.testing.assert_allclose(line["x"], [0, *np.cumsum(rho[position])], atol=1e-3)
        np.testing.assert_allclose(line["proper"], [0, *np.cumsum(np.sqrt(1 - rho[position] ** 2))], atol=5e-3)
        assert np.all(np.abs(line["x"]) <= np.array(line["t"]) + 1e-9)  # inside the light cone
        assert browser.find_element(By.ID, "chosen-sentence").text.startswith(f"Sample {position} ")
    browser.find_element(By.ID, "next-sample").click()
    assert select.first_selected_option.get_attribute("value") == "401"
    button = browser.find_elements(By.CSS_SELECTOR, ".card button")[5]
    button.click()
    assert select.first_selected_option.get_attribute("value") == button.get_attribute("data-position")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#chosen-pictures img")) == 4
    assert browser.complaints() == []


POINT = """
const holds = (renderer) => renderer.data_source?.name === "map-held";
const view = Object.values(Bokeh.index.roots ?? Bokeh.index).find((it) => it.model.renderers?.some(holds));
const data = view.model.renderers.find(holds).data_source.data;
const box = view.el.getBoundingClientRect();
return [box.x + view.frame.x_scale.compute(data.x[0]), box.y + view.frame.y_scale.compute(data.y[0]), data.position[0]];
"""
TOOLTIP_PICTURES = """
const find = (root) => [...root.querySelectorAll("*")].flatMap((it) => [it, ...(it.shadowRoot ? find(it.shadowRoot) : [])]);
return find(document).filter((it) => it.tagName === "IMG" && !it.className).map((it) => it.src);
"""


@pytest.mark.end_to_end
def test_pointing_at_a_sample_shows_its_pictures_and_clicking_chooses_it(browser, run_folder: RunFolder) -> None:
    browser.open(run_folder.path / "report.html")
    browser.execute_script("document.getElementById('figure-map').scrollIntoView({block: 'center'})")
    x, y, position = browser.execute_script(POINT)

    def mouse(kind: str, button: str = "none") -> None:
        event = {"type": kind, "x": x, "y": y, "button": button, "clickCount": int(button != "none")}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    mouse("mouseMoved")
    WebDriverWait(browser, 5).until(lambda it: len(it.execute_script(TOOLTIP_PICTURES)) >= 4)
    samples = browser.execute_script("return JSON.parse(document.getElementById('page-data').textContent).samples")
    shown = browser.execute_script(TOOLTIP_PICTURES)
    assert {samples[position][name] for name in ("clean", "noise", "adversarial", "change")} <= set(shown)
    mouse("mousePressed", "left")
    mouse("mouseReleased", "left")
    here = samples[position]["near_twin"], samples[position]["near_wrong"]

    def chosen_is_here(it: webdriver.Chrome) -> bool:
        chosen = samples[int(it.execute_script("return document.getElementById('choose-sample').value"))]
        return (chosen["near_twin"], chosen["near_wrong"]) == pytest.approx(here, abs=0.05)

    WebDriverWait(browser, 5).until(chosen_is_here)


@pytest.mark.end_to_end
def test_hostile_names_are_text(browser, run_folder: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "hostile"
    shutil.copytree(run_folder.path, copy)
    run = RunFolder(copy)
    summary = run.read_json("summary.json")
    summary["model"] = summary["data"] = HOSTILE
    summary["class_names"] = [f"{HOSTILE}{digit}" for digit in range(10)]
    summary["layers"][1]["name"] = HOSTILE
    summary["notes"] = [HOSTILE]
    run.write_json("summary.json", summary)
    requested = browser.open(wl.report.write_report(run))
    assert all(url.startswith(("file:", "data:")) for url in requested)
    assert browser.title.startswith("Worldline: </script><img")
    assert browser.find_elements(By.CSS_SELECTOR, "img[src='x'], main b, h1 b") == []
    assert browser.complaints() == []


@pytest.mark.end_to_end
def test_a_run_without_success_still_has_a_page(tmp_path: Path) -> None:
    run = wl.runs.explore(ExploreConfig(model="linear", eps="0.000001", samples=60, steps=2), tmp_path / "run")
    page = wl.report.render_report(run)
    assert "was not fooled on any of 60 samples" in page
    assert "No sample was fooled" in page


@pytest.mark.law
def test_large_samples_are_thinned_and_vectors_become_sheets() -> None:
    assert picture_array(torch.rand(3, 224, 224)).shape == (45, 45, 3)
    assert picture_array(torch.rand(1, 8, 8)).shape == (8, 8)
    assert picture_array(torch.rand(64)).shape == (8, 8)
    assert picture_array(torch.rand(65)).shape == (8, 9)
    assert picture_array(torch.rand(4, 5, 6)).shape == (11, 11)
    assert len(picture(torch.rand(1, 8, 8), (0, 1))) < 300
    assert change_picture(torch.zeros(1, 2, 2), 0.1) == change_picture(torch.zeros(1, 2, 2), 0.0)
