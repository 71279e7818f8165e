"""Collapse: thousands of unseen vectors through one encoder end on one line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from worldline.encoder.experiments.base import UNSEEN, Layered
from worldline.encoder.experiments.record import Floats, Integers, Outcome
from worldline.encoder.experiments.walks import Trial
from worldline.geometry.pair import angle

__all__ = ["Collapse"]

ENCODERS, VECTORS_EACH = 64, 32
RATE_PAIRS = 200


@dataclass(frozen=True)
class CollapseTable:
    """A row for each depth and unseen vector: its angle from the fitted feature, in radians."""

    depth: Integers
    vector: Integers
    angle: Floats


@dataclass(frozen=True, kw_only=True)
class Collapse(Layered):
    """Angles of 5,000 unseen vectors after five depths: published (n, k, L) = (16384, 256, 10).

    Attributes:
        dimension: D of the vectors.
        vectors: unseen ones, all through the encoder that was fitted to another.

    >>> from worldline.encoder.experiments import Collapse
    >>> outcome = Collapse(candidates=640, width=10, dimension=10, vectors=100).run()
    >>> sorted(set(outcome.table.depth.tolist()))
    [0, 2, 4, 6, 8, 10]
    """

    table = CollapseTable

    name = "collapse"
    group = UNSEEN
    title = "The collapse of unseen vectors"
    claim = (
        "An encoder fitted to one feature sends thousands of features that it never saw to the "
        "same direction or to its opposite: “zero loss” on unseen samples too."
    )
    law = (
        "Every unseen vector follows sinh φ′ = (|y| sinh φ + g)/χ, so by r nats per layer it "
        "nears the fitted feature or its opposite."
    )
    shown = "Angle from the fitted feature, by depth, of all unseen vectors of one encoder."

    quick: ClassVar = {"candidates": 2048, "width": 64, "dimension": 64, "vectors": 1000}

    candidates: int = 16384
    width: int = 256
    depth: int = 10
    dimension: int = 256
    vectors: int = 5000

    @property
    def depths(self) -> tuple[int, ...]:
        """Five depths, evenly spaced as far as the depth allows, and the input before them."""
        return tuple(sorted({round(self.depth * part / 5) for part in range(6)}))

    def run(self) -> Outcome:
        """Fit one encoder for the figure, and independent ones for the measurements."""
        trial = self.trial(self.dimension)
        encoders = trial.affordable(ENCODERS, features=VECTORS_EACH + 1)
        walk = trial.follow(trial.normals(encoders, VECTORS_EACH + 1))
        pairs = trial.affordable(RATE_PAIRS)
        rate = trial.rate(pairs)
        angles = self._unseen(trial)
        at, vector = (it.ravel() for it in np.indices(angles.shape))
        return Outcome.of(
            CollapseTable(np.array(self.depths)[at], vector, angles.flatten().numpy()),
            (walk.information("of unseen vectors "), rate),
            trial.controls(walk.rapidity, pairs=pairs),
            _meaning(_parallel(angles[-1]), self.vectors, self.depth),
            replicas=encoders,
        )

    def _unseen(self, trial: Trial) -> Tensor:
        """Angles (depths, N) in radians from the fitted vector, all through one encoder."""
        x, vectors = trial.normals(), trial.normals(self.vectors)
        fitted = self.encoder.fit(x, generator=trial.generator)
        path = fitted.transform(vectors, layers=self.depths)
        rows = [
            angle(fitted.path.directions[layer].expand_as(others), others)
            for layer, others in zip(self.depths, path.directions, strict=True)
        ]
        return torch.stack(rows)


def _parallel(angles: Tensor) -> int:
    """How many angles lie within one degree of 0 or of π."""
    return int((torch.minimum(angles, math.pi - angles) < math.radians(1)).sum())


def _meaning(parallel: int, vectors: int, depth: int) -> str:
    found = (
        f"After layer {depth}, {parallel:,} of the {vectors:,} unseen vectors lie within 1° of the "
        "fitted feature's line."
    )
    if 2 * parallel < vectors:
        return f"{found} So few layers have not collapsed them yet."
    return (
        f"{found} All of them are pure noise: the encoder answers everything with the same line, "
        "so a loss of zero on unseen samples is no generalisation."
    )
