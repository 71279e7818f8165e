"""Leave the user's model as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Model", "untouched"]

Model = Callable[[Tensor], Tensor]
"""Anything that maps inputs (N, …) to outputs; usually an ``nn.Module``."""


@contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Run the body with the model in eval mode, then put everything back.

    Restored, also after an exception: the mode of every module, the content and identity of every buffer, the
    ``.grad`` and ``requires_grad`` of every parameter (``.grad`` is out of the way during the body), and the global
    random state of Python, NumPy and torch. Cost: one copy of the buffers.

    >>> from torch import nn
    >>> from worldline.trace import untouched
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    >>> with untouched(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    module = model if isinstance(model, nn.Module) else nn.Identity()
    modes = [(m, m.training) for m in module.modules()]
    buffers = [
        (m, name, buffer, buffer.detach().clone())
        for m in module.modules()
        for name, buffer in m._buffers.items()
        if buffer is not None
    ]
    parameters = [(p, p.grad, p.requires_grad) for p in module.parameters()]
    devices = sorted({p.device.index or 0 for p, _, _ in parameters if p.device.type == "cuda"})
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
            module.eval()
            yield
        finally:
            for owner, training in modes:
                owner.training = training
            for owner, name, buffer, content in buffers:
                owner._buffers[name] = buffer
                if not torch.equal(buffer, content):
                    with torch.no_grad():
                        buffer.copy_(content)
            for parameter, grad, requires_grad in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = grad
            random.setstate(python_state)
            np.random.set_state(numpy_state)
