"""The embedded picture, for messages that the encoder carries."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

__all__ = ["picture"]


def picture(side: int = 50) -> Float[Tensor, "H W"]:
    """A grey photograph in [0, 1]: the middle of scikit-learn's picture of a temple in China.

    Args:
        side: pixels a side, from 1.

    >>> import worldline as wl
    >>> wl.zoo.picture().shape
    torch.Size([50, 50])
    """
    from sklearn.datasets import load_sample_image  # noqa: PLC0415  (a second of import time that few commands need)

    photograph = Image.fromarray(load_sample_image("china.jpg")).convert("L")
    width, height = photograph.size
    square = photograph.crop(((width - height) // 2, 0, (width + height) // 2, height))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels / 255.0)
