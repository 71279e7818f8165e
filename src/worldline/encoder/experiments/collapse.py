"""Collapse: thousands of unseen vectors through one encoder end in one direction or its opposite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.encoder.experiments.base import Layered, affordable
from worldline.encoder.experiments.record import Outcome, mean_of, verdict_on
from worldline.encoder.experiments.walks import (
    NOBODY_LISTENS,
    from_fitted,
    law_walk,
    log_gamma,
    measure_rate,
    no_selection,
    rank,
    sign_kept,
)
from worldline.encoder.joint import encode_together
from worldline.encoder.machine import Encoder
from worldline.encoder.seeds import make_generator
from worldline.geometry.pair import rapidity

__all__ = ["Collapse"]

ENCODERS, VECTORS_EACH = 64, 32
RATE_PAIRS = 200


@dataclass(frozen=True, kw_only=True)
class Collapse(Layered):
    """Angles of 5,000 unseen vectors after five depths: published (n, k, L) = (16384, 256, 10).

    Attributes:
        dimension: D of the vectors.
        vectors: unseen ones, all through the encoder that was fitted to another.

    >>> from worldline.encoder.experiments import Collapse
    >>> outcome = Collapse(candidates=640, width=10, dimension=10, vectors=100).run()
    >>> outcome.table["depth"].unique().tolist()
    [0, 2, 4, 6, 8, 10]
    """

    name = "collapse"
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
        generator = make_generator(self.seed)
        encoder = self.encoder
        encoders = affordable(encoder, ENCODERS, inputs=self.dimension, features=VECTORS_EACH + 1)
        features = torch.randn(
            encoders, VECTORS_EACH + 1, self.dimension, dtype=torch.float64, generator=generator
        )
        path = encode_together(encoder, features, generator=generator)
        start, end = (from_fitted(path.directions[layer]) for layer in (0, -1))  # (P, M)
        law = law_walk(encoder.selection, start.flatten(), self.depth, generator)[-1]
        pairs = affordable(encoder, RATE_PAIRS, inputs=self.dimension)
        measurements = (
            mean_of(
                f"mean ln γ of unseen vectors after layer {self.depth}",
                log_gamma(end).mean(1),
                log_gamma(law),
                "nats",
            ),
            measure_rate(encoder, pairs, self.dimension, generator),
        )
        angles = self._unseen(encoder, generator)
        return Outcome(
            measurements,
            controls={
                "no_selection": no_selection(encoder, pairs, self.dimension, generator),
                "rank_one": rank(encoder, self.dimension, generator),
                "sign_kept": sign_kept(start, end, encoder.selection, self.depth),
                "eavesdropper": NOBODY_LISTENS,
            },
            verdict=verdict_on(
                measurements,
                f"After {self.depth} layers {_parallel(angles[-1]):.1%} of the {self.vectors:,} "
                "unseen vectors lie within 1° of the fitted feature's line. Vectors of pure noise "
                "do so as well: the encoder answers everything with the same line, so a loss of "
                "zero on unseen samples is no generalisation.",
            ),
            table={
                "depth": torch.tensor(self.depths).repeat_interleave(self.vectors),
                "vector": torch.arange(self.vectors).repeat(len(self.depths)),
                "angle": angles.flatten(),
            },
            replicas=encoders,
        )

    def _unseen(self, encoder: Encoder, generator: torch.Generator) -> Tensor:
        """Angles (depths, N) in radians from the fitted vector, all through one encoder."""
        x = torch.randn(self.dimension, dtype=torch.float64, generator=generator)
        vectors = torch.randn(
            self.vectors, self.dimension, dtype=torch.float64, generator=generator
        )
        fitted = encoder.fit(x, generator=generator)
        path = fitted.transform(vectors, layers=self.depths)
        rows = [
            rapidity(fitted.path.directions[layer].expand_as(others), others)
            for layer, others in zip(self.depths, path.directions, strict=True)
        ]
        return 2 * torch.atan(torch.exp(-torch.stack(rows)))


def _parallel(angles: Tensor) -> float:
    """Share of angles within one degree of 0 or of π."""
    return float((torch.minimum(angles, math.pi - angles) < math.radians(1)).double().mean())
