"""Refusals that several of the encoder's functions share: counts, NaN, and what came instead."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.errors import BoundsError, UsageError

__all__ = ["came", "check_count", "check_directions", "check_finite"]


def check_count(name: str, value: object) -> None:
    """Refuse anything but an integer of at least one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{name} must be an integer, such as 10**12; got {value!r}.")
    if value < 1:
        raise UsageError(f"{name} must be at least 1; got {value}.")


def check_finite(name: str, value: Tensor) -> None:
    """Refuse NaN and infinities, and count them."""
    # the largest of numbers with a NaN is NaN
    if value.numel() == 0 or bool(value.abs().amax().isfinite()):
        return
    bad = int((~torch.isfinite(value)).sum())
    raise BoundsError(
        f"{bad} of {value.numel()} values of {name} are NaN or infinite; all must be finite."
    )


def check_directions(rows: Tensor, said: str) -> None:
    """Refuse rows (N, D) or (N, M, D) with a zero vector, and say which is the first."""
    zero = (rows == 0).all(-1).view(len(rows), -1).any(-1)
    if bool(zero.any()):
        raise BoundsError(f"Row {int(zero.nonzero()[0])} {said}. Leave it out.")


def came(value: object) -> str:
    """Shape, dtype and device, for a message."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype} on {value.device}"
    return type(value).__name__
