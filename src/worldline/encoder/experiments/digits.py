"""What the experiments on handwritten digits are given, and its checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.encoder.checking import came, check_directions, check_finite
from worldline.errors import ShapeError

__all__ = ["Digits", "check_digits"]


@dataclass(frozen=True)
class Digits:
    """Pictures as rows, with their labels.

    Attributes:
        x: (N, D) float64.
        y: (N,) whole numbers from 0.
    """

    x: Tensor
    y: Tensor

    @property
    def classes(self) -> int:
        """K."""
        return int(self.y.max()) + 1

    def of(self, label: int) -> Tensor:
        """(M, D) those with one label."""
        return self.x[self.y == label]


def check_digits(x: Tensor, y: Tensor) -> Digits:
    """Pictures (N, …) and labels (N,), flattened to rows in float64, or say what came.

    Raises:
        ShapeError: not one label a picture. BoundsError: NaN, or a blank picture.
    """
    whole = isinstance(y, Tensor) and not y.is_floating_point() and y.ndim == 1
    if not isinstance(x, Tensor) or not whole or x.ndim < 2 or len(x) != len(y) or len(x) == 0:
        raise ShapeError(
            "Pictures must be a tensor (N, …) with a whole label (N,) each; got "
            f"{came(x)} and {came(y)}."
        )
    rows = x.flatten(1).to(torch.float64)
    check_finite("the pictures", rows)
    check_directions(rows, "is a blank picture, which has no direction")
    return Digits(rows, y)
