"""Labels and twins that a trace is given, checked before any work. Each error says what to do."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.errors import BoundsError, LabelError, ShapeError
from worldline.trace.values import shape_of

__all__ = ["check_finite", "check_labels", "check_layers", "check_twins"]


def check_labels(y: Tensor, samples: int, *, classes: int | None = None) -> None:
    """Refuse labels that are not (N,) integers in 0…K−1."""
    came = shape_of(y)
    if isinstance(y, Tensor) and y.ndim == 2 and len(y) == samples:
        raise LabelError(
            f"Labels must be class numbers (N,); got {came}, which looks one-hot. Pass y.argmax(1)."
        )
    if not isinstance(y, Tensor) or y.ndim != 1 or y.is_floating_point() or y.dtype == torch.bool:
        raise LabelError(f"Labels must be an integer tensor (N,); got {came}.")
    if len(y) != samples:
        raise LabelError(
            f"There must be one label for each sample: {samples} samples, {len(y)} labels."
        )
    if classes is not None and samples and not (int(y.min()) >= 0 and int(y.max()) < classes):
        raise LabelError(
            f"Labels must lie in 0…{classes - 1}, as the model has {classes} outputs; got "
            f"{int(y.min())}…{int(y.max())}."
        )


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
