"""Labels and twins that a trace is given, checked before any work. Each error says what to do."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from worldline.errors import BoundsError, LabelError, ShapeError

__all__ = ["check_finite", "check_layers", "check_twins", "labels_of", "named_labels"]


def labels_of(y: object, samples: int, *, classes: int | None = None) -> Tensor:
    """Labels (N,) as int64, by the rule of :func:`named_labels`; LabelError where they do not fit.

    >>> import torch
    >>> from worldline.inputs import labels_of
    >>> labels_of(torch.tensor([[1.0], [0.0]]), 2, classes=2)
    tensor([1, 0])
    """
    labels, _ = named_labels(y)
    if len(labels) != samples:
        raise LabelError(
            f"There must be one label for each sample: {samples} samples, {len(labels)} labels."
        )
    low, high = (int(labels.min()), int(labels.max())) if samples else (0, 0)
    if low >= 0 and (classes is None or high < classes):
        return labels
    offer = ""
    if low == 1 and high == classes:
        offer = " They seem to count from 1: pass y - 1."
    elif labels.unique().tolist() == [-1, 1]:
        offer = " They seem to be signs: pass y > 0."
    expected = (
        f"lie in 0…{classes - 1}, as the model has {classes} outputs"
        if classes is not None
        else "be class numbers from 0"
    )
    raise LabelError(f"Labels must {expected}; got {low}…{high}.{offer}")


def named_labels(
    y: object, class_names: tuple[str, ...] | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Labels as people hold them, as class numbers (N,), and the classes' names if told.

    Whole numbers of any dtype, also as floats or booleans and as a column (N, 1); words, which are
    then the names: numbered as in ``class_names``, else in sorted order. What has several columns
    is refused, with what to do: one-hot and soft labels, several labels a sample.

    Raises:
        LabelError: none of these.

    >>> from worldline.inputs import named_labels
    >>> named_labels(["dog", "cat", "dog"])
    (tensor([1, 0, 1]), ('cat', 'dog'))
    """
    if not isinstance(y, Tensor):
        y = _numbers_or_words(y)
    if not isinstance(y, Tensor):
        names = class_names or tuple(sorted(set(y)))
        place = {name: number for number, name in enumerate(names)}
        unknown = [word for word in y if word not in place]
        if unknown:
            raise LabelError(
                f"Label {unknown[0]!r} is none of the {len(names)} classes: {', '.join(names)}."
            )
        return torch.tensor([place[word] for word in y], dtype=torch.int64), names
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    came = f"{tuple(y.shape)} {y.dtype}"
    if y.ndim == 2 and not y.is_complex():
        raise LabelError(f"Labels must be class numbers (N,); got {came}, {_columns(y)}")
    if y.ndim != 1 or y.is_complex():
        raise LabelError(f"Labels must be class numbers (N,); got {came}.")
    if y.is_floating_point() and not bool((y == y.round()).all() & y.isfinite().all()):
        first = int((~(y.isfinite() & (y == y.round()))).nonzero()[0])
        raise LabelError(
            f"Labels must be whole class numbers; label {first} is {float(y[first]):g}. A "
            "regression target has no class."
        )
    return y.long(), class_names


def _numbers_or_words(y: object) -> Tensor | list[str]:
    try:
        found = np.asarray(y)
        if found.dtype.kind == "O":
            found = np.asarray(found.tolist())
        if found.dtype.kind == "S":
            found = np.char.decode(found, "utf-8", "replace")
        if found.dtype.kind == "U" and found.ndim == 1:
            words = [str(word) for word in found]
            if not all(word.isdecimal() for word in words):
                return words
            found = np.asarray([int(word) for word in words])
        return torch.from_numpy(found.astype(np.float64 if found.dtype.kind == "f" else np.int64))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise LabelError(
            f"Labels must be class numbers or names, one for each sample; got {type(y).__name__}."
        ) from None


def _columns(y: Tensor) -> str:
    """What labels (N, K ≥ 2) seem to be, and what to do."""
    binary, ones = bool(((y == 0) | (y == 1)).all()), y.double().sum(1)
    if binary and bool((ones == 1).all()):
        return "which looks one-hot. Pass y.argmax(1)."
    if binary:
        return (
            f"which looks multi-label: {int((ones != 1).sum())} samples have none or several. "
            "Worldline follows one class a sample; take one label, y[:, 0], and a model of that "
            "label's logit."
        )
    if y.is_floating_point() and bool(((ones - 1).abs() < 1e-3).all()):
        return "which looks like probabilities. Pass y.argmax(1)."
    return "with several columns. Pass the one that holds the class."


def check_finite(x: Tensor, what: str) -> None:
    """Refuse samples (N, …) that hold NaN or infinity, and name the first."""
    bad = (~torch.isfinite(x.flatten(1)).all(1)).nonzero().flatten().tolist()
    if bad:
        raise BoundsError(
            f"{what} must be finite; {len(bad)} samples hold NaN or infinity, first sample "
            f"{bad[0]}."
        )


def check_twins(x: Tensor, **twins: Tensor) -> None:
    """Refuse twins that are not one finite input like x for each sample.

    Args:
        x: (N, …) the clean inputs.
        twins: what each is called → (N, …).

    >>> import torch
    >>> from worldline.trace import check_twins
    >>> check_twins(torch.rand(3, 4), adversarial=torch.rand(3, 4))
    """
    for name, twin in twins.items():
        if not isinstance(twin, Tensor) or twin.shape != x.shape:
            came = tuple(twin.shape) if isinstance(twin, Tensor) else type(twin).__name__
            raise ShapeError(
                f"Each sample needs one {name} twin: {tuple(x.shape)} inputs, {came} twins."
            )
        if twin.dtype != x.dtype or twin.device != x.device:
            raise ShapeError(
                f"The {name} twins must be like the inputs, {x.dtype} on {x.device}; got "
                f"{twin.dtype} on {twin.device}. Convert them with twins.to(x)."
            )
        check_finite(twin, f"The {name} twins")


def check_layers(expected: int, came: int, what: str) -> None:
    """Refuse references that are not one a layer."""
    if expected != came:
        raise ShapeError(
            f"There must be one {what} for each layer: {expected} layers, {came} of them. Make "
            "them for the same layers."
        )
