"""What users give (inputs, labels, bounds, a model's output), checked; errors say what to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.errors import BoundsError, ShapeError, UsageError
from worldline.geometry import check_frame_name
from worldline.settings import Bounds, Settings
from worldline.trace.given import check_finite, labels_of, named_labels
from worldline.trace.guard import untouched
from worldline.trace.opening import Model, in_dtype_of, open_model
from worldline.trace.values import logits_in

__all__ = [
    "Data",
    "check_inputs",
    "check_settings",
    "ends_in_sigmoid",
    "in_dtype_of",
    "labels_of",
    "logits_of",
    "named_labels",
    "samples_of",
    "set_apart",
]

TOKENS = (
    "They are whole numbers ({}): if they number tokens, a text model takes their embeddings "
    "instead, model(inputs_embeds=…), as nothing lies between two tokens."
)
RESHAPING = ("View", "Unsafe", "Reshape", "Squeeze", "Unsqueeze", "Select", "Alias", "ToCopy")
TOLERANCE = 1e-5
"""How far outside a value may lie, relative to the width of the bounds: rounding of a division."""


def check_inputs(x: Tensor, bounds: Bounds) -> None:
    """Refuse inputs that are not a floating (N, …) tensor, finite, inside the bounds."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        came = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(
            f"Inputs must be a floating tensor (N, …); got {came}. Convert with x.float(), or, "
            "where they are token numbers, pass their embeddings to a module that goes on from "
            "there."
        )
    if x.ndim < 2 or x.numel() == 0:
        raise ShapeError(
            f"Inputs must have shape (N, …) with at least one sample; got {tuple(x.shape)}."
        )
    low, high = float(x.min()), float(x.max())  # NaN propagates through both
    if not (low > -torch.inf and high < torch.inf):
        check_finite(x, "Inputs")
    slack = TOLERANCE * (bounds[1] - bounds[0])
    if low < bounds[0] - slack or high > bounds[1] + slack:
        pixels = tuple(bounds) == (0, 1) and low >= 0 and 1 < high <= 255
        offer = (
            "they look like pixels: divide them by 255 if the model wants 0…1, else pass the "
            "bounds 0,255 (and an ε in those units)."
            if pixels and high > 200
            else "pass the bounds of your data, or move the normalisation into the model."
        )
        raise BoundsError(
            f"Input range [{low:.4g}, {high:.4g}] is outside bounds ({bounds[0]:g}, "
            f"{bounds[1]:g}); {offer}"
        )


def samples_of(x: object, bounds: Bounds) -> tuple[Tensor, tuple[str, ...]]:
    """Inputs (N, …) as people hold them, as a floating tensor inside the bounds, and what was done.

    A tensor or anything that NumPy takes for an array of numbers. Bytes (uint8) with the bounds
    (0, 1) are pixels and become x/255, which is said; other whole numbers keep their units.

    Raises:
        ShapeError, BoundsError: no such array, or outside the bounds; values that look like pixels
            from 0 to 255 are offered their scaling.

    >>> import torch
    >>> from worldline.inputs import samples_of
    >>> samples_of(torch.tensor([[0, 255]], dtype=torch.uint8), (0, 1))
    (tensor([[0., 1.]]), ('The inputs are bytes: they were divided by 255, into 0…1.',))
    """
    if not isinstance(x, Tensor):
        try:
            array = np.asarray(x)
            if array.dtype.kind not in "fiu":
                raise TypeError(array.dtype)
            kept = array.dtype.kind == "f" or array.dtype == np.uint8
            dtype = array.dtype.newbyteorder("=") if kept else np.dtype(np.float32)
            x = torch.from_numpy(array.astype(dtype))
        except (TypeError, ValueError, RuntimeError):
            raise ShapeError(
                f"Inputs must be a tensor or an array of numbers (N, …); got {type(x).__name__}."
            ) from None
    notes: tuple[str, ...] = ()
    if x.dtype == torch.uint8 and tuple(bounds) == (0, 1):
        x, notes = x / 255, ("The inputs are bytes: they were divided by 255, into 0…1.",)
    whole = not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
    try:
        check_inputs(x.float() if whole else x, bounds)
    except BoundsError as error:
        if not whole or x.dtype == torch.uint8:
            raise
        raise BoundsError(f"{error} {TOKENS.format(x.dtype)}") from None
    return x.float() if whole else x, notes


def check_settings(settings: Settings) -> None:
    """Refuse bounds, a frame, a batch size or a seed that no computation can use."""
    check_frame_name(settings.frame)
    low, high = settings.bounds
    if not -torch.inf < low < high < torch.inf:
        raise UsageError(f"Bounds must be finite, with low < high; got ({low}, {high}).")
    if settings.batch_size < 1:
        raise UsageError(f"A batch must hold at least one input; got {settings.batch_size}.")
    if not 0 <= settings.seed < 2**63:
        raise UsageError(f"A seed must lie in 0…2⁶³ − 1; got {settings.seed}.")


def logits_of(model: Model, x: Tensor) -> Tensor:
    """The model's logits (N, K), K ≥ 2, by the rule of :func:`worldline.trace.logits_in`.

    The model gets a copy in the dtype of its weights, as its forward may write into its input
    (``x -= mean``).
    """
    return logits_in(model(in_dtype_of(model, x).clone()), len(x))


def ends_in_sigmoid(model: Model, x: Tensor) -> bool:
    """Whether a model gives one number a sample that a sigmoid made; False where none can say.

    Its last operation is looked for in the graph of gradients, behind changes of shape.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Sigmoid())
    >>> ends_in_sigmoid(model, torch.ones(3, 2))
    True
    """
    with untouched(model), torch.enable_grad():
        try:
            inputs = in_dtype_of(model, x).clone().requires_grad_()
            output = open_model(model).call(inputs.clone())
        except Exception:  # what takes no gradient has none to tell
            return False
        if not isinstance(output, Tensor) or output.numel() != len(x):
            return False
        step = output.grad_fn
        while step is not None and step.name().startswith(RESHAPING):
            step = step.next_functions[0][0]
        return step is not None and step.name().startswith("Sigmoid")


@dataclass(frozen=True)
class Data:
    """Samples to explain, and reference samples that no attack sees.

    Attributes:
        name: where they come from.
        x, y: (N, …) inputs and (N,) labels.
        rows: (N,) where each sample stands in what the user gave: its name in every table.
        reference_x, reference_y: for frames and class means.
        bounds: lowest and highest legal value of the inputs, in pixel units.
        box: these by entry of one input, where they differ; None where they do not.
        split: in words, how the reference was set apart.
        class_names: one for each class, or None.
        reference_rows: where the reference stands in what the user gave; None where it came apart.
        conversions: what was done to what was given, in sentences.
        feature_names: one for each column of a table, or None.
    """

    name: str
    x: Tensor
    y: Tensor
    rows: Tensor
    reference_x: Tensor
    reference_y: Tensor
    bounds: Bounds
    split: str
    class_names: tuple[str, ...] | None = None
    reference_rows: Tensor | None = None
    conversions: tuple[str, ...] = ()
    feature_names: tuple[str, ...] | None = None
    box: tuple[Tensor, Tensor] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said of it: conversions, and that half of it became the reference."""
        if self.reference_rows is None:
            return self.conversions
        return (
            *self.conversions,
            f"No reference came with the data: {self.split}. Samples are called by their rows in "
            f"what was given.",
        )

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
    """Rows to explain, and rows for reference: every second sample of each class, in order.

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
