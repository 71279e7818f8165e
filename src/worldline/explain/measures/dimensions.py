"""How many dimensions a layer's features really use: participation ratio and TwoNN."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dimension", "dimension", "participation_ratio", "two_nn"]

GROUPS = 20
DISCARDED = 0.1
CANDIDATES = 4
TINY = 1e-12
"""Of the whole spread: what is left of it is rounding, and nothing varies."""


@dataclass(frozen=True)
class Dimension:
    """Effective dimension of N features of width D.

    Attributes:
        participation: (Σλ)²/Σλ² of the covariance's eigenvalues: 1 where the features lie on a
            line, D where they spread evenly.
        participation_interval: 95 %, by the jackknife over 20 groups of samples.
        two_nn: intrinsic dimension from the ratio of the distances to the second and to the first
            neighbour.
        two_nn_interval: 95 % bootstrap over the samples' ratios.
        samples, width: N and D.
        status: ``measured``, or a sentence that says why a value is missing or bounded.
    """

    participation: float | None
    participation_interval: tuple[float, float] | None
    two_nn: float | None
    two_nn_interval: tuple[float, float] | None
    samples: int
    width: int
    status: str


def dimension(features: Tensor, *, resamples: int = 1000, seed: int = 0) -> Dimension:
    """Both dimensions of features (N, D), each with its interval.

    Cost: one product N×N×D (or D×D×N where that is smaller) for the participation ratio, N×N
        distances for TwoNN.
    """
    samples, width = features.shape
    notes = []
    if samples <= width:
        notes.append(
            f"{samples} samples span at most {samples - 1} of the {width} dimensions, so the "
            f"participation ratio is a lower bound that cannot exceed {samples - 1}: give more "
            f"than {width} samples to lift it."
        )
    ratio, spread = None, None
    if samples < 2:
        notes.append("A dimension needs at least two samples.")
    else:
        ratio, spread = participation_ratio(features)
        if ratio is None:
            notes.append("All samples have the same features: there is no spread to measure.")
    nearest, interval = two_nn(features, resamples=resamples, seed=seed)
    if nearest is None and ratio is not None:
        notes.append("TwoNN needs at least 10 samples with two distinct neighbours.")
    return Dimension(
        ratio, spread, nearest, interval, samples, width, " ".join(notes) or "measured"
    )


def participation_ratio(features: Tensor) -> tuple[float | None, tuple[float, float] | None]:
    """(Σλ)²/Σλ² of the covariance of features (N, D), with its jackknife interval.

    None where nothing varies. It is tr(C)² / tr(C²), from the Gram matrix of the centred samples
    where N < D, so no eigenvalue is computed. The interval deletes one of 20 groups of samples at a
    time (Quenouille 1956; Tukey 1958); a bootstrap would lower the ratio, as its samples repeat.
    """
    wide = features.double()
    wide = wide - wide.mean(0)
    by_sample = len(wide) <= wide.shape[1]
    whole = wide @ wide.T if by_sample else wide.T @ wide
    total = _ratio(whole)
    if total is None:
        return None, None
    groups = min(GROUPS, len(wide))
    if groups < 3:
        return total, None
    parts = []
    for group in range(groups):
        kept = (torch.arange(len(wide)) % groups != group).to(wide.device)
        rest = _kept_gram(whole, kept) if by_sample else _kept_scatter(whole, wide, kept)
        part = _ratio(rest) if float(rest.trace()) > TINY * float(whole.trace()) else None
        if part is None:
            return total, None
        parts.append(part)
    centre = sum(parts) / groups
    error = math.sqrt((groups - 1) / groups * sum((part - centre) ** 2 for part in parts))
    return total, (max(1.0, total - 1.96 * error), total + 1.96 * error)


def _ratio(square: Tensor) -> float | None:
    trace, power = float(square.trace()), float((square**2).sum())
    return trace**2 / power if power > 0 else None


def _kept_gram(gram: Tensor, kept: Tensor) -> Tensor:
    """H G H of the kept samples alone, H = 1 − 11ᵀ/n, which moves them to their own mean."""
    part = gram[kept][:, kept]
    means = part.mean(0)
    return part - means - means[:, None] + means.mean()


def _kept_scatter(scatter: Tensor, wide: Tensor, kept: Tensor) -> Tensor:
    """(D, D) Σ (z − z̄)(z − z̄)ᵀ of the kept samples, from that of all, whose mean is 0."""
    gone = wide[~kept]
    total = gone.sum(0)  # of the kept ones with the other sign
    return scatter - gone.T @ gone - total[:, None] * total / int(kept.sum())


def two_nn(
    features: Tensor, *, resamples: int = 1000, seed: int = 0
) -> tuple[float | None, tuple[float, float] | None]:
    """Intrinsic dimension by TwoNN, with its bootstrap interval.

    μ = r₂/r₁ of each sample follows a Pareto law of exponent d; d is the slope through the origin
    of −ln(1 − F(μ)) over ln μ, the largest tenth of μ left out (Facco et al. 2017). Samples that
    repeat are counted once. None under 10 samples. The estimate is local: with few samples of a
    high-dimensional set it is too low.
    """
    distinct = features.double()
    nearest = _nearest(distinct)
    if bool((nearest == 0).any()):
        distinct = torch.unique(distinct, dim=0)
        nearest = _nearest(distinct)
    if len(distinct) < 10:
        return None, None
    first, second = nearest[:, 0], nearest[:, 1]
    logs = (second / first).log().cpu()
    value = _slope(logs[None])
    if not bool(torch.isfinite(value)):
        return None, None
    generator = torch.Generator().manual_seed(seed)
    drawn = _slope(logs[torch.randint(len(logs), (resamples, len(logs)), generator=generator)])
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    return float(value), (low, high)


def _nearest(wide: Tensor) -> Tensor:
    """(N, ≤ 4) distances to the nearest samples, ascending.

    One product of matrices finds them; what it rounds away is measured again from differences.
    """
    centred = wide - wide.mean(0)
    gram = centred @ centred.T
    squared = gram.diagonal()[:, None] + gram.diagonal() - 2 * gram
    squared.fill_diagonal_(torch.inf)
    places = squared.topk(min(CANDIDATES, len(wide) - 1), dim=1, largest=False).indices
    apart = [torch.linalg.vector_norm(wide[column] - wide, dim=1) for column in places.T]
    return torch.stack(apart, 1).sort(1).values if apart else squared[:, :0]


def _slope(logs: Tensor) -> Tensor:
    """Slope through the origin of −ln(1 − F) over ln μ for each row (R, N)."""
    count = logs.shape[1]
    used = int(count * (1 - DISCARDED))
    ordered = logs.sort(dim=1).values[:, :used]
    height = -torch.log1p(-torch.arange(1, used + 1, dtype=torch.float64) / count)
    slope: Tensor = (ordered * height).sum(1) / (ordered**2).sum(1)
    return slope
