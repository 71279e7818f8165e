"""Samples from a factory of a torch ``Dataset`` or ``DataLoader``: the user's code, run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from worldline.errors import DataError, LabelError
from worldline.files import available_memory, shorten, utf8
from worldline.inputs import named_labels
from worldline.loading.found import Asked, Found, check_memory
from worldline.loading.imports import ARGUMENTS, import_object, user_code
from worldline.loading.pixels import Picture, one_picture
from worldline.trace import untouched

__all__ = ["Items", "read_batches", "read_dataset", "read_items", "told"]

X_KEYS = ("image", "images", "img", "pixel_values", "x", "inputs", "input", "data", "features")
Y_KEYS = ("label", "labels", "y", "target", "targets", "class")
FEWER = "Return fewer, for instance torch.utils.data.Subset(data, range(1000))."
SHUFFLED = (
    "The DataLoader draws its samples in an order of its own; rows are called by the order in "
    "which they came. With shuffle=False they are those of its dataset."
)
Keys = tuple[str, str]  # of inputs and labels in dicts; empty for the usual ones


class Items(NamedTuple):
    """What was read: inputs, labels, the names of classes, and whether all inputs are pictures."""

    x: Tensor
    y: Tensor | list[str]
    class_names: tuple[str, ...] | None
    pictures: bool


def read_dataset(asked: Asked) -> tuple[Found, None]:
    """All samples of the dataset that a factory returns.

    A factory named on the command line is code, and is run: importing its module and calling it
    can do anything that you can.

    Args:
        asked: the factory as ``package.module:make`` or ``file.py:make``; called without arguments;
            a dataset under that name is taken as it is. It has a length and gives (x, y) for every
            number from 0: a ``Dataset``, a ``TensorDataset``, a list; or it is a ``DataLoader``.
            (x, y, index) and dicts such as ``{"image": …, "label": …}`` are taken too. x is a
            tensor or array of one shape, or a picture of Pillow's; y as
            :func:`worldline.inputs.named_labels` takes it.

    Returns:
        x (N, …) float32, or uint8 for bytes and for pictures, which will be scaled to the bounds;
        y; and the dataset's ``classes`` if it names them, as torchvision's do, or those of its
        ``features``, as Hugging Face's do.

    Raises:
        DataError: no map-style dataset, too large, or an item that raises or does not fit; says
            which item.

    Cost: the samples, once; each item is asked for once.

    >>> import sys, types
    >>> module = sys.modules["my_samples"] = types.ModuleType("my_samples")
    >>> module.make = lambda: [(np.zeros((1, 2, 2)), 0), (np.ones((1, 2, 2)), 1)]
    >>> found, _ = read_dataset(Asked("my_samples:make"))
    >>> found.x.shape, found.y.tolist(), found.class_names
    (torch.Size([2, 1, 2, 2]), [0, 1], None)
    """
    spec, keys = asked.spec, (asked.x, asked.y)
    notes: tuple[str, ...] = ()
    data: Any = import_object(spec, error=DataError)
    ready = isinstance(data, DataLoader) or hasattr(data, "__getitem__")
    if isinstance(data, type) or (callable(data) and not ready):
        advice = "It is called without arguments."
        with user_code(f"The factory {spec}", advice, fits=ARGUMENTS, error=DataError):
            data = data()
    if isinstance(data, DataLoader):
        notes = () if isinstance(data.sampler, SequentialSampler) else (SHUFFLED,)
        with untouched(nn.Identity()):
            torch.manual_seed(0)  # a second run is given the same samples
            items = read_batches(data, spec, limit=asked.limit, keys=keys)
    elif isinstance(data, dict) or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise DataError(
            f"The factory {spec} must return a dataset of (x, y) with a length: a torch Dataset, "
            f"TensorDataset, DataLoader or list; it returned {type(data).__name__}. Make an "
            "IterableDataset a list first."
        )
    else:
        items = read_items(data, spec, limit=asked.limit, keys=keys, image_size=asked.image_size)
    told = f"x of {spec}", f"y of {spec}"
    return Found(items.x, items.y, *told, "", items.class_names, notes, items.pictures), None


def read_items(
    data: Any, spec: str, *, limit: int | None = None, keys: Keys = ("", ""), image_size: int = 0
) -> Items:
    """All samples of a dataset that is here, called ``spec`` in messages; as :func:`read_dataset`.

    >>> from worldline.loading.datasets import read_items
    >>> read_items([([0.5], 1), ([0.0], 0)], "mine")[1]
    tensor([1, 0])
    """
    with user_code(f"The length of the dataset of {spec}", error=DataError):
        count = len(data)
    if count < 1:
        raise DataError(f"The dataset of {spec} is empty.")
    limit = available_memory() // 2 if limit is None else limit
    x, labels, pictures = torch.empty(0), [], True
    for place in range(count):
        with user_code(f"Item {place} of {spec}", error=DataError):
            item = data[place]
        given, label = _parts(item, f"Item {place} of {spec}", keys)
        value = _value(given, f"x of item {place} of {spec}", image_size)
        if place == 0:
            shape = tuple(value.shape)
            check_memory(
                4 * count * value.numel(),
                limit,
                f"{count:,} samples of shape {shape} in {spec}",
                FEWER,
            )
            kept = value.dtype if value.dtype == torch.uint8 else torch.float32
            x = torch.empty(count, *shape, dtype=kept)
        picture = isinstance(given, Image.Image)
        pictures = pictures and picture
        if picture and len(value) > x.shape[1]:
            x = x.expand(-1, len(value), -1, -1).clone()  # the first colour among grey ones
        _check_like(value, x, place, spec, picture)
        x[place] = value
        labels.append(_label(label, f"y of item {place} of {spec}"))
    words = [str(it) for it in labels] if isinstance(labels[0], str) else None
    y = words or torch.from_numpy(np.asarray(labels))
    return Items(x, y, _names(data, keys[1]), pictures)


def read_batches(data: Any, spec: str, *, limit: int | None = None, keys: Keys = ("", "")) -> Items:
    """All samples of batches (x, y), such as a ``DataLoader``'s, in the order in which they come.

    >>> from worldline.loading.datasets import read_batches
    >>> read_batches([(torch.zeros(2, 3), [0, 1]), (torch.ones(1, 3), [1])], "mine")[0].shape
    torch.Size([3, 3])
    """
    limit, size = available_memory() // 2 if limit is None else limit, 0
    items: list[tuple[Any, Any]] = []
    with user_code(f"Reading {spec}", error=DataError):
        for number, batch in enumerate(data):
            parts = _parts(batch, f"Batch {number} of {spec}", keys)
            lengths = [len(it) if hasattr(it, "__len__") else -1 for it in parts]
            if lengths[0] != lengths[1] or lengths[0] < 0:
                raise DataError(
                    f"Batch {number} of {spec} must be (x, y), as many labels as inputs; it is "
                    f"{told(batch)}."
                )
            items += zip(*parts, strict=True)
            size += 4 * int(np.prod(getattr(parts[0], "shape", (0,))))
            check_memory(2 * size, limit, f"The samples of {spec}", FEWER)
    found = read_items(items, spec, limit=limit)
    return found._replace(class_names=_names(data, keys[1]))


def _parts(item: Any, what: str, keys: Keys) -> tuple[Any, Any]:
    """Inputs and labels of (x, y), (x, y, index) or a dict."""
    if isinstance(item, (tuple, list)) and len(item) in (2, 3):
        return item[0], item[1]
    if not isinstance(item, Mapping):
        raise DataError(
            f"{what} must be a pair (x, y), (x, y, index), or a dict such as "
            f"{{'image': …, 'label': …}}; it is {told(item)}."
        )
    chosen = []
    for asked, usual, flag in zip(keys, (X_KEYS, Y_KEYS), ("x", "y"), strict=True):
        found = [it for it in ((asked,) if asked else usual) if it in item]
        if not found:
            held = shorten(", ".join(map(str, item)), 200)
            raise DataError(
                f"{what} has no {shorten(asked, 60) or flag}: it is a dict of {held}. Name the key "
                f"with --{flag}, or call it {usual[0]}."
            )
        chosen.append(item[found[0]])
    return chosen[0], chosen[1]


def _value(value: Any, what: str, image_size: int) -> Tensor:
    if isinstance(value, Image.Image):
        return one_picture(Picture(what, value.copy), image_size)
    try:
        x = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{what} must be a tensor, an array of numbers or a picture; it is {told(value)}."
        ) from error
    if x.dtype == torch.bool or x.is_complex() or x.ndim < 1:
        raise DataError(
            f"{what} must be a tensor or an array of numbers with at least one axis; it is "
            f"{told(value)}."
        )
    return x.detach().cpu()


def _check_like(value: Tensor, x: Tensor, place: int, spec: str, picture: bool) -> None:
    shape, expected = tuple(value.shape), tuple(x.shape[1:])
    if shape != expected and not (picture and shape[1:] == expected[1:]):
        offer = "Give --image-size N" if picture else "Resize in the dataset"
        raise DataError(
            f"Item {place} of {spec} has x of shape {shape}, item 0 of {expected}; one shape is "
            f"needed. {offer}."
        )
    if (value.dtype == torch.uint8) != (x.dtype == torch.uint8):
        raise DataError(
            f"Item {place} of {spec} has x of {value.dtype}, item 0 does not; bytes and other "
            "numbers are not mixed. Convert them in the dataset."
        )


def _label(label: Any, what: str) -> int | float | str:
    """One label as a number or word; what has several numbers is told by the rule for labels."""
    try:
        if isinstance(label, (Tensor, np.ndarray, list, tuple)):
            whole = torch.as_tensor(label).detach().cpu()
            if whole.numel() != 1:
                named_labels(whole.reshape(1, -1))
            label = whole.item()
        label = label.item() if isinstance(label, np.generic) else label
    except LabelError as error:
        raise LabelError(f"{what}: {error}") from None
    except (TypeError, ValueError, RuntimeError):
        pass
    if not isinstance(label, (int, float, str)):
        raise LabelError(f"{what} must be a class number from 0, or a name; it is {told(label)}.")
    return label


def _names(data: Any, key: str) -> tuple[str, ...] | None:
    """The classes that a dataset, or the one inside a loader or subset, names."""
    for _ in range(10):
        features = getattr(data, "features", None)
        labels = (key,) if key else Y_KEYS
        found = [getattr(data, "classes", None)]
        if isinstance(features, Mapping):
            found += [getattr(features[it], "names", None) for it in labels if it in features]
        for names in found:
            if isinstance(names, (list, tuple)) and all(isinstance(it, str) for it in names):
                return tuple(map(utf8, names)) or None
        data = getattr(data, "dataset", None)
    return None


def told(value: object) -> str:
    """What something is, in a message."""
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else ""
    return f"{type(value).__name__}{shape or ' ' + shorten(repr(value), 40)}"
