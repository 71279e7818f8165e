"""What an experiment found: measured beside predicted, its controls, and its figure's table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
from torch import Tensor

__all__ = [
    "AheadCurves",
    "CarryCurves",
    "Control",
    "Controls",
    "Curves",
    "Finding",
    "Flags",
    "FlipCurves",
    "Floats",
    "Integers",
    "Measurement",
    "MergeCurves",
    "Names",
    "Outcome",
    "RoundCurves",
    "StepCurves",
    "mean_of",
    "percent",
    "verdict_on",
]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]
MOST_ERRORS = 4.0  # a page holds some forty figures: by chance, one in 400 pages has one beyond it
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Measurement:
    """One number that was measured, beside the number that the law gives.

    Attributes:
        quantity: what was measured, in words.
        measured: in ``unit``.
        predicted: by the law, in ``unit``; None where no law is known.
        standard_error: of their difference, over independent encoders; 0 where nothing random is
            left.
        unit: nats, share, …; empty for a pure number.
        deviation: (measured − predicted) in standard errors: 0 within rounding, ±∞ if exact numbers
            differ, None without a law.
        agrees: whether it lies within four standard errors of the law; True where there is no law.
    """

    quantity: str
    measured: float
    predicted: float | None
    standard_error: float
    unit: str = ""
    deviation: float | None = field(init=False)
    agrees: bool = field(init=False)

    def __post_init__(self) -> None:
        """What follows from the numbers."""
        deviation = self._deviation()
        object.__setattr__(self, "deviation", deviation)
        object.__setattr__(self, "agrees", deviation is None or abs(deviation) <= MOST_ERRORS)

    def _deviation(self) -> float | None:
        if self.predicted is None:
            return None
        difference = self.measured - self.predicted
        if abs(difference) <= _ROUNDING * max(1.0, abs(self.predicted)):
            return 0.0
        if self.standard_error > 0:
            return difference / self.standard_error
        return math.copysign(math.inf, difference)


@dataclass(frozen=True)
class Control:
    """What a control shows, in words, and the number that it rests on (None: it does not apply)."""

    sentence: str
    evidence: Measurement | None = None


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The four controls that every demonstration owes its reader, and those that one needs more."""

    no_selection: Control
    rank_one: Control
    sign_kept: Control
    eavesdropper: Control
    plain_cosines: Control | None = None
    plain_angle: Control | None = None
    input_alone: Control | None = None
    random_points: Control | None = None
    time_alone: Control | None = None

    def named(self) -> tuple[tuple[str, Control], ...]:
        """Those that are there, each with its name in words."""
        return tuple(
            (it.name.replace("_", " "), found)
            for it in fields(self)
            if (found := getattr(self, it.name)) is not None
        )


@dataclass(frozen=True)
class MergeCurves:
    """Mean ln γ by layer, measured and by the law, in nats."""

    log_gamma: tuple[float, ...]
    log_gamma_law: tuple[float, ...]


@dataclass(frozen=True)
class CarryCurves:
    """Mean |φ| of the readers' codewords from the sender's by layer, and by the law, in nats."""

    rapidity: tuple[float, ...]
    rapidity_law: tuple[float, ...]


@dataclass(frozen=True)
class FlipCurves:
    """A histogram of kept readings, and how often the label follows the sign, by the law."""

    reading_edges: tuple[float, ...]
    reading_density: tuple[float, ...]
    law_rapidity: tuple[float, ...]
    law_kept: tuple[float, ...]


@dataclass(frozen=True)
class AheadCurves:
    """The layer where lengths overtake time by the law, for each setting (n and c)."""

    candidates: tuple[int, ...]
    speed: tuple[float, ...]
    crossing: tuple[float, ...]


@dataclass(frozen=True)
class StepCurves:
    """Mean ln|sinh φ| of unseen pairs by step, for each rate: before the first and after each.

    The law begins after the first.
    """

    rate: tuple[float, ...]
    log_sinh: tuple[tuple[float, ...], ...]
    log_sinh_law: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RoundCurves:
    """Mean silhouette and Davies–Bouldin index of the two ends by round, from the input on."""

    silhouette: tuple[float, ...]
    silhouette_random: tuple[float, ...]
    silhouette_plain: tuple[float, ...]
    davies_bouldin: tuple[float, ...]
    davies_bouldin_random: tuple[float, ...]


Curves = MergeCurves | CarryCurves | FlipCurves | AheadCurves | StepCurves | RoundCurves


@dataclass(frozen=True, kw_only=True)
class Finding:
    """All that an experiment found but its table.

    Attributes:
        measurements: the first is the headline.
        controls: what each of them shows.
        verdict: what follows, in words.
        replicas: independent encoders behind the headline.
        curves: short rows for the figure that are no column of the table.
        agrees: whether every measurement does.
    """

    measurements: tuple[Measurement, ...]
    controls: Controls
    verdict: str
    replicas: int
    curves: Curves | None = None
    agrees: bool = field(init=False)

    def __post_init__(self) -> None:
        """What follows from the measurements."""
        object.__setattr__(self, "agrees", all(it.agrees for it in self.measurements))


@dataclass(frozen=True)
class Outcome:
    """What an experiment found, and the table behind its figure: arrays of one length."""

    finding: Finding
    table: object

    @classmethod
    def of(
        cls,
        table: object,
        measurements: tuple[Measurement, ...],
        controls: Controls,
        meaning: str,
        *,
        replicas: int,
        curves: Curves | None = None,
    ) -> Outcome:
        """With the verdict that the measurements give, and what it means."""
        finding = Finding(
            measurements=measurements,
            controls=controls,
            verdict=verdict_on(measurements, meaning),
            replicas=replicas,
            curves=curves,
        )
        return cls(finding, table)


def mean_of(
    quantity: str, values: Tensor, law: Tensor | float | None, unit: str = ""
) -> Measurement:
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
    return Measurement(quantity, float(values.double().mean()), law, math.sqrt(variance), unit)


def percent(share: float) -> str:
    """A share for a sentence; what is not all or nothing never reads as if it were.

    >>> from worldline.encoder.experiments.record import percent
    >>> percent(0.5), percent(1.0), percent(0.9999), percent(0.0001)
    ('50%', '100%', 'more than 99%', 'less than 1%')
    """
    if 0 < share < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < share < 1 else f"{share:.0%}"


def verdict_on(measurements: tuple[Measurement, ...], meaning: str) -> str:
    """The verdict: whether the numbers are those of the law, and what that means.

    >>> from worldline.encoder.experiments.record import Measurement, verdict_on
    >>> verdict_on((Measurement("S", 2.83, 2.828, 0.01),), "Post-selection.")
    'Measured as the law says. Post-selection.'
    """
    apart = [it for it in measurements if not it.agrees]
    if not apart:
        return f"Measured as the law says. {meaning}"
    which = "; ".join(f"{it.quantity}: {it.measured:.4g}, law {it.predicted:.4g}" for it in apart)
    return f"Not as the law says ({which}). {meaning}"
