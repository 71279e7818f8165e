"""Medians, quantiles and bootstrap intervals of rapidities, infinite ones included."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Bootstrap", "Summary"]

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
LARGEST = 1e300  # stands for infinity while quantiles are interpolated


@dataclass(frozen=True)
class Summary:
    """Distribution of one quantity over samples.

    Attributes:
        median, q10, q90: quantiles over the samples (±inf is a value); None where there is no
            sample.
        interval: 95 % bootstrap interval of the median; None under two samples.
        count: samples with a value.
        undefined: samples without one (a vector that has no direction).
    """

    median: float | None
    q10: float | None
    q90: float | None
    interval: tuple[float, float] | None
    count: int
    undefined: int

    def with_undefined(self, undefined: int) -> Summary:
        """The same distribution, with this many samples that have no value."""
        return replace(self, undefined=undefined)


class Bootstrap:
    """Resamples of one set of samples, shared by all statistics on it so that they vary together.

    Percentile intervals (Efron 1979) at 95 %. The median of a resample is an order statistic of the
    data, and the k-th of N resampled positions is ⌊N u⌋ with u the k-th of N uniforms, Beta(k, N −
    k + 1); the next one, given it, is 1 − (1 − u) v^(1/(N − k)). So the positions are drawn once,
    two a resample, and every quantity only needs to be sorted.
    """

    def __init__(self, samples: int, *, resamples: int = 2000, seed: int = 0) -> None:
        self.samples, self.resamples, self.seed = samples, resamples, seed
        self.middles = self._middles(np.random.default_rng(seed)) if samples else None

    def _middles(self, generator: np.random.Generator) -> tuple[Positions, Positions]:
        """Positions of both middle values in each resample; the same one where the count is odd."""
        count = self.samples
        rank = (count - 1) // 2 + 1
        lower = generator.beta(rank, count - rank + 1, self.resamples)
        upper = (
            lower
            if count % 2
            else 1 - (1 - lower) * generator.random(self.resamples) ** (1 / (count - rank))
        )
        low, high = (
            np.minimum((count * part).astype(np.int64), count - 1) for part in (lower, upper)
        )
        return low, high

    @cached_property
    def rows(self) -> Positions:
        """(R, S) the rows of each resample."""
        return np.random.default_rng(self.seed).integers(
            0, max(self.samples, 1), (self.resamples, self.samples)
        )

    def summary(self, values: Tensor) -> Summary:
        """Distribution of (S,) values, the median with its interval."""
        array = values.double().numpy()
        known = array[~np.isnan(array)]
        undefined = len(array) - len(known)
        if len(known) == 0:
            return Summary(None, None, None, None, 0, undefined)
        if undefined:  # the shared resamples are for another count
            return (
                Bootstrap(len(known), resamples=self.resamples)
                .summary(torch.from_numpy(known))
                .with_undefined(undefined)
            )
        finite = np.sort(np.clip(known, -LARGEST, LARGEST))
        q10, median, q90 = (_unclip(q) for q in np.quantile(finite, (0.1, 0.5, 0.9)))
        interval = None
        if len(finite) > 1 and self.middles is not None:
            medians = finite[self.middles[0]] / 2 + finite[self.middles[1]] / 2
            low, high = np.quantile(medians, (0.025, 0.975))
            interval = _unclip(low), _unclip(high)
        return Summary(median, q10, q90, interval, len(known), undefined)

    def shares(self, flags: Tensor) -> Array:
        """Share of true flags in each resample: (S, L) booleans → (R, L)."""
        table = flags.double().numpy()
        counts = np.zeros((len(self.rows), len(table)))
        np.add.at(counts, (np.arange(len(self.rows))[:, None], self.rows), 1.0)
        resampled: Array = counts @ table / max(len(table), 1)
        return resampled


def _unclip(value: float) -> float:
    return float(value) if abs(value) < LARGEST / 10 else float(np.copysign(np.inf, value))
