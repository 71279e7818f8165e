"""Pictures become numbers: sizes and modes are read from headers first, then all are decoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldline.errors import DataError, ShapeError
from worldline.files import reason_of
from worldline.loading.found import check_memory

__all__ = ["FORMATS", "Picture", "one_picture", "read_pictures"]

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF"}
FORMATS |= {".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM"}
GREY = ("1", "L")
COLOURED = ("P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "PA", "RGBX")
LARGEST_SIDE = 20_000  # pixels of one picture's side, before it is made smaller
LARGEST_PICTURE = 10**8  # pixels of one picture


@dataclass(frozen=True)
class Picture:
    """What messages call it, and how it is opened: lazily, as Pillow does."""

    told: str
    open: Callable[[], Image.Image]


def read_pictures(
    found: Sequence[Picture], told: str, *, image_size: int = 0, limit: int
) -> Tensor:
    """Pictures (N, C, H, W) as bytes, uint8; C = 1 if all are grey, else 3.

    Every picture's size is read from its header, and the sum compared with the limit, before one is
    decoded. Transparency is dropped, palettes and CMYK become RGB; of moving pictures the first
    frame is taken.

    Args:
        found: the pictures.
        told: what holds them, in messages.
        image_size: 0 if all have one size; else the shorter side is resized to it (bilinear,
            antialiased) and the centre is cut out.
        limit: bytes that the pixels may take as float32, beside the bytes.

    Raises:
        DataError: what is no picture, a picture bomb, or more than the limit. ShapeError: different
            sizes and no ``image_size``.

    >>> read_pictures([Picture("a", lambda: Image.new("L", (4, 3)))], "one", limit=100).shape
    torch.Size([1, 1, 3, 4])
    """
    headers = [_header(it) for it in found]
    sizes = {size for size, _ in headers}
    if len(sizes) > 1 and not image_size:
        shown = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)[:4])
        raise ShapeError(
            f"The pictures in {told} have {len(sizes)} sizes ({shown}"
            f"{', …' if len(sizes) > 4 else ''}). Give --image-size N: it resizes and cuts "
            "out the centre."
        )
    width, height = (image_size, image_size) if image_size else next(iter(sizes))
    channels = 1 if all(mode in GREY for _, mode in headers) else 3
    check_memory(
        5 * len(found) * channels * width * height,
        limit,
        f"{len(found):,} pictures of {width}×{height}",
        "Give a smaller --image-size, or fewer pictures.",
    )
    x = torch.empty(len(found), channels, height, width, dtype=torch.uint8)
    for row, it in enumerate(found):
        x[row] = _decoded(it, "L" if channels == 1 else "RGB", image_size)
    return x


def one_picture(it: Picture, image_size: int = 0) -> Tensor:
    """One picture (C, H, W) as bytes, by the rules of :func:`read_pictures`.

    >>> one_picture(Picture("a", lambda: Image.new("RGB", (4, 3)))).shape
    torch.Size([3, 3, 4])
    """
    _, mode = _header(it)
    return _decoded(it, "L" if mode in GREY else "RGB", image_size)


@contextmanager
def _quietly(it: Picture) -> Iterator[Image.Image]:
    """Without Pillow's warnings, of sizes that are judged here and damage that raises later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with it.open() as image:
            yield image


def _header(it: Picture) -> tuple[tuple[int, int], str]:
    try:
        with _quietly(it) as image:
            size, mode = image.size, image.mode
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{it.told} cannot be read as a picture: {reason_of(error)}. Remove it, or save it "
            "again."
        ) from error
    if max(size) > LARGEST_SIDE or size[0] * size[1] > LARGEST_PICTURE or min(size) < 1:
        raise DataError(
            f"{it.told} declares {size[0]:,}×{size[1]:,} pixels; at most {LARGEST_PICTURE:,} in "
            f"all and {LARGEST_SIDE:,} a side are decoded. Make it smaller."
        )
    if mode not in GREY + COLOURED:
        raise DataError(
            f"{it.told} has the mode {mode}, whose white is not known. Convert it to 8 bits a "
            "channel (mode L or RGB)."
        )
    return size, mode


def _decoded(it: Picture, mode: str, image_size: int) -> Tensor:
    try:
        with _quietly(it) as image:
            picture = image.convert(mode)
    except Exception as error:  # decoders of damaged pictures raise anything
        raise DataError(
            f"{it.told} cannot be decoded: {reason_of(error)}. Remove it, or save it again."
        ) from error
    if image_size:
        scale = image_size / min(picture.size)
        width, height = (max(round(scale * side), image_size) for side in picture.size)
        left, top = (width - image_size) // 2, (height - image_size) // 2
        box = (
            left / scale,
            top / scale,
            min((left + image_size) / scale, picture.size[0]),
            min((top + image_size) / scale, picture.size[1]),
        )
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    pixels = torch.from_numpy(np.array(picture))
    return pixels.unsqueeze(0) if mode == "L" else pixels.permute(2, 0, 1)
