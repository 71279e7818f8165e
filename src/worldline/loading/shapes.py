"""A model from a file says which inputs it takes, before an operator stumbles over others."""

from __future__ import annotations

from torch import Tensor, nn

from worldline.errors import ShapeError

__all__ = ["ExpectedShape", "shape_to_try"]

UNKNOWN = 32  # taken for a size that nobody says


def shape_to_try(
    declared: tuple[int | None, ...], sample: tuple[int, ...] | None, samples: int
) -> tuple[int, ...]:
    """A batch on which a model is tried: what its file declares, and the data's sizes for the rest.

    Args:
        declared: sizes, the batch first; None for any.
        sample: shape of one sample of the data, with its channels first or last; left alone where
            it does not fit what is declared.
        samples: the size of the batch, where it is free.

    >>> shape_to_try((None, 3, None, None), (3, 8, 9), 2), shape_to_try((1, None, 4), None, 2)
    ((2, 3, 8, 9), (1, 32, 4))
    >>> shape_to_try((None, 3, None, None), (8, 9, 3), 2)  # channels last
    (2, 3, 8, 9)
    """
    batch, *sides = declared or (None,)
    tried = [tuple(sample), (*sample[-1:], *sample[:-1])] if sample else []
    for shape in tried:
        if len(shape) == len(sides) and all(
            side in (None, size) for side, size in zip(sides, shape, strict=True)
        ):
            return (batch or samples, *shape)
    return (batch or samples, *(side or UNKNOWN for side in sides))


class ExpectedShape(nn.Module):
    """Hands its input on, unchanged, if its shape is the expected one.

    Args:
        shape: sizes, the batch first; None for any.
        what: what the sentence calls the model.

    >>> import torch
    >>> ExpectedShape((None, 4), "the ONNX graph")(torch.ones(3, 4)).shape
    torch.Size([3, 4])
    """

    def __init__(self, shape: tuple[int | None, ...], what: str) -> None:
        super().__init__()
        self.shape, self.what = shape, what

    def forward(self, x: Tensor) -> Tensor:
        """Check and hand on."""
        came = tuple(x.shape)
        if len(came) != len(self.shape) or any(
            side not in (None, size) for side, size in zip(self.shape[1:], came[1:], strict=True)
        ):
            wanted = ", ".join("any" if side is None else str(side) for side in self.shape)
            raise ShapeError(
                f"Inputs must have the shape ({wanted}) that {self.what} was made for; got {came}."
            )
        if self.shape[:1] not in ((None,), came[:1]):
            raise ShapeError(
                f"{self.what[0].upper()}{self.what[1:]} was made for batches of exactly "
                f"{self.shape[0]}; {came[0]} inputs came. Export it with a dynamic batch "
                "dimension: torch.export.export(model, (x,), dynamic_shapes=({0: "
                "torch.export.Dim('batch')},)), or torch.onnx.export(model, (x,), path, "
                "dynamo=True, dynamic_shapes=({0: torch.export.Dim('batch')},))."
            )
        return x

    def extra_repr(self) -> str:
        """The shape."""
        return str(self.shape)
