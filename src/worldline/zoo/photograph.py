"""The embedded pictures, for messages that the encoder carries and for who receives them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

__all__ = ["picture"]


Subject = Literal["temple", "flower"]
FILES: dict[Subject, str] = {"temple": "china.jpg", "flower": "flower.jpg"}


def picture(side: int = 50, subject: Subject = "temple") -> Float[Tensor, "H W"]:
    """A grey photograph in [0, 1]: the middle of a picture that comes with scikit-learn.

    Args:
        side: pixels a side, from 1.
        subject: a temple in China, or a flower.

    >>> import worldline as wl
    >>> wl.zoo.picture().shape
    torch.Size([50, 50])
    """
    from sklearn.datasets import load_sample_image  # noqa: PLC0415  (a second of import time that few commands need)

    photograph = Image.fromarray(load_sample_image(FILES[subject])).convert("L")
    width, height = photograph.size
    square = photograph.crop(((width - height) // 2, 0, (width + height) // 2, height))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels / 255.0)
