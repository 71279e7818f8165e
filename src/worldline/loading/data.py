"""Data from a name: the embedded digits, or the user's ``.npz``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldline import zoo
from worldline.errors import BoundsError, DataError, LabelError
from worldline.inputs import Data, check_inputs, check_labels, set_apart
from worldline.loading.archive import read_arrays

__all__ = ["load_data"]


def load_data(spec: str, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Data:
    """Samples by name.

    Args:
        spec: ``digits``, or the path of an ``.npz`` with ``x`` (N, …) numbers and ``y`` (N,) integer labels, and
            optionally ``reference_x`` and ``reference_y`` for frames and class means; without them every second sample of
            each class becomes the reference. Read with ``allow_pickle=False``; integers become float32 in their own units.
        bounds: lowest and highest legal value of x: an ε has no meaning without them.

    Raises:
        DataError: no such file, not an npz, arrays missing. ShapeError, BoundsError, LabelError: arrays that do not fit.

    >>> import worldline as wl
    >>> len(wl.loading.load_data("digits").x)
    600
    """
    low, high = bounds
    if not (np.isfinite(bounds).all() and low < high):
        raise BoundsError(f"Bounds must be two finite numbers, low < high; got {low:g}, {high:g}.")
    if spec == "digits":
        data = zoo.digits()
        if bounds != data.bounds:
            raise BoundsError(
                f"The digits lie in (0, 1); bounds ({low:g}, {high:g}) are not theirs. Leave --bounds out."
            )
        return data
    if Path(spec).suffix != ".npz":
        raise DataError(f"Data is 'digits' or an .npz file with arrays x and y; got {spec!r}.")
    arrays = read_arrays(Path(spec), required=("x", "y"), together=("reference_x", "reference_y"))
    x, y = _pair(arrays, "x", "y", bounds, spec)
    if "reference_x" in arrays:
        reference_x, reference_y = _pair(arrays, "reference_x", "reference_y", bounds, spec)
        split = f"{len(x):,} samples may be attacked; {len(reference_x):,} reference samples come with them"
    else:
        rows, apart = set_apart(y)
        if len(apart) == 0:
            raise DataError(
                f"{spec} has too few samples ({len(x)}) to set some apart as the reference; give reference_x and y."
            )
        x, y, reference_x, reference_y = x[rows], y[rows], x[apart], y[apart]
        split = f"every second sample of each class is reference ({len(apart):,}), the others may be attacked ({len(rows):,})"
    return Data(Path(spec).name, x, y, reference_x, reference_y, bounds, split)


def _pair(
    arrays: dict[str, np.ndarray], x_name: str, y_name: str, bounds: tuple[float, float], spec: str
) -> tuple[Tensor, Tensor]:
    x, y = arrays[x_name], arrays[y_name]
    if x.dtype.kind not in "fiu":
        raise DataError(f"{x_name} in {spec} must hold numbers; its dtype is {x.dtype}.")
    if y.dtype.kind not in "iu" and y.ndim == 1:
        raise LabelError(f"{y_name} in {spec} must hold integer class numbers; its dtype is {y.dtype}.")
    inputs = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    labels = torch.from_numpy(np.ascontiguousarray(y)).long()
    check_inputs(inputs, bounds)
    check_labels(labels, len(inputs))
    if int(labels.min()) < 0:
        raise LabelError(f"Labels in {spec} must be class numbers from 0; the lowest is {int(labels.min())}.")
    return inputs, labels
