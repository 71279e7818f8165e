"""What a model says, in batches and without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.inputs import logits_of
from worldline.trace import Model, untouched

__all__ = ["choices", "predict"]


def predict(model: Model, x: Tensor, *, batch_size: int = 256) -> Tensor:
    """Logits (N, K) in batches, in eval mode and without gradients, on the CPU.

    The model is left as it was.

    >>> import torch, worldline as wl
    >>> wl.attacks.predict(torch.nn.Linear(3, 2), torch.rand(5, 3), batch_size=2).shape
    torch.Size([5, 2])
    """
    with untouched(model), torch.no_grad():
        return torch.cat([logits_of(model, batch).cpu() for batch in x.split(batch_size)])


def choices(logits: Tensor) -> Tensor:
    """(N,) the class of each output; −1 where it holds NaN, which names none.

    >>> import torch
    >>> from worldline.attacks.asking import choices
    >>> choices(torch.tensor([[0.0, 1.0], [2.0, torch.nan]]))
    tensor([ 1, -1])
    """
    return torch.where(logits.isnan().any(1), -1, logits.argmax(1))
