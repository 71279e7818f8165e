"""Dilation, contraction and the paths of a pair: pairs merge at a constant rate of rapidity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from worldline.encoder.experiments.base import MERGING, Layered
from worldline.encoder.experiments.record import (
    Control,
    Floats,
    Integers,
    Measurement,
    MergeCurves,
    Names,
    Outcome,
    mean_of,
)
from worldline.encoder.experiments.walks import Walk, resolvable
from worldline.errors import UsageError
from worldline.geometry import length_contraction, log_lorentz_factor, proper_depth

__all__ = ["WHO", "Contraction", "Dilation", "Merge", "Path3D"]

REPLICAS = 2000
RATE = "r = E ln|y| − ½[ln 2 + ψ((k−1)/2)]"


@dataclass(frozen=True, kw_only=True)
class Merge(Layered):
    """Pairs of unrelated Gaussian features, an encoder for each pair.

    Attributes:
        dimension: D of the features.
    """

    drawn: ClassVar[int] = 0  # coordinates of the features in the figure; 0 for none

    dimension: int = 2

    def __post_init__(self) -> None:
        """Refuse features that the figure cannot show."""
        super().__post_init__()
        if self.drawn and self.width != self.drawn:
            raise UsageError(
                f"{self.name} draws {self.drawn} coordinates of the features: --width must be "
                f"{self.drawn}; got {self.width}."
            )

    def _send(self, shown: int = 1) -> Walk:
        """Send pairs through their encoders, as many as are shown and more."""
        trial = self.trial(self.dimension)
        pairs = trial.affordable(max(REPLICAS, shown), least=max(shown, 30))
        return trial.follow(trial.normals(pairs, 2))

    def _outcome(
        self,
        walk: Walk,
        table: object,
        meaning: str,
        *own: Measurement,
        time_alone: Control | None = None,
    ) -> Outcome:
        """What an experiment measured of its own, after what all of them measure."""
        phi = walk.rapidity[..., 0]
        pairs = phi.shape[1]
        rate = walk.trial.rate(pairs)
        curves = (log_lorentz_factor(it).mean(1) for it in (resolvable(phi), walk.law))
        return Outcome.of(
            table,
            (rate, walk.information(), *own),
            walk.trial.controls(phi, pairs=pairs, time_alone=time_alone),
            meaning,
            replicas=pairs,
            curves=MergeCurves(*(tuple(it.tolist()) for it in curves)),
        )


@dataclass(frozen=True)
class PairTable:
    """A row for each layer and pair; squared distances are |â−b̂|²/4."""

    layer: Integers
    pair: Integers
    rapidity: Floats
    correlation: Floats
    squared_distance: Floats


@dataclass(frozen=True, kw_only=True)
class MergePairs(Merge):
    """Many pairs in one figure; ``pairs`` of them are shown, and up to 2,000 measured."""

    table = PairTable

    pairs: int = 50

    def _rows(self, walk: Walk) -> PairTable:
        phi = walk.rapidity[:, : self.pairs, 0]  # (L + 1, P)
        layer, pair = np.indices(phi.shape)
        # |â − b̂|²/4 = (1 − ρ)/2, exact near both ends
        distance = torch.sigmoid(-2 * phi)
        columns = (it.flatten().numpy() for it in (phi, phi.tanh(), distance))
        return PairTable(layer.ravel(), pair.ravel(), *columns)


@dataclass(frozen=True, kw_only=True)
class Dilation(MergePairs):
    """Cosines of pairs through the layers: published (n, k, L) = (10, 2, 20), 50 pairs.

    >>> from worldline.encoder.experiments import Dilation
    >>> finding = Dilation(pairs=5).run().finding
    >>> finding.measurements[0].agrees, [name for name, _ in finding.controls.named()]
    (True, ['no selection', 'rank one', 'sign kept', 'eavesdropper'])
    """

    name = "dilation"
    group = MERGING
    title = "Time dilation"
    claim = (
        "Whatever their initial separation, pairs of features become perfectly correlated or "
        "anti-correlated with depth, as if time dilated."
    )
    law = (
        f"Rapidity φ = artanh ρ (Fisher's z) grows by {RATE} nats per layer, so γ = cosh φ grows "
        "exponentially."
    )
    shown = "Left: the cosine of each pair by layer. Right: the mean of ln γ, with the exact law."

    def run(self) -> Outcome:
        """Send the pairs through their encoders."""
        walk = self._send(self.pairs)
        depth, law = (proper_depth(phi, dim=0) for phi in (walk.rapidity[..., 0], walk.law))
        return self._outcome(
            walk,
            self._rows(walk),
            f"Of {self.depth + 1} layers, the input counted, a pair is told apart for "
            f"{float(depth.mean()):.2g}, and depth composes exactly like boosts along one line. "
            "But the layers are random and so are the features: it says nothing about what a "
            "network has learned.",
            mean_of("proper depth Σ sin θ over the layers", depth, law, "layers"),
        )


@dataclass(frozen=True, kw_only=True)
class Contraction(MergePairs):
    """Squared distances of pairs through the layers: published (100, 2, 50), 50 pairs.

    >>> from worldline.encoder.experiments import Contraction
    >>> [it.unit for it in Contraction(pairs=5, depth=10).run().finding.measurements]
    ['nats', 'nats', 'share']
    """

    name = "contraction"
    group = MERGING
    title = "Length contraction"
    claim = (
        "Distances between features contract with depth, regardless of how far apart the features "
        "began."
    )
    law = (
        f"The separation sin θ = 1/γ contracts by e^−r per layer, {RATE}; the squared distance "
        "|â−b̂|²/4 goes to 0 or to 1."
    )
    shown = (
        "Left: the squared distance |â−b̂|²/4 of each pair. Right: the mean of ln sin θ, with the "
        "exact law."
    )

    quick: ClassVar = {"depth": 20}

    candidates: int = 100
    depth: int = 50

    def run(self) -> Outcome:
        """Send the pairs through their encoders."""
        walk = self._send(self.pairs)
        together = (walk.rapidity[-1, :, 0] > 0).double()
        apart = float(length_contraction(walk.law[-1]).median())
        return self._outcome(
            walk,
            self._rows(walk),
            "With depth half of the pairs come together and half become opposite, so the distance "
            "goes to 0 or to its largest value, and the separation sin θ to 0 in both cases: by "
            f"the law its median after layer {self.depth} is {apart:.2g}. Vectors in float64 stop "
            "at sin θ ≈ 1e-16; the law does not.",
            mean_of("pairs that end together rather than opposite", together, 0.5, "share"),
        )


@dataclass(frozen=True)
class PathTable:
    """A row for each layer and feature of one pair, ``fitted`` or ``other``: where it is."""

    layer: Integers
    feature: Names
    x: Floats
    y: Floats
    z: Floats
    rapidity: Floats


@dataclass(frozen=True, kw_only=True)
class Path3D(Merge):
    """The path of a pair on the sphere: published (5, 3, 200).

    >>> from worldline.encoder.experiments import Path3D
    >>> Path3D(depth=20).run().table.x.shape
    (40,)
    """

    table = PathTable
    drawn = 3

    name = "path3d"
    group = MERGING
    title = "The path in three dimensions"
    claim = "Two features that start apart soon follow one path, or mirrored ones."
    law = (
        f"The angle closes by {RATE} nats per layer; the direction itself jumps, successive "
        "directions being uncorrelated."
    )
    shown = (
        "Left: the first 8 directions of the fitted feature and of the other one. Right: sin of "
        "the angle between them."
    )

    quick: ClassVar = {"depth": 30}

    candidates: int = 5
    width: int = 3
    depth: int = 200
    dimension: int = 3

    def run(self) -> Outcome:
        """Send the pairs through their encoders, and follow the first."""
        walk = self._send()
        own = torch.stack([at[:, 0] for at in walk.path.directions[1:]])  # (L, P, 3)
        jumps = (own[1:] * own[:-1]).sum(-1).mean(0)
        quantity = "mean cosine of successive directions of the fitted feature"
        path = torch.stack([at[0] for at in walk.path.directions[1:]])  # (L, 2, 3)
        layer, who = np.indices(path.shape[:2])
        x, y, z = path.reshape(-1, 3).numpy().T
        phi = walk.rapidity[1:, 0, 0].numpy().repeat(2)
        return self._outcome(
            walk,
            PathTable(layer.ravel() + 1, WHO[who.ravel()], x, y, z, phi),
            "With depth the other feature follows the fitted one, or its mirror image. Neither "
            "moves along a line: every layer throws both to a new place on the sphere, so the "
            "path is a sequence of points and no trajectory.",
            *((mean_of(quantity, jumps, 0.0),) if self.depth > 1 else ()),
        )


WHO = np.array(("fitted", "other"))
