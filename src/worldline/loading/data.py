"""Data from a name: the digits, an ``.npz``, a folder of pictures, or a factory of a Dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldline import zoo
from worldline.errors import BoundsError, DataError, LabelError, ShapeError
from worldline.files import shorten
from worldline.inputs import Data, check_inputs, labels_of, named_labels, samples_of, set_apart
from worldline.loading.archive import read_arrays
from worldline.loading.datasets import read_dataset
from worldline.loading.folders import read_folders, split_folders
from worldline.settings import Bounds

__all__ = ["Held", "beside", "divided", "load_data"]


@dataclass(frozen=True)
class Held:
    """Inputs and labels, the classes' names, and what was done to the inputs."""

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...] | None = None
    conversions: tuple[str, ...] = ()


def load_data(
    spec: str, *, bounds: Bounds = (0.0, 1.0), image_size: int = 0, limit: int | None = None
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
        return divided(spec, spec.rpartition(":")[2], Held(x, y, class_names), bounds)
    raise DataError(
        "Data is 'digits' or an .npz file with arrays x and y, a folder of pictures, or "
        f"file.py:factory of a Dataset; got {shorten(spec)!r}."
    )


def _is_folder(spec: str) -> bool:
    try:
        return spec != "digits" and Path(spec).is_dir()
    except (OSError, ValueError):
        return False


def _from_folder(folder: Path, bounds: Bounds, image_size: int, limit: int | None) -> Data:
    samples, reference = split_folders(folder)
    found = read_folders(samples, image_size=image_size, limit=limit)
    low, high = bounds
    name = folder.resolve().name
    if reference is None:
        x = found.x * (high - low) + low
        return divided(str(folder), name, Held(x, found.y, found.class_names), bounds)
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


def _from_archive(spec: str, bounds: Bounds, limit: int | None) -> Data:
    names = ("reference_x", "reference_y")
    arrays = read_arrays(Path(spec), required=("x", "y"), together=names, limit=limit)
    held = _pair(arrays, "x", "y", bounds, spec)
    if "reference_x" not in arrays:
        return divided(spec, Path(spec).name, held, bounds)
    reference = _pair(arrays, *names, bounds, spec, held.class_names)
    return beside(Path(spec).name, held, reference, bounds)


def beside(name: str, held: Held, reference: Held, bounds: Bounds) -> Data:
    """Samples with a reference that came with them."""
    if held.x.shape[1:] != reference.x.shape[1:]:
        raise ShapeError(
            f"Inputs of the reference have shape {tuple(reference.x.shape[1:])}, those to explain "
            f"{tuple(held.x.shape[1:])}; they must be alike."
        )
    return Data(
        name=name,
        x=held.x,
        y=held.y,
        rows=torch.arange(len(held.x)),
        reference_x=reference.x,
        reference_y=reference.y,
        bounds=bounds,
        split=f"{len(held.x):,} samples may be attacked; {len(reference.x):,} reference samples "
        "come with them",
        class_names=held.class_names,
        conversions=tuple(dict.fromkeys((*held.conversions, *reference.conversions))),
    )


def divided(spec: str, name: str, held: Held, bounds: Bounds) -> Data:
    """Half of each class set apart as the reference."""
    x, y = held.x, held.y
    rows, apart = set_apart(y)
    if len(apart) == 0:
        raise DataError(
            f"{spec} has too few samples ({len(x)}) to set some apart as the reference; give "
            "reference_x and reference_y (in Python reference=(x, y))."
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
        class_names=held.class_names,
        reference_rows=apart,
        conversions=held.conversions,
    )


def _pair(
    arrays: dict[str, np.ndarray],
    x_name: str,
    y_name: str,
    bounds: Bounds,
    spec: str,
    class_names: tuple[str, ...] | None = None,
) -> Held:
    """Inputs as float32, labels, the classes' names if the labels are words, and what was done."""
    x = arrays[x_name]
    if x.dtype.kind not in "fiu":
        raise DataError(f"{x_name} in {spec} must hold numbers; its dtype is {x.dtype}.")
    with np.errstate(all="ignore"):  # what overflows is not finite, and told as that
        inputs, notes = samples_of(x if x.dtype == np.uint8 else x.astype(np.float32), bounds)
    try:
        labels, names = named_labels(arrays[y_name], class_names)
        return Held(inputs, labels_of(labels, len(inputs)), names, notes)
    except LabelError as error:
        raise LabelError(f"{y_name} in {spec}: {error}") from None
