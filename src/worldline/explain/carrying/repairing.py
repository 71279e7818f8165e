"""Repair curves: put back the first units of an order, and see who is right again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldline.errors import UsageError
from worldline.explain.carrying.places import Place
from worldline.explain.carrying.result import Concentration
from worldline.statistics import Bootstrap
from worldline.trace.resuming import Resumer

__all__ = ["SHARES", "concentration_of", "counts_of", "first_units", "put_back"]

SHARES = 1 / 64, 1 / 32, 1 / 16, 3 / 32, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 1.0
"""Of the units, that are put back for a curve."""
HALF = 0.5


def counts_of(shares: Sequence[float], units: int) -> tuple[int, ...]:
    """How many units each share is, each number once.

    Raises:
        UsageError: a share outside of (0, 1].

    >>> from worldline.explain.carrying.repairing import counts_of
    >>> counts_of((1 / 64, 1 / 16, 1.0), 16)
    (1, 16)
    """
    for share in shares:
        if not 0 < share <= 1:
            raise UsageError(f"Shares of the units must lie in (0, 1]; got {share}.")
    return tuple(sorted({max(1, round(share * units)) for share in shares}))


def first_units(order: Tensor, count: int) -> Tensor:
    """(N, U) which units are among the first of each sample's order."""
    mask = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
    return mask.scatter_(1, order[:, :count], True)


def put_back(resumer: Resumer, place: Place, base: Tensor, donor: Tensor, mask: Tensor) -> Tensor:
    """(N, K) logits of the remembered run with the marked units (N, U) taken from the donor."""
    value = place.units.put(base, donor, mask.to(base.device))
    return resumer.resume(place.layer, value, torch.arange(len(base), device=base.device))


def concentration_of(
    flags: Tensor, counts: Sequence[int], units: int, bootstrap: Bootstrap
) -> Concentration:
    """From who is repaired (N, Q) by how many units (Q) to the smallest share that repairs half."""
    if not counts:
        return Concentration(None, None, None)
    reached = _first(flags.double().mean(0, keepdim=True).numpy() >= HALF)[0]
    low, high = np.quantile(
        _first(bootstrap.shares(flags) >= HALF), (0.025, 0.975), method="inverted_cdf"
    )
    ends = [counts[int(at)] / units if at < len(counts) else None for at in (low, high)]
    found = counts[reached] if reached < len(counts) else None
    return Concentration(None if found is None else found / units, found, (ends[0], ends[1]))


def _first(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(R, Q) → (R,) the first that is true; Q where none is."""
    found: npt.NDArray[np.int64] = np.where(flags.any(1), flags.argmax(1), flags.shape[1])
    return found
