"""Data as people hold them in Python: arrays, a data set, a loader's batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.encoder.experiments import LARGEST_SIDE
from worldline.errors import DataError, LabelError, ShapeError
from worldline.files import shorten, utf8
from worldline.inputs import Data, check_inputs, labels_of, named_labels, samples_of
from worldline.loading.archive import CLASSES
from worldline.loading.data import Held, beside, divided, shaded
from worldline.loading.datasets import Items, read_batches, read_items, told
from worldline.loading.embeddings import match_embeddings
from worldline.loading.naming import choose_pairs
from worldline.settings import Bounds
from worldline.trace import untouched
from worldline.zoo import PartnerEmbeddings

__all__ = ["hold_data", "hold_embeddings", "hold_picture"]

NAME = "the given data"


def hold_data(
    x: Any,
    y: Any = None,
    *,
    reference: tuple[Any, Any] | None = None,
    class_names: tuple[str, ...] | None = None,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
) -> Data:
    """Samples that are here already.

    Args:
        x: inputs (N, …): a tensor, an array, a table of pandas or polars, whose columns then have
            names, or an object that holds them as ``.x``; or, without y, a pair of arrays (x, y), a
            mapping of arrays by the usual names (``data``/``target``, ``x_test``/``y_test``), a
            data set of (x, y) (anything with a length and numbered items) or batches of (x, y)
            (a ``DataLoader``, any iterable), which are read in the order in which they come.
        y: (N,) labels, as :func:`worldline.inputs.named_labels` takes them; or the name of a column
            of the table x, which then is no input.
        reference: (x, y) that no attack sees, for frames and class means; without them every second
            sample of each class becomes it.
        class_names: one for each class; default: those that come with the data.
        bounds: lowest and highest legal value of x.
        seed: of a data set or a loader that draws at random.

    Raises:
        DataError, ShapeError, BoundsError, LabelError: what was given is none of these, or does not
            fit together.

    Nothing is written to; random states are left as they were. Cost: no copy of arrays.

    >>> import torch
    >>> from worldline.loading import hold_data
    >>> hold_data(torch.rand(6, 3), [0, 1, 0, 1, 0, 1]).rows
    tensor([0, 1, 4, 5])
    """
    if y is None and reference is None:
        x, y, reference, class_names = _together(x, class_names)
    held = _held(x, y, bounds, class_names, seed)
    names, highest = held.class_names, int(held.y.max())
    if names is not None and len(names) <= highest:
        raise LabelError(f"There are {len(names)} class names; the labels go up to {highest}.")
    if reference is None:
        return divided(NAME, NAME, held, bounds)
    if not isinstance(reference, (tuple, list)) or len(reference) != 2:
        raise DataError(f"The reference must be a pair (x, y); got {told(reference)}.")
    return beside(NAME, held, _held(*reference, bounds, names, seed), bounds)


def hold_embeddings(data: Any, seed: int = 0) -> PartnerEmbeddings:
    """A pair (a, b) of matched embeddings, as :func:`worldline.loading.load_embeddings` reads them.

    >>> import torch
    >>> from worldline.loading import hold_embeddings
    >>> hold_embeddings((torch.eye(40), torch.eye(40))).origin
    '40 pairs of the given data'
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise DataError(f"data must be a pair (a, b) of embeddings; got {told(data)}.")
    a, b = (np.asarray(it.detach().cpu() if isinstance(it, Tensor) else it) for it in data)
    return match_embeddings(a, b, NAME, seed=seed)


def hold_picture(image: Any) -> Float[Tensor, "H W"]:
    """A grey picture in 0…1, from a tensor, an array or a Pillow image; bytes are divided by 255.

    >>> import torch
    >>> from worldline.loading import hold_picture
    >>> hold_picture(torch.tensor([[0, 255]], dtype=torch.uint8))
    tensor([[0., 1.]], dtype=torch.float64)
    """
    pixels = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image)
    if pixels.ndim != 2 or pixels.dtype.kind not in "fiu" or max(pixels.shape) > LARGEST_SIDE:
        raise ShapeError(
            f"image must be a grey picture (H, W) of at most {LARGEST_SIDE}×{LARGEST_SIDE} pixels; "
            f"got {told(image)}."
        )
    scaled = pixels.astype(float) / (255 if pixels.dtype == np.uint8 else 1)
    check_inputs(picture := torch.from_numpy(scaled), (0, 1))
    return picture


def _held(x: Any, y: Any, bounds: Bounds, names: tuple[str, ...] | None, seed: int) -> Held:
    """On the CPU."""
    x, y, columns = _columns(x, y)
    if not _is_array(x) and _is_array(getattr(x, "x", None)) and not hasattr(x, "__getitem__"):
        x = x.x  # what an attack found
    if y is not None and not _is_array(x) and not isinstance(x, (list, tuple)):
        raise DataError(
            f"x must be a tensor or an array (N, …) where y is given; got {told(x)}. A data set or "
            "a loader of (x, y) comes without y."
        )
    if y is None and _is_array(x):
        raise LabelError(
            f"y is missing: x is {told(x)}, so give its labels as y, or a data set or a loader of "
            "(x, y)."
        )
    if y is None:
        x, y, found, pictures = _read(x, seed)
        x = shaded(x, bounds) if pictures else x
        names = names or found
    with np.errstate(all="ignore"):  # what overflows is not finite, and told as that
        inputs, done = samples_of(x.detach().cpu() if isinstance(x, Tensor) else x, bounds)
    labels, names = named_labels(y.detach().cpu() if isinstance(y, Tensor) else y, names)
    return Held(inputs, labels_of(labels, len(inputs)), names, done, columns)


def _columns(x: Any, y: Any) -> tuple[Any, Any, tuple[str, ...] | None]:
    """Of a table its inputs, its labels, where a column of it was named, and its columns' names."""
    titles = getattr(x, "columns", None)
    if titles is None or not _is_array(x) or getattr(x, "ndim", 2) != 2:
        return x, y, None
    if y is None:
        raise LabelError(
            "y is missing: give the labels, or the name of their column, one of "
            f"{shorten(', '.join(map(str, titles)), 200)}."
        )
    titles = list(titles)
    if isinstance(y, str):
        if titles.count(y) != 1:
            shown = shorten(", ".join(map(str, titles)), 200)
            raise LabelError(f"{shorten(y)!r} is no column of the table; they are {shown}.")
        y, titles = x[y], [it for it in titles if it != y]
    return _numbers(x, titles), y, tuple(utf8(str(it)) for it in titles)


def _numbers(table: Any, titles: list[Any]) -> np.ndarray:
    """(N, D) of the columns of a table: numbers, true or false."""
    columns = [np.asarray(table[it]) for it in titles]
    others = [str(it) for it, values in zip(titles, columns, strict=True) if not _counts(values)]
    if others:
        raise DataError(
            "Inputs are numbers; these columns of the table hold others: "
            f"{shorten(', '.join(others), 200)}. Turn them into numbers (pandas.get_dummies), or "
            "leave them out; the column of the labels is named as y."
        )
    x = np.stack([it.astype(np.float64) for it in columns], 1) if columns else np.empty((0, 0))
    empty = np.isnan(x)
    if empty.any():
        row, place = np.argwhere(empty)[0]
        raise DataError(
            f"Column {shorten(str(titles[place]), 40)!r} of the table is empty in row {row} (of "
            f"{int(empty[:, place].sum()):,}). Fill it, or drop those rows or the column."
        )
    return x


def _counts(values: np.ndarray) -> bool:
    return values.ndim == 1 and values.dtype.kind in "fiub"


def _together(
    x: Any, names: tuple[str, ...] | None
) -> tuple[Any, Any, tuple[Any, Any] | None, tuple[str, ...] | None]:
    """Inputs, labels, reference and class names that come as one: a pair, or arrays by name."""
    if isinstance(x, (tuple, list)) and len(x) == 2 and all(map(_is_array, x)):
        first, second = (tuple(it.shape) for it in x)
        labels = len(first) > 1 and first[:1] == second[:1] and len(second) <= 2
        return (*x, None, names) if labels else (x, None, None, names)
    if not isinstance(x, Mapping):
        return x, None, None, names
    arrays = [str(it) for it, value in x.items() if _is_array(value) or isinstance(value, list)]
    pair, reference, _ = choose_pairs(arrays, "The mapping")
    said = next((x[it] for it in CLASSES if it in x and it not in pair), None)
    if names is None and said is not None:
        names = tuple(str(it) for it in said)
    given = (x[reference[0]], x[reference[1]]) if reference else None
    return x[pair[0]], x[pair[1]], given, names


def _is_array(x: object) -> bool:
    return isinstance(x, Tensor) or hasattr(x, "__array__")


def _read(data: Any, seed: int) -> Items:
    """A data set or batches, with the process's random states left as they were."""
    numbered = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if isinstance(data, (str, bytes, dict)) or not (numbered or hasattr(data, "__iter__")):
        raise DataError(
            "x must be a tensor or an array (N, …) with labels y, or a data set or loader of "
            f"(x, y); got {told(data)}."
        )
    with untouched(nn.Identity()):
        torch.manual_seed(seed)
        return (read_items if numbered else read_batches)(data, f"the {type(data).__name__}")
