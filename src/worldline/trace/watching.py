"""Run a model and hear of every value that a module, or an exported operation, returns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, fx, nn

from worldline.trace.opening import Model, Opened, in_dtype_of, open_model, operation_name
from worldline.trace.values import tensors_in

__all__ = ["INPUT", "READ", "Run", "Visit", "describe", "plain_name", "watching"]

INPUT = "input"
READ = "<"
"""Ends the name under which the input of a module is visited."""
Visit = Callable[[str, int, object], None]
"""``visit(module name, call, what it returned)``."""
Run = Callable[[Tensor], object]


@contextmanager
def watching(model: Model, visit: Visit, only: frozenset[str] | None = None) -> Iterator[Run]:
    """A function that runs the model on inputs, visits every return on the way, and returns it.

    The input is visited first, as ``input``. It is a copy, so a forward that writes into its input
    writes there. What a module is given that multiplies it by a matrix of weights is visited before
    it, as ``name<``. Hooks of the user's own stay, and run before ours. Everything runs eagerly,
    also where it was compiled, and without the fused attention that skips submodules, as neither
    would run hooks.
    """
    opened = open_model(model)
    calls: dict[str, int] = {}
    handles = []

    def returned(name: str, output: object) -> None:
        call = calls.get(name, 0)
        calls[name] = call + 1
        visit(name, call, output)

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda _module, _inputs, output: returned(name, output)

    def before(name: str) -> Callable[[nn.Module, object, object], None]:
        def given(module: nn.Module, *inputs: object) -> None:
            if _mixes(inputs, module):
                returned(name + READ, inputs)

        return given

    call = _Operations(opened.graph, returned).run if opened.graph else opened.call

    def run(x: Tensor) -> object:
        calls.clear()
        x = in_dtype_of(opened.root or opened.call, x).clone()
        returned(INPUT, x)
        output: object = call(x)
        if opened.call is not opened.root:
            returned("", output)
        return output

    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for name, module in _visible(opened):
            if only is None or name in only:
                handles.append(module.register_forward_hook(hook(name)))
            if only is None or name + READ in only:
                handles.append(module.register_forward_pre_hook(before(name), with_kwargs=True))
        with _eager():
            yield run
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()


def _mixes(inputs: object, module: nn.Module | None = None) -> bool:
    """Whether a call multiplies by a matrix of weights, its module's own or one given to it."""
    own = [] if module is None else list(module.parameters(recurse=False))
    given = [value for _, value in tensors_in(inputs) if isinstance(value, nn.Parameter)]
    # the type of a parametrised or quantised module has the weight
    return hasattr(type(module), "weight") or any(value.ndim > 1 for value in (*own, *given))


def _visible(opened: Opened) -> Iterator[tuple[str, nn.Module]]:
    """Modules that run hooks, by name; the root only where it is what runs."""
    if opened.root is None or opened.graph:
        return
    for name, module in opened.root.named_modules():
        if not isinstance(module, torch.jit.ScriptModule) and (
            module is not opened.root or opened.call is opened.root
        ):
            yield plain_name(name), module


def plain_name(name: str) -> str:
    """Without what ``torch.compile`` puts between the names of a submodule and its children."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def describe(model: Model) -> tuple[dict[str, tuple[str, bool, bool]], dict[str, tuple[str, ...]]]:
    """What can be seen, by name.

    Returns:
        Name → (kind, whether it is a block, which has modules inside and is more than their
        sequence, whether it is an activation); name → other names of the same module.
    """
    opened = open_model(model)
    if opened.graph:
        return _described(opened.graph), {}
    described = {}
    for name, module in _visible(opened):
        inside = any(part != "parametrizations" for part, _ in module.named_children())
        block = inside and type(module).forward is not nn.Sequential.forward
        # torch's own, those of transformers and of timm
        file = type(module).__module__.rpartition(".")[2]
        if type(module).__name__ != "OptimizedModule":  # its name is that of what it wraps
            kind = type(module).__name__
            described[name] = kind, block, not inside and file.startswith("activation")
    aliases: dict[str, tuple[str, ...]] = {}
    if opened.root is not None:
        first = {id(module): plain_name(name) for name, module in opened.root.named_modules()}
        for name, module in opened.root.named_modules(remove_duplicate=False):
            known = first[id(module)]
            if plain_name(name) != known:
                aliases[known] = (*aliases.get(known, ()), plain_name(name))
    return described, aliases


def _eager() -> AbstractContextManager[object]:
    """Compiled code runs as if it were not (from torch 2.6 on)."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


# fmt: off
ACTIVATIONS = {
    "celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "logsigmoid", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus",
    "softsign", "tanh", "threshold",
}
# fmt: on
"""Operations of an exported graph that are activations."""


class _Operations(fx.Interpreter):
    """A graph of operations, as ``torch.export`` makes it, run node by node."""

    def __init__(self, graph: fx.GraphModule, returned: Callable[[str, object], None]) -> None:
        super().__init__(graph)
        self.names, self.returned = _names(graph), returned

    def run_node(self, n: fx.Node) -> object:
        """One operation, what it was given, and who returned it."""
        given = self.fetch_args_kwargs_from_env(n)
        if n in self.names and _mixes(given):
            self.returned(self.names[n] + READ, given)
        output = super().run_node(n)
        if n in self.names:
            self.returned(self.names[n], output)
        return output


def _names(graph: fx.GraphModule) -> dict[fx.Node, str]:
    """Each operation by the module that it came from, or by itself where none is named."""
    names = {}
    for node in graph.graph.nodes:
        if node.op in ("call_function", "call_method"):
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            names[node] = (stack[-1][0] if stack else "") or node.name
    return names


def _described(graph: fx.GraphModule) -> dict[str, tuple[str, bool, bool]]:
    """Kind, block and activation by name; the kind is that of its last operation."""
    names = _names(graph)
    described = {}
    for node, name in names.items():
        operation = operation_name(node)
        block = any(other.startswith(f"{name}.") for other in names.values())
        described[name] = operation, block, operation in ACTIVATIONS
    return described
