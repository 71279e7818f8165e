"""ONNX' Resize in torch: along each axis a weighted sum of a few neighbours, with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from worldline.loading.black_box import Attributes, UnsupportedError

__all__ = ["resize", "resized"]

ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda at: torch.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: torch.floor(at + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def resize(at: Attributes, x: Tensor, *rest: Tensor | None) -> Tensor:
    """Nearest, linear or cubic resizing by scales or to sizes.

    Args:
        at: mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, exclude_outside.
        x: of any shape.
        rest: as in ONNX: roi (which nothing here reads), scales, sizes; before opset 11 scales.

    Raises:
        UnsupportedError: antialias, a crop, or a kept aspect ratio.
    """
    policy = at.get("keep_aspect_ratio_policy", "stretch")
    if at.get("antialias") or policy != "stretch" or _rule(at) == "tf_crop_and_resize":
        raise UnsupportedError(
            "Resize with antialias, a crop or a kept aspect ratio is not done here in torch."
        )
    for axis, (old, size, scale) in enumerate(resized(at, x, *rest)):
        if scale != 1 or size != old:
            x = _along(at, x, axis, size, scale)
    return x


def resized(at: Attributes, x: Tensor | None, *rest: Tensor | None) -> list[tuple[int, int, float]]:
    """Of every axis its size, the new one, and the scale."""
    assert x is not None
    _, scales, sizes = (None, *rest, None) if at["opset"] < 11 else (*rest, None, None, None)[:3]
    axes = [axis % x.ndim for axis in at.get("axes", range(x.ndim))]
    found = [(side, side, 1.0) for side in x.shape]
    if sizes is not None and sizes.numel():
        for axis, size in zip(axes, sizes.tolist(), strict=True):
            found[axis] = (x.shape[axis], int(size), int(size) / max(x.shape[axis], 1))
    elif scales is not None:
        for axis, scale in zip(axes, scales.tolist(), strict=True):
            found[axis] = (x.shape[axis], math.floor(x.shape[axis] * scale), scale)
    return found


def _rule(at: Attributes) -> str:
    return str(
        at.get("coordinate_transformation_mode", "half_pixel" if at["opset"] > 10 else "asymmetric")
    )


def _along(at: Attributes, x: Tensor, axis: int, size: int, scale: float) -> Tensor:
    """One axis: Σ over a few neighbours of weight × value."""
    old = x.shape[axis]
    place = _places(_rule(at), old, size, scale)
    total: Tensor | None = None
    shape = [-1] + [1] * (x.ndim - 1 - axis)
    for index, weight in _neighbours(at, place, old):
        part = x.index_select(axis, index.clamp(0, old - 1).long().to(x.device))
        if weight is not None:
            part = part * weight.to(x).reshape(shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def _places(rule: str, old: int, size: int, scale: float) -> Tensor:
    """Where each new point lies among the old ones; ties in float32, as onnxruntime has them."""
    new = torch.arange(size, dtype=torch.float32)
    if rule == "asymmetric":
        return new / scale
    if rule == "align_corners":
        return new * (old - 1) / (size - 1) if size > 1 else new
    if rule == "pytorch_half_pixel" and size == 1:
        return new
    half = (new + 0.5) / scale - 0.5
    if rule == "half_pixel_symmetric":
        return half + old / 2 * (1 - size / (scale * old))
    if rule in ("half_pixel", "pytorch_half_pixel"):
        return half
    raise UnsupportedError(f"Resize with coordinates {rule!r} is not done here in torch.")


def _neighbours(at: Attributes, place: Tensor, old: int) -> list[tuple[Tensor, Tensor | None]]:
    mode, floor = at.get("mode", "nearest"), place.floor()
    if mode == "nearest":
        rule = at.get("nearest_mode", "round_prefer_floor" if at["opset"] > 10 else "floor")
        return [(ROUND[rule](place), None)]
    after = place - floor
    if mode == "linear":
        found = [(floor, 1 - after), (floor + 1, after)]
    else:
        a = at.get("cubic_coeff_a", -0.75)
        found = [(floor + it, _cubic(after - it, a)) for it in (-1, 0, 1, 2)]
    if not at.get("exclude_outside"):
        return list(found)
    inside = [(it, weight * ((it >= 0) & (it < old))) for it, weight in found]
    total = sum(weight for _, weight in inside)
    return [(it, weight / total) for it, weight in inside]


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' kernel (1981)."""
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
