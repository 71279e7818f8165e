"""What an examination says: with nothing left, nothing right, one sample, and contrary curves."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from worldline.checks import Check, Curve, CurvePoint
from worldline.commands import load
from worldline.commands.base import Result
from worldline.commands.doctor.record import Diagnosis, Remaining
from worldline.report.formats import markdown
from worldline.runs.codec import from_json, to_json
from worldline.runs.store import RunFolder
from worldline.statistics import wilson

HOLLOW = re.compile(
    r"\bnan\b|\binf\b|\bNone\b(?! of \d)|\b1 (samples|attacks|checks)\b|\b0 of \d+ checks w"
)


def point(epsilon: float, right: int, samples: int, noise: float = 1.0) -> CurvePoint:
    return CurvePoint(epsilon, right / samples, wilson(right, samples), noise)


def check(name: str, status: str = "passed", about: str = "evaluation") -> Check:
    measured = (0.5, "at most", 1.0) if status != "not applicable" else (None, None, None)
    return Check(name, about, status, *measured, f"The words of {name}.", "someone")


def diagnosis(left: tuple[int, ...] = (9, 3), samples: int = 10, **changes) -> Diagnosis:
    names = ("none", *(f"PGD-{number}" for number in range(1, len(left))))
    plain = Diagnosis(
        model="m",
        data="d",
        data_split="half",
        bounds=(0.0, 1.0),
        epsilon=0.1,
        epsilon_text="1/10",
        norm="linf",
        attack="pgd",
        steps=9,
        seed=0,
        samples=samples,
        undefined=0,
        classes=2,
        layers=("a", "b"),
        clean_accuracy=left[0] / samples,
        adversarial_accuracy=left[-1] / samples,
        noise_accuracy=left[0] / samples,
        worst_case=tuple(
            Remaining(name, count / samples, wilson(count, samples))
            for name, count in zip(names, left, strict=True)
        ),
        curve=Curve("linf", "PGD-20", samples, 0.5, (point(0, 9, 10), point(0.1, 3, 10))),
        checks=(check("runs", about="model"), check("ball"), check("noise", "not applicable")),
        trustworthy=True,
        selftest=None,
        notes=(),
        versions={"worldline": "0"},
    )
    return replace(plain, **changes)


def said(record: Diagnosis) -> str:
    """All that is said of it, in every form, once it went through JSON."""
    command = load("doctor")
    back = from_json(Diagnosis, to_json(record), "here")
    assert back == record
    result = Result(back, RunFolder.__new__(RunFolder))
    words, views = command.words(back), command.views(result)
    assert "<h1>" in command.page([result], [])
    assert command.figures(result).keys() == {"curve"}
    tables = [cell for table in command.tables(back) for row in table.rows for cell in row]
    text = "\n".join([markdown(words, views), *tables])
    assert not HOLLOW.search(text), HOLLOW.search(text)
    return text


@pytest.mark.message
def test_a_headline_says_what_its_interval_supports() -> None:
    words = load("doctor").words
    assert (
        words(diagnosis()).headline
        == "m: at most 30% (11% to 60%) robust accuracy, and no check warns"
    )
    warned = diagnosis(checks=(check("ball", "warned"),), trustworthy=False)
    assert words(warned).headline == "m: the evaluation is not to be believed, 1 check warns"
    assert words(warned).warnings == ("ball: The words of ball.",)
    two = replace(warned, checks=(check("ball", "warned"), check("fgsm", "warned")))
    assert words(two).headline.endswith("2 checks warn")
    assert "2 of 2 checks warn (ball, fgsm): do not believe" in words(two).findings[1]


@pytest.mark.message
@pytest.mark.parametrize(
    ("record", "sentences"),
    [
        (diagnosis(), ("The evaluation: no check warns", "2 checks, 1 of which does not apply")),
        (diagnosis((10, 10)), ("Worst case over 1 attack: 100% of the samples are left",)),
        (diagnosis((0, 0, 0)), ("gets 0% of 10 samples", "0% in the worst case over 2 attacks")),
        (diagnosis((1, 0), samples=1), ("gets 100% of 1 sample of d right",)),
        (diagnosis(noise_accuracy=None), ("an upper bound on its robustness.\n",)),
        (
            diagnosis(checks=(check("ball", "not applicable"),)),
            ("No check applies: nothing speaks for that number",),
        ),
        (
            diagnosis(curve=Curve("linf", "PGD-20", 10, 0.5, (point(0, 3, 10),))),
            ("does not fall beyond its intervals: 30% at ε = 0",),
        ),
        (
            diagnosis(curve=Curve("l2", "PGD-20", 10, 0.1, (point(0, 9, 10), point(1e-9, 9, 10)))),
            ("to 90% at ε = 1e−9", "above chance (10%)", "not reached within this range"),
        ),
        (
            diagnosis(curve=Curve("linf", "P", 99, 0.1, (point(0, 3, 99), point(1, 90, 99)))),
            ("Accuracy rises from 3% at ε = 0 to 91% at ε = 1: that should not be",),
        ),
        (
            diagnosis(curve=Curve("linf", "P", 99, 0.1, (point(0, 90, 99), point(1, 3, 99)))),
            ("Accuracy falls from 91% at ε = 0 to 3% at ε = 1", "Chance is 10%: it is reached"),
        ),
        (
            diagnosis(checks=(replace(check("traceable", "warned"), value=float("inf")),)),
            ("| ∞ | at most 1 |",),
        ),
        (
            diagnosis(
                undefined=3,
                curve=Curve("linf", "P", 10, 0.5, (replace(point(0, 1, 2), undefined=8),)),
            ),
            ("left out: NaN",),
        ),
    ],
)
def test_every_sentence_holds_in_the_odd_cases(
    record: Diagnosis, sentences: tuple[str, ...]
) -> None:
    text = said(record)
    for words in sentences:
        assert words in text, text
