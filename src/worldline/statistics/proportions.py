"""Shares of samples: their value, their interval, and how many had no answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Share", "apart", "proportion", "wilson"]

Interval = tuple[float, float]
NORMAL = 1.959963984540054  # 97.5 % of a normal distribution lie below


@dataclass(frozen=True)
class Share:
    """A share of samples in [0, 1] with its 95 % interval.

    Attributes:
        value, interval: None where there is no sample.
        count: samples with an answer.
        undefined: samples without one, which are left out.
    """

    value: float | None
    interval: Interval | None
    count: int
    undefined: int = 0


def wilson(hits: int, trials: int) -> Interval:
    """Wilson's score interval of a share at 95 % (Wilson 1927): never empty, never outside [0, 1].

    >>> from worldline.statistics import wilson
    >>> [round(end, 3) for end in wilson(0, 100)]
    [0.0, 0.037]
    """
    centre, share = hits + NORMAL**2 / 2, hits * (trials - hits) / trials
    reach, scale = NORMAL * math.sqrt(share + NORMAL**2 / 4), trials + NORMAL**2
    low = 0.0 if hits == 0 else (centre - reach) / scale
    return low, 1.0 if hits == trials else (centre + reach) / scale


def proportion(hits: int, count: int) -> Share:
    """Hits over count with Wilson's interval; no value where nothing was counted.

    >>> from worldline.statistics import proportion
    >>> proportion(1, 4).value, proportion(0, 0).value
    (0.25, None)
    """
    if not count:
        return Share(None, None, 0)
    return Share(hits / count, wilson(hits, count), count)


def apart(one: Interval | None, other: Interval | None) -> int:
    """+1 or −1 where the first interval lies wholly above or below the second, else 0.

    0 as well where one is missing.

    >>> from worldline.statistics import apart
    >>> apart((0.6, 0.9), (0.1, 0.5)), apart((0.4, 0.9), (0.1, 0.5)), apart(None, (0.1, 0.5))
    (1, 0, 0)
    """
    if one is None or other is None:
        return 0
    return int(one[0] > other[1]) - int(one[1] < other[0])
