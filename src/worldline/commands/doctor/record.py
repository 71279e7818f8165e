"""What ``worldline doctor`` finds: one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worldline.attacks import BallName
from worldline.checks import Check, Curve, SelfTest
from worldline.runs.codec import unit
from worldline.settings import Bounds, NormName
from worldline.statistics import Share, Summary

__all__ = ["Diagnosis", "Remaining", "Smallest"]


@dataclass(frozen=True)
class Remaining:
    """What is left after one more attack.

    Attributes:
        attack: which; ``none`` before any.
        accuracy: share of the samples that are right and that no attack so far fools.
        interval: of it, 95 %, over samples (Wilson).
    """

    attack: str
    accuracy: float = unit("share")
    interval: tuple[float, float] = unit("share")


@dataclass(frozen=True)
class Smallest:
    """The smallest change that fools, by a minimum-norm attack: each size is an upper bound.

    Attributes:
        norm: what was to be small.
        attack: in words.
        size: over samples, in the units of the norm; 0 where the model is wrong by itself, ∞ where
            nothing that fools was found.
        fooled: share of the samples of finite size.
    """

    norm: BallName
    attack: str
    size: Summary
    fooled: Share


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One model, its attack, and what speaks for and against the number that comes out.

    Attributes:
        model, data, data_split: what was examined, and how its reference was set apart.
        bounds: lowest and highest legal value of an input.
        epsilon, epsilon_text: radius of the attack in the inputs' units, and as it was written.
        norm, attack, steps: of the attack; no steps where it has none of its own.
        samples, undefined: how many were attacked, and were left out as their output holds NaN.
        classes, layers: of the model; the layers are those that would be traced.
        clean_accuracy, adversarial_accuracy, noise_accuracy: shares of the samples; the last is
            None where no output under noise names a class.
        worst_case: after each attack, which takes the samples that still hold.
        smallest: the smallest change that fools, by norm; none where no gradient comes.
        curve: accuracy by ε under plain PGD.
        checks: of the model, of the evaluation, and of the attack.
        trustworthy: whether none warns.
        selftest: how the attack did on planted examples; None where none were planted.
        notes: what a reader must know before believing it.
        versions: what it was made with.
        report: the page's file.
    """

    schema: Literal["worldline.doctor/2"] = "worldline.doctor/2"
    model: str
    data: str
    data_split: str
    bounds: Bounds
    epsilon: float
    epsilon_text: str
    norm: NormName
    attack: str
    steps: int | None
    seed: int
    samples: int
    undefined: int = unit("samples")
    classes: int | None
    layers: tuple[str, ...]
    clean_accuracy: float = unit("share")
    adversarial_accuracy: float = unit("share")
    noise_accuracy: float | None = unit("share")
    worst_case: tuple[Remaining, ...]
    smallest: tuple[Smallest, ...] = ()
    curve: Curve
    checks: tuple[Check, ...]
    trustworthy: bool
    selftest: SelfTest | None
    notes: tuple[str, ...]
    versions: dict[str, str]
    report: str = "report.html"
