"""A grey picture from a file."""

from __future__ import annotations

import io
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from worldline.encoder.experiments import LARGEST_SIDE
from worldline.errors import DataError, ShapeError
from worldline.files import read_bytes, reason_of, shorten

__all__ = ["load_picture"]

LARGEST_FILE = 16 * 2**20  # bytes: 256 × 256 pixels need less in any format

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
    content = read_bytes(path, "picture", DataError, limit=LARGEST_FILE)
    name = shorten(Path(path).name)
    Image.init()
    # one of its formats hands the file to another program
    formats = [it for it in Image.ID if it != "EPS"]
    try:
        with catch_warnings(), Image.open(io.BytesIO(content), formats=formats) as image:
            simplefilter("ignore")
            _check(image, name)
            return torch.from_numpy(np.asarray(image) / GREY[image.mode])
    except ShapeError:
        raise
    except UnidentifiedImageError as error:  # its own words are of the bytes in memory
        raise DataError(
            f"{name} cannot be read as a picture: it is of no format that is known. Save it as PNG."
        ) from error
    except Exception as error:  # whatever a format's reader makes of a damaged byte
        raise DataError(
            f"{name} cannot be read as a picture ({reason_of(error)}). Save it as PNG."
        ) from error


def _check(image: Image.Image, name: str) -> None:
    if image.mode not in GREY:
        raise ShapeError(
            f"{name} is not grey: its mode is {image.mode}. Convert it, for instance with Pillow: "
            f"Image.open({name!r}).convert('L')."
        )
    if max(image.size) > LARGEST_SIDE:
        raise ShapeError(
            f"{name} is {image.size[0]}×{image.size[1]} pixels, one neuron each; at most "
            f"{LARGEST_SIDE}×{LARGEST_SIDE} are allowed. Make it smaller."
        )
