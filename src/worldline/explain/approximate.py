"""Approximate search by FAISS: nearest neighbours of every sample and of its mirror image."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import UsageError
from worldline.explain.search import TopPairs, check_search, count_pairs
from worldline.explain.sieve import Conditions, Judge, Pairs, best_of
from worldline.explain.view import View, centered
from worldline.geometry import Frame, rapidity

__all__ = ["approximate_pairs", "load_faiss"]

RECALL_ROWS = 512
Index = Literal["flat", "ivf", "hnsw"]


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
    index: Index = "hnsw",
    seed: int = 0,
) -> TopPairs:
    """The most merged and the most opposed pairs among each sample's nearest neighbours, by FAISS.

    Every sample asks for ``neighbours`` of its unit vector and of its negative; pairs that fail a
    condition are dropped, and φ of the rest is computed again exactly. A pair is missed where the
    index misses it, or where more than ``neighbours`` pairs that fail the conditions stand before
    it: with conditions even ``flat`` is approximate.

    Args:
        features, k, frame, labels, inputs, least_distance, groups: as of
            :func:`worldline.explain.top_pairs`.
        neighbours: of each sample and sign.
        index: ``flat`` (exact neighbours), ``ivf`` (√N cells, an eighth of them looked at) or
            ``hnsw`` (a graph).
        seed: of the samples behind the recall.

    Returns:
        :class:`worldline.explain.TopPairs`, with the recall of the neighbours. How many of the
        exact top k were found is known only by the exact search.

    Raises:
        UsageError: FAISS is not installed. The errors of the exact search.

    Cost: N·log N for ``hnsw``; the unit vectors are copied into the index.

    >>> import torch, worldline as wl
    >>> features = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> wl.explain.approximate_pairs(features, 10).recall > 0.5
    True
    """
    faiss = load_faiss()
    check_search(features, k, labels, inputs, groups, 1)
    view = View(features, frame or centered(features))
    size = len(features)
    starts = range(0, size, 8192)
    units = torch.cat([view.units(start, min(start + 8192, size)) for start in starts])
    built = _build(faiss, index, units)
    width = min(neighbours + 1, size)
    nearest = {
        sign: torch.from_numpy(built.search((sign * units).numpy(), width)[1]) for sign in (1, -1)
    }
    judge = Judge(view, Conditions(labels, inputs, groups, least_distance), 1)
    merged, opposed = (_best(judge, table, sign, k) for sign, table in nearest.items())
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(size, generator=generator)[:RECALL_ROWS]
    recall = _recall(units, nearest, rows)
    return TopPairs(merged, opposed, count_pairs(size, labels), view.undirected(), recall)


def load_faiss() -> Any:
    """FAISS, an extra; UsageError where it is not installed.

    >>> from worldline.explain import load_faiss
    >>> load_faiss().__name__
    'faiss'
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise UsageError(
            "Approximate search needs FAISS, which is not installed: pip install "
            "'worldline[faiss]'. The exact search, wl.explain.top_pairs, needs nothing more."
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


def _best(judge: Judge, nearest: Tensor, sign: int, k: int) -> Pairs:
    """The k best of one sign among the neighbours (N, neighbours) that meet the conditions."""
    size, other = len(nearest), nearest.flatten()
    own = torch.arange(size).repeat_interleave(nearest.shape[1])
    keep = (other >= 0) & (other != own)
    codes = (torch.minimum(own, other) * size + torch.maximum(own, other))[keep].unique()
    first, second = torch.div(codes, size, rounding_mode="floor"), codes % size
    keep = judge.allows(first, second)
    first, second = first[keep], second[keep]
    keep, apart = judge.far(first, second)
    first, second, apart = first[keep], second[keep], None if apart is None else apart[keep]
    parts = [
        rapidity(judge.view.exact(a), judge.view.exact(b))
        for a, b in zip(first.split(65536), second.split(65536), strict=True)
    ]
    value = torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)
    return best_of((Pairs(first, second, value, apart),), k, sign)


def _recall(units: Tensor, nearest: dict[int, Tensor], rows: Tensor) -> float:
    """Share of the exact neighbours of these rows that was returned; as near as the last counts."""
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
