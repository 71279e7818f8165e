"""The page of an exploration in Chromium: one choice for all, nothing leaves, nothing fails."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from worldline.commands.base import Result
from worldline.commands.explore.words import words
from worldline.commands.rendering import render_report, write_report

from .conftest import CURVE

FIGURES = ("leaving", "joining", "sides", "boosts", "spacetime", "map", "classes")


@pytest.fixture
def page(explored: Result) -> Path:
    return explored.folder.path / "report.html"


def choice(visitor) -> dict[str, str]:
    return dict(
        part.split("=") for part in visitor.run("return location.hash").removeprefix("#").split("&")
    )


@pytest.mark.end_to_end
def test_the_page_asks_for_nothing_and_complains_of_nothing(visitor, page: Path) -> None:
    requested = visitor.open(page)
    assert [url for url in requested if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert visitor.browser.complaints() == []
    assert visitor.run("return performance.getEntriesByType('resource').length") == 0
    assert page.stat().st_size <= 2_500_000
    markup = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', markup).group(1)
    assert "unsafe" not in policy
    assert "default-src &#39;none&#39;" in policy
    assert (
        visitor.run(
            "return [...document.querySelectorAll('*')]"
            ".filter((it) => it.getAttributeNames().some((name) => name.startsWith('on'))).length"
        )
        == 0
    )


@pytest.mark.end_to_end
def test_the_policy_would_stop_a_request_a_script_and_a_style(visitor, page: Path) -> None:
    visitor.open(page)
    visitor.run("""
        window.stopped = [];
        document.addEventListener("securitypolicyviolation", (event) =>
        window.stopped.push(event.effectiveDirective)); const image = new Image(); image.src =
        "http://127.0.0.1:9/x.png"; const script = document.createElement("script");
        script.textContent = "window.ran = 1"; document.body.append(script); const style =
        document.createElement("style"); style.textContent = "body { color: red }";
        document.body.append(style); fetch("http://127.0.0.1:9/").catch(() => {});
    """)
    WebDriverWait(visitor.browser, 10).until(
        lambda it: len(it.execute_script("return window.stopped")) >= 4
    )
    stopped = visitor.run("return window.stopped.map((it) => it.split('-elem')[0])")
    assert {"img-src", "connect-src", "script-src", "style-src"} <= set(stopped)
    assert visitor.run("return window.ran") is None


@pytest.mark.end_to_end
def test_every_view_has_a_finding_a_sentence_its_basis_its_table_and_a_way_into_the_guide(
    visitor, explored, page
) -> None:
    visitor.open(page)
    text = visitor.text("main")
    for sentence in words(explored.record).findings:
        assert sentence in text
    for name in FIGURES:
        assert (
            visitor.run(
                "return document.querySelectorAll(`#figure-${arguments[0]} svg.chart "
                ".marks`).length",
                name,
            )
            >= 1
        ), name
    for section in visitor.browser.find_elements("css selector", "main > section, .pair > section"):
        if section.get_attribute("id") == "guide":
            continue
        assert section.find_element("tag name", "h2").text
        assert section.find_element("css selector", ".sentence").text
        assert "n = " in section.find_element("css selector", ".basis").text
        target = section.find_element("css selector", "details.how a").get_attribute("hash")
        assert visitor.run("return Boolean(document.querySelector(arguments[0]))", target), target
        if section.find_elements("css selector", ".figure"):
            several = section.get_attribute("id") in ("carriers", "complexity")
            tables = section.find_elements("css selector", "details table")
            assert len(tables) == (4 if several else 1)


@pytest.mark.end_to_end
def test_a_choice_made_in_one_view_moves_all_and_back_undoes_it(visitor, explored, page) -> None:
    visitor.open(page)
    layers = [layer.name for layer in explored.record.layers]
    before = visitor.run("return document.getElementById('choose-layer').value")
    visitor.click_at("#figure-leaving svg.chart", 0.97, 0.4)  # the last layer
    last = len(layers) - 1
    assert choice(visitor)["layer"] == str(last)
    assert visitor.run("return document.getElementById('choose-layer').value") == str(last)
    assert visitor.text("#map-title").startswith(f"At {layers[-1]}, ")
    assert visitor.text("#flow .sentence").startswith(f"By {layers[-1]}, ")
    assert layers[-1] in visitor.text("#read-out")
    visitor.browser.back()
    WebDriverWait(visitor.browser, 5).until(
        lambda it: (
            it.execute_script("return document.getElementById('choose-layer').value") == before
        )
    )
    assert visitor.text("#map-title").startswith(f"At {layers[int(before)]}, ")
    visitor.click("#gallery-cards button", 3)
    sample = choice(visitor)["sample"]
    assert visitor.text("#sample-title").startswith(f"Sample {sample}:")
    assert visitor.run("return document.getElementById('choose-sample').value") == sample
    shared = visitor.run("return location.href")
    visitor.browser.get("about:blank")
    visitor.browser.get(shared)
    assert visitor.text("#sample-title").startswith(f"Sample {sample}:")
    assert visitor.browser.complaints() == []


@pytest.mark.end_to_end
def test_the_worldlines_are_those_of_the_stored_pairs(visitor, explored, page) -> None:
    visitor.open(page)
    pairs = explored.folder.read_table("pairs.parquet")
    layers = len(explored.record.layers)
    field = visitor.browser.find_element("id", "choose-sample")
    for sample in (3, 400):
        field.clear()
        field.send_keys(str(sample), Keys.ENTER)
        visitor.run("document.querySelector('#table-sample').closest('details').open = true")
        rows = visitor.run(
            "return [...document.querySelectorAll('#table-sample tbody tr')]"
            ".map((row) => [...row.cells].map((it) => it.textContent))"
        )
        shown = np.array(
            [[cell.replace("−", "-") for cell in row[1:]] for row in rows], dtype=float
        )
        for place, name in enumerate(
            ("noise_clean", "adversarial_clean", "clean_true", "clean_wrong")
        ):
            rho = np.tanh(pairs[name].to_numpy().reshape(-1, layers)[sample])
            np.testing.assert_allclose(
                shown[:, 2 * place], rho, atol=1e-3
            )  # three decimals, steps of 0.0005 nats
            proper = np.cumsum(np.sqrt(1 - rho**2))
            np.testing.assert_allclose(shown[:, 2 * place + 1], proper, atol=1e-2)  # two decimals


@pytest.mark.end_to_end
def test_keys_reach_every_figure_and_move_its_choice(visitor, page: Path) -> None:
    visitor.open(page)
    for name in FIGURES:
        host = visitor.browser.find_element("id", f"figure-{name}")
        assert host.get_attribute("tabindex") == "0"
        assert host.get_attribute("aria-label")
    host = visitor.browser.find_element("id", "figure-boosts")
    host.send_keys(Keys.HOME)
    assert choice(visitor)["layer"] == "0"
    host.send_keys(Keys.ARROW_RIGHT)
    assert choice(visitor)["layer"] == "1"
    told = (
        "return "
        "document.getElementById(document.getElementById(arguments[0]).getAttribute('aria-activedescendant')).textContent"
    )
    assert visitor.run(told, "figure-boosts").startswith("relu1: ")
    steps = visitor.run("return history.length")
    points = visitor.browser.find_element("id", "figure-map")
    points.send_keys(Keys.PAGE_DOWN)
    before = choice(visitor)["sample"]
    points.send_keys(Keys.ARROW_RIGHT)
    after = choice(visitor)["sample"]
    assert after != before
    assert f"Sample {after}," in visitor.run(told, "figure-map")
    assert f"Sample {after}," in visitor.text("#read-out")
    assert (
        visitor.run(
            "return document.querySelectorAll('#figure-map .tip:not([hidden]) canvas').length"
        )
        == 4
    )  # on focus
    assert (
        visitor.run("return history.length") == steps
    )  # walking leaves nothing to go back through
    classes = visitor.browser.find_element("id", "figure-classes")
    classes.send_keys(Keys.END)
    assert visitor.text("#class-sentence").startswith("Class 9,")


@pytest.mark.end_to_end
def test_pointing_at_a_sample_shows_its_pictures_and_clicking_chooses_it(
    visitor, page: Path
) -> None:
    visitor.open(page)
    ring = visitor.run("""
        document.getElementById("figure-map").scrollIntoView({block: "center", behavior:
        "instant"}); const ring = document.getElementById("map-ring").getBoundingClientRect();
        const svg = document.querySelector("#figure-map svg.chart").getBoundingClientRect();
        return [(ring.x + ring.width / 2 - svg.x) / svg.width, (ring.y + ring.height / 2 - svg.y) /
        svg.height]""")
    chosen = visitor.run("return document.getElementById('choose-sample').value")
    visitor.point_at("#figure-map svg.chart", *ring)
    tip = "#figure-map .tip:not([hidden])"
    WebDriverWait(visitor.browser, 5).until(
        lambda it: it.find_elements("css selector", f"{tip} canvas")
    )
    assert visitor.text(f"{tip} p").startswith(f"Sample {chosen},")
    painted = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((it) => new Set(it.getContext('2d').getImageData(0, 0, it.width, "
        "it.height).data).size)"
    )
    assert min(visitor.run(painted, f"{tip} canvas")) > 2
    visitor.click("#next-sample")
    visitor.click_at("#figure-map svg.chart", *ring)
    assert visitor.run("return document.getElementById('choose-sample').value") == chosen


@pytest.mark.end_to_end
def test_two_models_and_other_runs_share_one_page(
    visitor, explored, other, searched, compared, encoded
) -> None:
    page = explored.folder.path / "with.html"
    beside = [run.folder for run in (other, searched, compared, encoded)]
    page.write_text(render_report(explored.folder, beside=beside), "utf-8")
    visitor.open(page)
    assert visitor.browser.complaints() == []
    ids = visitor.run("return [...document.querySelectorAll('[id]')].map((it) => it.id)")
    assert len(ids) == len(set(ids))
    assert len(visitor.browser.find_elements("css selector", ".attached")) == 3
    Select(visitor.browser.find_element("id", "choose-layer")).select_by_visible_text("input")
    Select(visitor.browser.find_element("id", "choose-model")).select_by_index(1)
    assert "means.py:build is fooled" in visitor.text("h1")
    assert choice(visitor)["model"] == "1"
    assert (
        visitor.run("return document.getElementById('choose-layer').selectedOptions[0].text")
        == "input"
    )  # by name
    Select(visitor.browser.find_element("id", "choose-layer")).select_by_index(0)
    assert (
        visitor.run("return document.querySelector('select[data-heat]').selectedOptions[0].text")
        == "input"
    )  # goes along
    visitor.browser.back()
    WebDriverWait(visitor.browser, 5).until(
        lambda it: it.find_element("tag name", "h1").text.startswith("cnn is fooled")
    )


@pytest.mark.end_to_end
def test_curve_and_complexity_follow_the_model(visitor, explored, copy_of) -> None:
    bare = copy_of(explored, "bare", complexity=None)
    visitor.open(write_report(bare.folder))
    assert visitor.browser.find_elements("id", "complexity") == []
    run = copy_of(explored, curve=CURVE)
    visitor.open(write_report(run.folder, beside=[bare.folder]))
    assert (
        visitor.browser.find_element("id", "complexity")
        .find_element("tag name", "svg")
        .is_displayed()
    )
    assert visitor.text("#curve-title") == "Accuracy falls from 98% at ε = 0 to 0% at ε = 0.3"
    assert (
        len(visitor.browser.find_elements("css selector", "#figure-curve .whisker.adversarial"))
        == 3
    )
    Select(visitor.browser.find_element("id", "choose-model")).select_by_index(1)
    assert (
        not visitor.browser.find_element("id", "complexity")
        .find_element("tag name", "svg")
        .is_displayed()
    )
    assert visitor.browser.complaints() == []


@pytest.mark.end_to_end
def test_print_opens_the_explanations_and_hides_the_controls(visitor, page: Path) -> None:
    visitor.open(page)
    visitor.run("window.dispatchEvent(new Event('beforeprint'))")
    assert visitor.run("return document.querySelectorAll('details.how:not([open])').length") == 0
    visitor.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not visitor.browser.find_element("css selector", "nav.bar").is_displayed()
    for part in (".whisker", ".marks"):  # the intervals stay
        style = "return getComputedStyle(document.querySelector(arguments[0])).display"
        assert visitor.run(style, f"#figure-boosts {part}") != "none"
    visitor.run("window.dispatchEvent(new Event('afterprint'))")
    assert visitor.run("return document.querySelectorAll('details.how[open]').length") == 0


@pytest.mark.end_to_end
def test_a_run_without_success_still_has_a_page(visitor, unfooled) -> None:
    visitor.open(write_report(unfooled.folder))
    assert visitor.browser.complaints() == []
    assert "was not fooled on any of 60 samples" in visitor.text("h1")
    assert "No sample was fooled" in visitor.text("main")
    odd = re.search(
        r".*(of 0 (?!of)|\bnan\b|None(?! of)|undefined|Infinity).*", visitor.text("main")
    )
    assert odd is None, odd[0]
    assert visitor.text("#turn-title") == "No side is known"
    assert "tipping layer\nnone" in visitor.text("#merits")


@pytest.mark.end_to_end
def test_the_read_out_has_the_numbers_of_the_chosen_sample(visitor, explored, page) -> None:
    """It showed the population's medians whatever sample was chosen."""
    visitor.open(page)
    pairs, layers = explored.folder.read_table("pairs.parquet"), len(explored.record.layers)
    field, said = visitor.browser.find_element("id", "choose-sample"), []
    for sample in (3, 400):
        field.clear()
        field.send_keys(str(sample), Keys.ENTER)
        layer = int(choice(visitor)["layer"])
        said.append(visitor.text("#read-out").split(". ", 1)[1])
        for name in ("adversarial_clean", "noise_clean", "adversarial_true", "adversarial_wrong"):
            own = float(pairs[name][sample * layers + layer].as_py())
            shown = [float(it.replace("−", "-")) for it in re.findall(r"−?\d+\.\d\d", said[-1])]
            assert min(abs(it - own) for it in shown) <= 0.006, (sample, name, said[-1])
    assert said[0] != said[1]


@pytest.mark.end_to_end
def test_pairs_without_a_direction_are_shown_as_undefined(visitor, explored, copy_of) -> None:
    run = copy_of(explored)
    table, layers = run.folder.read_table("pairs.parquet"), len(run.record.layers)
    columns = {name: table[name].to_numpy().copy() for name in table.column_names}
    sample = int(np.flatnonzero(run.folder.read_table("samples.parquet")["fooled"].to_numpy())[0])
    place = sample * layers + 2
    columns["adversarial_clean"][place] = np.nan
    columns["adversarial_true"][place] = np.nan
    columns["noise_clean"][place] = -np.inf
    run.folder.write_table("pairs.parquet", columns, schema="worldline.explore/3")
    visitor.open(write_report(run.folder))
    visitor.browser.execute_script(
        "location.hash = `#model=0&sample=${arguments[0]}&layer=2`; location.reload()", sample
    )
    WebDriverWait(visitor.browser, 10).until(
        lambda it: f"Sample {sample}," in it.find_element("id", "read-out").text
    )
    told = visitor.text("#read-out")
    assert "φ = – to the original (its noise twin −∞)" in told
    assert "its side is undefined" in told
    assert "proper depth of –," in visitor.text("#sample-sentence")
    visitor.run("document.querySelector('#table-sample').closest('details').open = true")
    rows = visitor.run(
        "return [...document.querySelectorAll('#table-sample tbody tr')]"
        ".map((row) => [...row.cells].map((it) => it.textContent))"
    )
    assert [row[4] == "–" for row in rows] == [False, False, True, True, True]  # proper depth
    assert rows[2][3] == "–"
    assert rows[2][1] == "−1.000"
    assert visitor.browser.complaints() == []


@pytest.mark.end_to_end
def test_no_layer_is_named_where_there_is_no_tipping_layer(visitor, explored, copy_of) -> None:
    run = copy_of(explored, swap_layer=None)
    visitor.open(write_report(run.folder))
    names = [layer.name for layer in run.record.layers]
    for title in (visitor.text("h1"), visitor.text("#turn-title")):
        assert not any(name in title for name in names), title
    assert "tipping layer\nnone" in visitor.text("#merits")
