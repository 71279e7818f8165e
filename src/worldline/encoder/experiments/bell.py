"""The Bell value of the encoder: above the classical bound, by post-selection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from worldline.encoder.chsh import bell_test
from worldline.encoder.experiments.base import ENTANGLED, Experiment
from worldline.encoder.experiments.record import (
    Control,
    Controls,
    Floats,
    Integers,
    Measurement,
    Outcome,
)
from worldline.encoder.experiments.walks import NOBODY_LISTENS
from worldline.encoder.seeds import make_generator
from worldline.encoder.selection import Selection
from worldline.errors import UsageError
from worldline.geometry.bell import CLASSICAL_BOUND, TSIRELSON_BOUND, chsh

__all__ = ["Bell"]

# shares of neurons kept; the first is the headline: quantum mechanics' own number
SHARES = (2 - math.sqrt(2), 0.8, 0.3, 0.05)
LEAST = 100
ONE_LAYER = "Does not apply: one layer, whose readings are looked at one by one."


@dataclass(frozen=True)
class BellTable:
    """CHSH value and mean products of signs, a row for each share of neurons kept."""

    share: Floats
    width: Integers
    value: Floats
    law: Floats
    standard_error: Floats
    correlation_0_45: Floats
    correlation_0_135: Floats
    correlation_90_45: Floats
    correlation_90_135: Floats


@dataclass(frozen=True, kw_only=True)
class Bell(Experiment):
    """CHSH values of one layer at several strengths of selection.

    Attributes:
        candidates: n; k follows from the shares k/n.
        trials: independent layers for each share and each of the two fitted settings.

    >>> from worldline.encoder.experiments import Bell
    >>> finding = Bell(trials=100).run().finding
    >>> 2.7 < finding.measurements[0].measured < 2.95
    True
    >>> finding.controls.no_selection.evidence.predicted
    2.0
    """

    name = "bell"
    group = ENTANGLED
    table = BellTable
    title = "The Bell value"
    claim = "The correlations resemble quantum entanglement: they break Bell's inequality."
    law = (
        "Read by sign, selected on one side only, at 0°/90° against 45°/135°: S = 4 − 2(k + 1)/(n "
        "+ 1), which is 4 − 2k/n for many neurons."
    )
    shown = (
        "Left: S by the share of neurons kept. Right: the correlation of the two sides' signs by "
        "the angle between them."
    )

    quick: ClassVar = {"trials": 500}

    candidates: int = 1000
    trials: int = 2000

    def run(self) -> Outcome:
        """Measure S at every share."""
        if self.candidates < 20:
            raise UsageError(
                "bell keeps a twentieth of the neurons: --candidates must be at least 20; got "
                f"{self.candidates}."
            )
        if self.trials < LEAST:
            raise UsageError(
                f"--trials must be at least {LEAST}, for a standard error; got {self.trials}."
            )
        generator = make_generator(self.seed)
        rows = []
        for share in (*SHARES, 1.0):
            selection = Selection(candidates=self.candidates, width=round(share * self.candidates))
            rows.append((selection, bell_test(selection, trials=self.trials, generator=generator)))
        *measurements, unselected = (
            Measurement(f"S at k/n = {it.share:.3g}", at.value, at.expected, at.standard_error)
            for it, at in rows
        )
        correlations = torch.stack([test.correlations for _, test in rows]).numpy()  # (S, 2, 2)
        columns = zip(  # in the order of the table
            *((it.share, it.width, at.value, at.expected, at.standard_error) for it, at in rows),
            strict=True,
        )
        return Outcome.of(
            BellTable(*map(np.array, columns), *correlations.reshape(-1, 4).T),
            tuple(measurements),
            Controls(
                no_selection=Control(
                    f"With all neurons kept S is {unselected.measured:.3f} ± "
                    f"{unselected.standard_error:.1g}: the classical bound, 2, and nothing above.",
                    unselected,
                ),
                rank_one=Control(ONE_LAYER),
                sign_kept=Control(ONE_LAYER),
                eavesdropper=NOBODY_LISTENS,
                plain_cosines=_plain_cosines(),
            ),
            "S exceeds 2, and even quantum mechanics' 2√2, for one reason: the neurons that "
            "the other side reads with were chosen after looking at this side's setting. That "
            "is post-selection (the detection loophole); there is no non-locality.",
            replicas=self.trials,
        )


def _plain_cosines() -> Control:
    """The trap: inner products of unit vectors in place of signs, with nothing encoded."""
    half = math.sqrt(0.5)
    value = float(chsh(torch.tensor([[half, -half], [half, half]], dtype=torch.float64)))
    evidence = Measurement("S of plain cosines", value, TSIRELSON_BOUND, 0.0)
    return Control(
        f"Plain inner products of unit vectors at the same four settings give {value:.3f}, with no "
        f"encoder at all (Tsirelson's theorem): a CHSH value of cosines above {CLASSICAL_BOUND:g} "
        "shows nothing.",
        evidence,
    )
