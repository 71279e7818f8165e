"""What is said of an exploration: of the usual, empty, tiny, contrary and infinite one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from worldline.checks import Check, Curve, CurvePoint
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.views.similarity import rapidity
from worldline.commands.explore.views.turn import boosts, sides, tables
from worldline.commands.explore.words import attack_words, headline, words
from worldline.explain import LayerStory, ProperDepths, Rapidities, SwapLayer
from worldline.runs.codec import from_json, to_json
from worldline.statistics import Share, Summary

INFINITY = float("inf")
NONE = Summary(None, None, None, None, 0, 0, "no samples")
NOBODY = Share(None, None, 0)


def summary(median: float, spread: float = 0.1, count: int = 90) -> Summary:
    low, high = median - spread, median + spread
    return Summary(median, low, high, (low, high), count, 0, "ok")


def share(value: float, spread: float = 0.05, count: int = 90, undefined: int = 0) -> Share:
    return Share(value, (value - spread, value + spread), count, undefined)


def layer(
    index: int,
    name: str,
    *,
    kind: str = "ReLU",
    wrong: Share = NOBODY,
    clean: Share = NOBODY,
    moved: Share = NOBODY,
    excess: Summary | None = None,
    phi: Summary = NONE,
) -> LayerStory:
    return LayerStory(
        index=index,
        name=name,
        kind=kind,
        width=10,
        tokens=None,
        wrong_side=wrong,
        clean_wrong_side=clean,
        moved_share=moved,
        noise_wrong_side=clean,
        misclassified_wrong_side=NOBODY,
        rapidity=Rapidities(phi, phi, phi, phi, phi, phi),
        untrained_rapidity=None,
        excess_boost=excess,
    )


LAYERS = (
    layer(0, "input", kind="Input", wrong=share(0.1), clean=share(0.08), moved=share(0.02)),
    layer(1, "relu", wrong=share(0.2), clean=share(0.1), moved=share(0.1), excess=summary(0.8)),
    layer(2, "logits", wrong=share(0.9), clean=share(0.02), moved=share(0.88), excess=summary(0.2)),
)


def check(status: str, name: str = "noise") -> Check:
    return Check(name, "evaluation", status, None, None, None, f"{name} was looked at.", "us")


USUAL = Exploration(
    model="net",
    data="digits",
    data_split="held out",
    bounds=(0.0, 1.0),
    epsilon=8 / 255,
    epsilon_text="8/255",
    norm="linf",
    attack="pgd",
    steps=40,
    frame="centered",
    tokens="flatten",
    memory=None,
    batch_size=256,
    seed=0,
    samples=100,
    fooled=90,
    misclassified=4,
    clean_accuracy=0.96,
    adversarial_accuracy=0.06,
    noise_accuracy=0.95,
    swap_layer=SwapLayer("logits", 2, (2, 2)),
    layers=LAYERS,
    proper_depth=ProperDepths(summary(2.0), summary(1.0)),
    untrained_proper_depth=None,
    curve=Curve("linf", "PGD-10", 100, 0.1, (CurvePoint(0.0, 0.96, (0.9, 0.99), 0.96),)),
    checks=(check("passed"),),
    trustworthy=True,
    carriers=None,
    carriers_status="It was not looked for.",
    complexity=None,
    notes=(),
    class_names=None,
    versions={"torch": "2"},
)
EMPTY = replace(
    USUAL,
    fooled=0,
    adversarial_accuracy=0.96,
    swap_layer=None,
    layers=tuple(layer(it.index, it.name, kind=it.kind) for it in LAYERS),
    proper_depth=ProperDepths(NONE, NONE),
)
BROKEN = replace(EMPTY, clean_accuracy=0.0, adversarial_accuracy=0.0, misclassified=100)
ONE = Share(1.0, (0.2, 1.0), 1)
TINY = replace(
    USUAL,
    fooled=1,
    swap_layer=None,
    layers=tuple(
        replace(
            it,
            moved_share=ONE,
            excess_boost=it.excess_boost and Summary(0.5, 0.5, 0.5, None, 1, 0, "ok"),
        )
        for it in LAYERS
    ),
    proper_depth=ProperDepths(
        Summary(2.0, 2.0, 2.0, None, 1, 0, "ok"), Summary(1.0, 1.0, 1.0, None, 1, 0, "ok")
    ),
)
FIRST = replace(USUAL, swap_layer=SwapLayer("relu", 0, (0, None)), layers=LAYERS[1:])
INPUT = replace(USUAL, swap_layer=SwapLayer("input", 0, (0, 0)))
CONTRARY = replace(
    USUAL,
    swap_layer=None,
    layers=tuple(
        replace(it, moved_share=share(-0.2), excess_boost=it.excess_boost and summary(-0.5))
        for it in LAYERS
    ),
)
ENDLESS = Summary(INFINITY, -INFINITY, INFINITY, (0.5, INFINITY), 90, 3, "infinite")
INFINITE = replace(
    USUAL,
    layers=tuple(
        replace(
            it,
            excess_boost=it.excess_boost and ENDLESS,
            rapidity=Rapidities(*[replace(ENDLESS, median=-INFINITY)] * 6),
        )
        for it in LAYERS
    ),
)
UNKNOWN = replace(
    USUAL,
    swap_layer=None,
    layers=tuple(replace(it, moved_share=Share(None, None, 0, 90)) for it in LAYERS),
)
ALL = {
    "usual": USUAL,
    "empty": EMPTY,
    "broken": BROKEN,
    "tiny": TINY,
    "first": FIRST,
    "input": INPUT,
    "contrary": CONTRARY,
    "infinite": INFINITE,
    "unknown": UNKNOWN,
    "unchecked": replace(USUAL, checks=()),
}


def said(record: Exploration) -> str:
    return " ".join(words(record).findings)


@pytest.mark.message
@pytest.mark.parametrize("name", ALL)
def test_every_record_can_be_told_and_comes_back_from_json(name: str) -> None:
    record = ALL[name]
    told = words(record)
    everything = " ".join((told.headline, *told.findings))
    for odd in ("nan", "None", "inf ", "  ", "−−", "+−"):
        assert odd not in everything, (odd, everything)
    assert everything.count("(") == everything.count(")")
    for table in (*tables(record), rapidity(record), sides(record), boosts(record)):
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert len(table.rows) == len(record.layers)
        assert not any("nan" in cell or "None" in cell for row in table.rows for cell in row)
    assert from_json(Exploration, to_json(record), "here") == record


@pytest.mark.message
@pytest.mark.parametrize("name", ALL)
def test_a_layer_is_named_only_where_there_is_a_swap_layer(name: str) -> None:
    record = ALL[name]
    named = [it.name for it in record.layers if it.name in headline(record)]
    assert bool(named) == (record.swap_layer is not None)
    assert ("The tipping layer (swap layer) is" in said(record)) == (record.swap_layer is not None)


@pytest.mark.message
def test_the_usual() -> None:
    assert headline(USUAL) == "net is fooled on 90 of 100 samples; the tipping layer is logits"
    assert attack_words(USUAL) == "PGD-40 (L∞, ε = 8/255)"
    told = said(USUAL)
    assert "is logits, layer 2 of 0 to 2 (95% interval layer 2)" in told
    assert "the attack has moved 88% (83% to 93%)" in told
    assert "Layer relu drives attacked twins and originals apart most: +0.80 nats" in told
    assert "Of 1 check of the evaluation, none warns." in told
    assert words(USUAL).warnings == ()


@pytest.mark.message
def test_nothing_fooled_says_nothing_of_layers() -> None:
    assert headline(EMPTY) == "net was not fooled on any of 100 samples"
    told = said(EMPTY)
    assert "no story to tell" in told
    assert "100" not in told.replace("100 samples", "")
    assert "100.0%" not in told
    assert "right on no sample" in said(BROKEN)


@pytest.mark.message
def test_a_single_fooled_sample_supports_no_claim() -> None:
    assert headline(TINY).endswith(
        "is fooled on 1 of 100 samples, too few to say at which layer they tip"
    )
    told = said(TINY)
    assert "drives" not in told
    assert "There is no tipping layer (swap layer)" in told


@pytest.mark.message
def test_the_input_is_the_input_by_its_kind_and_not_by_its_number() -> None:
    """Old: "already at the input" was said of whatever layer was first."""
    assert headline(INPUT).endswith("they tip already at the input")
    assert "input, the input itself" in said(INPUT)
    assert "at the input" not in headline(FIRST) + said(FIRST)
    assert headline(FIRST).endswith("the tipping layer is relu")
    assert "(95% interval layer 0 to none)" in said(FIRST)


@pytest.mark.message
def test_damage_is_positive_and_claimed_only_where_its_interval_lies_above_none() -> None:
    assert "No layer surely drives the attacked twins away" in said(CONTRARY)
    assert "no layer is surely where they tip" in headline(CONTRARY)
    unsure = replace(
        USUAL, layers=(*LAYERS[:2], replace(LAYERS[2], excess_boost=summary(0.75, spread=0.9)))
    )
    assert "relu drives" in said(unsure)
    assert "its interval overlaps that of logits" in said(unsure)


@pytest.mark.message
def test_infinite_and_unknown_values_are_said_as_such() -> None:
    told = said(INFINITE)
    assert "+∞ nats" in told
    assert "+0.50 to +∞" in told
    cells = [cell for row in tables(INFINITE)[0].rows for cell in row]
    assert "−∞" in cells
    assert "nobody's side is known" in said(UNKNOWN)


@pytest.mark.message
def test_checks_that_warn_are_named_and_quoted() -> None:
    record = replace(USUAL, checks=(check("warned", "epsilon"), check("passed")), trustworthy=False)
    assert words(record).warnings == ("epsilon was looked at.",)
    assert "Of 2 checks of the evaluation, 1 warns: epsilon." in said(record)
    assert "was not checked" in said(ALL["unchecked"])
