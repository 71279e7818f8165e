"""Run a model and hear of every value that a module, or an exported operation, returns.

Whoever hears of a value may put another in its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn

from worldline.trace.attention import heads_apart
from worldline.trace.opening import Model, Opened, in_dtype_of, open_model, operation_name
from worldline.trace.values import tensors_in

__all__ = [
    "INPUT",
    "READ",
    "Run",
    "Visit",
    "describe",
    "plain_name",
    "plainly",
    "seen_modules",
    "watching",
]

INPUT = "input"
READ = "<"
"""Ends the name under which the input of a module is visited."""
Visit = Callable[[str, int, object], object]
"""``visit(module name, call, what it returned)`` → what stands in for it; None: nothing does."""
Run = Callable[[Tensor], object]


@contextmanager
def watching(model: Model, visit: Visit, only: frozenset[str] | None = None) -> Iterator[Run]:
    """A function that runs the model on inputs, visits every return on the way, and returns it.

    The input is visited first, as ``input``. It is a copy, so a forward that writes into its input
    writes there. What a module is given that multiplies it by a matrix of weights is visited before
    it, as ``name<``. Hooks of the user's own stay, and run before ours. Everything runs eagerly,
    also where it was compiled, and without the fused attention that skips submodules, as neither
    would run hooks. Where ``only`` names what the output projection of ``nn.MultiheadAttention``
    reads, which it never calls, it is made to.

    What ``visit`` returns takes the value's place for all that follows; None leaves it. The value
    of an in-place module is overwritten, as what follows may read it under its other name.
    """
    opened = open_model(model)
    calls: dict[str, int] = {}
    handles = []

    def returned(name: str, output: object) -> object:
        call = calls.get(name, 0)
        calls[name] = call + 1
        return visit(name, call, output)

    def hook(name: str) -> Callable[[nn.Module, object, object], object]:
        return lambda _module, given, output: _written(returned(name, output), output, given)

    def before(name: str) -> Callable[[nn.Module, object, object], Any]:
        def given(module: nn.Module, *inputs: object) -> object:
            return returned(name + READ, inputs) if _mixes(inputs, module) else None

        return given

    call = _Operations(opened.graph, returned).run if opened.graph else opened.call

    def run(x: Tensor) -> object:
        calls.clear()
        x = in_dtype_of(opened.root or opened.call, x).clone()
        instead = returned(INPUT, x)
        output: object = call(instead if isinstance(instead, Tensor) else x)
        if opened.call is not opened.root:
            instead = returned("", output)
            return output if instead is None else instead
        return output

    try:
        for name, module in seen_modules(opened):
            if only is None or name in only:
                handles.append(module.register_forward_hook(hook(name)))
            if only is None or name + READ in only:
                handles.append(module.register_forward_pre_hook(before(name), with_kwargs=True))
        with plainly(opened, only or frozenset()):
            yield run
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def plainly(opened: Opened, read: frozenset[str]) -> Iterator[None]:
    """Everything runs eagerly and by its modules; attention calls its projection where it is read.

    Args:
        opened: the model.
        read: names of layers; ``attention.out_proj<`` among them is such a projection's input.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with _eager(), heads_apart(_projecting(opened, read)):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _written(instead: object, output: object, given: object) -> object:
    """What stands in for an output, written into it where the module worked in place."""
    if instead is None:
        return None
    inputs = [value for _, value in tensors_in(given)]
    pairs = zip(tensors_in(output), tensors_in(instead), strict=True)
    changed = [(old, new) for (_, old), (_, new) in pairs if new is not old]
    if all(any(old is it for it in inputs) and not old.requires_grad for old, _ in changed):
        for old, new in changed:
            old.copy_(new)
        return None
    return instead


def _projecting(opened: Opened, only: frozenset[str]) -> list[nn.MultiheadAttention]:
    """The attentions whose output projection is to be heard of."""
    return [
        module
        for name, module in seen_modules(opened)
        if isinstance(module, nn.MultiheadAttention)
        and f"{name}.out_proj{READ}".removeprefix(".") in only
    ]


def _mixes(inputs: object, module: nn.Module | None = None) -> bool:
    """Whether a call multiplies by a matrix of weights, its module's own or one given to it."""
    own = [] if module is None else list(module.parameters(recurse=False))
    given = [value for _, value in tensors_in(inputs) if isinstance(value, nn.Parameter)]
    # the type of a parametrised or quantised module has the weight
    return hasattr(type(module), "weight") or any(value.ndim > 1 for value in (*own, *given))


def seen_modules(opened: Opened) -> Iterator[tuple[str, nn.Module]]:
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
    for name, module in seen_modules(opened):
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

    def __init__(self, graph: fx.GraphModule, returned: Callable[[str, object], object]) -> None:
        super().__init__(graph)
        self.names, self.returned = _names(graph), returned

    def run_node(self, n: fx.Node) -> object:
        """One operation, what it was given, and who returned it."""
        if n not in self.names:
            return super().run_node(n)
        given: Any = self.fetch_args_kwargs_from_env(n)
        if _mixes(given):
            given = self.returned(self.names[n] + READ, given) or given
        output = getattr(self, n.op)(n.target, *given)
        instead = _written(self.returned(self.names[n], output), output, given)
        return output if instead is None else instead


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
