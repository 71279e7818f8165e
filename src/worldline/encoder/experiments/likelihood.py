"""The likelihood that the authors maximise, beside the entropy of the share that is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from worldline.encoder.experiments.base import LIKELY, Experiment
from worldline.encoder.experiments.record import (
    Control,
    Controls,
    Floats,
    Integers,
    Measurement,
    Outcome,
    mean_of,
)
from worldline.encoder.experiments.walks import NOBODY_LISTENS
from worldline.encoder.likelihood import (
    choice_rate,
    likelihood_rate,
    likelihood_spread,
    share_entropy,
)
from worldline.encoder.seeds import make_generator
from worldline.encoder.selection import Selection
from worldline.errors import UsageError

__all__ = ["Likelihood"]

SETTINGS = ((10, 2), (100, 2), (16384, 256))  # n, k of dilation, contraction and collapse
LEAST, MOST = 100, 100_000
LARGEST = 2_000_000  # readings that are drawn


@dataclass(frozen=True)
class LikelihoodTable:
    """A row for each setting: rows, rows kept, the measured rate and the three it is beside."""

    candidates: Integers
    width: Integers
    measured: Floats
    entropy: Floats
    choice: Floats
    standard_error: Floats


@dataclass(frozen=True, kw_only=True)
class Likelihood(Experiment):
    """−(1/n) log₂ ℒ of rows that pass a threshold, at the (n, k) of three other experiments.

    Attributes:
        trials: independent sets of rows for each setting.

    >>> from worldline.encoder.experiments import Likelihood
    >>> Likelihood(trials=200).run().finding.agrees
    True
    """

    table = LikelihoodTable

    name = "likelihood"
    group = LIKELY
    title = "The likelihood that is maximised"
    claim = (
        "The kept rows are a maximum-likelihood solution: −(1/n) log₂ ℒ = H₂(k/n), smaller for "
        "more overparameterised networks."
    )
    law = (
        "ℒ = θ^k (1 − θ)^(n − k) is the likelihood of which rows were kept. At θ = q = k/n it "
        "gives H₂(q) = −q log₂ q − (1 − q) log₂(1 − q) exactly; the ways to choose, (1/n) log₂ "
        "C(n, k), are fewer by (1/2n) log₂(2πnq(1 − q)) (Stirling). Rows that pass a threshold of "
        "probability q have H₂(q) on average, ± √(q(1 − q)/n) |log₂((1 − q)/q)|."
    )
    shown = (
        "H₂(q) by the share kept, with what was measured at three settings; beside it the rate of "
        "nats of rapidity that a layer of many neurons adds, which falls where H₂ rises."
    )
    quick: ClassVar = {"trials": 200}

    features = "Gaussian readings"
    replicate = "independent set of rows"

    trials: int = 2000

    def run(self) -> Outcome:
        """Draw readings, keep those beyond a threshold, and take the likelihood of which."""
        if not LEAST <= self.trials <= MOST:
            raise UsageError(
                f"--trials must be from {LEAST} to {MOST:,}, for a standard error; got "
                f"{self.trials}."
            )
        generator = make_generator(self.seed)
        rows, measured = [], []
        for n, k in SETTINGS:
            q = k / n
            count = min(self.trials, max(LEAST, LARGEST // n))
            beyond = -float(torch.special.ndtri(torch.tensor(q / 2, dtype=torch.float64)))
            kept = torch.stack(
                [(torch.randn(n, generator=generator).abs() > beyond).sum() for _ in range(count)]
            )
            values = torch.tensor([likelihood_rate(int(it), n, share=q) for it in kept])
            found = mean_of(
                f"−(1/n) log₂ ℒ(k/n), n = {n:,}, k = {k}", values, share_entropy(q), "bits"
            )
            spread = float(values.std())
            # of a standard deviation: half that of the variance, over it
            error = float((values - values.mean()).square().std()) / (2 * spread * math.sqrt(count))
            measured += [
                found,
                Measurement(
                    f"its spread, n = {n:,}, k = {k}",
                    spread,
                    likelihood_spread(q, n),
                    error,
                    "bits",
                ),
            ]
            choice = choice_rate(Selection(candidates=n, width=k))
            rows.append((n, k, found.measured, share_entropy(q), choice, found.standard_error))
        n, k = SETTINGS[-1]
        blind = torch.randperm(n, generator=generator)[:k]
        return Outcome.of(
            LikelihoodTable(*(np.array(it) for it in zip(*rows, strict=True))),
            tuple(measured),
            Controls(
                no_selection=Control(
                    f"{len(blind)} of {n:,} rows kept by lot, without looking at any feature, "
                    "have the very same likelihood: it is a property of n and k.",
                    Measurement(
                        "−(1/n) log₂ ℒ of rows kept by lot",
                        likelihood_rate(len(blind), n),
                        share_entropy(k / n),
                        0.0,
                        "bits",
                    ),
                ),
                rank_one=Control("Does not apply: no feature is sent through the rows."),
                sign_kept=Control("Does not apply: no pair."),
                eavesdropper=NOBODY_LISTENS,
            ),
            "The number is right, and it is the entropy of a mask: neither features, labels nor "
            "weights enter it. It is small where few of many rows are kept, and as small where "
            "nearly all are kept, which merges nothing. A low value is no fit to data.",
            replicas=self.trials,
        )
