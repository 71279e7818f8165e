"""Samples from a factory of a torch ``Dataset``: the user's code, which is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldline.errors import DataError, LabelError
from worldline.files import available_memory, shorten, size_text, utf8
from worldline.loading.imports import ARGUMENTS, import_object, user_code

__all__ = ["read_dataset"]


def read_dataset(
    spec: str, *, limit: int | None = None
) -> tuple[Tensor, Tensor, tuple[str, ...] | None]:
    """All samples of the dataset that a factory returns.

    A factory named on the command line is code, and is run: importing its module and calling it
    can do anything that you can.

    Args:
        spec: ``package.module:make`` or ``file.py:make``; called without arguments; a dataset
            under that name is taken as it is. It has a length and gives (x, y) for every number
            from 0: a ``Dataset``, a ``TensorDataset``, a list. x is a tensor or array of one
            shape, y a whole number.
        limit: bytes that the samples may take as float32; default: half of the memory that is
            available.

    Returns:
        x (N, …) float32, y (N,) int64, and the dataset's ``classes`` if it names them, as
        torchvision's do.

    Raises:
        DataError: no map-style dataset, too large, or an item that raises or does not fit; says
            which item.

    Cost: the samples, once as float32; each item is asked for once.

    >>> import sys, types
    >>> module = sys.modules["my_samples"] = types.ModuleType("my_samples")
    >>> module.make = lambda: [(np.zeros((1, 2, 2)), 0), (np.ones((1, 2, 2)), 1)]
    >>> x, y, names = read_dataset("my_samples:make")
    >>> x.shape, y.tolist(), names
    (torch.Size([2, 1, 2, 2]), [0, 1], None)
    """
    data: Any = import_object(spec, error=DataError)
    if isinstance(data, type) or (callable(data) and not hasattr(data, "__getitem__")):
        advice = "It is called without arguments."
        with user_code(f"The factory {spec}", advice, fits=ARGUMENTS, error=DataError):
            data = data()
    if isinstance(data, dict) or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise DataError(
            f"The factory {spec} must return a dataset of (x, y) with a length: a torch Dataset, "
            f"TensorDataset or list; it returned {type(data).__name__}. Make an IterableDataset a "
            "list first."
        )
    with user_code(f"The length of the dataset of {spec}", error=DataError):
        count = len(data)
    if count < 1:
        raise DataError(f"The dataset of {spec} is empty.")
    limit = available_memory() // 2 if limit is None else limit
    first, _ = _item(data, 0, spec)
    if (needed := 4 * count * first.numel()) > limit:
        raise DataError(
            f"{count:,} samples of shape {tuple(first.shape)} in {spec} need {size_text(needed)} "
            f"as float32, more than the {size_text(limit)} that may be used. Return fewer, for "
            "instance torch.utils.data.Subset(data, range(1000))."
        )
    x, y = torch.empty(count, *first.shape), torch.empty(count, dtype=torch.int64)
    for place in range(count):
        value, label = _item(data, place, spec)
        if value.shape != first.shape:
            raise DataError(
                f"Item {place} of {spec} has x of shape {tuple(value.shape)}, item 0 of "
                f"{tuple(first.shape)}; one shape is needed. Resize in the dataset."
            )
        x[place], y[place] = value, label
    names = getattr(data, "classes", None)
    known = (
        isinstance(names, (list, tuple))
        and len(names) > int(y.max())
        and all(isinstance(it, str) for it in names)
    )
    return x, y, tuple(map(utf8, names)) if known and names is not None else None


def _item(data: Any, place: int, spec: str) -> tuple[Tensor, int]:
    with user_code(f"Item {place} of {spec}", error=DataError):
        item = data[place]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(f"Item {place} of {spec} must be a pair (x, y); it is {_told(item)}.")
    value, label = item
    try:
        x = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
        numbers = x.dtype != torch.bool and not x.is_complex()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"x of item {place} of {spec} must be a tensor or an array of numbers; it is "
            f"{_told(value)}. Convert pictures in the dataset (x / 255)."
        ) from error
    if not numbers or x.ndim < 1:
        raise DataError(
            f"x of item {place} of {spec} must be a tensor or an array of numbers with at least "
            f"one axis; it is {_told(value)}."
        )
    try:
        number = label.item() if isinstance(label, (Tensor, np.ndarray, np.generic)) else label
    except (RuntimeError, ValueError):
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
        raise LabelError(
            f"y of item {place} of {spec} must be a class number from 0; it is {_told(label)}."
        )
    return x.detach().cpu().float(), number


def _told(value: object) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else ""
    return f"{type(value).__name__}{shape or ' ' + shorten(repr(value), 40)}"
