"""Samples as small PNG pictures, carried inside the page as data URIs."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

__all__ = ["change_picture", "picture", "picture_array"]

LARGEST_SIDE = 48
Pixels = npt.NDArray[np.uint8]


def picture_array(sample: Tensor) -> npt.NDArray[np.float64]:
    """A sample as (H, W) or (H, W, 3): images as they are, anything else as a near-square sheet of its entries.

    (C, H, W) with one or three channels and (H, W) count as images; large ones are thinned to at most 48 pixels a side.
    """
    array = sample.detach().cpu().double().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    elif array.ndim != 2 or min(array.shape) < 2:
        flat = array.ravel()
        side = math.ceil(math.sqrt(flat.size))
        sheet = np.full(side * math.ceil(flat.size / side), flat.min() if flat.size else 0.0)
        sheet[: flat.size] = flat
        array = sheet.reshape(-1, side)
    step = math.ceil(max(array.shape[:2]) / LARGEST_SIDE)
    return np.asarray(array[::step, ::step])


def picture(sample: Tensor, bounds: tuple[float, float]) -> str:
    """The sample as a PNG data URI; the bounds are black and white."""
    low, high = bounds
    return _encode((picture_array(sample) - low) / (high - low))


def change_picture(change: Tensor, largest: float) -> str:
    """A change as a PNG data URI: white where nothing changes, red where a value rises, blue where it falls.

    ``largest`` has full colour. Of colour images the mean change over the channels is shown.
    """
    array = picture_array(change) / max(largest, 1e-12)
    level = np.clip(array.mean(-1) if array.ndim == 3 else array, -1, 1)[..., None]
    red, blue, white = np.array([0.70, 0.09, 0.17]), np.array([0.13, 0.40, 0.67]), np.ones(3)
    return _encode(white + np.abs(level) * (np.where(level > 0, red, blue) - white))


def _encode(array: npt.NDArray[np.float64]) -> str:
    pixels: Pixels = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
