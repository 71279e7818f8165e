"""Medians, quantiles and shares with bootstrap intervals, all numbers of a story from one draw.

Percentile intervals (Efron 1979) at 95 %. A resample is a vector of counts over the samples, and
the same R vectors serve every median and every share, so that numbers which depend on the same
samples vary together. ±∞ is a value everywhere; NaN is none: it is counted and left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from worldline.errors import UsageError
from worldline.statistics.proportions import Share, wilson

__all__ = ["Bootstrap", "Bootstraps", "Summary", "quantiles"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Sums = npt.NDArray[Any]  # whole numbers, of any dtype
Status = Literal["ok", "no samples", "infinite"]
LARGEST = 1e300  # stands for infinity while quantiles are interpolated
FAINT = 1e-10  # of the way to it: infinite, and far above what cancels
ENDS = 0.025, 0.975
BLOCK, KEPT = 2**22, 2**26  # counts in one block, in all that is kept
BAND = 3.0  # half width of the band in which medians are looked for, in √n: six standard deviations


@dataclass(frozen=True)
class Summary:
    """Distribution of one quantity over samples.

    Attributes:
        median, q10, q90: quantiles over the samples (±∞ is a value); None where there is no sample.
        interval: 95 % bootstrap interval of the median; None under two samples.
        count: samples with a value.
        undefined: samples without one (a vector that has no direction), which are left out.
        status: ``ok``, ``no samples``, or ``infinite`` where one of the numbers is ±∞.
    """

    median: float | None
    q10: float | None
    q90: float | None
    interval: tuple[float, float] | None
    count: int
    undefined: int
    status: Status


def quantiles(table: Array, parts: Sequence[float]) -> Array:
    """Quantiles of each column where ±∞ is a value and NaN is none.

    Args:
        table: (S,) or (S, Q).
        parts: P numbers in [0, 1].

    Returns:
        (P,) or (P, Q), interpolated linearly; any part of the way to an infinity is that infinity.
        NaN for a column without any value.

    >>> import numpy as np
    >>> from worldline.statistics import quantiles
    >>> quantiles(np.array([1.0, 2.0, np.inf, np.inf, np.nan]), [0.0, 0.5, 1.0])
    array([ 1., inf, inf])
    >>> quantiles(np.array([0.0, np.inf]), [0.01, 0.0])
    array([inf,  0.])
    """
    clipped = np.clip(table, -LARGEST, LARGEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any value
        found: Array = (np.nanquantile if np.isnan(table).any() else np.quantile)(
            clipped, parts, axis=0
        )
    return _unclipped(found)


class Bootstrap:
    """Resamples of one set of samples, shared by all statistics on it so that they vary together.

    Args:
        samples: S.
        resamples: R.
        seed: of the draw.

    Cost of Q medians: one matrix product for where each resample's middle lies roughly, and a
    cumulative count of the 6√S samples about it. Memory: R·S bytes up to 64 MB; beyond that the
    blocks are drawn anew each time.

    >>> import torch
    >>> from worldline.statistics import Bootstrap
    >>> Bootstrap(4).summary(torch.tensor([1.0, 2.0, 9.0, float("nan")])).median
    2.0
    """

    def __init__(self, samples: int, *, resamples: int = 2000, seed: int = 0) -> None:
        if seed < 0:
            raise UsageError(f"A seed must be at least 0; got {seed}.")
        self.samples, self.resamples, self.seed = samples, resamples, seed
        self.kept: list[Counts] | None = None

    def counts(self) -> Iterator[Counts]:
        """(S, r) how often each sample occurs in each resample, some resamples at a time."""
        if self.kept is not None:
            yield from self.kept
            return
        kept: list[Counts] = []
        for block in self._drawn():
            if self.resamples * self.samples <= KEPT:
                kept.append(block)
            yield block
        self.kept = kept or None

    def _drawn(self) -> Iterator[Counts]:
        generator = np.random.default_rng(self.seed)
        step = max(1, BLOCK // max(1, self.samples))
        for start in range(0, self.resamples, step):
            rows = min(step, self.resamples - start)
            drawn = generator.integers(0, self.samples, (rows, self.samples), dtype=np.int32)
            drawn += np.arange(rows, dtype=np.int32)[:, None] * np.int32(self.samples)
            counted = np.bincount(drawn.ravel(), minlength=rows * self.samples)
            yield np.ascontiguousarray(counted.astype(np.uint8).reshape(rows, -1).T)

    def summary(self, values: Tensor) -> Summary:
        """Distribution of (S,) values, the median with its interval."""
        return self.summaries(values[:, None])[0]

    def summaries(self, table: Tensor) -> tuple[Summary, ...]:
        """Distribution of each column of (S, Q) values."""
        values = _as_array(table, self.samples)
        known = ~np.isnan(values)
        medians = self._medians(values, known) if self.samples else [np.empty(0)] * len(known.T)
        if known.all():
            return _summaries(values, medians, self.samples)
        return tuple(
            _summaries(column[here, None], [drawn], self.samples)[0]
            for column, here, drawn in zip(values.T, known.T, medians, strict=True)
        )

    def _medians(self, values: Array, known: npt.NDArray[np.bool_]) -> list[Array]:
        """Of each column, the medians of the resamples in which any of its values is known."""
        order = np.argsort(values, axis=0, kind="stable")  # NaN comes last
        held = known.sum(0)
        low = np.maximum(0, held // 2 - (BAND * np.sqrt(held)).astype(np.int64) - 2)
        below = np.zeros(values.shape, dtype=np.float32)
        np.put_along_axis(below, order, (np.arange(len(values))[:, None] < low) * 1.0, axis=0)
        found: list[list[Array]] = [[] for _ in held]
        for block in self.counts():
            wide = block.astype(np.float32)
            sums = known.T.astype(np.float32) @ wide, below.T @ wide  # (Q, r) each, exact integers
            for column, (total, base) in enumerate(zip(*sums, strict=True)):
                rows = order[: held[column], column]
                halves = np.clip(values[rows, column], -LARGEST, LARGEST) / 2
                if len(rows):
                    first, second = _middles(block, rows, int(low[column]), total, base)
                    found[column].append((halves[first] + halves[second])[total > 0])
        return [np.concatenate([np.empty(0), *parts]) for parts in found]

    def shares(self, flags: Tensor) -> Array:
        """Means of flags over the samples that have one, by resample: (S, L) → (R, L).

        Flags are true or false, or numbers such as the difference of two flags; NaN is none. A
        resample in which nobody has one is NaN.
        """
        values = _as_array(flags, self.samples)
        known = ~np.isnan(values)
        content = np.where(known, values, 0.0)
        parts = []
        with np.errstate(invalid="ignore"):
            for block in self.counts():
                wide = block.T.astype(np.float64)
                parts.append((wide @ content) / (wide @ known.astype(np.float64)))
        return np.concatenate(parts)

    def share(self, flags: Tensor, *, least: float = 0.0) -> Share:
        """The mean of (S,) flags, at least ``least``; see :meth:`shares` for what a flag may be."""
        return self.share_columns(flags[:, None], least=least)[0]

    def share_columns(self, flags: Tensor, *, least: float = 0.0) -> tuple[Share, ...]:
        """:meth:`share` of each column of (S, L) flags."""
        values = _as_array(flags, self.samples)
        if not self.samples:
            return tuple(Share(None, None, 0) for _ in values.T)
        ends = quantiles(self.shares(flags), ENDS).T
        return tuple(
            _share(column, (float(low), float(high)), least)
            for column, (low, high) in zip(values.T, ends, strict=True)
        )


class Bootstraps:
    """One :class:`Bootstrap` for each number of samples, with one seed.

    >>> from worldline.statistics import Bootstraps
    >>> bootstraps = Bootstraps(resamples=100, seed=3)
    >>> bootstraps.of(5) is bootstraps.of(5), bootstraps.of(5) is bootstraps.of(6)
    (True, False)
    """

    def __init__(self, resamples: int, seed: int) -> None:
        self.resamples, self.seed = resamples, seed
        self.made: dict[int, Bootstrap] = {}

    def of(self, samples: int) -> Bootstrap:
        """The resamples for this many samples."""
        if samples not in self.made:
            self.made[samples] = Bootstrap(samples, resamples=self.resamples, seed=self.seed)
        return self.made[samples]


def _as_array(table: Tensor, samples: int) -> Array:
    array: Array = table.detach().cpu().double().numpy()
    if len(array) != samples:
        raise UsageError(f"The bootstrap is of {samples} samples; got {len(array)} values.")
    return array


def _middles(
    block: Counts, order: Positions, low: int, total: Sums, base: Sums
) -> tuple[Positions, Positions]:
    """Where, in the sorted known values, each resample's two middle values stand.

    ``base`` counts what is sorted below place ``low``; where the middle lies outside the band about
    it, the cumulative counts of all values are taken.
    """
    total, base = total.astype(np.int32), base.astype(np.int32)
    first, second = (total - 1) // 2 + 1, total // 2 + 1  # ranks of the middle values, from 1
    high = len(order) - low + 1
    upto = np.cumsum(block[order[low:high]], axis=0, dtype=np.int32) + base
    place = low + (upto < first).sum(0), low + (upto < second).sum(0)
    out = (base >= first) | ((upto[-1] if len(upto) else base) < second)
    if out.any():
        everything = np.cumsum(block[:, out][order], axis=0, dtype=np.int32)
        for found, rank in zip(place, (first, second), strict=True):
            found[out] = (everything < rank[out]).sum(0)
    last = len(order) - 1  # of a resample without any known value, which is left out later
    return np.minimum(place[0], last), np.minimum(place[1], last)


def _summaries(known: Array, medians: list[Array], samples: int) -> tuple[Summary, ...]:
    """Of (s, Q) values without NaN, and the medians of each column's resamples."""
    count, undefined = len(known), samples - len(known)
    if not known.size:  # no columns either
        none = Summary(None, None, None, None, 0, undefined, "no samples")
        return tuple(none for _ in known.T)
    several = count > 1
    ends = _unclipped(np.quantile(medians, ENDS, axis=1)).T.tolist() if several else None
    found = []
    for place, (q10, median, q90) in enumerate(quantiles(known, (0.1, 0.5, 0.9)).T.tolist()):
        interval = None if ends is None else (ends[place][0], ends[place][1])
        infinite = np.isinf([q10, median, q90, *(interval or ())]).any()
        status: Status = "infinite" if infinite else "ok"
        found.append(Summary(median, q10, q90, interval, count, undefined, status))
    return tuple(found)


def _share(flags: Array, drawn: tuple[float, float], least: float) -> Share:
    """Where all samples agree, so do all resamples; then Wilson's interval stands for theirs."""
    known = flags[~np.isnan(flags)]
    count, undefined = len(known), len(flags) - len(known)
    if not count:
        return Share(None, None, 0, undefined)
    value = float(known.mean())
    if (known == known[0]).all():
        reach = 1 - wilson(count, count)[0]
        drawn = max(value - reach, least), min(value + reach, 1.0)
    return Share(value, drawn, count, undefined)


def _unclipped(values: Array) -> Array:
    return np.where(np.abs(values) >= LARGEST * FAINT, np.copysign(np.inf, values), values)
