"""One check: what was measured, what it was compared with, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "attempt", "judge", "skip"]


@dataclass(frozen=True)
class Check:
    """One check of a model or of an evaluation.

    Attributes:
        name: short identifier.
        status: ``passed``, ``warned`` or ``not applicable``.
        value: what was measured, or None.
        threshold: what it was compared with, or None.
        sentence: the finding in words, with the numbers and what to do.
        source: who found that it matters.
    """

    name: str
    status: Literal["passed", "warned", "not applicable"]
    value: float | None
    threshold: float | None
    sentence: str
    source: str


def judge(
    name: str,
    value: float | None,
    threshold: float | None,
    *,
    passed: bool,
    words: tuple[str, str],
    source: str,
) -> Check:
    """A check that passed (the first words) or warned (the second)."""
    status: Literal["passed", "warned"] = "passed" if passed else "warned"
    return Check(name, status, value, threshold, words[0] if passed else words[1], source)


def skip(name: str, why: str, source: str) -> Check:
    """A check that does not apply here."""
    return Check(name, "not applicable", None, None, why, source)


def attempt(name: str, source: str, look: Callable[[], Check]) -> Check:
    """The check, or a warning that quotes what was raised: a strange model must not end the
    examination.
    """
    try:
        return look()
    except (Exception, SystemExit) as error:
        said = next(iter(str(error).splitlines()), "")[:300]
        sentence = (
            f"This could not be checked: {type(error).__name__} was "
            f"raised{': ' + said if said else ''}. Call the model on these "
            "inputs by hand to see where."
        )
        return Check(name, "warned", None, None, sentence, source)
