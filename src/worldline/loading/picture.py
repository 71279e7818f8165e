"""A grey picture from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from worldline.encoder.experiments import LARGEST_SIDE
from worldline.errors import DataError, ShapeError

__all__ = ["load_picture"]

GREY = {"1": 1.0, "L": 255.0, "I;16": 65535.0}  # modes without colour, and their white


def load_picture(path: Path) -> Float[Tensor, "H W"]:
    """A grey picture in [0, 1].

    Args:
        path: PNG or any other format that Pillow reads; grey, at most 256 pixels a side.

    Raises:
        DataError: no such file, or no picture. ShapeError: with colours, or too large; its pixels
            are then not decoded.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (3, 2), 255).save(Path(folder) / "white.png")
    ...     load_picture(Path(folder) / "white.png")
    tensor([[1., 1., 1.],
            [1., 1., 1.]], dtype=torch.float64)
    """
    try:
        with Image.open(path) as image:
            if image.mode not in GREY:
                raise ShapeError(
                    f"{path.name} is not grey: its mode is {image.mode}. Convert it, for instance "
                    f"with Pillow: Image.open({path.name!r}).convert('L')."
                )
            if max(image.size) > LARGEST_SIDE:
                raise ShapeError(
                    f"{path.name} is {image.size[0]}×{image.size[1]} pixels, one neuron each; at "
                    f"most {LARGEST_SIDE}×{LARGEST_SIDE} are allowed. Make it smaller."
                )
            return torch.from_numpy(np.asarray(image) / GREY[image.mode])
    except FileNotFoundError as error:
        raise DataError(f"There is no picture {str(path)!r}.") from error
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path.name} cannot be read as a picture: {error}.") from error
