"""Two embedding sets from an ``.npz``, matched row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from worldline.errors import DataError, ShapeError
from worldline.loading.archive import read_arrays
from worldline.zoo import PartnerEmbeddings

__all__ = ["load_embeddings", "match_embeddings"]


def load_embeddings(path: Path, *, seed: int = 0) -> PartnerEmbeddings:
    """Embeddings ``a`` and their matched partners ``b``, (N, D) each.

    Unmatched partners are rows of b that belong to others.

    Args:
        path: an ``.npz`` with ``a`` and ``b``.
        seed: of the unmatched partners: a random cycle through all rows, so that no row keeps its
            own.

    Raises:
        DataError: no such file, or arrays missing. ShapeError: embeddings of different width or
            count.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "pairs.npz", a=np.eye(40), b=np.eye(40))
    ...     both = load_embeddings(Path(folder) / "pairs.npz")
    >>> int((both.matched * both.unmatched).sum())
    0
    """
    arrays = read_arrays(path, required=("a", "b"))
    return match_embeddings(arrays["a"], arrays["b"], path.name, seed=seed)


def match_embeddings(
    a: npt.NDArray[Any], b: npt.NDArray[Any], where: str, *, seed: int = 0
) -> PartnerEmbeddings:
    """As :func:`load_embeddings`, of arrays that are called ``where``.

    >>> from worldline.loading.embeddings import match_embeddings
    >>> match_embeddings(np.eye(3), np.eye(3), "mine").origin
    '3 pairs of mine'
    """
    for name, array in (("a", a), ("b", b)):
        if array.dtype.kind not in "fiu":
            raise DataError(f"{name} in {where} must hold numbers; its dtype is {array.dtype}.")
    if a.ndim != 2 or a.shape != b.shape:
        raise ShapeError(
            f"a and b in {where} must be (N, D) of one shape, row i of b matching row i of a; "
            f"got {a.shape} and {b.shape}."
        )
    embeddings, matched = (
        torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)) for array in (a, b)
    )
    cycle = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
    unmatched = torch.empty_like(matched)
    unmatched[cycle] = matched[cycle.roll(1)]
    return PartnerEmbeddings(embeddings, matched, unmatched, f"{len(a)} pairs of {where}")
