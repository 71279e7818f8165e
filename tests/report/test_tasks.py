"""Five questions that people bring, answered from the page alone, in at most three clicks each."""

from __future__ import annotations

import pytest

from worldline.commands.base import Result
from worldline.commands.explore.explored import read_explored
from worldline.commands.rendering import render_report

MOST = 3


@pytest.fixture
def page(visitor, explored: Result):
    visitor.open(explored.folder.path / "report.html")
    return visitor


@pytest.mark.end_to_end
def test_is_my_model_worse_on_class_3(page, explored) -> None:
    page.click(".jump a[href='#classes']")
    box = page.run(
        "const svg = document.querySelector('#figure-classes svg.chart');"
        "const label = [...svg.querySelectorAll('text')].find((it) => it.textContent === '3');"
        "const a = label.getBoundingClientRect(), b = svg.getBoundingClientRect(); return (a.x + "
        "a.width / 2 - b.x) / b.width"
    )
    page.click_at("#figure-classes svg.chart", box, 0.5)
    answer = page.text("#class-sentence")
    row = next(row for row in read_explored(explored).classes if row.label == 3)
    assert answer.startswith(f"Class 3, {row.right['clean'].count} samples: clean ")
    verdict = {-1: "worse than", 0: "not told apart from", 1: "better than"}[
        row.apart("adversarial")
    ]
    assert f"under attack {row.right['adversarial'].value:.0%} right" in answer
    assert answer.endswith(f"{verdict} the other classes.")
    assert page.clicks == 2 <= MOST


@pytest.mark.end_to_end
def test_which_layer_should_i_regularise(page, explored) -> None:
    page.click(".jump a[href='#layers']")
    boosts = [
        (layer.excess_boost.median, layer.name)
        for layer in explored.record.layers
        if layer.excess_boost
    ]
    assert page.text("#driver-title") == f"{max(boosts)[1]} drives the twins apart most"
    assert "regularising" in page.text("#driver .sentence")
    assert page.clicks == 1 <= MOST


@pytest.mark.end_to_end
def test_is_this_result_trustworthy(page, explored) -> None:
    checks = explored.record.checks
    assert f"checks that warn\n0 of {len(checks)}" in page.text("#merits")
    page.click(".jump a[href='#trust']")
    page.click("#trust details summary")
    table = page.text("#trust table")
    for check in checks:
        assert check.sentence in table
        assert check.source in table
    assert page.clicks == 2 <= MOST


@pytest.mark.end_to_end
def test_what_does_the_attack_change(page, explored) -> None:
    page.click(".jump a[href='#gallery']")
    twins = explored.folder.read_tensors("twins.safetensors")
    fooled = read_explored(explored).fooled
    changed = (
        ((twins["adversarial"] - twins["clean"])[fooled].flatten(1).abs() > 1e-7).sum(1).median()
    )
    assert (
        page.text("#gallery-title")
        == f"The attack changes {changed:.0f} of 64 entries of an input by at most 0.15"
    )
    page.click("#gallery-cards button", 2)
    assert " that the attack turned into a " in page.text("#sample-title")
    assert len(page.browser.find_elements("css selector", "#sample-pictures canvas")) == 4
    assert page.clicks == 2 <= MOST


@pytest.mark.end_to_end
def test_which_of_my_two_models_is_more_fragile_and_why(visitor, explored, other) -> None:
    page = explored.folder.path / "two.html"
    page.write_text(render_report(explored.folder, beside=[other.folder]), "utf-8")
    visitor.open(page)
    visitor.click(".jump a[href='#models']")
    assert explored.record.adversarial_accuracy < other.record.adversarial_accuracy
    assert visitor.text("#models-title").startswith("cnn is more fragile than ")
    why = visitor.text("#models > .sentence")
    assert "What differs: In cnn the tipping layer is relu2" in why
    assert visitor.clicks == 1 <= MOST
