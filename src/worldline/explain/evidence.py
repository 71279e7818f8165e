"""What stands for and against found pairs: random pairs, untrained networks, classes by layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldline.errors import ModelError
from worldline.explain.network import Network, Reader
from worldline.explain.pool import Pool
from worldline.explain.sampling import class_pairs
from worldline.explain.search import TopPairs
from worldline.explain.sides import first_for_good
from worldline.explain.sieve import Pairs
from worldline.explain.strangers import ClassMap, DistantPair, Numbers, UntrainedNull
from worldline.explain.untrained_network import untrained
from worldline.statistics import quantiles

__all__ = [
    "MOST_CLASSES",
    "Evidence",
    "Nulls",
    "class_map",
    "far_quantiles",
    "numbers",
    "search_untrained",
]

MOST_CLASSES = 100
FAR = 1000
"""Random far pairs that are followed through the layers."""
Search = Callable[[Network], TopPairs]


@dataclass(frozen=True)
class Nulls:
    """Untrained networks that were searched.

    Attributes:
        summary: what was found in them; None without any.
        lines: by sign, the found pairs' (P, L) rapidities in the first of them.
        pool: (P,) the random pairs' rapidities in the first of them.
        why: a note where there are fewer than were asked for.
    """

    summary: UntrainedNull | None
    lines: dict[int, Tensor]
    pool: Tensor | None
    why: str


def search_untrained(
    model: nn.Module,
    found: dict[int, Pairs],
    random: Pool,
    reader: Reader,
    search: Search,
    nulls: int,
) -> Nulls:
    """The same search in untrained networks, whose features take the store."""
    best: list[list[float]] = []
    lines: dict[int, Tensor] = {}
    pool: Tensor | None = None
    kept: tuple[str, ...] = ()
    why = ""
    for number in range(nulls):
        try:
            fresh, kept = untrained(model, seed=reader.settings.seed + number)
            network = reader.read(fresh, f"Untrained {number + 1}")
        except ModelError as error:
            why = f"There are {number or 'no'} untrained networks. {error}"
            break
        sides = search(network)
        ends = [(part, place) for place in (0, -1) for part in (sides.merged, sides.opposed)]
        best.append([_at(part, place) for part, place in ends])
        if number == 0:
            pool = random.rapidity(network.features, network.frame)
            lines = {
                sign: reader.lines(network, it.first, it.second, "Null worldlines")
                for sign, it in found.items()
            }
    if not best:
        return Nulls(None, lines, pool, why)
    merged, opposed, merged_kth, opposed_kth = zip(*best, strict=True)
    null = UntrainedNull(len(best), merged, opposed, merged_kth, opposed_kth, kept)
    return Nulls(null, lines, pool, why)


@dataclass(frozen=True)
class Evidence:
    """All that is known of found pairs.

    Attributes:
        reader, own, labels: the model that was searched.
        random, pool: random pairs, and their (P,) rapidities at the searched layer.
        far: (3, L) 1 %, 50 % and 99 % quantiles of far random pairs by layer.
        nulls: untrained networks.
    """

    reader: Reader
    own: Network
    labels: Tensor
    random: Pool
    pool: Tensor
    far: Tensor
    nulls: Nulls

    def pairs(self, found: Pairs, line: Tensor, sign: int) -> tuple[DistantPair, ...]:
        """Pairs of one sign, with their (P, L) rapidities by layer."""
        assert found.distance is not None
        line, index = line.clone(), self.reader.index
        line[:, index] = found.rapidity  # the search's own number: other batches round differently
        as_far = sign * line >= (self.far[2] if sign > 0 else -self.far[0])  # (P, L)
        meets = first_for_good(as_far[:, : index + 1])
        matched = self.random.matched_p(found.rapidity, found.distance, self.pool, sign)
        nearer = self.random.quantile(found.distance)
        fresh, null = self.nulls.lines.get(sign), self.nulls.summary
        rank = None
        if fresh is not None and self.nulls.pool is not None:
            rank = numbers(self.random.rank(fresh[:, index], self.nulls.pool, sign))
        best = None if null is None else (null.merged if sign > 0 else null.opposed)
        return tuple(
            DistantPair(
                samples=_both(self.reader.rows, i, j),
                labels=_both(self.labels, i, j),
                predictions=(self._prediction(i), self._prediction(j)),
                rapidity=value,
                worldline=numbers(line[row]),
                untrained_worldline=None if fresh is None else numbers(fresh[row]),
                meets=int(meets[row]) if meets[row] >= 0 else None,
                input_distance=float(found.distance[row]),
                input_quantile=float(nearer[row]),
                matched_p=float(matched[row]),
                family_p=None if best is None else _family_p(sign, value, best),
                untrained_rank=None if rank is None else rank[row],
            )
            for row, (i, j, value) in enumerate(
                zip(
                    found.first.tolist(),
                    found.second.tolist(),
                    found.rapidity.tolist(),
                    strict=True,
                )
            )
        )

    def beyond(self, found: Pairs, sign: int) -> int | None:
        """How many are more entangled than the best pair of every untrained network."""
        null = self.nulls.summary
        if null is None:
            return None
        best = max(sign * value for value in (null.merged if sign > 0 else null.opposed))
        return int((sign * found.rapidity > best).sum())

    def _prediction(self, place: int) -> int | None:
        value = int(self.own.predictions[place])
        return value if value >= 0 else None


def far_quantiles(reader: Reader, own: Network, random: Pool) -> Tensor:
    """(3, L) 1 %, 50 % and 99 % of φ of random far pairs."""
    far = random.far().nonzero().flatten()
    some = far[torch.linspace(0, len(far) - 1, min(FAR, len(far))).long()] if len(far) else far
    through = reader.lines(own, random.first[some], random.second[some], "Random pairs")
    return _levels(through, 0.01, 0.5, 0.99)


def _levels(values: Tensor, *parts: float) -> Tensor:
    """(P, L) quantiles over the rows of (S, L)."""
    return torch.from_numpy(quantiles(values.numpy(), parts))


def numbers(values: Tensor) -> Numbers:
    """Numbers with None for NaN."""
    return tuple(None if math.isnan(value) else value for value in values.tolist())


def _family_p(sign: int, value: float, best: tuple[float, ...]) -> float:
    return (1 + sum(sign * it >= sign * value for it in best)) / (1 + len(best))


def _both(values: Tensor, i: int, j: int) -> tuple[int, int]:
    return int(values[i]), int(values[j])


def _at(pairs: Pairs, place: int) -> float:
    return float(pairs.rapidity[place]) if len(pairs) else 0.0


def class_map(
    reader: Reader, own: Network, y: Tensor, count: int, generator: torch.Generator
) -> tuple[ClassMap | None, Numbers]:
    """Rapidities by class pair and layer, and the median of same-class pairs by layer."""
    classes = y.unique()
    K, L = len(classes), len(reader.layers)
    if K > MOST_CLASSES:
        return None, (None,) * L
    first, second, cell = class_pairs(y, count, generator)
    value = reader.lines(own, first, second, "Classes")
    table = torch.full((4, K, K, L), torch.nan, dtype=torch.float64)
    counts = torch.zeros(K, K, dtype=torch.long)
    for a in range(K):
        for b in range(a, K):
            mine = value[cell == a * K + b]
            counts[a, b] = counts[b, a] = len(mine)
            if len(mine):
                row = torch.cat((mine.nanmean(0, keepdim=True), _levels(mine, 0.5, 0.1, 0.9)))
                table[:, a, b] = table[:, b, a] = row
    own_class = torch.div(cell, K, rounding_mode="floor") == cell % K
    same = numbers(_levels(value[own_class], 0.5)[0]) if bool(own_class.any()) else (None,) * L
    parts = (tuple(tuple(numbers(it) for it in row) for row in part) for part in table)
    counted = tuple(tuple(row) for row in counts.tolist())
    return ClassMap(tuple(classes.tolist()), counted, *parts), same
