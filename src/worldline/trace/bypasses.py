"""Which layers a network can pass by: branches, which do not cut it in two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldline.trace.guard import untouched
from worldline.trace.layers import Layer, check_traced
from worldline.trace.opening import Model, modules_behind
from worldline.trace.probing import few
from worldline.trace.values import tensors_in
from worldline.trace.watching import INPUT, watching

__all__ = ["passed_by"]

Node = torch.autograd.graph.Node


def passed_by(model: Model, x: Tensor, layers: Sequence[Layer]) -> tuple[bool, ...]:
    """Whether the output depends on the input by a way that avoids this layer.

    The branch of a residual block is passed by; the sum is not. The ways are those of the graph
    that autograd records. A layer counts as one that all ways lead through where nothing can be
    known: the model has no gradient, or the value is not on a recorded way (checkpointed modules).

    Args:
        model: the model.
        x: (N, …) inputs, of which two are used.
        layers: of :func:`worldline.trace.find_layers`.

    Returns:
        One answer a layer.

    Raises:
        ShapeError: x is no floating tensor.

    Cost: one forward pass of two samples that records its graph, and a walk over it for each layer.

    >>> import torch, worldline as wl
    >>> class Block(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.branch = torch.nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         return x + self.branch(x)
    >>> model, x = torch.nn.Sequential(Block(), torch.nn.Linear(3, 2)), torch.rand(4, 3)
    >>> layers = wl.trace.pick_layers(model, x, ["*"])
    >>> dict(zip([layer.name for layer in layers], wl.trace.passed_by(model, x, layers)))
    {'input': False, '0.branch': True, '0': False, '1': False}
    """
    check_traced(x)
    made: dict[tuple[str, int, int], Node] = {}

    def visit(name: str, call: int, output: object) -> None:
        for part, (_, value) in enumerate(tensors_in(output)):
            if value.grad_fn is not None:
                made[name, call, part] = value.grad_fn

    with untouched(model), torch.enable_grad(), watching(model, visit) as run:
        for weight in (it for module in modules_behind(model) for it in module.parameters()):
            weight.requires_grad_(False)  # put back by the guard
        output = run(few(x, 2).detach().clone().requires_grad_())
    ends = [value.grad_fn for _, value in tensors_in(output) if value.grad_fn is not None]
    start = made.get((INPUT, 0, 0))
    on_the_way = _reached(ends, None)
    if start is None or start not in on_the_way:
        return (False,) * len(layers)
    nodes = [made.get((layer.module, layer.call, layer.part)) for layer in layers]
    return tuple(
        node is not None and node in on_the_way and start in _reached(ends, node) for node in nodes
    )


def _reached(ends: Sequence[Node], without: Node | None) -> set[Node]:
    """Every node behind the ends, by ways that avoid one."""
    seen: set[Node] = set()
    left = [node for node in ends if node is not without]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left.extend(it for it, _ in node.next_functions if it is not None and it is not without)
    return seen
