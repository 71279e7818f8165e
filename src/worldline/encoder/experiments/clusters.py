"""Clusters by applying the encoder again and again: always two, whatever the points are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.encoder.checking import check_count
from worldline.encoder.experiments.base import UNSEEN, Layered
from worldline.encoder.experiments.digits import Digits, check_digits
from worldline.encoder.experiments.record import (
    Control,
    Floats,
    Integers,
    Measurement,
    Outcome,
    RoundCurves,
    mean_of,
)
from worldline.encoder.experiments.walks import Trial, resolved
from worldline.encoder.laws import rapidity_walk
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Path, from_fitted
from worldline.encoder.rates import rapidity_rate
from worldline.errors import ShapeError, UsageError

__all__ = ["Clusters"]

POINTS = 500
ENCODERS = 12
RATE_PAIRS = 200
WALKERS = 4000
SHOWN_ROUNDS = (0, 1)
PERPLEXITY = 30.0


@dataclass(frozen=True)
class ClusterTable:
    """A row for each point and shown round, through one encoder: t-SNE, its end and its digit."""

    round: Integers
    point: Integers
    x: Floats
    y: Floats
    side: Integers
    digit: Integers


@dataclass(frozen=True, kw_only=True)
class Clusters(Layered):
    """Layers applied six times over to 500 points: published k = 50, n = 256, L = 12 a round.

    Attributes:
        depth: layers of one round.
        rounds: how often.

    >>> import torch
    >>> from worldline.encoder.experiments import Clusters
    >>> x, y = torch.rand(80, 64, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 10
    >>> finding = Clusters(rounds=2).run(x, y, x, y).finding
    >>> finding.agrees, len(finding.curves.silhouette)
    (True, 3)
    """

    table = ClusterTable

    name = "clusters"
    group = UNSEEN
    title = "Clustering by applying the layers again"
    claim = "Applied again and again, the encoder clusters samples by itself, without any label."
    law = (
        "Six rounds of L layers are one encoder of 6L layers: |φ| from the fitted point grows by "
        "rL a round, so there are two clusters, ±u₁, whose Davies–Bouldin index falls as e^−rL a "
        "round and whose silhouette goes to 1, for any points."
    )
    shown = (
        "Left and middle: t-SNE of the points before and after one round, marked by the end they "
        "go to. Right: silhouette of the two ends by round, of digits, of random points, and "
        "without selection."
    )
    needs = "digits"
    quick: ClassVar = {"rounds": 2}

    candidates: int = 256
    width: int = 50
    depth: int = 12
    rounds: int = 6

    def __post_init__(self) -> None:
        """Refuse rounds that are none, or more than anybody could wait for."""
        super().__post_init__()
        check_count("rounds", self.rounds)
        if self.rounds > 100:
            raise UsageError(f"--rounds must be at most 100; got {self.rounds}.")

    def run(self, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], *reference: Tensor) -> Outcome:
        """Send digits and random points through encoders, and measure the clusters by round.

        Args:
            x, y: (N, …) pictures and their labels, at least 30; up to 500 of them are used.
            reference: pictures and labels, for the mean picture that is subtracted.

        Raises:
            ShapeError, BoundsError: pictures that do not fit, or too few.
        """
        found = check_digits(x, y)
        middle = check_digits(*reference).x.mean(0) if reference else found.x.mean(0)
        data = Digits(found.x[:POINTS] - middle, found.y[:POINTS])
        if len(data.x) < 30:
            raise ShapeError(f"At least 30 points are needed; got {len(data.x)}.")
        trial = self.trial(data.x.shape[1])
        random = trial.normals(len(data.x))
        plain = replace(self.encoder, candidates=self.width, rule="none")
        digits = Rounds.of(self, trial, self.encoder, data.x)
        groups = (digits, Rounds.of(self, trial, self.encoder, random))
        alone = Rounds.of(self, trial, plain, data.x)
        last = self.rounds
        silhouettes = [it.silhouettes() for it in (*groups, alone)]
        falling = [it.davies_bouldin() for it in groups]
        told, before = (float(digits.agreement(data.y, at).mean()) for at in (last, 0))
        rows = _picture(digits, data.y)
        measured = (
            *(digits.information(at) for at in range(1, last + 1) if digits.resolves(at)),
            *_slopes(falling[0], digits),
        )
        points = mean_of("silhouette of random points", silhouettes[1][last], None)
        without = mean_of("silhouette without selection", silhouettes[2][last], None)
        controls = trial.controls(digits.ends(), pairs=RATE_PAIRS)
        return Outcome.of(
            ClusterTable(*rows),
            measured,
            replace(
                controls,
                no_selection=Control(
                    f"{controls.no_selection.sentence} After {last} such rounds the silhouette of "
                    f"the two ends is {without.measured:.2f}.",
                    controls.no_selection.evidence,
                ),
                random_points=Control(
                    f"{len(random)} random points, which have no clusters, get silhouette "
                    f"{points.measured:.3f} after {last} rounds; the digits get "
                    f"{float(silhouettes[0][last].mean()):.3f}.",
                    points,
                ),
            ),
            "There are two clusters because there are two ends, and each point goes to one by the "
            "sign of one random projection, biased towards the fitted point. What they have to do "
            f"with the ten digits is {told:.2f} in adjusted mutual information (1: all; the "
            f"sign of the correlation with the fitted digit, before any layer: {before:.2f}). The "
            "silhouette measures the collapse, not a structure of the data.",
            replicas=ENCODERS,
            curves=RoundCurves(
                *(tuple(it.mean(1).tolist()) for it in silhouettes),
                *(tuple(it.mean(1).tolist()) for it in falling),
            ),
        )


@dataclass(frozen=True)
class Rounds:
    """The same points through independent encoders, after every round.

    Attributes:
        trial: whose encoders they are, all rounds in one.
        path: (P, N, D) directions of the points, round by round.
        rapidity: (R + 1, P, N) from each encoder's fitted point.
        depth: layers of a round.
    """

    trial: Trial
    path: Path
    rapidity: Tensor
    depth: int

    @classmethod
    def of(cls, it: Clusters, trial: Trial, encoder: Encoder, points: Tensor) -> Rounds:
        """Fit an encoder to each of the first points, and send all."""
        deep = replace(encoder, depth=it.depth * it.rounds)
        own = points[torch.arange(ENCODERS) % len(points)]
        fitted = deep.fit(own, generator=trial.generator)
        layers = [it.depth * at for at in range(it.rounds + 1)]
        path = fitted.transform(points, layers=layers)
        phi = torch.stack(
            [
                from_fitted(torch.cat((fitted.path.directions[at][:, None], points_there), 1))
                for at, points_there in zip(layers, path.directions, strict=True)
            ]
        )
        return cls(replace(trial, encoder=deep), path, phi, it.depth)

    def resolves(self, at: int) -> bool:
        """Whether float64 still tells the points of a round from the fitted one."""
        selection = self.trial.encoder.selection
        return resolved(selection, self.depth * at, start=2.0) == self.depth * at

    def information(self, at: int) -> Measurement:
        """Mean |φ| of the points from the fitted one after a round, beside the exact walk."""
        others, points = self._others(), self.rapidity.shape[-1]
        start = self.rapidity[0][others]
        generator = self.trial.generator
        chosen = torch.randint(len(start), (WALKERS,), generator=generator)
        law = rapidity_walk(
            start[chosen], self.trial.encoder.selection, self.depth * at, generator=generator
        )[-1].abs()
        means = self.rapidity[at][others].view(ENCODERS, points - 1).abs().mean(1)
        return mean_of(f"mean |φ| from the fitted point after round {at}", means, law, "nats")

    def ends(self) -> Tensor:
        """(2, P, N − 1) rapidities before the first layer and after the last, without the own."""
        others, points = self._others(), self.rapidity.shape[-1]
        return self.rapidity[[0, -1]][:, others].view(2, ENCODERS, points - 1)

    def sides(self, at: int) -> Tensor:
        """(P, N) which end each point is nearer to."""
        return (self.rapidity[at] > 0).long()

    def silhouettes(self) -> Tensor:
        """(R + 1, P) of the two ends."""
        from sklearn.metrics import silhouette_score  # noqa: PLC0415  (a second of import time)

        return self._scores(silhouette_score)

    def davies_bouldin(self) -> Tensor:
        """(R + 1, P) of the two ends."""
        from sklearn.metrics import davies_bouldin_score  # noqa: PLC0415

        return self._scores(davies_bouldin_score)

    def agreement(self, labels: Tensor, at: int) -> Tensor:
        """(P,) adjusted mutual information of ends and labels: 1 the same, 0 unrelated."""
        from sklearn.metrics import adjusted_mutual_info_score  # noqa: PLC0415

        sides = self.sides(at)
        return torch.tensor(
            [adjusted_mutual_info_score(labels.numpy(), it.numpy()) for it in sides]
        )

    def _scores(self, score: Callable[[npt.ArrayLike, npt.ArrayLike], float]) -> Tensor:
        rows = [
            [float(score(*(it.numpy() for it in both))) for both in zip(points, sides, strict=True)]
            for points, sides in zip(
                self.path.directions, map(self.sides, self._rounds), strict=True
            )
        ]
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def _rounds(self) -> range:
        return range(len(self.rapidity))

    def _others(self) -> Tensor:
        """(P, N) without each encoder's own point."""
        own = torch.arange(ENCODERS)[:, None] % self.rapidity.shape[-1]
        return torch.arange(self.rapidity.shape[-1]) != own


def _slopes(falling: Tensor, it: Rounds) -> tuple[Measurement, ...]:
    """How many nats the Davies–Bouldin index falls from round to round, where both are resolved."""
    law = rapidity_rate(it.trial.encoder.selection) * it.depth
    falls = -falling.log().diff(dim=0)
    return tuple(
        mean_of(
            f"nats that the Davies–Bouldin index falls in round {at}", falls[at - 1], law, "nats"
        )
        for at in range(2, len(falling))
        if it.resolves(at)
    )


def _picture(it: Rounds, labels: Tensor) -> tuple[np.ndarray, ...]:
    """Columns of the table: t-SNE of the points of the first encoder at the shown rounds."""
    from sklearn.manifold import TSNE  # noqa: PLC0415

    columns = []
    for at in SHOWN_ROUNDS:
        points = it.path.directions[at][0].numpy()
        perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
        drawn = TSNE(perplexity=perplexity, max_iter=300, init="pca", random_state=0)
        x, y = drawn.fit_transform(points).astype(float).T
        place = np.arange(len(points))
        ends = it.sides(len(it.rapidity) - 1)[0].numpy()
        columns.append((np.full(len(points), at), place, x, y, ends, labels.numpy()))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))
