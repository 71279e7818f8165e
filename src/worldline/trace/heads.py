"""Layers of attention heads: what the output projection of each attention reads."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from worldline.errors import LayerError
from worldline.trace.attention import attentions_in
from worldline.trace.guard import untouched
from worldline.trace.layers import Layer, LayerChoice, patterns_of
from worldline.trace.opening import Model, open_model
from worldline.trace.probing import PROBES, few
from worldline.trace.values import batch_dimension, tensors_in
from worldline.trace.watching import READ, plain_name, watching

__all__ = ["head_layers"]


def head_layers(
    model: Model, x: Tensor, layers: LayerChoice | None = None
) -> tuple[tuple[Layer, int], ...]:
    """Every attention's heads, side by side, as a layer, and how many there are.

    Args:
        model: the model.
        x: (N, …) a few inputs.
        layers: names, globs or modules: of the attention, of its output projection, or of the layer
            (``attention.out_proj.input``); default: all.

    Returns:
        In the order in which they run. The last dimension of a layer's value holds the heads.

    Raises:
        LayerError: there is no attention, or none by a name; the message lists those there are.

    Cost: two forward passes, of two and three samples.

    >>> import torch
    >>> from worldline.trace.heads import head_layers
    >>> model = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> [(layer.name, heads) for layer, heads in head_layers(model, torch.rand(2, 3, 8))]
    [('self_attn.out_proj.input', 2)]
    """
    root = open_model(model).root
    patterns = patterns_of(model, layers)
    found = {} if root is None else _found(model, root, x)
    if not found:
        raise LayerError(
            "No attention was found: a module with a number of heads (num_heads, "
            "num_attention_heads) and an output projection (out_proj, o_proj, proj, "
            "output.dense) that reads the heads side by side. Choose another kind of unit."
        )
    for pattern in patterns:
        if not any(_matches(layer, pattern) for layer in found):
            names = ", ".join(layer.name for layer in found)
            raise LayerError(f"No attention matches {pattern!r}. Those there are: {names}.")
    return tuple(
        (layer, heads)
        for layer, heads in found.items()
        if not patterns or any(_matches(layer, pattern) for pattern in patterns)
    )


def _matches(layer: Layer, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in (layer.name, *layer.aliases))


def _found(model: Model, root: nn.Module, x: Tensor) -> dict[Layer, int]:
    known = {
        plain_name(projection) + READ: (plain_name(name), heads)
        for name, projection, heads in attentions_in(root)
    }
    shapes: dict[tuple[str, int], list[torch.Size]] = {}
    layers: dict[Layer, int] = {}

    def shape(name: str, call: int, given: object) -> None:
        shapes[name, call] = [tensor.shape for _, tensor in tensors_in(given)]

    def make(name: str, call: int, given: object) -> None:
        others = shapes.get((name, call), []) if name in known else []
        for (part, (_, value)), other in zip(enumerate(tensors_in(given)), others, strict=False):
            axis = batch_dimension(value, other, PROBES)
            attention, heads = known[name]
            if axis is not None and value.shape[-1] % heads == 0 and axis < value.ndim - 1:
                projection = name.removesuffix(READ)
                sample = value.movedim(axis, 0)[0]
                layer = Layer(
                    name=f"{projection}.input",
                    module=name,
                    call=call,
                    kind=f"heads of {type(root.get_submodule(attention)).__name__}",
                    shape=tuple(sample.shape),
                    width=sample.numel(),
                    default=False,
                    part=part,
                    batch_dim=axis,
                    aliases=(attention, projection),
                    writes=True,
                )
                layers[layer] = heads
                return

    for samples, visit in zip(reversed(PROBES), (shape, make), strict=True):
        with untouched(model), torch.no_grad(), watching(model, visit, frozenset(known)) as run:
            run(few(x, samples))
    return layers
