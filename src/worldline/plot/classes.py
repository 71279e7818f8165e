"""Class by class: how often the model is right, and from which class to which the fooled samples
go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ClassRow", "Flow", "Proportion", "class_flows", "class_rows"]

Z = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Proportion:
    """A share of ``count`` samples with its 95 % Wilson interval; all None where there is no
    sample.
    """

    hits: int
    count: int

    @property
    def value(self) -> float | None:
        """Hits over count."""
        return self.hits / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's score interval (Wilson 1927): never empty and never outside [0, 1], also at 0
        and 1.
        """
        if not self.count:
            return None
        share, n = self.hits / self.count, self.count
        middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def apart(self, other: Proportion) -> int:
        """+1 or −1 where the intervals do not overlap and this one is above or below, else 0."""
        if self.interval is None or other.interval is None:
            return 0
        return int(self.interval[0] > other.interval[1]) - int(self.interval[1] < other.interval[0])


@dataclass(frozen=True)
class ClassRow:
    """Accuracy of one class and of all others: clean, under noise, under attack."""

    label: int
    name: str
    right: dict[str, Proportion]
    rest: dict[str, Proportion]

    def apart(self, twin: str) -> int:
        """−1: worse than the other classes, +1: better, 0: the intervals overlap."""
        return self.right[twin].apart(self.rest[twin])


@dataclass(frozen=True)
class Flow:
    """Fooled samples of one class that became another; ``by_layer``: how many of them had changed
    sides for good there.
    """

    source: str
    target: str
    count: int
    by_layer: tuple[int, ...]
    samples: tuple[int, ...]


def class_rows(
    labels: npt.NDArray[np.int64], said: dict[str, npt.NDArray[np.int64]], names: dict[int, str]
) -> tuple[ClassRow, ...]:
    """One row for each class that occurs among the labels, in their order."""
    rows = []
    for label in np.unique(labels).tolist():
        own = labels == label
        right = {
            twin: Proportion(int((it == labels)[own].sum()), int(own.sum()))
            for twin, it in said.items()
        }
        rest = {
            twin: Proportion(int((it == labels)[~own].sum()), int((~own).sum()))
            for twin, it in said.items()
        }
        rows.append(ClassRow(label=label, name=names[label], right=right, rest=rest))
    return tuple(rows)


def class_flows(
    source: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    swap: npt.NDArray[np.int64],
    fooled: npt.NDArray[np.bool_],
    layers: int,
    names: dict[int, str],
) -> tuple[Flow, ...]:
    """Flows of the fooled samples, the largest first; ``swap``: the layer from which a sample is
    lost for good, −1: never.
    """
    found = []
    for first, second in sorted(
        set(zip(source[fooled].tolist(), target[fooled].tolist(), strict=True))
    ):
        own = fooled & (source == first) & (target == second)
        turned = swap[own]
        by_layer = tuple(int(((turned >= 0) & (turned <= layer)).sum()) for layer in range(layers))
        samples = tuple(np.flatnonzero(own).tolist())
        found.append(Flow(names[first], names[second], len(samples), by_layer, samples))
    return tuple(sorted(found, key=lambda flow: -flow.count))
