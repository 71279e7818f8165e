"""Run a model and hand every chosen layer's features to a visitor, the moment they exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import LayerError
from worldline.settings import Tokens
from worldline.trace.guard import untouched
from worldline.trace.layers import Layer, LayerChoice, features_of, pick_layers
from worldline.trace.opening import Model
from worldline.trace.watching import watching

__all__ = ["Visitor", "collect", "tracing"]

Visitor = Callable[[int, Tensor], None]
"""``visitor(position, features)``: the position in the chosen layers, features (N, D) that may not
be kept.
"""

Pass = Callable[[Tensor, Visitor], object]


@contextmanager
def tracing(model: Model, layers: Sequence[Layer]) -> Iterator[Pass]:
    """A forward pass that shows a visitor each layer's features, and returns the model's output.

    The visitor is called inside the pass, when the module returns, so that a later in-place module
    cannot have overwritten the value, and nothing needs to be copied or kept: memory over the bare
    pass is what the visitor keeps. The model is in eval mode, without gradients, and left as it
    was; compiled code runs eagerly.

    Args:
        model: the model.
        layers: what :func:`find_layers` found, or some of it.

    Yields:
        ``run(x, visitor) -> output`` with ``visitor(position, features)``; features are (N, D),
        flattened.

    Raises:
        LayerError: from ``run``, where a chosen layer did not run in this pass, or ran more often
            or with another shape than when it was found; the message names the layer and the batch.

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
    positions: dict[tuple[str, int], list[int]] = {}
    for position, layer in enumerate(layers):
        positions.setdefault((layer.module, layer.call), []).append(position)
    ran: dict[str, int] = {}
    samples = batch = 0
    visitor: Visitor

    def visit(name: str, call: int, output: object) -> None:
        ran[name] = call + 1
        for position in positions.get((name, call), ()):
            try:
                features = features_of(layers[position], output, samples)
            except LayerError as error:
                raise LayerError(f"In batch {batch}: {error}") from None
            visitor(position, features)

    watched = frozenset(layer.module for layer in layers)
    writes = not layers or any(layer.writes for layer in layers)
    with untouched(model, writes=writes), torch.no_grad(), watching(model, visit, watched) as go:

        def run(x: Tensor, show: Visitor) -> object:
            nonlocal samples, batch, visitor
            samples, visitor = len(x), show
            batch += 1
            ran.clear()
            output = go(x)
            _check_calls(layers, ran, batch)
            return output

        yield run


def collect(
    model: Model,
    x: Float[Tensor, "N ..."],
    layers: LayerChoice | None = None,
    *,
    tokens: Tokens = "flatten",
    batch_size: int = 256,
) -> dict[str, Tensor]:
    """Features of every chosen layer, kept: layer name → (N, D) on the CPU.

    Args:
        model: any ``nn.Module`` or callable.
        x: (N, …) inputs, on the model's device.
        layers: names, globs over them, modules of the model, or one of these; default: the default
            layers of :func:`find_layers`.
        tokens: what becomes of values (N, T, D), see :func:`find_layers`.
        batch_size: inputs in one forward pass.

    Returns:
        A dict in execution order. A module's features are what it returned, also where an in-place
        module follows.

    Raises:
        LayerError: a glob matches no layer.

    Cost: one pass; memory N × the sum of the widths. To reduce on the fly use :func:`tracing`.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(inplace=True))
    >>> features = wl.trace.collect(model, torch.rand(5, 4), ["*"])
    >>> {name: tuple(value.shape) for name, value in features.items()}
    {'input': (5, 4), '0': (5, 8), '1': (5, 8)}
    """
    chosen = pick_layers(model, x, layers, tokens=tokens)
    parts: list[list[Tensor]] = [[] for _ in chosen]
    with tracing(model, chosen) as run:
        for batch in x.split(batch_size):
            run(batch, lambda position, features: parts[position].append(features.cpu().clone()))
    return {layer.name: torch.cat(part) for layer, part in zip(chosen, parts, strict=True)}


def _check_calls(layers: Sequence[Layer], ran: dict[str, int], batch: int) -> None:
    for layer in layers:
        times = ran.get(layer.module, 0)
        if times == 0:
            others = ", ".join(other.name for other in layers if other.module in ran)
            raise LayerError(
                f"Layer {layer.name!r} never ran in this forward pass (batch {batch}); layers "
                f"that ran: {others}. The model takes another way for these inputs: trace layers "
                "that every input passes."
            )
        if times != layer.calls:
            raise LayerError(
                f"The module of layer {layer.name!r} ran {times} times in batch {batch}, and "
                f"{layer.calls} times when it was found: which call is which depends on the "
                "inputs. Trace layers that every input passes alike."
            )
