"""What stands behind a model: the module that computes, out of its wrappers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import cast

import torch
from torch import Tensor, fx, nn

from worldline.errors import ModelError

__all__ = ["Model", "Opened", "hidden_because", "in_dtype_of", "modules_behind", "open_model"]

Model = Callable[[Tensor], Tensor]
"""Anything that maps inputs (N, …) to outputs; usually an ``nn.Module``."""

TRAINING_ARGUMENT = {"batch_norm": 5, "dropout": 2, "instance_norm": 5}
"""Which argument of an exported operation says that it was exported in training mode."""


@dataclass(frozen=True)
class Opened:
    """A model ready to be watched.

    Attributes:
        call: what runs.
        root: the module whose submodules can be seen; None where there is none.
        graph: ``root`` where it is a graph without submodule calls, whose operations are seen
            instead; else None.
        hidden: why nothing but the input and the output can be seen; empty where more can.
    """

    call: Callable[[Tensor], object]
    root: nn.Module | None
    graph: fx.GraphModule | None = None
    hidden: str = ""


def open_model(model: Model) -> Opened:
    """The model without its wrappers, and what can be watched of it.

    ``DataParallel`` and ``torch.compile`` are unwrapped; a ``functools.partial``, a method or a
    closure is seen through. A callable over one module is traced by that module's names. Scripted
    modules run no hooks, so they keep their submodules to themselves; a graph from ``torch.export``
    is followed operation by operation.

    Raises:
        ModelError: the model was exported in training mode, which cannot be switched off any more.
    """
    plain = _unwrapped(model)
    if isinstance(plain, torch.jit.ScriptModule):
        return Opened(plain, None, hidden=_SCRIPTED)
    if isinstance(plain, fx.GraphModule) and _is_flat(plain):
        _check_exported(plain)
        return Opened(plain, plain, graph=plain)
    if isinstance(plain, nn.Module):
        return Opened(plain, plain)
    if isinstance(plain, functools.partial):
        plain = functools.partial(_unwrapped(plain.func), *plain.args, **plain.keywords)
    behind = [_unwrapped(module) for module in modules_behind(plain)]
    only = behind[0] if len(behind) == 1 else None
    if isinstance(only, torch.jit.ScriptModule):
        return Opened(plain, None, hidden=_SCRIPTED)
    if isinstance(only, nn.Module) and not (isinstance(only, fx.GraphModule) and _is_flat(only)):
        return Opened(plain, only)
    return Opened(
        plain,
        None,
        hidden=f"the model is a callable with {len(behind)} modules behind it, not an nn.Module",
    )


_SCRIPTED = (
    "the model is scripted, and PyTorch runs no hooks inside a ScriptModule; trace the Python "
    "model that it came from"
)


def in_dtype_of(model: object, x: Tensor) -> Tensor:
    """Inputs in the dtype of the model's weights; as they are for a black box.

    >>> import torch
    >>> from worldline.inputs import in_dtype_of
    >>> in_dtype_of(torch.nn.Linear(2, 2).double(), torch.rand(1, 2)).dtype
    torch.float64
    """
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    return x.to(next((it.dtype for it in weights if it.is_floating_point()), x.dtype))


def hidden_because(model: Model) -> str:
    """Why nothing but the model's input and output can be traced; empty where more can.

    >>> import torch
    >>> from worldline.trace import hidden_because
    >>> hidden_because(torch.nn.Linear(2, 2))
    ''
    """
    return open_model(model).hidden


def modules_behind(model: object) -> tuple[nn.Module, ...]:
    """The modules that a callable uses, as far as Python shows them.

    A module is itself; then the function and arguments of a ``functools.partial``, the owner of a
    method, what a function closes over or names as a global, and the attributes of a callable
    object.

    >>> import torch
    >>> from worldline.trace import modules_behind
    >>> net = torch.nn.Linear(2, 2)
    >>> modules_behind(lambda x: net(x) + 1)
    (Linear(in_features=2, out_features=2, bias=True),)
    """
    found: list[object]
    if isinstance(model, nn.Module):
        return (model,)
    if isinstance(model, functools.partial):
        found = [model.func, *model.args, *model.keywords.values()]
    elif inspect.ismethod(model):
        found = [model.__self__]
    elif inspect.isfunction(model):
        seen = inspect.getclosurevars(model)
        found = [
            value
            for value in (*seen.nonlocals.values(), *seen.globals.values())
            if isinstance(value, (nn.Module, functools.partial)) or inspect.ismethod(value)
        ]
    else:
        held = getattr(model, "__dict__", {}).values()
        found = [value for value in held if isinstance(value, nn.Module)]
    behind = (modules_behind(value) for value in found if callable(value))
    return tuple(dict.fromkeys(chain.from_iterable(behind)))


def _unwrapped(model: Callable[..., object]) -> Callable[..., object]:
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif type(model).__name__ == "OptimizedModule" and isinstance(model, nn.Module):
            model = cast(nn.Module, model._orig_mod)
        else:
            return model


def _is_flat(graph: fx.GraphModule) -> bool:
    """Whether it calls operations and no submodules but the guards of ``torch.export``."""
    nodes = list(graph.graph.nodes)
    calls = any(node.op == "call_module" and node.target != "_guards_fn" for node in nodes)
    return not calls and any(node.op == "call_function" for node in nodes)


def _check_exported(graph: fx.GraphModule) -> None:
    for node in graph.graph.nodes:
        operation = operation_name(node)
        place = TRAINING_ARGUMENT.get(operation)
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise ModelError(
                f"The model was exported in training mode ({node.name} is a {operation} that "
                "trains), and an exported graph has no eval(). Export it again after model.eval()."
            )


def operation_name(node: fx.Node) -> str:
    """``relu`` of ``aten.relu_.default``, of ``torch.relu`` and of the method ``relu_``."""
    packet = getattr(node.target, "overloadpacket", None)
    name = getattr(packet or node.target, "__name__", str(node.target))
    return name.split(".")[0].rstrip("_")
