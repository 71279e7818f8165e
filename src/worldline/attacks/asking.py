"""What a model says, in batches and without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.inputs import logits_of
from worldline.trace import Model, choices, untouched

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
