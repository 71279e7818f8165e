"""Which values a model computes on the way: its layers, named by module and call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice

import torch
from torch import Tensor

from worldline.errors import LayerError, ShapeError
from worldline.settings import Tokens
from worldline.trace.guard import guarded
from worldline.trace.opening import Model, open_model
from worldline.trace.values import (
    at_least_float32,
    batch_dimension,
    check_tokens,
    shape_of,
    tensors_in,
)
from worldline.trace.watching import INPUT, Visit, describe, watching

__all__ = ["PROBES", "Layer", "choose_layers", "features_of", "few", "find_layers", "pick_layers"]

OUTPUT = "output"
PROBES = 2, 3  # samples in the two passes that show which dimension counts them


@dataclass(frozen=True)
class Layer:
    """One value on the way through a model: what one call of one module returned.

    Attributes:
        name: the module's dotted name; with ``#k`` for its k-th call if it runs several times, and
            ``@t`` for token t by itself; ``input`` for the input itself; ``output`` for the model's
            own return value where no submodule returned it.
        module: dotted name of the module, without the call.
        call: which call of the module in one forward pass, from 0.
        kind: class of the module, or the operation of an exported graph.
        shape: shape of one sample's value (after the reduction); a tuple, list, mapping or
            dataclass counts as its first tensor with one row a sample; complex numbers as real and
            imaginary part, a last dimension of 2.
        width: number of features, the product of the shape (values are flattened).
        default: whether it is traced when no layers are named.
        reduction: of a value (N, T, D) of T tokens: ``flatten``, ``cls``, ``mean`` or ``token``;
            None for other shapes.
        token: which token, where each stands by itself.
        calls: how often its module runs in one pass.
        part: which of the tensors that the module returned.
        batch_dim: which dimension of that tensor counts the samples.
        aliases: other names of the same module; ``output`` for what the model returned.
        writes: whether the model's forward writes into its parameters, so that whoever traces it
            must copy them first.
    """

    name: str
    module: str
    call: int
    kind: str
    shape: tuple[int, ...]
    width: int
    default: bool
    reduction: Tokens | None = None
    token: int | None = None
    calls: int = 1
    part: int = 0
    batch_dim: int = 0
    aliases: tuple[str, ...] = ()
    writes: bool = False


@dataclass
class _Event:
    """One module call seen on a probe."""

    module: str
    call: int
    part: int
    batch_dim: int
    value: Tensor = field(repr=False)
    version: int | None
    content: Tensor | None = field(repr=False)

    def holds(self, value: Tensor) -> bool:
        """Whether this is the same value: the same memory, also as a view, not written to since."""
        if (self.value.data_ptr(), self.value.numel()) != (value.data_ptr(), value.numel()):
            return False
        if self.content is not None:  # a tensor of inference mode has no version
            return torch.equal(self.content, self.value)
        return value.is_inference() or self.version == value._version


def find_layers(model: Model, x: Tensor, *, tokens: Tokens = "flatten") -> tuple[Layer, ...]:
    """Every layer of a model, in the order in which a forward pass computes them.

    Layer 0 is the input. A value that a container merely hands on (``nn.Sequential``) or that a
    module returns unchanged (``nn.Identity``, ``nn.Flatten``, dropout in eval mode) is listed once,
    under the module that made it. A value counts if one of its dimensions follows the number of
    samples, whichever dimension that is.

    The default layers are those whose value the next stage reads: activations (``nn.ReLU`` and its
    kin), blocks that compute something themselves (a residual sum), and the output. A model without
    activation modules (``F.relu`` in its ``forward``) gets all its leaf modules instead.

    Args:
        model: any ``nn.Module``, also compiled, exported or wrapped; or a callable, which is traced
            by the module behind it if there is exactly one (``functools.partial(model, mask=mask)``
            binds further inputs), and else by its input and output.
        x: (N, …) a few samples; at most three are used.
        tokens: what becomes of values (N, T, D): ``flatten``; ``cls``, the first token; ``mean``
            over the tokens; ``token``, a layer ``name@t`` for each.

    Returns:
        The layers in execution order.

    Raises:
        ShapeError: x is no floating tensor.
        LayerError: an exported graph takes no other batch size.

    Cost: two forward passes, of two and three samples. The model is left as it was.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import find_layers
    >>> relu = nn.ReLU()
    >>> model = nn.Sequential(nn.Linear(4, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 3))
    >>> layers = find_layers(model, torch.rand(2, 4))
    >>> [(layer.name, layer.width) for layer in layers if layer.default]
    [('input', 4), ('1#0', 8), ('1#1', 8), ('4', 3)]
    """
    _check(x, tokens)
    events, returned, calls, writes = _probe(model, x)
    described, aliases = describe(model)
    functional = not any(
        described[event.module][2] for event in events if event.module in described
    )
    layers: list[Layer] = []
    for event in events:
        name = event.module or OUTPUT
        kind, leaf, acts = described.get(
            event.module, ("Input" if event.module == INPUT else "callable", True, False)
        )
        read = event is returned or acts or not leaf or functional or event.module == INPUT
        value = _by_sample(event.value, event.batch_dim)
        layer = Layer(
            name=f"{name}#{event.call}" if calls[event.module] > 1 else name,
            module=event.module,
            call=event.call,
            kind=kind,
            shape=tuple(value.shape[1:]),
            width=value[0].numel(),
            default=read and value[0].numel() > 1,
            calls=calls[event.module],
            part=event.part,
            batch_dim=event.batch_dim,
            aliases=(
                *aliases.get(event.module, ()),
                *((OUTPUT,) if event is returned and event.module else ()),
            ),
            writes=writes,
        )
        layers.extend(_reduced(layer, tokens))
    return tuple(layers)


def choose_layers(
    layers: Sequence[Layer], patterns: Sequence[str] | None = None
) -> tuple[Layer, ...]:
    """The layers that match any glob, in execution order; the default layers where none is given.

    Args:
        layers: what :func:`find_layers` found.
        patterns: globs over layer names (``block*``), module names (``relu`` means every call of
            it); ``*`` is all.

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
            raise LayerError(
                f"No layer matches {pattern!r}. The layers that ran, in order: {names}."
            )
    return tuple(layer for layer in layers if any(_matches(layer, pattern) for pattern in patterns))


def pick_layers(
    model: Model, x: Tensor, patterns: Sequence[str] | None = None, *, tokens: Tokens = "flatten"
) -> tuple[Layer, ...]:
    """:func:`find_layers`, then :func:`choose_layers`; an error says why a module is no layer.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import pick_layers
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> [layer.name for layer in pick_layers(model, torch.rand(2, 4), ["1"])]
    ['1']
    """
    layers = find_layers(model, x, tokens=tokens)
    for pattern in patterns or ():
        if not any(_matches(layer, pattern) for layer in layers):
            reason = _why_not(model, x, pattern)
            if reason is not None:
                raise LayerError(reason)
    return choose_layers(layers, patterns)


def features_of(layer: Layer, output: object, samples: int) -> Tensor:
    """The layer's features (N, D) in what its module returned.

    Raises:
        LayerError: the value is another than the one that was found, so this batch took another way
            through the model.
    """
    came: object = type(output).__name__
    for _, value in islice(tensors_in(output), layer.part, layer.part + 1):
        came = tuple(value.shape)
        if value.ndim > layer.batch_dim and value.shape[layer.batch_dim] == samples:
            reduced = _reduce(_by_sample(value, layer.batch_dim), layer)
            if reduced is not None and tuple(reduced.shape[1:]) == layer.shape:
                return reduced.flatten(1) if reduced.ndim > 1 else reduced[:, None]
    raise LayerError(
        f"Layer {layer.name!r} returned {came} for this batch of {samples} samples, and "
        f"{layer.shape} a sample when it was found: the model computes something else for other "
        "inputs. Trace layers that every input passes alike."
    )


def _check(x: object, tokens: str) -> None:
    check_tokens(tokens)
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 1 or len(x) == 0:
        raise ShapeError(
            f"Inputs must be one floating tensor (N, …); got {shape_of(x)}. Bind further inputs "
            "with functools.partial(model, mask=mask); "
            "for token numbers, pass their embeddings to a module that goes on from there."
        )


def _by_sample(value: Tensor, batch_dim: int) -> Tensor:
    """(N, …), real."""
    value = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
    return value.movedim(batch_dim, 0) if batch_dim else value


def _reduced(layer: Layer, tokens: Tokens) -> list[Layer]:
    """The layer, or one for each of its tokens."""
    if len(layer.shape) != 2 or layer.module == INPUT:
        return [layer]
    count, width = layer.shape
    if tokens == "flatten":
        return [replace(layer, reduction=tokens)]
    one = replace(
        layer, shape=(width,), width=width, reduction=tokens, default=layer.default and width > 1
    )
    if tokens == "token":
        return [replace(one, name=f"{layer.name}@{token}", token=token) for token in range(count)]
    return [one]


def _reduce(value: Tensor, layer: Layer) -> Tensor | None:
    if layer.reduction in (None, "flatten"):
        return value
    if value.ndim != 3:
        return None
    if layer.reduction == "mean":
        return at_least_float32(value).mean(1)
    token = layer.token or 0
    return value[:, token] if token < value.shape[1] else None


def _matches(layer: Layer, pattern: str) -> bool:
    names = (layer.name, layer.module or OUTPUT, *layer.aliases)
    return any(fnmatchcase(name, pattern) for name in names)


def few(x: Tensor, samples: int) -> Tensor:
    """So many inputs, again from the start where there are fewer."""
    return x[:samples] if len(x) >= samples else x[torch.arange(samples, device=x.device) % len(x)]


def _pass(model: Model, x: Tensor, samples: int, visit: Visit) -> tuple[object, bool]:
    """What the model returned, and whether it wrote into its parameters."""
    with guarded(model) as snapshot, torch.no_grad(), watching(model, visit) as run:
        try:
            output = run(few(x, samples))
        except AssertionError as error:
            if open_model(model).graph and "Guard failed" in str(error):
                raise LayerError(
                    f"The exported model does not take {samples} inputs "
                    f"({str(error).splitlines()[0]}). Export it with a free batch "
                    "size: torch.export.export(model, (x,), dynamic_shapes=({0: "
                    'torch.export.Dim("batch")},)).'
                ) from error
            raise
    return output, snapshot.wrote


def _probe(model: Model, x: Tensor) -> tuple[list[_Event], _Event | None, dict[str, int], bool]:
    """All distinct values of one pass, and what is known of the pass itself.

    Beside them the value that the model returned, how often each module ran, and whether the
    forward wrote into parameters.
    """
    few, more = PROBES
    shapes: dict[tuple[str, int], list[torch.Size]] = {}  # by call, in the pass of more samples
    events: list[_Event] = []
    ran: dict[str, int] = {}

    def remember(name: str, call: int, output: object) -> None:
        shapes[name, call] = [tensor.shape for _, tensor in tensors_in(output)]

    def found(output: object, others: list[torch.Size]) -> tuple[int, int, Tensor] | None:
        for part, (_, value) in enumerate(tensors_in(output)):
            other = others[part] if part < len(others) else None
            axis = batch_dimension(value, other, (few, more))
            if axis is not None:
                return part, axis, value
        return None

    def known(value: Tensor) -> _Event | None:
        return next((event for event in events if event.holds(value)), None)

    def visit(name: str, call: int, output: object) -> None:
        ran[name] = call + 1
        place = found(output, shapes.get((name, call), []))
        if place is None or known(place[2]):
            return
        part, axis, value = place
        frozen = value.is_inference()
        version, content = (None, value.clone()) if frozen else (value._version, None)
        events.append(_Event(name, call, part, axis, value, version, content))

    _pass(model, x, more, remember)
    output, writes = _pass(model, x, few, visit)
    counts = {name: call + 1 for name, call in shapes}  # the last call of each
    steady = [event for event in events if counts.get(event.module) == ran[event.module]]
    tensors = (tensor for _, tensor in tensors_in(output))
    return steady, next(filter(None, map(known, tensors)), None), ran, writes


def _why_not(model: Model, x: Tensor, name: str) -> str | None:
    """Why a module that exists is no layer: hidden, no row a sample, or it never ran."""
    opened = open_model(model)
    modules = dict(opened.root.named_modules()) if opened.root is not None else {}
    if opened.hidden and name not in (INPUT, OUTPUT):
        return f"Layer {name!r} cannot be seen, only the input and the output: {opened.hidden}."
    if name not in modules:
        return None
    came: list[str] = []

    def visit(module: str, _call: int, output: object) -> None:
        if module == name:
            came.append(shape_of(output))

    counts = []
    for samples in PROBES:
        came.clear()
        _pass(model, x, samples, visit)
        counts.append(len(came))
    if isinstance(modules[name], torch.jit.ScriptModule):
        return (
            f"Layer {name!r} cannot be seen: it is scripted, and PyTorch runs no hooks inside a "
            "ScriptModule."
        )
    if not came:
        return f"Layer {name!r} exists but never ran in the forward pass. Choose a layer that runs."
    if counts[0] != counts[1]:
        return (
            f"Layer {name!r} ran {counts[0]} times for {PROBES[0]} samples and {counts[1]} times "
            f"for {PROBES[1]}: which call is which depends on the batch. Trace layers that every "
            "input passes alike."
        )
    return (
        f"Layer {name!r} is no value of its own: for {PROBES[1]} inputs it returned {came[0]}. A "
        "layer needs a floating tensor with a batch dimension (one that counts the samples), "
        "different from what an earlier layer returned."
    )
