"""What users give (inputs, labels, bounds, a model's output) and its checks. Each error says what
to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import BoundsError, LabelError, ShapeError, UsageError
from worldline.trace.opening import Model
from worldline.trace.values import logits_in

__all__ = ["Data", "check_inputs", "check_labels", "logits_of", "set_apart"]

TOLERANCE = 1e-5
"""How far, relative to the width of the bounds, a value may lie outside: rounding of a division by
255 and the like.
"""


def check_inputs(x: Tensor, bounds: tuple[float, float]) -> None:
    """Refuse inputs that are not a floating (N, …) tensor, finite, inside the bounds."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        came = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(
            f"Inputs must be a floating tensor (N, …); got {came}. Convert with x.float(), or, "
            f"where they are token numbers, pass "
            "their embeddings to a module that goes on from there."
        )
    if x.ndim < 2 or x.numel() == 0:
        raise ShapeError(
            f"Inputs must have shape (N, …) with at least one sample; got {tuple(x.shape)}."
        )
    low, high = float(x.min()), float(x.max())  # NaN propagates through both
    if not (low > -torch.inf and high < torch.inf):
        bad = (~torch.isfinite(x.flatten(1)).all(1)).nonzero().flatten().tolist()
        raise BoundsError(
            f"Inputs must be finite; {len(bad)} samples hold NaN or infinity, first sample "
            f"{bad[0]}."
        )
    slack = TOLERANCE * (bounds[1] - bounds[0])
    if low < bounds[0] - slack or high > bounds[1] + slack:
        raise BoundsError(
            f"Input range [{low:.4g}, {high:.4g}] is outside bounds ({bounds[0]:g}, "
            f"{bounds[1]:g}); pass the bounds of "
            "your data, or move the normalisation into the model."
        )


def check_labels(y: Tensor, samples: int, *, classes: int | None = None) -> None:
    """Refuse labels that are not (N,) integers in 0…K−1."""
    came = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
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


def logits_of(model: Model, x: Tensor) -> Tensor:
    """The model's logits (N, K), K ≥ 2, by the rule of :func:`worldline.trace.logits_in`.

    The model gets a copy, as its forward may write into its input (an in-place first module, ``x -=
    mean``).
    """
    return logits_in(model(x.clone()), len(x))


@dataclass(frozen=True)
class Data:
    """Samples to explain, and reference samples that no attack sees.

    Attributes:
        name: where they come from.
        x, y: (N, …) inputs and (N,) labels.
        rows: (N,) where each sample stands in what the user gave: its name in every table.
        reference_x, reference_y: for frames and class means.
        bounds: lowest and highest legal value of the inputs, in pixel units.
        split: in words, how the reference was set apart.
        class_names: one for each class, or None.
        reference_rows: where the reference stands in what the user gave; None where it came apart.
    """

    name: str
    x: Tensor
    y: Tensor
    rows: Tensor
    reference_x: Tensor
    reference_y: Tensor
    bounds: tuple[float, float]
    split: str
    class_names: tuple[str, ...] | None = None
    reference_rows: Tensor | None = None

    def place(self, row: int) -> int:
        """Where in ``x`` a row of what the user gave is.

        Raises:
            UsageError: the row is reference, or there is none such.

        >>> from worldline import zoo
        >>> zoo.digits().place(5)
        5
        """
        found = (self.rows == row).nonzero().flatten()
        if len(found):
            return int(found[0])
        if self.reference_rows is not None and bool((self.reference_rows == row).any()):
            raise UsageError(
                f"Row {row} of {self.name} became reference, as no reference came with the data: "
                f"{self.split}. Name a row that did not (such as {self._nearest(row)}), or give "
                f"reference_x and reference_y."
            )
        raise UsageError(
            f"{self.name} has no row {row}: the rows that can be named go from {int(self.rows[0])} "
            f"to {int(self.rows[-1])}."
        )

    def _nearest(self, row: int) -> int:
        return int(self.rows[(self.rows - row).abs().argmin()])


def set_apart(y: Tensor) -> tuple[Tensor, Tensor]:
    """Rows to explain and rows for reference: every second sample of each class, in the order
    given.

    >>> import torch
    >>> from worldline.inputs import set_apart
    >>> set_apart(torch.tensor([0, 1, 0, 1, 0]))
    (tensor([0, 1, 4]), tensor([2, 3]))
    """
    place = torch.zeros_like(y)
    for label in y.unique():
        member = y == label
        place[member] = torch.arange(int(member.sum()), device=y.device)
    return (place % 2 == 0).nonzero().flatten(), (place % 2 == 1).nonzero().flatten()
