"""One layer's features as a function of the input, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from worldline.errors import LayerError
from worldline.trace.guard import Model, untouched
from worldline.trace.layers import INPUT, Layer, batched_tensor, choose_layers, find_layers, watching

__all__ = ["one_layer", "reading"]


def one_layer(model: Model, x: Tensor, name: str | None = None) -> Layer:
    """The one layer of this name; without a name, the last default layer before the output.

    Args:
        model: the model.
        x: (N, …) a few inputs; two are used.
        name: a layer's name, a module's name, or a glob that matches one layer.

    Raises:
        LayerError: no layer or several match, or what the module returns has no batch dimension.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> wl.trace.one_layer(model, torch.rand(2, 4)).name
    '1'
    """
    found = find_layers(model, x)
    if name is None:
        default = choose_layers(found)
        return default[-2] if len(default) > 1 else default[-1]
    try:
        chosen = choose_layers(found, [name])
    except LayerError:
        reason = _why_not(model, x, name)
        if reason is None:
            raise
        raise LayerError(reason) from None
    if len(chosen) > 1:
        names = ", ".join(layer.name for layer in chosen)
        raise LayerError(f"One layer is needed, and {name!r} matches {len(chosen)}: {names}. Name one of them.")
    return chosen[0]


@contextmanager
def reading(model: Model, layer: Layer) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """A function from inputs to (features (N, D) of the layer, the model's output), differentiable in the inputs.

    The model is in eval mode and left as it was. Where an in-place module follows, the features are those before it.

    Raises:
        LayerError: from the function, where the layer did not run in this pass.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(2, 3), torch.rand(4, 2)
    >>> with wl.trace.reading(model, wl.trace.one_layer(model, x, "output")) as read:
    ...     features, _ = read(x)
    >>> tuple(features.shape)
    (4, 3)
    """
    kept: list[Tensor] = []
    samples = 0

    def visit(name: str, call: int, output: object) -> None:
        if (name, call) == (layer.module, layer.call):
            value = batched_tensor(output, samples)
            if value is not None:
                kept.append(value.flatten(1).clone() if value.ndim > 1 else value[:, None].clone())

    with untouched(model), watching(model, visit, frozenset([layer.module])) as start_pass:

        def read(x: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal samples
            samples = len(x)
            kept.clear()
            start_pass()
            visit(INPUT, 0, x)
            output = model(x)
            if not isinstance(model, nn.Module):
                visit("", 0, output)
            if not kept:
                raise LayerError(
                    f"Layer {layer.name!r} never ran in this forward pass, or returned no row for each sample."
                )
            return kept.pop(), output

        yield read


def _why_not(model: Model, x: Tensor, name: str) -> str | None:
    """Why a module that exists is no layer: it returned nothing with one row a sample, or never ran."""
    if not isinstance(model, nn.Module) or name not in dict(model.named_modules()):
        return None
    came: list[str] = []

    def visit(_name: str, _call: int, output: object) -> None:
        came.append(f"{tuple(output.shape)} {output.dtype}" if isinstance(output, Tensor) else type(output).__name__)

    with untouched(model), torch.no_grad(), watching(model, visit, frozenset([name])):
        model(x[:2])
    if not came:
        return f"Layer {name!r} exists but never ran in the forward pass. Choose a layer that runs."
    return (
        f"Layer {name!r} is no value of its own: for {len(x[:2])} inputs it returned {came[0]}. A layer needs a floating tensor "
        "with one row for each sample (a batch dimension first), different from what an earlier layer returned."
    )
