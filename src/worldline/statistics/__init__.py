"""Intervals and tests: shares, bootstrapped medians, and tables whose rows depend on each other."""

from worldline.statistics.bootstrap import Bootstrap, Bootstraps, Summary, quantiles
from worldline.statistics.proportions import Share, apart, proportion, wilson

__all__ = [
    "Bootstrap",
    "Bootstraps",
    "Share",
    "Summary",
    "apart",
    "proportion",
    "quantiles",
    "wilson",
]
