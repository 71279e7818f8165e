"""A model and data that do not fit at once: axes in another order, shapes that are not there yet.

What was done is said in the data's conversions.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from worldline.inputs import Data, in_dtype_of, logits_of
from worldline.loading.black_box import BlackBox
from worldline.loading.imports import user_code
from worldline.loading.onnx_model import OnnxGraph
from worldline.trace import logits_in, untouched
from worldline.trace.opening import open_model as opened

__all__ = ["channels_last", "fitted", "is_lazy", "note_of", "ready"]

CHANNELS = (1, 3, 4)
PICTURES = 4
"""Dimensions of (N, H, W, C)."""
Order = Callable[[Tensor], Tensor]
ORDERS: tuple[tuple[str, int, int, Order], ...] = (
    ("Pictures {0} were turned to channels first.", 4, 4, lambda x: x.movedim(-1, 1)),
    ("Inputs {0} were turned to channels first: {1}.", 3, 5, lambda x: x.movedim(-1, 1)),
    ("Inputs {0} were given one channel: {1}.", 2, 4, lambda x: x.unsqueeze(1)),
    ("Inputs {0} were laid out in rows of {1[0]:,} numbers.", 3, 5, lambda x: x.flatten(1)),
)
"""What is tried where a model does not take inputs as they are: what is then said, of inputs of so
many dimensions at least and at most."""
NOTE = "_worldline_note"
FEW = 7  # samples that are tried: a number that is seldom one of channels


def channels_last(x: Tensor) -> bool:
    """Whether inputs look like pictures (N, H, W, C): one, three or four of the last axis alone."""
    return x.ndim == PICTURES and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS


def fitted(model: nn.Module, data: Data) -> Data:
    """The data in the order of axes that the model takes, where it does not take them as they are.

    Its conversions then hold what must be said of the model, too.
    """
    if note := note_of(model):
        data = replace(data, conversions=(*data.conversions, note))
    few = data.x[:FEW]
    with untouched(model), torch.no_grad():
        if _runs(model, few):
            return data
        for said, least, most, order in ORDERS:
            if least <= few.ndim <= most and _takes(model, order(few)):
                return _ordered(data, order, said)
    return data


def note_of(model: object) -> str:
    """What must be said of a model, as a sentence; empty where there is nothing."""
    if isinstance(model, (BlackBox, OnnxGraph)):
        return model.note
    return str(vars(model).get(NOTE, "")) if isinstance(model, nn.Module) else ""


def _ordered(data: Data, order: Order, said: str) -> Data:
    x, box = order(data.x).contiguous(), data.box
    if box is not None:
        low, high = (order(end[None])[0] for end in box)
        box = low, high
    told = said.format(tuple(data.x.shape[1:]), tuple(x.shape[1:]))
    return replace(
        data,
        x=x,
        reference_x=order(data.reference_x).contiguous(),
        box=box,
        conversions=(*data.conversions, told),
    )


def _runs(model: nn.Module, x: Tensor) -> bool:
    """Whether it takes the inputs; what it makes of them is not judged."""
    return _tried(lambda: opened(model).call(_like(model, x).clone()))


def _takes(model: nn.Module, x: Tensor) -> bool:
    """Whether it makes logits of the inputs."""
    return _tried(lambda: logits_in(opened(model).call(_like(model, x).clone()), len(x)))


def _tried(call: Callable[[], object]) -> bool:
    try:
        call()
    except KeyboardInterrupt:
        raise
    except BaseException:  # of whatever kind: another order is tried, and told if all fail
        return False
    return True


def _like(model: nn.Module, x: Tensor) -> Tensor:
    weights = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return x if weights is None else in_dtype_of(model, x).to(weights.device)


def is_lazy(model: object) -> bool:
    """Whether a model has parameters without a shape."""
    return isinstance(model, nn.Module) and any(
        torch.nn.parameter.is_lazy(it) for it in model.parameters()
    )


def ready(model: nn.Module, name: str, x: Tensor, seed: int) -> nn.Module:
    """A copy of a lazy model with the shapes that inputs (N, …) give it, and weights by the seed.

    Pictures are taken to have their channels first: a lazy convolution would take any axis.
    """
    x = x[:FEW]
    orders = [it for _, least, most, it in ORDERS[:3] if least <= x.ndim <= most]
    given = [order(x) for order in orders]
    given = [given[0], x] if channels_last(x) else [x, *given]
    for inputs in given:
        copy = _copied(model)
        with untouched(nn.Identity()), torch.no_grad():
            torch.manual_seed(seed)
            if _takes(copy, inputs) and not is_lazy(copy):
                vars(copy)[NOTE] = (
                    f"The model {name} is lazy, some of its layers without weights: a copy was "
                    f"given random ones, by the seed {seed}."
                )
                return copy
    with torch.no_grad(), user_code(f"The lazy model {name}", "It runs once on the data."):
        logits_of(_copied(model), x)
    return model


def _copied(model: nn.Module) -> nn.Module:
    """A copy in eval mode; torch copies parameters without a shape, but no such buffers."""
    memo: dict[int, Any] = {}
    for it in filter(torch.nn.parameter.is_lazy, model.buffers()):
        kind: Any = type(it)
        memo[id(it)] = kind(device=it.device, dtype=it.dtype)
    return deepcopy(model, memo).eval()
