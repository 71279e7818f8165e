"""The page's words follow the numbers, and claim no difference that the intervals do not
support.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import worldline as wl
from worldline.plot import read_explored
from worldline.plot.classes import Proportion
from worldline.plot.explored import Explored
from worldline.report.explore.words import tell
from worldline.report.views import View, share
from worldline.runs import ExploreConfig
from worldline.runs.explore_findings import findings

CHANGE = View("title", "sentence", "n = 1 sample")
FINITE = st.floats(-5, 5, allow_nan=False)
SHARES = st.floats(0, 1)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Explored:
    return read_explored(
        wl.runs.explore(
            ExploreConfig(model="mlp", samples=100, steps=5),
            tmp_path_factory.mktemp("words") / "run",
        )
    )


def ends(values: tuple[float, float, float]) -> tuple[float, float, float]:
    low, middle, high = sorted(values)
    return low, middle, high


THREE = st.tuples(FINITE, FINITE, FINITE).map(ends)
PARTS = st.tuples(SHARES, SHARES, SHARES).map(ends)


def changed(data: Explored, **changes) -> Explored:
    return replace(data, summary={**data.summary, **changes})


@pytest.mark.law
@given(adversarial=THREE, noise=THREE)
def test_twins_are_lost_only_where_the_intervals_part(small: Explored, adversarial, noise) -> None:
    layers = copy.deepcopy(small.summary["layers"])
    for name, (low, middle, high) in (("adversarial_clean", adversarial), ("noise_clean", noise)):
        layers[-1]["rapidity"][name] |= {"median": middle, "interval": [low, high], "status": "ok"}
    title = tell(changed(small, layers=layers), CHANGE)["layers"].title
    assert ("lose their clean twins" in title) == (adversarial[2] < noise[0])
    assert ("keep their clean twins" in title) == (adversarial[0] > noise[2])
    assert f"{adversarial[1]:.2f}" in title
    assert f"{noise[1]:.2f}" in title


@pytest.mark.law
@given(values=st.lists(THREE, min_size=3, max_size=3))
def test_a_layer_is_named_alone_only_where_its_interval_stands_apart(
    small: Explored, values
) -> None:
    layers = copy.deepcopy(small.summary["layers"])
    assume(len({middle for _, middle, _ in values}) == 3)
    for layer, (low, middle, high) in zip(layers[1:], values, strict=True):
        layer["excess_boost"] |= {"median": middle, "interval": [low, high], "status": "ok"}
    data = changed(small, layers=layers)
    title = tell(data, CHANGE)["driver"].title
    best = min(values, key=lambda it: it[1])
    name = layers[1 + values.index(best)]["name"]
    others = [it for it in values if it is not best]
    if best[2] >= 0:
        assert title == "No layer drives the twins apart by more than noise does"
        assert any("No layer drives" in sentence for sentence in findings(data.summary))
    elif all(it[0] > best[2] for it in others):
        assert title == f"{name} drives the twins apart most"
    else:
        assert title.startswith(f"{name}, ")
        assert "drive the twins apart most" in title
        assert any(
            f"drive them apart most, {name} by" in sentence for sentence in findings(data.summary)
        )


@pytest.mark.law
@given(last=PARTS, exists=st.booleans())
def test_most_twins_change_sides_only_where_the_interval_lies_above_a_half(
    small: Explored, last, exists
) -> None:
    layers = copy.deepcopy(small.summary["layers"])
    low, middle, high = last
    layers[-1] |= {
        "swapped_share": middle,
        "swapped": {"value": middle, "interval": [low, high], "count": 50},
    }
    swap = (
        {"name": layers[-1]["name"], "index": len(layers) - 1, "interval": [1, 2]}
        if exists
        else None
    )
    view = tell(changed(small, layers=layers, swap_layer=swap), CHANGE)["turn"]
    assert view.title.startswith("Most twins have") == (exists and low > 0.5)
    assert view.title.startswith("Most twins do not") == (not exists and high < 0.5)
    assert share(middle) in view.sentence


@pytest.mark.law
@given(first=PARTS, last=PARTS, chance=SHARES)
def test_the_curve_falls_only_where_its_ends_part(small: Explored, first, last, chance) -> None:
    points = [
        {"epsilon": epsilon, "accuracy": it[1], "interval": [it[0], it[2]], "noise_accuracy": 0.9}
        for epsilon, it in ((0.0, first), (0.3, last))
    ]
    curve = {"norm": "linf", "attack": "PGD-20", "samples": 50, "chance": chance, "points": points}
    view = tell(changed(small, curve=curve), CHANGE)["curve"]
    assert view.title.startswith("Accuracy falls") == (first[0] > last[2])
    assert view.title.startswith("Accuracy rises") == (first[2] < last[0])
    assert ("it is reached" in view.sentence) == (last[0] <= chance)


@pytest.mark.law
@given(right=st.lists(st.integers(0, 40), min_size=2, max_size=5))
def test_a_class_is_worse_only_where_its_interval_lies_below_the_others(
    small: Explored, right
) -> None:
    labels = np.repeat(np.arange(len(right)), 40)
    hit = np.concatenate([np.arange(40) < hits for hits in right])
    said = {twin: np.where(hit, labels, labels + 1) for twin in ("clean", "noise", "adversarial")}
    data = replace(
        small,
        labels=labels,
        said=said,
        fooled=np.zeros(len(labels), bool),
        swap=np.full(len(labels), -1),
        rapidity={name: np.zeros((len(labels), len(small.layers))) for name in small.rapidity},
    )
    view = tell(data, CHANGE)["classes"]
    for place, hits in enumerate(right):
        own, rest = Proportion(hits, 40), Proportion(sum(right) - hits, 40 * (len(right) - 1))
        verdict = view.table.rows[place][-2]
        assert (verdict == "worse") == (own.interval[1] < rest.interval[0])
        assert (verdict == "better") == (own.interval[0] > rest.interval[1])
    assert ("is worse on class" in view.title) == any(row[-2] == "worse" for row in view.table.rows)


@pytest.mark.oracle
@given(count=st.integers(1, 2000), data=st.data())
def test_wilsons_interval_solves_its_equation(count: int, data) -> None:
    hits = data.draw(st.integers(0, count))
    part = Proportion(hits, count)
    for end in part.interval:
        if 1e-9 < end < 1 - 1e-9:  # the ends of |p̂ − p| = z √(p(1 − p)/n)
            assert math.isclose(
                abs(part.value - end),
                1.959964 * math.sqrt(end * (1 - end) / count),
                rel_tol=1e-6,
                abs_tol=1e-9,
            )
    assert part.interval[0] <= part.value + 1e-12
    assert part.interval[1] >= part.value - 1e-12


@pytest.mark.law
def test_what_was_not_attacked_alike_is_not_compared(explored, other, copy_of) -> None:
    changed_run = copy_of(other, epsilon=0.3, epsilon_text="0.3")
    page = wl.report.render_report(explored, beside=(changed_run,))
    assert "These models cannot be compared by these runs" in page
    assert "epsilon differ" in page
    assert "cnn is more fragile" not in page


@pytest.mark.law
def test_models_whose_intervals_overlap_are_not_told_apart(explored, copy_of) -> None:
    page = wl.report.render_report(explored, beside=(copy_of(explored),))
    assert "cnn (cnn) and cnn (copy) are not told apart by their accuracy under attack" in page
    assert "is more fragile than" not in page
