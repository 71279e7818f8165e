"""Twins that another program made, in the place of an attack."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from worldline.errors import ModelError
from worldline.trace import Model

__all__ = ["MadeTwins"]


class MadeTwins:
    """An attack that was made already, as ``attack(model, x, y)``: each input gets its own twin.

    Inputs are found again by their content, in whichever type and order they come; equal ones get
    their twins in turn.

    Args:
        x: (N, …) the inputs.
        adversarial: (N, …) their twins.

    Errors: ModelError where it is asked for the twin of an input that is none of x.

    >>> import torch
    >>> from worldline.attacks.made import MadeTwins
    >>> x = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    >>> MadeTwins(x, x + 1)(torch.nn.Identity(), x[1:], torch.tensor([0]))
    tensor([[1.3000, 1.4000]])
    """

    def __init__(self, x: Tensor, adversarial: Tensor) -> None:
        self.x, self.adversarial = x, adversarial
        self.places: dict[torch.dtype, dict[bytes, list[int]]] = {}

    def __call__(self, _model: Model, x: Tensor, _y: Tensor) -> Tensor:
        """The twins of these inputs, in their type and on their device."""
        if x.ndim == self.x.ndim and x.shape[1:] != self.x.shape[1:]:  # channels were turned first
            return self(_model, x.movedim(1, -1), _y).movedim(-1, 1)
        if x.dtype not in self.places:
            known = self.places[x.dtype] = {}
            for place, row in enumerate(self.x.to(x.dtype)):
                known.setdefault(_key(row), []).append(place)
        found = []
        for row in x:
            places = self.places[x.dtype].get(_key(row))
            if not places:
                raise ModelError(
                    "The adversarial twins were made already, and none of them is of this input: "
                    "what attacks other inputs or models (a self-test) needs an attack."
                )
            places.append(places.pop(0))
            found.append(places[-1])
        return self.adversarial[found].to(x).reshape(x.shape)


def _key(row: Tensor) -> bytes:
    plain = row.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(plain.numpy().tobytes(), digest_size=16).digest()
