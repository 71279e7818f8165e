"""Data from a name: the digits, an ``.npz``, a folder of pictures, or a factory of a Dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldline import zoo
from worldline.errors import BoundsError, DataError, LabelError
from worldline.files import shorten
from worldline.inputs import Data, check_inputs, labels_of, named_labels, samples_of, set_apart
from worldline.loading.archive import read_arrays
from worldline.loading.datasets import read_dataset
from worldline.loading.folders import read_folders, split_folders

__all__ = ["load_data"]


def load_data(
    spec: str,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    image_size: int = 0,
    limit: int | None = None,
) -> Data:
    """Samples by name.

    Args:
        spec: one of

            * ``digits``;
            * an ``.npz`` with ``x`` (N, …) numbers and ``y`` (N,) integer labels, and optionally
              ``reference_x`` and ``reference_y``. No pickle in it is opened; headers are checked
              first (:func:`worldline.loading.archive.read_arrays`); integers become float32 in
              their own units;
            * a folder with a subfolder of pictures for each class
              (:func:`worldline.loading.folders.read_folders`), or with ``train`` and ``test`` (or
              ``val``) that are laid out so: then ``train`` is the reference;
            * ``package.module:make`` or ``file.py:make``, code that is run and returns a torch
              ``Dataset`` of (x, y) (:func:`worldline.loading.datasets.read_dataset`).

            Where no reference comes with them, every second sample of each class becomes the
            reference for frames and class means.
        bounds: lowest and highest legal value of x: an ε has no meaning without them. Pictures are
            scaled to them.
        image_size: for folders: pictures are resized and cut to this many pixels a side; 0 leaves
            them.
        limit: bytes that the samples may take; default: half of the memory that is available.

    Raises:
        DataError: no such data, damaged, deceiving or too large. ShapeError, BoundsError,
            LabelError: samples that do not fit.

    >>> import worldline as wl
    >>> len(wl.loading.load_data("digits").x)
    600
    """
    low, high = bounds
    if not (np.isfinite(bounds).all() and low < high):
        raise BoundsError(f"Bounds must be two finite numbers, low < high; got {low:g}, {high:g}.")
    folder = _is_folder(spec)
    if image_size and not folder:
        raise DataError(f"--image-size is for folders of pictures; {shorten(spec)!r} is none.")
    if spec == "digits":
        data = zoo.digits()
        if bounds != data.bounds:
            raise BoundsError(
                f"The digits lie in (0, 1); bounds ({low:g}, {high:g}) are not theirs. Leave "
                "--bounds out."
            )
        return data
    if folder:
        return _from_folder(Path(spec), bounds, image_size, limit)
    if Path(spec).suffix == ".npz":
        return _from_archive(spec, bounds, limit)
    if ":" in spec:
        x, y, class_names = read_dataset(spec, limit=limit)
        check_inputs(x, bounds)
        return _divided(spec, spec.rpartition(":")[2], x, y, bounds, class_names)
    raise DataError(
        "Data is 'digits' or an .npz file with arrays x and y, a folder of pictures, or "
        f"file.py:factory of a Dataset; got {shorten(spec)!r}."
    )


def _is_folder(spec: str) -> bool:
    try:
        return spec != "digits" and Path(spec).is_dir()
    except (OSError, ValueError):
        return False


def _from_folder(
    folder: Path, bounds: tuple[float, float], image_size: int, limit: int | None
) -> Data:
    samples, reference = split_folders(folder)
    found = read_folders(samples, image_size=image_size, limit=limit)
    low, high = bounds
    name = folder.resolve().name
    if reference is None:
        return _divided(
            str(folder), name, found.x * (high - low) + low, found.y, bounds, found.class_names
        )
    other = read_folders(reference, image_size=image_size, limit=limit)
    if other.class_names != found.class_names or other.x.shape[1:] != found.x.shape[1:]:
        raise DataError(
            f"{samples.name} and {reference.name} in {name} must hold the same classes and "
            f"pictures of one size; got {len(found.class_names)} classes of "
            f"{tuple(found.x.shape[1:])} and {len(other.class_names)} of "
            f"{tuple(other.x.shape[1:])}. Give --image-size, or make the folders alike."
        )
    split = (
        f"{samples.name} may be attacked ({len(found.x):,} samples); {reference.name} is reference "
        f"({len(other.x):,})"
    )
    x, reference_x = (it.x * (high - low) + low for it in (found, other))
    rows = torch.arange(len(x))
    return Data(name, x, found.y, rows, reference_x, other.y, bounds, split, found.class_names)


def _from_archive(spec: str, bounds: tuple[float, float], limit: int | None) -> Data:
    names = ("reference_x", "reference_y")
    arrays = read_arrays(Path(spec), required=("x", "y"), together=names, limit=limit)
    x, y, class_names, notes = _pair(arrays, "x", "y", bounds, spec)
    if "reference_x" not in arrays:
        found = _divided(spec, Path(spec).name, x, y, bounds, class_names)
        return replace(found, conversions=notes)
    reference_x, reference_y, _, _ = _pair(arrays, *names, bounds, spec, class_names)
    split = (
        f"{len(x):,} samples may be attacked; {len(reference_x):,} reference samples come with them"
    )
    rows = torch.arange(len(x))
    return Data(
        name=Path(spec).name,
        x=x,
        y=y,
        rows=rows,
        reference_x=reference_x,
        reference_y=reference_y,
        bounds=bounds,
        split=split,
        class_names=class_names,
        conversions=notes,
    )


def _divided(
    spec: str,
    name: str,
    x: Tensor,
    y: Tensor,
    bounds: tuple[float, float],
    class_names: tuple[str, ...] | None,
) -> Data:
    """Half of each class set apart as the reference."""
    rows, apart = set_apart(y)
    if len(apart) == 0:
        raise DataError(
            f"{spec} has too few samples ({len(x)}) to set some apart as the reference; give "
            "reference_x and y."
        )
    split = (
        f"every second sample of each class is reference ({len(apart):,}), the others may be "
        f"attacked ({len(rows):,})"
    )
    return Data(
        name=name,
        x=x[rows],
        y=y[rows],
        rows=rows,
        reference_x=x[apart],
        reference_y=y[apart],
        bounds=bounds,
        split=split,
        class_names=class_names,
        reference_rows=apart,
    )


def _pair(
    arrays: dict[str, np.ndarray],
    x_name: str,
    y_name: str,
    bounds: tuple[float, float],
    spec: str,
    class_names: tuple[str, ...] | None = None,
) -> tuple[Tensor, Tensor, tuple[str, ...] | None, tuple[str, ...]]:
    """Inputs as float32, labels, the classes' names if the labels are words, and what was done."""
    x = arrays[x_name]
    if x.dtype.kind not in "fiu":
        raise DataError(f"{x_name} in {spec} must hold numbers; its dtype is {x.dtype}.")
    with np.errstate(all="ignore"):  # what overflows is not finite, and told as that
        inputs, notes = samples_of(x if x.dtype == np.uint8 else x.astype(np.float32), bounds)
    try:
        labels, names = named_labels(arrays[y_name], class_names)
        return inputs, labels_of(labels, len(inputs)), names, notes
    except LabelError as error:
        raise LabelError(f"{y_name} in {spec}: {error}") from None
