"""What stands for and against found pairs: random pairs as far apart, untrained networks, and the
classes by layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldline.explain.network import Network, Reader
from worldline.explain.pool import Pool
from worldline.explain.sampling import class_pairs
from worldline.explain.search import TopPairs
from worldline.explain.sieve import Pairs
from worldline.explain.strangers import ClassMap, DistantPairs, UntrainedNull
from worldline.explain.untrained import untrained

__all__ = ["MOST_CLASSES", "Evidence", "class_map"]

MOST_CLASSES = 100
FAR = 1000
"""Random far pairs that are followed through the layers."""
Search = Callable[[Network], TopPairs]


@dataclass(frozen=True)
class Evidence:
    """What stands for and against each found pair."""

    top: TopPairs
    index: int
    random: Pool
    pool_value: Tensor
    lines: dict[int, Tensor]
    far: Tensor
    null: UntrainedNull | None
    null_lines: dict[int, Tensor]
    null_pool_value: Tensor | None
    why: str

    @classmethod
    def gather(
        cls,
        own: Network,
        top: TopPairs,
        random: Pool,
        reader: Reader,
        search: Search,
        nulls: int,
        seed: int,
    ) -> Evidence:
        """Follow the found pairs and random ones, then search the untrained networks, whose
        features take the store.
        """
        found = {1: top.merged, -1: top.opposed}
        value = random.rapidity(own.features, own.frame)
        lines = {
            sign: reader.lines(own, it.first, it.second, "Worldlines") for sign, it in found.items()
        }
        far = random.far().nonzero().flatten()
        some = far[torch.linspace(0, len(far) - 1, min(FAR, len(far))).long()] if len(far) else far
        through = reader.lines(own, random.first[some], random.second[some], "Random pairs")
        quantiles = torch.nanquantile(
            through.clamp(-1e300, 1e300), torch.tensor([0.01, 0.5, 0.99]).double(), dim=0
        )
        plain = not isinstance(own.model, nn.Module)
        why = (
            "There is no untrained null: the model is a plain callable, not an nn.Module."
            if nulls and plain
            else ""
        )
        best: list[list[float]] = []
        null_lines: dict[int, Tensor] = {}
        null_value: Tensor | None = None
        kept: tuple[str, ...] = ()
        for number in range(0 if plain else nulls):
            fresh, kept = untrained(own.model, seed=seed + number)  # type: ignore[arg-type]
            network = reader.read(fresh, f"Untrained {number + 1}")
            sides = search(network)
            best.append(
                [_at(part, place) for place in (0, -1) for part in (sides.merged, sides.opposed)]
            )
            if number == 0:
                null_value = random.rapidity(network.features, network.frame)
                null_lines = {
                    s: reader.lines(network, it.first, it.second, "Null worldlines")
                    for s, it in found.items()
                }
        null = _null(best, kept) if best else None
        return cls(
            top, reader.index, random, value, lines, quantiles, null, null_lines, null_value, why
        )

    def pairs(self, sign: int) -> DistantPairs:
        """The pairs of one sign with all that is known of them."""
        found = self.top.merged if sign > 0 else self.top.opposed
        assert found.distance is not None
        line = self.lines[sign].clone()
        line[:, self.index] = (
            found.rapidity
        )  # the search's own number: other batches round differently
        outer = self.far[2] if sign > 0 else -self.far[0]
        family, beyond, rank = None, None, None
        if self.null is not None:
            best = sign * (self.null.merged if sign > 0 else self.null.opposed)
            family = (1 + (best >= sign * found.rapidity[:, None]).sum(1)).double() / (
                1 + len(best)
            )
            beyond = int((sign * found.rapidity > best.max()).sum())
        if self.null_pool_value is not None:
            rank = self.random.rank(
                self.null_lines[sign][:, self.index], self.null_pool_value, sign
            )
        return DistantPairs(
            sign=sign,
            first=found.first,
            second=found.second,
            rapidity=found.rapidity,
            worldline=line,
            untrained_worldline=self.null_lines.get(sign),
            meets=_for_good(sign * line >= outer, self.index),
            input_distance=found.distance,
            input_quantile=self.random.quantile(found.distance),
            matched_p=self.random.matched_p(found.rapidity, found.distance, self.pool_value, sign),
            family_p=family,
            untrained_rank=rank,
            beyond=beyond,
        )


def _null(best: list[list[float]], kept: tuple[str, ...]) -> UntrainedNull:
    merged, opposed, merged_kth, opposed_kth = torch.tensor(best, dtype=torch.float64).unbind(1)
    return UntrainedNull(merged, opposed, merged_kth, opposed_kth, kept)


def _for_good(flags: Tensor, index: int) -> Tensor:
    """(P, L) → (P,) first layer from which all flags up to the index are true; −1 where that of the
    index is not.
    """
    run = flags[:, : index + 1].flip(1).long().cumprod(1).sum(1)
    return torch.where(run > 0, index + 1 - run, -1)


def _at(pairs: Pairs, place: int) -> float:
    return float(pairs.rapidity[place]) if len(pairs) else 0.0


def class_map(
    reader: Reader, own: Network, y: Tensor, count: int, generator: torch.Generator
) -> tuple[ClassMap | None, Tensor]:
    """Rapidities by class pair and layer, and the median of same-class pairs by layer."""
    classes = y.unique()
    K, L = len(classes), len(reader.layers)
    if K > MOST_CLASSES:
        return None, torch.full((L,), torch.nan, dtype=torch.float64)
    first, second, cell = class_pairs(y, count, generator)
    value = reader.lines(own, first, second, "Classes").clamp(
        -1e300, 1e300
    )  # quantiles of ±∞ by interpolation
    table = torch.full((4, K, K, L), torch.nan, dtype=torch.float64)
    counts = torch.zeros(K, K, dtype=torch.long)
    levels = torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64)
    for a in range(K):
        for b in range(a, K):
            mine = value[cell == a * K + b]
            counts[a, b] = counts[b, a] = len(mine)
            if len(mine):
                row = torch.cat((mine.nanmean(0, keepdim=True), mine.nanquantile(levels, dim=0)))
                table[:, a, b] = table[:, b, a] = row
    table = torch.where(
        table.abs() > 1e297, torch.copysign(torch.tensor(torch.inf).double(), table), table
    )
    own_class = torch.div(cell, K, rounding_mode="floor") == cell % K
    same = (
        value[own_class].nanmedian(0).values
        if bool(own_class.any())
        else torch.full((L,), torch.nan).double()
    )
    return ClassMap(classes, counts, *table), same
