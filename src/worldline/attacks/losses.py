"""The losses that attacks climb: cross-entropy and the difference of logits ratio."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from worldline.errors import ModelError, UsageError

__all__ = ["LossName", "check_loss", "cross_entropy", "dlr", "targeted_dlr"]

LossName = Literal["ce", "dlr"]
FAINT = 1e-12
"""Added to the denominators, as in the authors' code."""


def check_loss(name: str) -> None:
    """Refuse an unknown loss."""
    if name not in get_args(LossName):
        raise UsageError(f"Unknown loss {name!r}; choose one of {', '.join(get_args(LossName))}.")


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """−ln softmax(z)_y of each sample, (N,), in nats."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio −(z_y − max_{i≠y} z_i) / (z_π1 − z_π3) of each sample, (N,).

    Unchanged by adding to or scaling the logits, so saturation cannot hide it; positive where the
    sample is misclassified, from −1 up to 1 there (Croce and Hein 2020, eq. 6).
    """
    _need(logits, 3)
    top, order = logits.topk(3, dim=1)
    rival = torch.where(order[:, 0] == y, top[:, 1], top[:, 0])
    return -(_at(logits, y) - rival) / (top[:, 0] - top[:, 2] + FAINT)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """−(z_y − z_t) / (z_π1 − (z_π3 + z_π4)/2), (N,), positive where t beats y (eq. 7 there)."""
    _need(logits, 4)
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return -(_at(logits, y) - _at(logits, target)) / (spread + FAINT)


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _need(logits: Tensor, classes: int) -> None:
    if logits.shape[1] < classes:
        kind = "The DLR loss" if classes == 3 else "The targeted DLR loss"
        raise ModelError(
            f"{kind} needs at least {classes} classes; the model has {logits.shape[1]}. "
            "Use loss='ce'."
        )
