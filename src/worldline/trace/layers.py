"""Which values a model computes on the way: its layers, named by module and call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from worldline.errors import LayerError
from worldline.trace.guard import Model, untouched

__all__ = ["Layer", "choose_layers", "find_layers"]

INPUT = "input"
OUTPUT = "output"


@dataclass(frozen=True)
class Layer:
    """One value on the way through a model: what one call of one module returned.

    Attributes:
        name: the module's dotted name; with ``#k`` for its k-th call if it runs several times; ``input`` for
            the input itself; ``output`` for the model's own return value where no submodule returned it.
        module: dotted name of the module, without the call.
        call: which call of the module in one forward pass, from 0.
        kind: class of the module.
        shape: shape of one sample's value; a tuple, list or dict counts as its first batched tensor.
        width: number of features, the product of the shape (values are flattened).
        default: whether it is traced when no layers are named.
    """

    name: str
    module: str
    call: int
    kind: str
    shape: tuple[int, ...]
    width: int
    default: bool


@dataclass
class _Event:
    """One module call seen on a probe."""

    module: str
    call: int
    kind: str
    leaf: bool
    acts: bool  # an activation function
    value: Tensor = field(repr=False)
    version: int

    def holds(self, value: Tensor) -> bool:
        """Whether this is the same value: the same memory, also as a view, not written to since."""
        same_memory = (self.value.data_ptr(), self.value.numel()) == (value.data_ptr(), value.numel())
        return same_memory and self.version == value._version


Visit = Callable[[str, int, object], None]


@contextmanager
def watching(model: Model, visit: Visit, only: frozenset[str] | None = None) -> Iterator[Callable[[], None]]:
    """Call ``visit(module name, call, output)`` whenever a module returns; gives a function that starts a new pass."""
    calls: dict[str, int] = {}
    handles = []

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def on_return(_module: nn.Module, _inputs: object, output: object) -> None:
            call = calls.get(name, 0)
            calls[name] = call + 1
            visit(name, call, output)

        return on_return

    try:
        if isinstance(model, nn.Module):
            for name, module in model.named_modules():
                if only is None or name in only:
                    handles.append(module.register_forward_hook(hook(name)))
        yield calls.clear
    finally:
        for handle in handles:
            handle.remove()


def batched_tensor(output: object, samples: int) -> Tensor | None:
    """The value of a module: the first floating tensor with one row a sample, in a tensor, tuple, list, dict or dataclass."""
    if isinstance(output, Tensor):
        fits = output.is_floating_point() and output.ndim >= 1 and output.shape[0] == samples
        return output if fits else None
    parts: Sequence[object] = ()
    if isinstance(output, (tuple, list)):
        parts = output
    elif isinstance(output, dict):
        parts = list(output.values())
    elif hasattr(output, "__dataclass_fields__"):
        parts = [getattr(output, name) for name in output.__dataclass_fields__]
    return next((found for part in parts if (found := batched_tensor(part, samples)) is not None), None)


def find_layers(model: Model, x: Tensor) -> tuple[Layer, ...]:
    """Every layer of a model, in the order in which a forward pass computes them.

    Layer 0 is the input. A value that a container merely hands on (``nn.Sequential``) or that a module returns
    unchanged (``nn.Identity``, ``nn.Flatten``, dropout in eval mode) is listed once, under the module that made it.

    The default layers are those whose value the next stage reads: activations (``nn.ReLU`` and its kin), blocks that
    compute something themselves (a residual sum), and the output. A model without activation modules (``F.relu`` in
    its ``forward``) gets all its leaf modules instead.

    Args:
        model: any ``nn.Module``, or a callable (which has only its input and its output).
        x: (N, …) a few samples; two are used.

    Returns:
        The layers in execution order.

    Cost: one forward pass of at most two samples. The model is left as it was.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import find_layers
    >>> relu = nn.ReLU()
    >>> model = nn.Sequential(nn.Linear(4, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 3))
    >>> [(layer.name, layer.width) for layer in find_layers(model, torch.rand(2, 4)) if layer.default]
    [('input', 4), ('1#0', 8), ('1#1', 8), ('4', 3)]
    """
    probe = x[:2]
    events, returned = _probe(model, probe)
    repeated = {event.module for event in events if event.call > 0}
    functional = not any(event.acts for event in events)
    layers = []
    for event in events:
        name = event.module or OUTPUT
        read = event is returned or event.acts or not event.leaf or functional or event.module == INPUT
        layers.append(
            Layer(
                name=f"{name}#{event.call}" if event.module in repeated else name,
                module=event.module,
                call=event.call,
                kind=event.kind,
                shape=tuple(event.value.shape[1:]),
                width=event.value[0].numel(),
                default=read and event.value[0].numel() > 1,
            )
        )
    return tuple(layers)


def choose_layers(layers: Sequence[Layer], patterns: Sequence[str] | None = None) -> tuple[Layer, ...]:
    """The layers that match any glob, in execution order; the default layers where none is given.

    Args:
        layers: what :func:`find_layers` found.
        patterns: globs over layer names (``block*``), module names (``relu`` means every call of it); ``*`` is all.

    Raises:
        LayerError: a glob matches nothing; the message lists the layers there are.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import choose_layers, find_layers
    >>> layers = find_layers(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.rand(2, 4))
    >>> [layer.name for layer in choose_layers(layers, ["0"])]
    ['0']
    """
    if not patterns:
        return tuple(layer for layer in layers if layer.default)
    for pattern in patterns:
        if not any(_matches(layer, pattern) for layer in layers):
            names = ", ".join(layer.name for layer in layers)
            raise LayerError(f"No layer matches {pattern!r}. The layers that ran, in order: {names}.")
    return tuple(layer for layer in layers if any(_matches(layer, pattern) for pattern in patterns))


def _matches(layer: Layer, pattern: str) -> bool:
    return fnmatchcase(layer.name, pattern) or fnmatchcase(layer.module or OUTPUT, pattern)


def _probe(model: Model, probe: Tensor) -> tuple[list[_Event], _Event | None]:
    """All distinct values of one pass, and the one that the model returned."""
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    events = [_Event(INPUT, 0, "Input", leaf=True, acts=False, value=probe, version=probe._version)]

    def find(value: Tensor) -> _Event | None:
        return next((event for event in events if event.holds(value)), None)

    def visit(name: str, call: int, output: object) -> None:
        value = batched_tensor(output, len(probe))
        if value is None or find(value):
            return
        module = modules.get(name)
        leaf = module is not None and not any(True for _ in module.children())
        acts = leaf and type(module).__module__ == "torch.nn.modules.activation"
        kind = type(module).__name__ if module is not None else "callable"
        events.append(_Event(name, call, kind, leaf, acts, value, value._version))

    with untouched(model), torch.no_grad(), watching(model, visit):
        output = model(probe)
    if not isinstance(model, nn.Module):
        visit("", 0, output)
    value = batched_tensor(output, len(probe))
    return events, find(value) if value is not None else None
