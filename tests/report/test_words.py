"""The page's words follow the numbers, and claim no difference that the intervals do not show.

Every sentence is fed the usual, the empty, the tiny, the contrary and the infinite case.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worldline.checks import Check, Curve, CurvePoint
from worldline.commands import load
from worldline.commands.base import Result
from worldline.commands.doctor.words import curve_view
from worldline.commands.explore import views as said
from worldline.commands.explore.explored import Explored, read_explored
from worldline.commands.explore.page import page
from worldline.commands.explore.views.classes import classes_view
from worldline.commands.explore.views.samples import map_view
from worldline.commands.explore.views.similarity import similarity_view
from worldline.commands.explore.views.trust import trust_view
from worldline.commands.explore.views.turn import driver_view, turn_view
from worldline.commands.rendering import render_report
from worldline.explain import SwapLayer
from worldline.statistics import Share, Summary, proportion

from .conftest import done

FINITE = st.floats(-5, 5, allow_nan=False)
SIZES = FINITE | st.sampled_from([math.inf, -math.inf])
SHARES = st.floats(0, 1)
NONE = Summary(None, None, None, None, 0, 0, "no samples")
NOBODY = Share(None, None, 0)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Result:
    folder = tmp_path_factory.mktemp("words") / "run"
    return done("explore", folder, model="mlp", samples=100, steps=5)


@pytest.fixture(scope="module")
def data(small: Result) -> Explored:
    return read_explored(small)


def ends(values: tuple[float, float, float]) -> tuple[float, float, float]:
    low, middle, high = sorted(values)
    return low, middle, high


THREE = st.tuples(SIZES, SIZES, SIZES).map(ends)
PARTS = st.tuples(SHARES, SHARES, SHARES).map(ends)
MOVED = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)).map(ends)


def summary(three: tuple[float, float, float]) -> Summary:
    low, middle, high = three
    return Summary(middle, low, high, (low, high), 50, 0, "ok")


def share(three: tuple[float, float, float], undefined: int = 0) -> Share:
    return Share(three[1], (three[0], three[2]), 50, undefined)


def with_layer(run: Result, place: int, **changes: object) -> Result:
    layers = list(run.record.layers)
    layers[place] = replace(layers[place], **changes)
    return Result(replace(run.record, layers=tuple(layers)), run.folder)


@pytest.mark.law
@given(start=THREE, adversarial=THREE, noise=THREE)
def test_twins_are_lost_only_where_phi_falls_and_ends_below_noise(
    small: Result, start, adversarial, noise
) -> None:
    """It was said, too, while φ rose."""
    first, last = small.record.layers[0].rapidity, small.record.layers[-1].rapidity
    changed = with_layer(small, 0, rapidity=replace(first, adversarial_clean=summary(start)))
    own = replace(last, adversarial_clean=summary(adversarial), noise_clean=summary(noise))
    title = similarity_view(with_layer(changed, -1, rapidity=own).record).title
    falls, below = adversarial[2] < start[0], adversarial[2] < noise[0]
    assert ("lose their originals" in title) == (falls and below)
    assert ("end further from" in title) == (below and not falls)
    assert ("stay closer to" in title) == (adversarial[0] > noise[2])
    assert ("overlap" in title) == (adversarial[2] >= noise[0] and adversarial[0] <= noise[2])
    assert ("−∞" in title) == (
        -math.inf in (adversarial[1], noise[1]) or (falls and below and start[1] == -math.inf)
    )


@pytest.mark.law
@given(values=st.lists(THREE, min_size=3, max_size=3))
def test_a_layer_is_named_alone_only_where_its_interval_stands_apart(small: Result, values) -> None:
    assume(len({middle for _, middle, _ in values}) == 3)
    run = small
    for place, three in enumerate(values):
        run = with_layer(run, place + 1, excess_boost=summary(three))
    title = driver_view(run.record).title
    sure = [three for three in values if three[0] > 0]
    if not sure:
        assert title == "No layer drives the twins apart by more than noise does"
        return
    best = max(sure, key=lambda it: it[1])
    name = run.record.layers[1 + values.index(best)].name
    if all(it[2] < best[0] for it in values if it is not best):
        assert title == f"{name} drives the twins apart most"
    else:
        assert title.startswith(f"{name}, ")
        assert title.endswith(" drive the twins apart most")


@pytest.mark.law
@given(moved=MOVED, named=st.booleans(), undefined=st.integers(0, 5))
def test_a_layer_tips_only_where_the_record_says_so(
    small: Result, moved, named: bool, undefined: int
) -> None:
    last = small.record.layers[-1]
    swap = SwapLayer(last.name, last.index, (1, None)) if named else None
    run = with_layer(small, -1, moved_share=share(moved, undefined))
    view = turn_view(replace(run.record, swap_layer=swap))
    assert (last.name in view.title) == named
    assert view.title.startswith("The attack does not") == (not named and moved[2] < 0.5)
    assert ("is open" in view.title) == (not named and moved[2] >= 0.5)
    assert ("left out" in view.sentence) == (undefined > 0)


@pytest.mark.law
@given(first=PARTS, last=PARTS, chance=SHARES)
def test_the_curve_falls_only_where_its_ends_part(first, last, chance) -> None:
    points = tuple(
        CurvePoint(epsilon, it[1], (it[0], it[2]), 0.9)
        for epsilon, it in ((0.0, first), (0.3, last))
    )
    view = curve_view(Curve("linf", "PGD-20", 50, chance, points))
    falls, rises = first[0] > last[2], first[2] < last[0]
    assert ("falls" in view.title and "not fall" not in view.title) == falls
    assert ("rises" in view.title) == rises


@pytest.mark.law
@given(right=st.lists(st.integers(0, 40), min_size=2, max_size=5))
def test_a_class_is_worse_only_where_its_interval_lies_below_the_others(
    data: Explored, right
) -> None:
    labels = np.repeat(np.arange(len(right)), 40)
    hit = np.concatenate([np.arange(40) < hits for hits in right])
    said_by = {twin: np.where(hit, labels, labels + 1) for twin in data.said}
    view = classes_view(replace(data, labels=labels, said=said_by))
    for place, hits in enumerate(right):
        own = proportion(hits, 40).interval
        rest = proportion(sum(right) - hits, 40 * (len(right) - 1)).interval
        verdict = view.table.rows[place][-2]
        assert (verdict == "worse") == (own[1] < rest[0])
        assert (verdict == "better") == (own[0] > rest[1])
    assert ("is worse on class" in view.title) == any(row[-2] == "worse" for row in view.table.rows)


@pytest.mark.law
def test_nothing_fooled_is_said_and_nothing_is_counted_of_nothing(unfooled) -> None:
    found = said.views(unfooled)
    for name in ("layers", "turn", "driver", "map", "flow"):
        assert "No sample was fooled" in f"{found[name].title} {found[name].sentence}", name
    for name, view in found.items():
        words = f"{view.title} {view.sentence} {view.basis}"
        assert not re.search(r"of 0 \w|nan|inf\b|None(?! of)", words), (name, words)
        assert not re.search(r"(?<![\d.])1[\d.]*% of the twins", words), (name, words)


@pytest.mark.law
def test_one_fooled_sample_supports_no_comparison(small: Result) -> None:
    one, alone = Summary(1.0, 1.0, 1.0, None, 1, 0, "ok"), Share(1.0, None, 1)
    run = small
    for place, layer in enumerate(small.record.layers):
        rapidity = replace(layer.rapidity, adversarial_clean=one, noise_clean=one)
        run = with_layer(run, place, rapidity=rapidity, moved_share=alone, excess_boost=one)
    record = replace(run.record, fooled=1, swap_layer=None)
    assert similarity_view(record).title.startswith("Too few twins to compare")
    assert driver_view(record).title == "No layer stands out"
    assert "is open" in turn_view(record).title


@pytest.mark.law
def test_undefined_sides_and_similarities_are_said(small: Result, data: Explored) -> None:
    count = len(small.record.layers)
    nothing = {name: np.full_like(table, np.nan) for name, table in data.rapidity.items()}
    view = map_view(small.record, replace(data, rapidity=nothing))
    assert [title for title, _ in view.by_layer] == [
        f"At {layer.name}, no fooled twin has a similarity to strangers"
        for layer in small.record.layers
    ]
    half = {name: table.copy() for name, table in data.rapidity.items()}
    lost = np.flatnonzero(data.fooled)[:3]
    half["adversarial_wrong"][lost, count - 1] = np.nan
    _, sentence = map_view(small.record, replace(data, rapidity=half)).by_layer[-1]
    assert "3 more are undefined" in sentence
    last = small.record.layers[-1].rapidity
    gone = with_layer(small, -1, moved_share=NOBODY, excess_boost=NONE, wrong_side=NOBODY)
    gone = with_layer(gone, -1, rapidity=replace(last, adversarial_clean=NONE))
    assert turn_view(replace(gone.record, swap_layer=None)).title == "No side is known"
    assert "no fooled sample has a similarity" in similarity_view(gone.record).sentence
    single = replace(gone.record, layers=gone.record.layers[-1:])
    assert driver_view(single).title == "No layer stands out"


@pytest.mark.law
@pytest.mark.parametrize(
    ("statuses", "title"),
    [
        ((), "It was not checked."),
        (("not applicable",), "It was not checked."),
        (("passed",), "None of 1 check warns."),
        (("warned",), "1 of 1 check warns."),
        (("warned", "passed"), "1 of 2 checks warns."),
        (("warned", "warned", "passed"), "2 of 3 checks warn."),
    ],
)
def test_trust_counts_what_was_checked(small: Result, statuses, title) -> None:
    checks = tuple(
        Check(f"check{place}", "evaluation", status, None, None, None, "It was.", "us")
        for place, status in enumerate(statuses)
    )
    view = trust_view(replace(small.record, checks=checks))
    assert view.title == f"Can this evaluation be trusted? {title}"


@pytest.mark.law
def test_infinite_and_lone_values_have_a_page(small: Result, data: Explored) -> None:
    """A page is made of what only a few networks do: all of it infinite, or one class."""
    endless = (math.inf, math.inf, math.inf)
    run = with_layer(small, 1, excess_boost=summary(endless))
    run = with_layer(run, 2, excess_boost=summary((-math.inf,) * 3))
    assert "drives the twins apart most" in driver_view(run.record).title
    assert "∞ nats" in driver_view(run.record).sentence
    assert "−∞" in driver_view(run.record).table.rows[2][1]
    assert page([run], [])
    labels = np.zeros_like(data.labels)
    alone = classes_view(replace(data, labels=labels))
    assert alone.title == "There is one class only"


@pytest.mark.law
def test_what_was_not_attacked_alike_is_not_compared(explored, other, copy_of) -> None:
    changed_run = copy_of(other, epsilon=0.3, epsilon_text="0.3")
    shown = render_report(explored.folder, beside=[changed_run.folder])
    assert "These models cannot be compared by these runs" in shown
    assert "epsilon differ" in shown
    assert "cnn is more fragile" not in shown


@pytest.mark.law
def test_models_whose_intervals_overlap_are_not_told_apart(explored, copy_of) -> None:
    shown = render_report(explored.folder, beside=[copy_of(explored).folder])
    assert "cnn (cnn) and cnn (copy) are not told apart by their accuracy under attack" in shown
    assert "is more fragile than" not in shown


@pytest.mark.law
def test_an_exploration_offers_its_sentences_to_another_page(small: Result) -> None:
    found = load("explore").attach(small, "with0-")
    assert found.title in found.sections
    assert 'id="with0-explored"' in found.sections
