"""One check: what was measured, on which side of what it should lie, and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from worldline.attacks import told_elsewhere
from worldline.settings import Progress, silent

__all__ = [
    "About",
    "Check",
    "Look",
    "Verdict",
    "amount",
    "at_least",
    "at_most",
    "attempt",
    "examine",
    "fine",
    "several",
    "skip",
]

About = Literal["model", "evaluation", "attack"]
Direction = Literal["at most", "at least"]
Status = Literal["passed", "warned", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One check of a model or of an evaluation.

    Attributes:
        name: short identifier.
        about: what was examined: ``model``, ``evaluation`` or ``attack``.
        status: ``passed``, ``warned`` or ``not applicable``.
        value: what was measured, or None.
        direction: the value should be ``at most`` or ``at least`` the threshold; None without one.
        threshold: what it was compared with, or None.
        sentence: the finding in words, with the numbers and what to do.
        source: who found that it matters.
    """

    name: str
    about: About
    status: Status
    value: float | None
    direction: Direction | None
    threshold: float | None
    sentence: str
    source: str


class Verdict(NamedTuple):
    """What a check found, before it has a name."""

    status: Status
    value: float | None
    direction: Direction | None
    threshold: float | None
    sentence: str


class Look(NamedTuple):
    """A check that is still to be made."""

    name: str
    source: str
    make: Callable[[], Verdict]


def at_most(value: float, threshold: float, good: str, bad: str, *, also: bool = True) -> Verdict:
    """Passes where the value is at most the threshold, and ``also`` holds."""
    return _verdict(value <= threshold and also, value, "at most", threshold, good, bad)


def at_least(value: float, threshold: float, good: str, bad: str) -> Verdict:
    """Passes where the value is at least the threshold."""
    return _verdict(value >= threshold, value, "at least", threshold, good, bad)


def fine(sentence: str) -> Verdict:
    """Passed, with nothing to measure."""
    return Verdict("passed", None, None, None, sentence)


def skip(why: str) -> Verdict:
    """Does not apply here."""
    return Verdict("not applicable", None, None, None, why)


def attempt(about: About, look: Look) -> Check:
    """The check, or a warning that quotes what was raised: no model ends the examination."""
    try:
        found = look.make()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        said = next(iter(str(error).splitlines()), "")[:300]
        sentence = (
            f"This could not be checked: {type(error).__name__} was raised"
            f"{': ' + said if said else ''}. Call the model on these inputs by hand to see where."
        )
        found = Verdict("warned", None, None, None, sentence)
    return Check(look.name, about, *found, look.source)


def examine(
    about: About, looks: Sequence[Look], progress: Progress = silent, stage: str = "Checking"
) -> tuple[Check, ...]:
    """All checks, in order."""
    done = []
    for number, look in enumerate(looks):
        progress(stage, number, len(looks))
        with told_elsewhere():
            done.append(attempt(about, look))
    progress(stage, len(looks), len(looks))
    return tuple(done)


def several(count: int, noun: str) -> str:
    """A count with its noun.

    >>> from worldline.checks.check import several
    >>> several(1, "sample"), several(1200, "more sample")
    ('1 sample', '1,200 more samples')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def amount(value: float) -> str:
    """Two digits; ∞ where two outputs cannot be compared at all."""
    return f"{value:.2g}" if value < math.inf else "∞"


def _verdict(
    passed: bool, value: float, direction: Direction, threshold: float, good: str, bad: str
) -> Verdict:
    """What is not a number passes nowhere, and is no value."""
    known = None if math.isnan(value) else value
    if passed:
        return Verdict("passed", known, direction, threshold, good)
    return Verdict("warned", known, direction, threshold, bad)
