"""The label flip: neurons chosen because they read a feature as negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from worldline.encoder.controls import sign_kept_probability
from worldline.encoder.experiments.base import FLIPPING, Layered
from worldline.encoder.experiments.record import FlipCurves, Floats, Integers, Outcome, mean_of
from worldline.encoder.path import from_fitted
from worldline.encoder.reading import reading_length

__all__ = ["Flip"]

ENCODERS, VECTORS_EACH = 100, 40
RATE_PAIRS = 500
MERGED = 2.0  # nats


@dataclass(frozen=True)
class FlipTable:
    """A row for each encoder and feature: rapidity before and after, label, the fitted's label."""

    encoder: Integers
    start_rapidity: Floats
    end_rapidity: Floats
    fitted_label: Floats
    label: Floats


@dataclass(frozen=True, kw_only=True)
class Flip(Layered):
    """Labels read as the sign of the sum of the outputs, when the most negative readings are kept.

    Attributes:
        dimension: D of the features.

    >>> from worldline.encoder.experiments import Flip
    >>> bool((Flip().run().table.fitted_label < 0).all())
    True
    """

    table = FlipTable

    name = "flip"
    group = FLIPPING
    title = "The label flip"
    claim = (
        "Without a gradient and without a label, the encoder gives a feature the opposite label, "
        "by keeping the most negative readings."
    )
    law = (
        "A kept reading has the mean −φ(τ)/q for many neurons, P(g < −τ) = q = k/n, so every "
        "layer reads the fitted feature as negative; another feature gets its label if its "
        "correlation with it keeps a positive sign."
    )
    shown = (
        "Left: what the neurons read of the fitted feature. Right: how often another feature gets "
        "its label, by their correlation."
    )
    rule = "most_negative"
    quick: ClassVar = {"candidates": 500, "width": 50, "depth": 6, "dimension": 50}

    candidates: int = 1000
    width: int = 100
    depth: int = 10
    dimension: int = 100

    def run(self) -> Outcome:
        """Fit encoders to features, and label others with them."""
        trial = self.trial(self.dimension)
        selection = self.encoder.selection
        encoders = trial.affordable(ENCODERS, features=VECTORS_EACH + 1)
        path = trial.send(trial.normals(encoders, VECTORS_EACH + 1))
        length = path.log_norms[:, :, 0].diff(dim=0).exp()  # |y|, (L, P)
        fitted = torch.stack([at[:, 0] for at in path.directions[1:]])
        readings = fitted * length[..., None]  # (L, P, k)
        ends = torch.stack([from_fitted(path.directions[layer]) for layer in (0, -1)])
        start, end = ends  # (P, M)
        labels = path.directions[-1].sum(-1).sign()  # (P, M + 1)
        same = (labels[:, 1:] == labels[:, :1]).double()
        towards = (start > 0).double()
        grid = start[start > 0].quantile(torch.linspace(0.005, 0.995, 100, dtype=start.dtype))
        law = sign_kept_probability(grid, selection, self.depth, samples=1000).value
        density, edges = torch.histogram(readings.flatten(), bins=60, density=True)
        measurements = (
            mean_of(
                "mean reading of the fitted feature by a kept neuron",
                readings.mean((0, 2)),
                reading_length(selection).mean_reading,
            ),
            mean_of(
                "unrelated features that get the fitted feature's label", same.mean(1), 0.5, "share"
            ),
            mean_of(
                "features with ρ > 0 at the input that get its label",
                (same * towards).sum(1) / towards.sum(1),
                # only of features that have met the fitted one or its opposite
                float(law.mean()) if float(end.abs().median()) > MERGED else None,
                "share",
            ),
        )
        table = FlipTable(
            encoder=np.arange(encoders).repeat(VECTORS_EACH),
            start_rapidity=start.flatten().numpy(),
            end_rapidity=end.flatten().numpy(),
            fitted_label=labels[:, 0].numpy().repeat(VECTORS_EACH),
            label=labels[:, 1:].flatten().numpy(),
        )
        return Outcome.of(
            table,
            measurements,
            trial.controls(ends, pairs=trial.affordable(RATE_PAIRS)),
            _meaning(int((labels[:, 0] < 0).sum()), encoders),
            replicas=encoders,
            curves=FlipCurves(*(tuple(it.tolist()) for it in (edges, density, grid, law))),
        )


def _meaning(negative: int, encoders: int) -> str:
    if 10 * negative < 9 * encoders:
        return (
            f"With so little selection only {negative} of {encoders} fitted features come out "
            "negative: the label flips by keeping what reads it as negative, and nearly all is "
            "kept here."
        )
    return (
        f"{negative} of {encoders} fitted features come out negative, because the neurons were "
        "chosen after looking at the feature, to read it as negative: the encoder is told the "
        "label that it gives. Other features get it by one bit, the sign of their correlation."
    )
