"""The spacetime path of unit features, which a free constant c makes meet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.encoder.experiments.base import MERGING
from worldline.encoder.experiments.merging import WHO, Merge
from worldline.encoder.experiments.record import Control, Floats, Integers, Names, Outcome, mean_of
from worldline.encoder.experiments.walks import Walk
from worldline.encoder.path import spacetime_path
from worldline.errors import UsageError

__all__ = ["Normalised"]

FASTEST = 1e6  # c times the number of layers
ENDS = np.array(("together", "opposite"))


@dataclass(frozen=True)
class PointTable:
    """A row for each layer, pair (ends ``together`` or ``opposite``) and feature: its point."""

    layer: Integers
    pair: Names
    feature: Names
    t: Floats
    x: Floats
    y: Floats


@dataclass(frozen=True, kw_only=True)
class Normalised(Merge):
    """The spacetime path [ℓ·c ; x̂_ℓ] of unit features, normalised, for a free constant c.

    >>> from worldline.encoder.experiments import Normalised
    >>> Normalised(speed=0.5).run().finding.measurements[-1].agrees
    True
    """

    table = PointTable
    drawn = 2  # and time

    name = "normalised"
    group = MERGING
    title = "The spacetime path of unit features"
    claim = (
        "With the layer number as a coordinate of time, features travel along worldlines that meet."
    )
    law = (
        "The time coordinate is ℓc/√(1 + ℓ²c²) whatever the features are, and points of a pair "
        "have the cosine (ℓ²c² + ρ)/(ℓ²c² + 1): 1 at last even for ρ = −1."
    )
    shown = (
        "Left: a pair that ends together. Right: a pair that ends opposite. The vertical axis is "
        "the time coordinate."
    )

    depth: int = 20
    speed: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a speed that leaves no path."""
        super().__post_init__()
        if not 0 < self.speed * self.depth <= FASTEST:
            raise UsageError(
                f"--speed (c) must be positive, and at most {FASTEST:g} over the depth: beyond it "
                f"float64 puts every point on the time axis; got {self.speed}."
            )

    def run(self) -> Outcome:
        """Send the pairs through their encoders, and show one of either end."""
        walk = self._send()
        path = spacetime_path(walk.path, speed=self.speed)  # (layers, P, 2, 3)
        points, directions = path[-1], walk.path.directions[-1]  # (P, 2, 3), (P, 2, 2)
        cosine = (points[:, 0] * points[:, 1]).sum(-1)
        square, ends = (self.depth * self.speed) ** 2, walk.law[-1].tanh()
        law = (square + ends) / (square + 1)
        time = self.depth * self.speed / math.sqrt(1 + square)
        strangers = (directions[:, 0] * torch.roll(directions[:, 1], 1, 0)).sum(-1)
        evidence = mean_of(
            "cosine of spacetime points of unrelated features",
            (square + strangers) / (square + 1),
            square / (square + 1),
        )
        return self._outcome(
            walk,
            self._rows(walk, path),
            "The merging of the features is real (their rapidity grows as above); the convergence "
            "of the drawn worldlines is mostly the constant c, which is free: no law stands "
            "behind it, and it makes even opposite features meet.",
            mean_of(f"time coordinate after layer {self.depth}", points[:, 0, 0], time),
            mean_of(
                "cosine of spacetime points, pairs that end opposite",
                cosine[cosine < square / (square + 1)],
                law[ends < 0],
            ),
            time_alone=Control(
                "Features of different encoders, which have nothing to do with each other, have a "
                f"spacetime cosine of {evidence.measured:.2f} after layer {self.depth}, by the "
                f"time coordinate alone: with c = {self.speed:g} it is the layer number that meets "
                "itself.",
                evidence,
            ),
        )

    def _rows(self, walk: Walk, path: Tensor) -> PointTable:
        ends = walk.rapidity[-1, :, 0]
        points = path[:, [int(ends.argmax()), int(ends.argmin())]]  # (layers, 2, 2, 3)
        at, pair, who = (it.ravel() for it in np.indices(points.shape[:3]))
        layers = np.array(walk.path.layers[-len(points) :])
        t, x, y = points.reshape(-1, 3).numpy().T
        return PointTable(layers[at], ENDS[pair], WHO[who], t, x, y)
