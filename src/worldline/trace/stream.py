"""Run a model over batches and hand every chosen layer's features to a visitor, the moment they exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import LayerError, ModelError
from worldline.trace.guard import Model, untouched
from worldline.trace.layers import INPUT, Layer, batched_tensor, choose_layers, find_layers, watching

__all__ = ["Visitor", "collect", "tracing"]

Visitor = Callable[[int, Tensor], None]
"""``visitor(position, features)``: the position in the chosen layers, features (N, D) that may not be kept."""

Pass = Callable[[Tensor, Visitor], Tensor]


@contextmanager
def tracing(model: Model, layers: Sequence[Layer]) -> Iterator[Pass]:
    """A forward pass that shows each layer's features to a visitor and returns the model's output.

    The visitor is called inside the pass, when the module returns, so a later in-place module cannot have
    overwritten the value and nothing needs to be copied or kept: memory over the bare pass is what the visitor keeps.
    The model is in eval mode, without gradients, and left as it was.

    Args:
        model: the model.
        layers: what :func:`find_layers` found, or some of it.

    Yields:
        ``run(x, visitor) -> output`` with ``visitor(position, features)``; features are (N, D), flattened.

    Raises:
        LayerError: from ``run``, where a chosen layer did not run in this pass.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import find_layers, tracing
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True))
    >>> x = torch.rand(3, 4)
    >>> with tracing(model, find_layers(model, x)) as run:
    ...     _ = run(x, lambda position, features: print(position, tuple(features.shape)))
    0 (3, 4)
    1 (3, 8)
    2 (3, 8)
    """
    positions = {(layer.module, layer.call): position for position, layer in enumerate(layers)}
    samples = 0
    seen: set[int] = set()
    visitor: Visitor = _ignore

    def visit(name: str, call: int, output: object) -> None:
        position = positions.get((name, call))
        if position is None:
            return
        value = batched_tensor(output, samples)
        if value is not None:
            seen.add(position)
            visitor(position, value.flatten(1) if value.ndim > 1 else value[:, None])

    watched = frozenset(layer.module for layer in layers)
    with untouched(model), torch.no_grad(), watching(model, visit, watched) as start_pass:

        def run(x: Tensor, show: Visitor) -> Tensor:
            nonlocal samples, visitor
            samples, visitor = len(x), show
            seen.clear()
            start_pass()
            visit(INPUT, 0, x)
            output = model(x)
            if not isinstance(model, torch.nn.Module):
                visit("", 0, output)
            missing = [layer.name for position, layer in enumerate(layers) if position not in seen]
            if missing:
                ran = ", ".join(layer.name for position, layer in enumerate(layers) if position in seen)
                raise LayerError(f"Layer {missing[0]!r} never ran in this forward pass; layers that ran: {ran}.")
            value = batched_tensor(output, len(x))
            if value is None:
                raise ModelError(f"The model returned {type(output).__name__} without one row for each sample.")
            return value

        yield run


def collect(
    model: Model,
    x: Float[Tensor, "N ..."],
    layers: Sequence[str] | None = None,
    *,
    batch_size: int = 256,
) -> dict[str, Tensor]:
    """Features of every chosen layer, kept: layer name → (N, D) on the CPU.

    Args:
        model: any ``nn.Module`` or callable.
        x: (N, …) inputs, on the model's device.
        layers: globs over layer names; default: the default layers of :func:`find_layers`.
        batch_size: inputs in one forward pass.

    Returns:
        A dict in execution order. A module's features are what it returned, also where an in-place module follows.

    Raises:
        LayerError: a glob matches no layer.

    Cost: one pass; memory N × the sum of the widths. To reduce on the fly use :func:`tracing`.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(inplace=True))
    >>> features = wl.trace.collect(model, torch.rand(5, 4), ["*"])
    >>> {name: tuple(value.shape) for name, value in features.items()}
    {'input': (5, 4), '0': (5, 8), '1': (5, 8)}
    """
    chosen = choose_layers(find_layers(model, x), layers)
    parts: list[list[Tensor]] = [[] for _ in chosen]
    with tracing(model, chosen) as run:
        for batch in x.split(batch_size):
            run(batch, lambda position, features: parts[position].append(features.cpu().clone()))
    return {layer.name: torch.cat(part) for layer, part in zip(chosen, parts, strict=True)}


def _ignore(_position: int, _features: Tensor) -> None:
    pass
