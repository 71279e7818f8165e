"""Samples as small PNG pictures, alone or many on a sheet, as data URIs inside the page."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

__all__ = ["change_sheet", "effect_map", "picture", "picture_array", "sheet"]

LARGEST_SIDE = 48
LOWER, SAME, HIGHER = (
    np.array([0.03, 0.10, 0.35]),
    np.array([0.52, 0.52, 0.54]),
    np.array([1.0, 0.90, 0.62]),
)
HELPS, HURTS = (
    np.array([0.78, 0.31, 0.04]),
    np.array([0.0, 0.45, 0.70]),
)  # vermillion and blue, the looks of the attack and of noise
FAINT = 0.45
"""How strong the picture under a map of effects still is."""
Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]


def picture_array(sample: Tensor) -> Array:
    """A sample as (H, W) or (H, W, 3).

    Images stay as they are; anything else becomes a near-square sheet of its entries.
    (C, H, W) with one or three channels and (H, W) count as images; large ones are thinned to at
    most 48 pixels a side.
    """
    array = sample.detach().cpu().double().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    elif array.ndim != 2 or min(array.shape) < 2:
        flat = array.ravel()
        side = math.ceil(math.sqrt(flat.size))
        padded = np.full(side * math.ceil(flat.size / side), flat.min() if flat.size else 0.0)
        padded[: flat.size] = flat
        array = padded.reshape(-1, side)
    step = math.ceil(max(array.shape[:2]) / LARGEST_SIDE)
    return np.asarray(array[::step, ::step])


def picture(sample: Tensor, bounds: tuple[float, float]) -> str:
    """The sample as a PNG data URI; the bounds are black and white."""
    return sheet(sample[None], bounds, 1)


def sheet(samples: Tensor, bounds: tuple[float, float], columns: int) -> str:
    """Samples side by side, row by row, as one PNG data URI; the bounds are black and white."""
    low, high = bounds
    return _encode(
        _side_by_side([(picture_array(sample) - low) / (high - low) for sample in samples], columns)
    )


def change_sheet(changes: Tensor, largest: float, columns: int) -> str:
    """Changes on one sheet.

    Grey where nothing changes, lighter where a value rises, darker where it falls.
    ``largest`` has full colour. Of colour images the mean change over the channels is shown.
    """
    return _encode(_side_by_side([_change(change, largest) for change in changes], columns))


def effect_map(
    sample: Tensor | None, effects: Tensor, bounds: tuple[float, float], largest: float
) -> str:
    """Effects by position over a pale grey picture, as a PNG data URI.

    Args:
        sample: the picture below; None for an even ground.
        effects: (h, w) of any size; small ones become squares, large ones are summed as far as the
            picture is thinned.
        bounds: of the picture.
        largest: the size of effect that has full colour: vermillion above 0, blue below.
    """
    if sample is None:
        height, width = picture_array(effects).shape[:2]
        ground = np.ones((height, width))
    else:
        array = (picture_array(sample) - bounds[0]) / (bounds[1] - bounds[0])
        ground = np.clip(array.mean(-1) if array.ndim == 3 else array, 0, 1)
    level = _fitted(effects.detach().cpu().double().numpy(), ground.shape) / max(largest, 1e-12)
    level = np.clip(level, -1, 1)[..., None]
    grey = (1 - FAINT * (1 - ground))[..., None]
    return _encode(grey + np.abs(level) * (np.where(level > 0, HELPS, HURTS) - grey))


def _fitted(effects: Array, shape: tuple[int, ...]) -> Array:
    """Effects at the size of a picture: repeated as squares, or summed over what a pixel hides."""
    height, width = shape
    summed = np.zeros((min(height, len(effects)), min(width, effects.shape[1])))
    down, across = (
        np.arange(many) * fewer // many
        for many, fewer in zip(effects.shape, summed.shape, strict=True)
    )
    np.add.at(summed, (down[:, None], across[None]), effects)
    rows, columns = (
        np.arange(large) * small // large for large, small in zip(shape, summed.shape, strict=True)
    )
    found: Array = summed[rows[:, None], columns[None]]
    return found


def _change(change: Tensor, largest: float) -> Array:
    array = picture_array(change) / max(largest, 1e-12)
    level = np.clip(array.mean(-1) if array.ndim == 3 else array, -1, 1)[..., None]
    shown: Array = SAME + np.abs(level) * (np.where(level > 0, HIGHER, LOWER) - SAME)
    return shown


def _side_by_side(pictures: list[Array], columns: int) -> Array:
    black = [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    whole = [*pictures, *black]
    rows = (whole[start : start + columns] for start in range(0, len(whole), columns))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _encode(array: Array) -> str:
    pixels: Pixels = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")  # optimize: 1 % less for 6 times
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
