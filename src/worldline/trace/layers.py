"""Which values a model computes on the way: its layers, named by module and call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape
from itertools import islice

import torch
from torch import Tensor, nn

from worldline.errors import LayerError, ShapeError
from worldline.settings import Tokens
from worldline.trace.opening import Model, open_model
from worldline.trace.probing import Event, Probed, probe
from worldline.trace.stages import by_stage
from worldline.trace.values import (
    at_least_float32,
    check_tokens,
    shape_of,
    tensors_in,
    with_tensors,
)
from worldline.trace.watching import INPUT, READ, describe, plain_name

__all__ = [
    "Layer",
    "LayerChoice",
    "check_traced",
    "choose_layers",
    "features_of",
    "find_layers",
    "gradient_of",
    "patterns_of",
    "pick_layers",
    "tensor_of",
    "value_of",
    "with_value",
]

OUTPUT = "output"
LayerChoice = str | nn.Module | Sequence[str | nn.Module]
"""One or several layers: names, globs over them, or the modules themselves."""


@dataclass(frozen=True)
class Layer:
    """One value on the way through a model: what one call of one module returned.

    Attributes:
        name: the module's dotted name, or ``fc.input`` for what ``fc`` reads; with ``#k`` for its
            k-th call if it runs several times, and ``@t`` for token t by itself; ``input`` for the
            input itself; ``output`` for the model's own return value where no submodule returned
            it.
        module: dotted name of the module, without the call; ``fc<`` for what ``fc`` reads.
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
        aliases: other names: of the same module; of modules that returned the same value, as a
            container does; ``fc.input``, if the classifier ``fc`` reads it; ``output`` for what the
            model returned.
        writes: whether the model's forward writes into its parameters, so that whoever traces it
            must copy them first.
        embedding: whether it is what the classifier reads.
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
    embedding: bool = False


def find_layers(model: Model, x: Tensor, *, tokens: Tokens = "flatten") -> tuple[Layer, ...]:
    """Every layer of a model, in the order in which a forward pass computes them.

    Layer 0 is the input. A value that a container merely hands on (``nn.Sequential``) or that a
    module returns unchanged (``nn.Identity``, ``nn.Flatten``, dropout in eval mode) is listed once,
    under the module that made it. A value counts if one of its dimensions follows the number of
    samples, whichever dimension that is.

    The embedding, which the module reads that makes the logits, is a layer whichever way it came:
    where a function made it (``torch.flatten``, ``x.mean(1)``, ``x[:, 0]``), it is named after its
    reader, ``fc.input``.

    The default layers are the input, the embedding, the output, and values that the next stage
    reads: activations (``nn.ReLU`` and its kin) and what blocks return, such as a residual sum; in
    a model without activation modules (``F.relu`` in its ``forward``), what any module returns. Of
    more than 20 there are taken, as long as they fit: the last of each top-level module, then of
    the modules in these, and so on inwards; at each step first the last of those neighbours whose
    values have one shape. Of the first step that does not fit there are as many as do, evenly,
    unless ten are taken already.

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
    return _found(model, x, tokens)[0]


def _found(model: Model, x: Tensor, tokens: Tokens) -> tuple[tuple[Layer, ...], Probed]:
    check_tokens(tokens)
    check_traced(x)
    probed = probe(model, x)
    described, aliases = describe(model)
    functional = not any(
        described[event.module][2] for event in probed.events if event.module in described
    )
    nothing = ("callable", False, False)
    layers, read = [], []
    for event in probed.events:
        reads = event.module.endswith(READ)
        kind, block, acts = described.get(event.module.removesuffix(READ), nothing)
        handed = any(described.get(name, nothing)[1] for name, _ in event.handed_on)
        value = _by_sample(event.value, event.batch_dim)
        layers.append(
            Layer(
                name=_name(event.module, event.call, probed.calls),
                module=event.module,
                call=event.call,
                kind=f"input of {kind}" if reads else "Input" if event.module == INPUT else kind,
                shape=tuple(value.shape[1:]),
                width=value[0].numel(),
                default=event.module == INPUT or event in (probed.embedding, probed.returned),
                calls=probed.calls[event.module],
                part=event.part,
                batch_dim=event.batch_dim,
                aliases=tuple(_aliases(event, probed, aliases)),
                writes=probed.writes,
                embedding=event is probed.embedding,
            )
        )
        read.append(functional or acts or block or handed)
    chosen = by_stage(
        [(it.module, it.shape) for it in layers],
        read=[place for place, it in enumerate(read) if it],
        always=[place for place, it in enumerate(layers) if it.default],
    )
    return tuple(
        reduced
        for place, layer in enumerate(layers)
        for reduced in _reduced(replace(layer, default=place in chosen and layer.width > 1), tokens)
    ), probed


def _name(module: str, call: int, calls: dict[str, int]) -> str:
    reads = module.endswith(READ)
    name = f"{module.removesuffix(READ) or 'model'}.input" if reads else module or OUTPUT
    return f"{name}#{call}" if calls[module] > 1 else name


def _aliases(event: Event, probed: Probed, shared: dict[str, tuple[str, ...]]) -> Iterator[str]:
    yield from shared.get(event.module, ())
    for name, call in event.handed_on:
        if name:
            yield from dict.fromkeys((name, _name(name, call, probed.calls)))
            yield from shared.get(name, ())
    if event is probed.embedding and probed.reader is not None and probed.reader[0]:
        module, call = probed.reader
        if event.module != module + READ:
            yield _name(module + READ, call, probed.calls)
    if event is probed.returned and event.module:
        yield OUTPUT


def choose_layers(
    layers: Sequence[Layer], patterns: str | Sequence[str] | None = None
) -> tuple[Layer, ...]:
    """The layers that match any glob, in execution order; the default layers where none is given.

    Args:
        layers: what :func:`find_layers` found.
        patterns: globs over layer names (``block*``), module names (``relu`` means every call of
            it) and aliases (``layer1`` for what its last module returned); ``*`` is all.

    Raises:
        LayerError: a glob matches nothing; the message lists the layers there are.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import choose_layers, find_layers
    >>> layers = find_layers(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.rand(2, 4))
    >>> [layer.name for layer in choose_layers(layers, "0")]
    ['0']
    """
    if not patterns:
        return tuple(layer for layer in layers if layer.default)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    for pattern in patterns:
        if not any(_matches(layer, pattern) for layer in layers):
            names = ", ".join(layer.name for layer in layers)
            raise LayerError(
                f"No layer matches {pattern!r}. The layers that ran, in order: {names}."
            )
    return tuple(layer for layer in layers if any(_matches(layer, pattern) for pattern in patterns))


def pick_layers(
    model: Model, x: Tensor, layers: LayerChoice | None = None, *, tokens: Tokens = "flatten"
) -> tuple[Layer, ...]:
    """:func:`find_layers`, then :func:`choose_layers`; an error says why a module is no layer.

    Args:
        model, x, tokens: as of :func:`find_layers`.
        layers: one or several: names, globs, or modules of the model.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import pick_layers
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> [layer.name for layer in pick_layers(model, torch.rand(2, 4), model[1])]
    ['1']
    """
    patterns = patterns_of(model, layers)
    found, probed = _found(model, x, tokens)
    for pattern in patterns:
        if not any(_matches(layer, pattern) for layer in found):
            hidden = open_model(model).hidden
            if hidden:
                raise LayerError(
                    f"Layer {pattern!r} cannot be seen, only the input and the output: {hidden}."
                )
            for it in probed.unseen:
                if it.module and fnmatchcase(it.module, pattern):
                    raise LayerError(f"Layer {it.module!r} {it.advice}")
    return choose_layers(found, patterns)


def patterns_of(model: Model, layers: LayerChoice | None) -> list[str]:
    """Names and globs, also of modules."""
    given = [layers] if isinstance(layers, (str, nn.Module)) else layers or []
    root = open_model(model).root
    inside = () if root is None else root.named_modules()
    names = {module: plain_name(name) or OUTPUT for name, module in inside}
    patterns = []
    for it in given:
        if isinstance(it, nn.Module) and it not in names:
            raise LayerError(
                f"The module {type(it).__name__} that was given as a layer is no part of the "
                "model. Pass one of the model's own modules, or a name."
            )
        patterns.append(escape(names[it]) if isinstance(it, nn.Module) else it)
    return patterns


def features_of(layer: Layer, output: object, samples: int) -> Tensor:
    """The layer's features (N, D) in what its module returned.

    Raises:
        LayerError: the value is another than the one that was found, so this batch took another way
            through the model.
    """
    return _fitting(layer, output, samples).flatten(1)


def value_of(layer: Layer, output: object, samples: int) -> Tensor:
    """The layer's value (N, …) in what its module returned, in its own shape.

    Raises:
        LayerError: as of :func:`features_of`.
    """
    return _fitting(layer, output, samples)


def tensor_of(layer: Layer, output: object) -> Tensor:
    """The tensor that holds the layer's value, as its module returned it."""
    return next(islice((it for _, it in tensors_in(output)), layer.part, None))


def gradient_of(layer: Layer, gradient: Tensor) -> Tensor:
    """The gradient (N, …) of the layer's value, from that of :func:`tensor_of`."""
    return _by_sample(gradient, layer.batch_dim)


def with_value(layer: Layer, output: object, value: Tensor) -> object:
    """What its module returned, with another value (N, …) of the layer in it."""
    parts = [tensor for _, tensor in tensors_in(output)]
    old = parts[layer.part]
    if old.is_complex():
        value = torch.view_as_complex(value.contiguous())
    parts[layer.part] = value.reshape(_by_batch(old, layer).shape).movedim(0, layer.batch_dim)
    return with_tensors(output, iter(parts))


def _by_batch(value: Tensor, layer: Layer) -> Tensor:
    return value.movedim(layer.batch_dim, 0) if layer.batch_dim else value


def _fitting(layer: Layer, output: object, samples: int) -> Tensor:
    came: object = type(output).__name__
    for _, value in islice(tensors_in(output), layer.part, layer.part + 1):
        came = tuple(value.shape)
        if value.ndim > layer.batch_dim and value.shape[layer.batch_dim] == samples:
            reduced = _reduce(_by_sample(value, layer.batch_dim), layer)
            if reduced is not None and tuple(reduced.shape[1:]) == layer.shape:
                return reduced if reduced.ndim > 1 else reduced[:, None]
    raise LayerError(
        f"Layer {layer.name!r} returned {came} for this batch of {samples} samples, and "
        f"{layer.shape} a sample when it was found: the model computes something else for other "
        "inputs. Trace layers that every input passes alike."
    )


def check_traced(x: object) -> None:
    """Refuse inputs that no trace takes, with a ShapeError.

    >>> import torch
    >>> from worldline.trace.layers import check_traced
    >>> check_traced(torch.rand(3, 4))
    """
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
