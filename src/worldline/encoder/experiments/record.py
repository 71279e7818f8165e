"""What an experiment found: measured beside predicted, its controls, and its figure's table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["CONTROLS", "Control", "Measurement", "Outcome", "mean_of", "verdict_on"]

CONTROLS = {
    "no_selection": "no selection",
    "rank_one": "rank one",
    "sign_kept": "sign kept",
    "eavesdropper": "eavesdropper",
}
"""The controls that every demonstration owes its reader, by the key under which they are kept."""

MOST_ERRORS = 4.0  # a page holds some forty figures: by chance, one in 400 pages has one beyond it
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Measurement:
    """One number that was measured, beside the number that the law gives.

    Attributes:
        name: what was measured, in words.
        measured: in ``unit``.
        predicted: by the law, in ``unit``; None where no law is known.
        standard_error: of their difference, over independent encoders; 0 where nothing random is
            left.
        unit: nats, share, …; empty for a pure number.
    """

    name: str
    measured: float
    predicted: float | None
    standard_error: float
    unit: str = ""

    @property
    def deviation(self) -> float | None:
        """(measured − predicted) in standard errors: 0 within rounding, ±∞ if exact ones differ."""
        if self.predicted is None:
            return None
        difference = self.measured - self.predicted
        if abs(difference) <= _ROUNDING * max(1.0, abs(self.predicted)):
            return 0.0
        return (
            difference / self.standard_error
            if self.standard_error > 0
            else math.copysign(math.inf, difference)
        )

    @property
    def agrees(self) -> bool:
        """Whether it lies within four standard errors of the law; True where there is no law."""
        return self.deviation is None or abs(self.deviation) <= MOST_ERRORS


@dataclass(frozen=True)
class Control:
    """What a control shows, in words, and the number that it rests on (None: it does not apply)."""

    sentence: str
    evidence: Measurement | None = None


@dataclass(frozen=True)
class Outcome:
    """Everything that an experiment found.

    Attributes:
        measurements: the first is the headline.
        controls: by the keys of :data:`CONTROLS`, all four of them, and others that the experiment
            needs.
        verdict: what follows, in words.
        table: columns of one length.
        replicas: independent encoders behind the headline.
        curves: short rows for the figure that are no column of the table.
    """

    measurements: tuple[Measurement, ...]
    controls: dict[str, Control]
    verdict: str
    table: dict[str, Tensor]
    replicas: int
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)


def mean_of(name: str, values: Tensor, law: Tensor | float | None, unit: str = "") -> Measurement:
    """The mean of independent values beside its law: a number, or the mean of draws from it.

    >>> import torch
    >>> from worldline.encoder.experiments.record import mean_of
    >>> mean_of("heads", torch.tensor([0.0, 1.0, 0.0, 1.0]), 0.5).agrees
    True
    """
    variance = float(values.double().var()) / len(values)
    if isinstance(law, Tensor):
        variance += float(law.double().var()) / len(law)
        law = float(law.double().mean())
    return Measurement(name, float(values.double().mean()), law, math.sqrt(variance), unit)


def verdict_on(measurements: tuple[Measurement, ...], meaning: str) -> str:
    """The verdict: whether the numbers are those of the law, and what that means.

    >>> from worldline.encoder.experiments.record import Measurement, verdict_on
    >>> verdict_on((Measurement("S", 2.83, 2.828, 0.01),), "Post-selection.")
    'Measured as the law says. Post-selection.'
    """
    apart = [it for it in measurements if not it.agrees]
    if not apart:
        return f"Measured as the law says. {meaning}"
    which = "; ".join(f"{it.name}: {it.measured:.4g}, law {it.predicted:.4g}" for it in apart)
    return f"Not as the law says ({which}). {meaning}"
