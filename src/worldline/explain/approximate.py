"""Approximate search by FAISS: nearest neighbours of every sample and of its mirror image, with the
recall it reached.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import UsageError
from worldline.explain.search import check_search
from worldline.explain.sieve import Pairs, best_of
from worldline.explain.view import View, centered, distances
from worldline.geometry import Frame, rapidity

__all__ = ["ApproximatePairs", "approximate_pairs"]

RECALL_ROWS = 512


@dataclass(frozen=True)
class ApproximatePairs:
    """What FAISS found.

    Attributes:
        merged, opposed: as of the exact search, with exact φ; a pair may be missing.
        recall: share of the exact nearest neighbours, of both signs, that FAISS returned for 512
            random samples.
        rows: samples behind the recall.
        index: which FAISS index.
    """

    merged: Pairs
    opposed: Pairs
    recall: float
    rows: int
    index: str


def approximate_pairs(
    features: Float[Tensor, "N D"],
    k: int,
    *,
    frame: Frame | None = None,
    labels: Int[Tensor, " N"] | None = None,
    inputs: Float[Tensor, "N E"] | None = None,
    least_distance: float = 0.0,
    groups: Int[Tensor, " N"] | None = None,
    neighbours: int = 64,
    index: Literal["flat", "ivf", "hnsw"] = "hnsw",
    seed: int = 0,
) -> ApproximatePairs:
    """The most merged and the most opposed pairs among each sample's nearest neighbours, by FAISS.

    Every sample asks for ``neighbours`` of its unit vector and of its negative; pairs that fail a
    condition are dropped, and φ of the rest is computed again exactly. A pair is missed where the
    index misses it, or where more than ``neighbours``
    pairs that fail the conditions stand before it: with conditions even ``flat`` is approximate.

    Args:
        features, k, frame, labels, inputs, least_distance, groups: as of
            :func:`worldline.explain.top_pairs`.
        neighbours: of each sample and sign.
        index: ``flat`` (exact neighbours), ``ivf`` (√N cells, an eighth of them looked at) or
            ``hnsw`` (a graph).
        seed: of the samples behind the recall.

    Returns:
        :class:`ApproximatePairs`, with the recall of the neighbours. How many of the exact top k
        were found is known only by the exact search.

    Raises:
        UsageError: FAISS is not installed. The errors of the exact search.

    Cost: N·log N for ``hnsw``; the unit vectors are copied into the index.

    >>> import torch, worldline as wl
    >>> features = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> wl.explain.approximate_pairs(features, 10).recall > 0.5
    True
    """
    faiss = _faiss()
    check_search(features, k, labels, inputs, groups, 1)
    view = View(features, frame or centered(features))
    units = torch.cat(
        [
            view.units(start, min(start + 8192, len(features)))
            for start in range(0, len(features), 8192)
        ]
    )
    built = _build(faiss, index, units)
    width = min(neighbours + 1, len(units))
    nearest = {
        sign: torch.from_numpy(built.search((sign * units).numpy(), width)[1]) for sign in (1, -1)
    }
    sides = [
        _best(view, nearest[sign], sign, k, labels, inputs, least_distance, groups)
        for sign in (1, -1)
    ]
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(units), generator=generator)[:RECALL_ROWS]
    return ApproximatePairs(sides[0], sides[1], _recall(units, nearest, rows), len(rows), index)


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise UsageError(
            "Approximate search needs FAISS, which is not installed: pip install "
            "'worldline[faiss]'. The exact search, "
            "wl.explain.top_pairs, needs nothing more."
        ) from error


def _build(faiss: Any, kind: str, units: Tensor) -> Any:
    size, width = units.shape
    if kind == "flat":
        built = faiss.IndexFlatIP(width)
    elif kind == "hnsw":
        built = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
        built.hnsw.efSearch = 128
    elif kind == "ivf":
        cells = max(1, round(size**0.5))
        built = faiss.index_factory(width, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        built.train(units.numpy())
        built.nprobe = max(1, cells // 8)
    else:
        raise UsageError(f"Unknown index {kind!r}; choose flat, ivf or hnsw.")
    built.add(units.numpy())
    return built


def _best(
    view: View,
    nearest: Tensor,
    sign: int,
    k: int,
    labels: Tensor | None,
    inputs: Tensor | None,
    least: float,
    groups: Tensor | None,
) -> Pairs:
    other = nearest.flatten()
    own = torch.arange(len(nearest)).repeat_interleave(nearest.shape[1])
    keep = (other >= 0) & (other != own)
    codes = (torch.minimum(own, other) * len(nearest) + torch.maximum(own, other))[keep].unique()
    first, second = torch.div(codes, len(nearest), rounding_mode="floor"), codes % len(nearest)
    lost = view.undirected()
    keep = ~(lost[first] | lost[second])
    for numbers in (labels, groups):
        if numbers is not None:
            keep &= numbers[first] != numbers[second]
    first, second = first[keep], second[keep]
    apart = None
    if inputs is not None:
        apart = distances(inputs, first, second)
        far = (apart >= least) & (apart > 0)
        first, second, apart = first[far], second[far], apart[far]
    parts = [
        rapidity(view.exact(a), view.exact(b))
        for a, b in zip(first.split(65536), second.split(65536), strict=True)
    ]
    value = torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)
    keep = sign * value > 0
    return best_of(
        (Pairs(first[keep], second[keep], value[keep], None if apart is None else apart[keep]),), k
    )


def _recall(units: Tensor, nearest: dict[int, Tensor], rows: Tensor) -> float:
    """Of the exact neighbours of these rows, the share that was returned; neighbours as near as the
    last one count.
    """
    scores = units[rows] @ units.T
    hits, wanted = 0, 0
    for sign, table in nearest.items():
        mine = (sign * scores).scatter_(1, rows[:, None], -torch.inf)  # itself is no neighbour
        width = table.shape[1] - 1
        edge = mine.topk(width, dim=1).values[:, -1:]
        got = table[rows]
        found = (mine.gather(1, got.clamp_min(0)) >= edge - 1e-6) & (got >= 0)
        hits += int(found.sum(1).clamp(max=width).sum())
        wanted += width * len(rows)
    return hits / max(wanted, 1)
