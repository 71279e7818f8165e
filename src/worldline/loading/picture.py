"""A grey picture from a file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from worldline.encoder.experiments import LARGEST_SIDE
from worldline.errors import DataError, ShapeError
from worldline.files import real_file, reason_of, shorten
from worldline.loading.folders import FORMATS

__all__ = ["load_picture"]

GREY = {"1": 1.0, "L": 255.0, "I;16": 65535.0}  # modes without colour, and their white


def load_picture(path: Path) -> Float[Tensor, "H W"]:
    """A grey picture in [0, 1].

    Args:
        path: PNG, JPEG, BMP, GIF, WebP, TIFF, PGM; grey, at most 256 pixels a side.

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
    real_file(path, "picture", DataError)
    name = shorten(path.name)
    try:
        with warnings.catch_warnings(), Image.open(path, formats=sorted({*FORMATS.values()})) as it:
            warnings.simplefilter("ignore")  # of Pillow: about sizes that are judged here
            if it.mode not in GREY:
                raise ShapeError(
                    f"{name} is not grey: its mode is {it.mode}. Convert it, for instance with "
                    f"Pillow: Image.open({name!r}).convert('L')."
                )
            if max(it.size) > LARGEST_SIDE:
                raise ShapeError(
                    f"{name} is {it.size[0]}×{it.size[1]} pixels, one neuron each; at most "
                    f"{LARGEST_SIDE}×{LARGEST_SIDE} are allowed. Make it smaller."
                )
            return torch.from_numpy(np.asarray(it) / GREY[it.mode])
    except ShapeError:
        raise
    except Exception as error:  # decoders of damaged pictures raise anything
        raise DataError(f"{name} cannot be read as a picture: {reason_of(error)}.") from error
