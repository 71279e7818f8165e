"""Random pairs under the same conditions: the null that found pairs are measured against."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldline.errors import UndefinedPairWarning
from worldline.explain.sampling import random_pairs
from worldline.explain.view import AT_ONCE, distances
from worldline.geometry import Frame, rapidity

__all__ = ["Pool"]

MATCHED = 1000
"""Random pairs of about the same input distance behind each p-value."""


@dataclass(frozen=True)
class Pool:
    """Random eligible pairs, by ascending input distance.

    Attributes:
        first, second, distance: (P,).
        least: the distance that the searched pairs must have; 0 before :meth:`beyond`.
    """

    first: Tensor
    second: Tensor
    distance: Tensor
    least: float = 0.0

    @classmethod
    def draw(
        cls,
        labels: Tensor | None,
        inputs: Tensor,
        groups: Tensor,
        count: int,
        generator: torch.Generator,
    ) -> Pool:
        """Draw them; pairs of identical inputs are left out."""
        first, second = random_pairs(len(inputs), labels, count, generator)
        keep = groups[first] != groups[second]
        first, second = first[keep], second[keep]
        order = (apart := distances(inputs, first, second)).argsort(stable=True)
        return cls(first[order], second[order], apart[order])

    def beyond(self, quantile: float) -> Pool:
        """The same pairs; the least distance is the one that this share of them does not reach."""
        return replace(self, least=float(self.distance.quantile(quantile)) if quantile > 0 else 0.0)

    def far(self) -> Tensor:
        """(P,) which are as far apart as is asked."""
        return self.distance >= self.least

    def quantile(self, distance: Tensor) -> Tensor:
        """Share of the pairs that are no further apart than each distance."""
        return torch.searchsorted(self.distance, distance, right=True).double() / len(self.distance)

    def rapidity(self, features: Tensor, frame: Frame) -> Tensor:
        """(P,) φ of these pairs in these features; NaN where a sample has no direction."""
        step = max(1, AT_ONCE // features.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedPairWarning)
            return torch.cat(
                [
                    rapidity(frame(features[a].double()), frame(features[b].double()))
                    for a, b in zip(self.first.split(step), self.second.split(step), strict=True)
                ]
            )

    def matched_p(self, value: Tensor, distance: Tensor, pool_value: Tensor, sign: int) -> Tensor:
        """(Q,) share of random pairs about as far apart at the input that are as entangled.

        The pair itself counts, so it is never 0.
        """
        far = self.far() & ~pool_value.isnan()
        known, theirs = self.distance[far], sign * pool_value[far]
        width = min(MATCHED, len(theirs))
        start = (torch.searchsorted(known, distance) - width // 2).clamp(0, len(theirs) - width)
        near = theirs[start[:, None] + torch.arange(width)]  # (pairs, width)
        return (1 + (near >= sign * value[:, None]).sum(1)).double() / (1 + width)

    def rank(self, value: Tensor, pool_value: Tensor, sign: int) -> Tensor:
        """Share of the far pairs that are at least as entangled as each value; NaN stays NaN."""
        theirs = (sign * pool_value[self.far() & ~pool_value.isnan()]).sort().values
        below = torch.searchsorted(theirs, sign * value)
        return torch.where(value.isnan(), torch.nan, 1 - below.double() / max(len(theirs), 1))
