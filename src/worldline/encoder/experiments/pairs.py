"""Matched and unmatched embeddings through one selecting layer: does it help to tell them apart?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_directions, check_finite
from worldline.encoder.experiments.base import ANSWERS, Layered
from worldline.encoder.experiments.record import (
    Control,
    Flags,
    Floats,
    Integers,
    Measurement,
    Outcome,
)
from worldline.encoder.laws import rapidity_walk
from worldline.encoder.path import from_fitted
from worldline.errors import ShapeError

__all__ = ["Pairs"]

LEAST = 30
RATE_PAIRS = 2000


@dataclass(frozen=True)
class PartnerTable:
    """A row for each pair: rapidity and squared distances |â−b̂|²/4 and |â+b̂|²/4, twice."""

    pair: Integers
    matched: Flags
    rapidity_before: Floats
    rapidity_after: Floats
    correlated_distance_before: Floats
    anticorrelated_distance_before: Floats
    correlated_distance_after: Floats
    anticorrelated_distance_after: Floats


@dataclass(frozen=True, kw_only=True)
class Pairs(Layered):
    """Distances of matched and unmatched embeddings: published (n, k, L) = (20, 10, 1).

    >>> import torch
    >>> from worldline.encoder.experiments import Pairs
    >>> a, noise, unmatched = torch.randn(3, 200, 64, generator=torch.Generator().manual_seed(0))
    >>> Pairs().run(a, a + noise, unmatched).finding.measurements[0].agrees
    True
    """

    table = PartnerTable

    name = "pairs"
    group = ANSWERS
    title = "Matched and unmatched embeddings"
    claim = (
        "Seen through the encoder, pairs that belong together are recognised by correlation or "
        "anti-correlation."
    )
    law = (
        "Every layer moves every pair by sinh φ′ = (|y| sinh φ + g)/χ, whether the pair is "
        "matched or not."
    )
    shown = (
        "Squared distances before (left) and after (right) the layer; above |â−b̂|²/4, below the "
        "smaller of |â−b̂|²/4 and |â+b̂|²/4."
    )
    needs = "embeddings"

    candidates: int = 20
    width: int = 10
    depth: int = 1

    def run(
        self,
        embeddings: Float[Tensor, "N D"],
        matched: Float[Tensor, "N D"],
        unmatched: Float[Tensor, "N D"],
    ) -> Outcome:
        """Fit an encoder to each embedding and send both of its partners through it.

        Args:
            embeddings: (N, D) floating, at least 30, without zero rows.
            matched: (N, D), the partner of each that belongs to it.
            unmatched: (N, D), a partner of each that does not.

        Raises:
            ShapeError: not three (N, D) of one shape, or too few. BoundsError: NaN, or a zero
                embedding.
        """
        triples = _check((embeddings, matched, unmatched))  # (N, 3, D)
        trial = self.trial(triples.shape[-1])
        before = from_fitted(triples)  # (N, 2)
        after = from_fitted(trial.send(triples).directions[-1])
        walks = (
            rapidity_walk(phi, self.encoder.selection, self.depth, generator=trial.generator)
            for phi in before.T
        )
        law = torch.stack([walk[-1] for walk in walks], 1)
        plain = replace(self.encoder, candidates=self.width, rule="none")
        unselected = from_fitted(replace(trial, encoder=plain).send(triples).directions[-1])
        measurements = (*_means(after, law, self.depth), *_areas(after, law))
        ends = torch.stack((before.flatten(), after.flatten()))
        found = trial.controls(ends, pairs=min(len(triples), RATE_PAIRS))
        was, now = before.T.flatten(), after.T.flatten()
        unmatched_too, pair = np.indices((2, len(triples)))
        columns = (was, now, *(torch.sigmoid(s * phi) for phi in (was, now) for s in (-2, 2)))
        return Outcome.of(
            PartnerTable(pair.ravel(), unmatched_too.ravel() == 0, *(it.numpy() for it in columns)),
            measurements,
            replace(found, no_selection=_without(found.no_selection, unselected)),
            _meaning(before, after),
            replicas=len(triples),
        )


def _means(after: Tensor, law: Tensor, depth: int) -> tuple[Measurement, ...]:
    """Mean rapidity of matched and of unmatched pairs beside the law from the same starts."""
    columns = zip(("matched", "unmatched"), after.T, law.T, (after - law).T, strict=True)
    return tuple(
        Measurement(
            f"mean φ of {kind} pairs after layer {depth}",
            float(measured.mean()),
            float(predicted.mean()),
            float(gap.std()) / math.sqrt(len(gap)),
            "nats",
        )
        for kind, measured, predicted, gap in columns
    )


def _areas(after: Tensor, law: Tensor) -> tuple[Measurement, ...]:
    """How well |â−b̂|, and how well |φ|, tells matched from unmatched pairs after the layer."""
    found = []
    for either, by in ((False, "distance |â−b̂|"), (True, "the smaller of |â−b̂| and |â+b̂|")):
        (measured, error), (predicted, law_error) = _area(after, either), _area(law, either)
        total = math.hypot(error, law_error)
        found.append(Measurement(f"ROC area by {by}", measured, predicted, total))
    return tuple(found)


def _area(phi: Tensor, either: bool) -> tuple[float, float]:
    """Area under the ROC curve of matched (column 0) over unmatched pairs, and its standard error.

    The error is that of DeLong, DeLong and Clarke-Pearson, Biometrics 44:837 (1988).
    """
    matched, unmatched = (phi.abs() if either else phi).T.contiguous()
    above = _share_below(matched, unmatched)  # of each matched pair: unmatched ones it beats
    below = 1 - _share_below(unmatched, matched)
    variance = float(above.var()) / len(above) + float(below.var()) / len(below)
    return float(above.mean()), math.sqrt(variance)


def _share_below(values: Tensor, among: Tensor) -> Tensor:
    """For each value the share of the others that are smaller, ties counted half."""
    ordered = among.sort().values
    places = torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True)
    return places.double() / (2 * len(among))


def _without(control: Control, unselected: Tensor) -> Control:
    area, error = _area(unselected, True)
    told = (
        f" Without selection the pairs are told apart with ROC area {area:.3f} ± {error:.3f}, by "
        "the smaller distance."
    )
    return replace(control, sentence=control.sentence + told)


def _meaning(before: Tensor, after: Tensor) -> str:
    was, was_error = _area(before, False)
    now, now_error = max(_area(after, False), _area(after, True))
    change = "gains" if now - was > 2 * math.hypot(was_error, now_error) else "does not gain"
    if was - now > 2 * math.hypot(was_error, now_error):
        change = "loses"
    return (
        f"Matched pairs are told from unmatched ones with ROC area {was:.3f} ± {was_error:.3f} "
        f"before the encoder, by plain distance, and {now:.3f} ± {now_error:.3f} after it: "
        f"recognition {change}. The layer draws all pairs to the light cone, matched or not, and "
        "adds noise of its own."
    )


def _check(groups: tuple[Tensor, ...]) -> Tensor:
    """(N, 3, D) float64, or say what came."""
    fits = all(isinstance(it, Tensor) and it.is_floating_point() and it.ndim == 2 for it in groups)
    if not fits or len({it.shape for it in groups}) > 1 or groups[0].shape[1] == 0:
        raise ShapeError(
            "Embeddings, matched and unmatched partners must be floating tensors (N, D) of one "
            f"shape, row by row; got {'; '.join(came(it) for it in groups)}."
        )
    if len(groups[0]) < LEAST:
        raise ShapeError(
            f"At least {LEAST} pairs are needed for a standard error; got {len(groups[0])}."
        )
    triples = torch.stack(groups, 1).double()
    check_finite("the embeddings", triples)
    check_directions(triples, "holds a zero embedding, which has no direction")
    return triples
