"""Put back some units of a layer, and see what the model says: the honest primitive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.errors import LayerError, ShapeError
from worldline.explain.carrying.places import Place, one_place
from worldline.explain.carrying.units import UnitKind, mask_of
from worldline.trace import Model, logits_in, untouched
from worldline.trace.layers import value_of, with_value
from worldline.trace.watching import watching

__all__ = ["UnitChoice", "patch", "patched"]

UnitChoice = int | Sequence[int] | Tensor
"""Which units: a number, several, a boolean mask (U,), or one a sample (N, U)."""


def patch(
    model: Model,
    x: Float[Tensor, "N ..."],
    donor: Float[Tensor, "N ..."],
    layer: str | nn.Module,
    units: UnitChoice,
    *,
    by: UnitKind = "channel",
    batch_size: int = 256,
) -> Float[Tensor, "N K"]:
    """What the model says of x with some units of a layer taken from a donor.

    z(x; a_u ← b_u for u in units), with a and b the layer's values for x and for the donor.

    Args:
        model: any model that a trace takes; no gradient is needed.
        x: (N, …) inputs.
        donor: (N, …) other inputs of the same shape, or values of the layer, (N, …) in its shape;
            where both shapes are the same they are inputs.
        layer: a layer's name, alias or module; ``input`` of any model.
        units: a number, several, a boolean mask (U,), or one a sample (N, U).
        by: kind of unit: ``channel``, ``position``, ``token``, ``head``, ``neuron``, ``pixel``, or
            ``auto``, by the layer's shape. At the input of pictures a unit is a pixel.
        batch_size: inputs in one pass.

    Returns:
        (N, K) logits, without gradients (:func:`patched` keeps them). With x itself as donor, or
        without units, those of x, to the bit (without fused attention, which would skip modules).

    Raises:
        LayerError: no such layer, none or several of that name, no units of that kind, a unit out
        of range. ShapeError: a donor or a mask that does not fit.

    Cost: two forward passes, one where the donor is values of the layer, and four of a few samples.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Identity())
    >>> _ = torch.nn.init.eye_(model[0].weight)
    >>> x, donor = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 6.0]])
    >>> wl.explain.patch(model, x, donor, "0", 1)
    tensor([[1., 6.]])
    """
    parts = []
    place = one_place(model, x, layer, by)
    mask = mask_of(units, place.units.count, len(x), f"layer {place.layer.name!r}")
    _check_donor(place, x, donor)
    for start in range(0, len(x), batch_size):
        here = slice(start, start + batch_size)
        some = mask if len(mask) == 1 else mask[here]
        with torch.no_grad(), _patching(model, place, donor[here], some, x.shape) as run:
            parts.append(run(x[here]))
    return torch.cat(parts)


@contextmanager
def patched(
    model: Model,
    donor: Float[Tensor, "N ..."],
    layer: str | nn.Module,
    units: UnitChoice,
    *,
    by: UnitKind = "channel",
    x: Tensor | None = None,
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside, the model runs with some units of a layer taken from a donor.

    :func:`patch` as a context manager, for passes of one's own: the model itself is patched too,
    where it is a module and the layer one inside of it. Afterwards it is as it was.

    Args:
        model, donor, layer, units, by: as of :func:`patch`.
        x: (N, …) a few inputs, where the donor is values of the layer.

    Yields:
        ``run(x) -> logits`` for N inputs, with gradients where they are enabled.

    >>> import torch, worldline as wl
    >>> model, x, donor = torch.nn.Linear(2, 3), torch.rand(4, 2), torch.rand(4, 2)
    >>> with wl.explain.patched(model, donor, "input", 0) as run:
    ...     logits = run(x)
    >>> torch.equal(logits, model(torch.cat((donor[:, :1], x[:, 1:]), 1)))
    True
    """
    few = donor if x is None else x
    place = one_place(model, few, layer, by)
    mask = mask_of(units, place.units.count, len(donor), f"layer {place.layer.name!r}")
    _check_donor(place, few, donor)
    with _patching(model, place, donor, mask, few.shape) as run:
        yield run


@contextmanager
def _patching(
    model: Model, place: Place, donor: Tensor, mask: Tensor, shape: torch.Size
) -> Iterator[Callable[[Tensor], Tensor]]:
    layer, units = place.layer, place.units
    given = None if donor.shape[1:] == shape[1:] else donor
    seen: list[Tensor] = []

    def visit(name: str, call: int, output: object) -> object:
        # the model may be called by others too, and is counted on
        if (name, call % layer.calls) != (layer.module, layer.call):
            return None
        value = value_of(layer, output, len(donor))
        if given is None:
            seen.append(value.clone())  # what follows may write into it
            return None
        seen.append(value)
        return with_value(layer, output, units.put(value, given, mask))

    with untouched(model), watching(model, visit, frozenset([layer.module])) as run:
        if given is None:
            with torch.no_grad():
                run(donor)
            given = seen.pop()
        mask = mask.to(given.device)

        def go(x: Tensor) -> Tensor:
            if len(x) != len(donor):
                raise ShapeError(
                    f"Each input needs one donor: {len(x)} inputs, {len(donor)} donors."
                )
            seen.clear()
            logits = logits_in(run(x), len(x))
            if not seen:
                raise LayerError(
                    f"Layer {layer.name!r} never ran in this forward pass. Choose one that always "
                    "runs."
                )
            return logits

        yield go


def _check_donor(place: Place, x: Tensor, donor: object) -> None:
    shapes = x.shape, (len(x), *place.layer.shape)
    if not isinstance(donor, Tensor) or donor.shape not in shapes:
        came = tuple(donor.shape) if isinstance(donor, Tensor) else type(donor).__name__
        raise ShapeError(
            f"The donor must be inputs {tuple(shapes[0])} or values {shapes[1]} of layer "
            f"{place.layer.name!r}; got {came}."
        )
    if (donor.dtype != x.dtype and donor.shape == x.shape) or not donor.is_floating_point():
        raise ShapeError(
            f"The donor must be like the inputs, {x.dtype} on {x.device}; got {donor.dtype} on "
            f"{donor.device}. Convert it with donor.to(x)."
        )
