"""What each ONNX operator computes, in torch, with gradients: name → function(attributes, inputs).

Written from the operators' definitions in the ONNX specification, opsets 7 to 23. Inputs that a
node leaves out are None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldline.loading.black_box import Attributes, UnsupportedError
from worldline.loading.onnx_recurrent import gru, lstm, rnn
from worldline.loading.onnx_resize import resize, resized

__all__ = ["ACTIVATIONS", "OPERATORS", "output_size"]

Operator = Callable[..., Any]
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
}
DTYPES |= {9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}


def _ints(value: Tensor | Sequence[int] | None) -> list[int]:
    return (
        []
        if value is None
        else [int(it) for it in (value.tolist() if isinstance(value, Tensor) else value)]
    )


def _axes(at: Attributes, given: Tensor | None) -> list[int]:
    return _ints(given if given is not None else at.get("axes"))


def _pads(
    at: Attributes,
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """Padding in ONNX' order (all begins, all ends)."""
    rule, sides = at.get("auto_pad", "NOTSET"), x.shape[2:]
    if rule in ("NOTSET", "VALID"):
        return (
            list(at.get("pads", [0] * 2 * len(sides))) if rule == "NOTSET" else [0] * 2 * len(sides)
        )
    needed = [
        max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
        for side, k, s, d in zip(sides, kernel, strides, dilations, strict=True)
    ]
    small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
    return small + large if rule == "SAME_UPPER" else large + small


def _padded(x: Tensor, pads: list[int], value: float) -> Tensor:
    """Pad the last axes, in ONNX' order."""
    half = len(pads) // 2
    order = [side for axis in reversed(range(half)) for side in (pads[axis], pads[half + axis])]
    return F.pad(x, order, value=value) if any(order) else x


def _window(
    at: Attributes, x: Tensor, kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    one = [1] * len(kernel)
    strides, dilations = list(at.get("strides", one)), list(at.get("dilations", one))
    return strides, dilations, _pads(at, x, kernel, strides, dilations)


def _conv(at: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    strides, dilations, pads = _window(at, x, weight.shape[2:])
    convolve = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    half = len(pads) // 2
    even = pads[:half] == pads[half:]
    x = x if even else _padded(x, pads, 0.0)
    return convolve(
        x, weight, bias, strides, pads[:half] if even else 0, dilations, at.get("group", 1)
    )


def _max_pool(at: Attributes, x: Tensor) -> Tensor:
    kernel = list(at["kernel_shape"])
    strides, dilations, pads = _window(at, x, kernel)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    x = _padded(x, pads, -math.inf)
    return pool(x, kernel, strides, 0, dilations, bool(at.get("ceil_mode", 0)))


def _average_pool(at: Attributes, x: Tensor) -> Tensor:
    kernel = list(at["kernel_shape"])
    strides, dilations, pads = _window(at, x, kernel)
    if any(step != 1 for step in dilations) or at.get("ceil_mode", 0):
        raise UnsupportedError(
            "AveragePool with dilations or ceil_mode is not supported; export the pool as "
            "torch.nn.AvgPool2d without them."
        )
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    mean = pool(_padded(x, pads, 0.0), kernel, strides)
    if at.get("count_include_pad", 0) or not any(pads):
        return mean
    return mean / pool(_padded(torch.ones_like(x[:1, :1]), pads, 0.0), kernel, strides)


def _global_pool(reduce: Callable[..., Tensor]) -> Operator:
    return lambda at, x: reduce(x, dim=tuple(range(2, x.ndim)), keepdim=True)


def _gemm(at: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = a.mT if at.get("transA") else a, b.mT if at.get("transB") else b
    product = at.get("alpha", 1.0) * (a @ b) if at.get("alpha", 1.0) != 1 else a @ b
    return product if c is None else product + at.get("beta", 1.0) * c


def _batch_norm(
    at: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    if at.get("training_mode", 0) or (at["opset"] < 14 and at["outputs"] > 1):
        raise UnsupportedError(
            "BatchNormalization in training mode mixes the samples of a batch. Export model.eval()."
        )
    return F.batch_norm(x, mean, var, scale, bias, training=False, eps=at.get("epsilon", 1e-5))


def _layer_norm(at: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = at.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    return F.layer_norm(
        x,
        shape,
        scale.expand(shape),
        None if bias is None else bias.expand(shape),
        at.get("epsilon", 1e-5),
    )


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def apply(at: Attributes, x: Tensor) -> Tensor:
        if at["opset"] >= 13:
            return function(x, dim=at.get("axis", -1))
        axis = at.get("axis", 1) % max(
            x.ndim, 1
        )  # before opset 13 all axes from this one on are one
        return function(x.flatten(axis), dim=-1).reshape(x.shape)

    return apply


def _clip(
    at: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    ends = [
        at.get(key) if end is None else end.item() for key, end in (("min", low), ("max", high))
    ]
    return x if ends == [None, None] else x.clamp(*ends)


def _reshape(at: Attributes, x: Tensor, shape: Tensor | None = None) -> Tensor:
    sides = _ints(shape if shape is not None else at["shape"])
    if not at.get("allowzero", 0):
        sides = [x.shape[axis] if side == 0 else side for axis, side in enumerate(sides)]
    return x.reshape(sides)


def _flatten(at: Attributes, x: Tensor) -> Tensor:
    axis = at.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(at: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = _axes(at, axes)
    return x.squeeze(tuple(given)) if given else x.squeeze()


def _unsqueeze(at: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = _axes(at, axes)
    for axis in sorted(axis % (x.ndim + len(given)) for axis in given):
        x = x.unsqueeze(axis)
    return x


def _slice(
    at: Attributes,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first, last = (
        _ints(given if given is not None else at[key])
        for key, given in (("starts", starts), ("ends", ends))
    )
    places = _axes(at, axes) or list(range(len(first)))
    for axis, low, high, step in zip(
        places, first, last, _ints(steps) or [1] * len(first), strict=True
    ):
        start, stop, _ = slice(low, high, step).indices(x.shape[axis])
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(start, stop, step),)]
        else:
            x = x.index_select(axis, torch.arange(start, stop, step, device=x.device))
    return x


def _gather(at: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = at.get("axis", 0) % x.ndim
    index = torch.where(index < 0, index + x.shape[axis], index)
    chosen = x.index_select(axis, index.reshape(-1))
    return chosen.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _split(at: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = at.get("axis", 0)
    given = _ints(sizes if sizes is not None else at.get("split"))
    if given:
        return tuple(torch.split(x, given, dim=axis))
    return tuple(torch.split(x, -(-x.shape[axis] // at["outputs"]), dim=axis))


def _pad(
    at: Attributes,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    amounts, mode = _ints(pads if pads is not None else at["pads"]), at.get("mode", "constant")
    places = [axis % x.ndim for axis in _ints(axes)] or list(range(x.ndim))
    half, full = len(amounts) // 2, [0] * 2 * x.ndim
    for place, axis in enumerate(places):
        full[axis], full[x.ndim + axis] = amounts[place], amounts[half + place]
    if mode == "constant":
        return _padded(x, full, at.get("value", 0.0) if value is None else value.item())
    used = [axis for axis in range(x.ndim) if full[axis] or full[x.ndim + axis]]
    first = min(used, default=x.ndim - 1)
    order = [
        side
        for axis in reversed(range(first, x.ndim))
        for side in (full[axis], full[x.ndim + axis])
    ]
    return F.pad(
        x, order, mode={"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    )


def _expand(at: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, _ints(shape)))


def _depth_to_space(at: Attributes, x: Tensor) -> Tensor:
    (samples, depth, height, width), side = x.shape, at["blocksize"]
    inner = depth // side**2
    if at.get("mode", "DCR") == "CRD":
        blocks = x.reshape(samples, inner, side, side, height, width).permute(0, 1, 4, 2, 5, 3)
    else:
        blocks = x.reshape(samples, side, side, inner, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(samples, inner, height * side, width * side)


def _space_to_depth(at: Attributes, x: Tensor) -> Tensor:
    (samples, depth, height, width), side = x.shape, at["blocksize"]
    rows, columns = height // side, width // side
    blocks = x.reshape(samples, depth, rows, side, columns, side).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(samples, depth * side**2, rows, columns)


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def apply(at: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        given = _axes(at, axes)
        if not given and at.get("noop_with_empty_axes", 0):
            return x
        return function(
            x, dim=tuple(given) or tuple(range(x.ndim)), keepdim=bool(at.get("keepdims", 1))
        )

    return apply


def _constant_of_shape(at: Attributes, shape: Tensor) -> Tensor:
    value: Tensor = at.get("value", torch.zeros(1))
    return value.reshape(()).expand(_ints(shape)).clone()


def _fold(function: Callable[[Tensor, Tensor], Tensor], *, mean: bool = False) -> Operator:
    def apply(at: Attributes, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first / (1 + len(others)) if mean else first

    return apply


def _divide(at: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _shape(at: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(
        x.shape[at.get("start", 0) : at.get("end")], dtype=torch.int64, device=x.device
    )


def _arg(function: Callable[..., Tensor]) -> Operator:
    return lambda at, x: function(x, dim=at.get("axis", 0), keepdim=bool(at.get("keepdims", 1)))


def _gelu(at: Attributes, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=at.get("approximate", "none"))


def _selu(at: Attributes, x: Tensor) -> Tensor:
    alpha: float = at.get("alpha", 1.67326319217681884765625)
    gamma: float = at.get("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def _mod(at: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if at.get("fmod", 0) else torch.remainder(a, b)


def _simple(function: Callable[..., Tensor]) -> Operator:
    return lambda at, *inputs: function(*inputs)


def _cast(at: Attributes, x: Tensor) -> Tensor:
    if at["to"] not in DTYPES:
        raise UnsupportedError(f"Cast to the ONNX type {at['to']} is not supported.")
    return x.to(DTYPES[at["to"]])


OPERATORS: dict[str, Operator] = {
    "Abs": _simple(torch.abs),
    "Add": _simple(torch.add),
    "And": _simple(torch.logical_and),
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": _simple(torch.ceil),
    "Celu": lambda at, x: F.celu(x, at.get("alpha", 1.0)),
    "Clip": _clip,
    "Concat": lambda at, *parts: torch.cat(parts, dim=at["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Cos": _simple(torch.cos),
    "DepthToSpace": _depth_to_space,
    "Div": _divide,
    "Dropout": lambda at, x, *_: x,
    "Einsum": lambda at, *parts: torch.einsum(at["equation"], *parts),
    "Elu": lambda at, x: F.elu(x, at.get("alpha", 1.0)),
    "Equal": _simple(torch.eq),
    "Erf": _simple(torch.erf),
    "Exp": _simple(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _simple(torch.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool(torch.mean),
    "GRU": gru,
    "GlobalMaxPool": _global_pool(torch.amax),
    "Greater": _simple(torch.gt),
    "GreaterOrEqual": _simple(torch.ge),
    "HardSigmoid": lambda at, x: (at.get("alpha", 0.2) * x + at.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _simple(F.hardswish),
    "Identity": lambda at, x: x,
    "InstanceNormalization": lambda at, x, scale, bias: F.instance_norm(
        x, weight=scale, bias=bias, eps=at.get("epsilon", 1e-5)
    ),
    "LSTM": lstm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda at, x: F.leaky_relu(x, at.get("alpha", 0.01)),
    "Less": _simple(torch.lt),
    "LessOrEqual": _simple(torch.le),
    "Log": _simple(torch.log),
    "LogSoftmax": _softmax(F.log_softmax),
    "MatMul": _simple(torch.matmul),
    "Max": _fold(torch.maximum),
    "MaxPool": _max_pool,
    "Mean": _fold(torch.add, mean=True),
    "Min": _fold(torch.minimum),
    "Mish": _simple(F.mish),
    "Mod": _mod,
    "Mul": _simple(torch.mul),
    "Neg": _simple(torch.neg),
    "Not": _simple(torch.logical_not),
    "Or": _simple(torch.logical_or),
    "PRelu": lambda at, x, slope: torch.where(x > 0, x, slope * x),
    "Pad": _pad,
    "Pow": _simple(torch.pow),
    "RNN": rnn,
    "Range": lambda at, start, stop, step: torch.arange(
        start.item(), stop.item(), step.item(), dtype=start.dtype
    ),
    "Reciprocal": _simple(torch.reciprocal),
    "ReduceL2": _reduce(torch.linalg.vector_norm),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _simple(F.relu),
    "Reshape": _reshape,
    "Resize": resize,
    "Round": _simple(torch.round),
    "Selu": _selu,
    "Shape": _shape,
    "Sigmoid": _simple(torch.sigmoid),
    "Sign": _simple(torch.sign),
    "Sin": _simple(torch.sin),
    "Slice": _slice,
    "Softmax": _softmax(F.softmax),
    "Softplus": _simple(F.softplus),
    "Softsign": _simple(F.softsign),
    "Split": _split,
    "SpaceToDepth": _space_to_depth,
    "Sqrt": _simple(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _simple(torch.sub),
    "Sum": _fold(torch.add),
    "Tanh": _simple(torch.tanh),
    "Tile": lambda at, x, repeats: x.repeat(_ints(repeats)),
    "Transpose": lambda at, x: x.permute(at.get("perm", list(range(x.ndim))[::-1])),
    "Unsqueeze": _unsqueeze,
    "Where": _simple(torch.where),
}
"""Every supported operator; a node's output, or a tuple of them."""

ACTIVATIONS: dict[str, Callable[[Attributes], nn.Module]] = {
    "Elu": lambda at: nn.ELU(at.get("alpha", 1.0)),
    "Gelu": lambda at: nn.GELU(at.get("approximate", "none")),
    "HardSwish": lambda at: nn.Hardswish(),
    "LeakyRelu": lambda at: nn.LeakyReLU(at.get("alpha", 0.01)),
    "Mish": lambda at: nn.Mish(),
    "Relu": lambda at: nn.ReLU(),
    "Sigmoid": lambda at: nn.Sigmoid(),
    "Softplus": lambda at: nn.Softplus(),
    "Tanh": lambda at: nn.Tanh(),
}
"""Operators that torch has as activation modules: tracing then knows them as such."""


def _product(sides: Sequence[int]) -> int:
    """Of sizes from a file: no longer number than it takes to be refused."""
    size = 0 if 0 in sides else 1
    for side in sides:
        size = min(size * abs(side), 2**62)
    return size


def output_size(operator: str, at: Attributes, inputs: Sequence[Tensor | None]) -> int:  # noqa: PLR0911
    """How many numbers an operator puts out, where that can be far more than it takes in; else 0.

    >>> output_size("MatMul", {}, (torch.zeros(1000, 1), torch.zeros(1, 1000)))
    1000000
    """
    shapes = [tuple(it.shape) for it in inputs if it is not None]
    if operator == "ConstantOfShape":
        return _product(_ints(inputs[0]))
    if operator == "Expand":
        return math.prod(torch.broadcast_shapes(shapes[0], _ints(inputs[1])))
    if operator == "Tile":
        return _product([*shapes[0], *_ints(inputs[1])])
    if operator == "Range":
        start, stop, step = (float(it) for it in inputs if it is not None)
        steps = abs(stop - start) / abs(step) if step else math.inf
        return int(steps) if steps < 2**62 else 2**62
    if operator in ("Pad", "Conv", "MaxPool", "AveragePool"):
        spread = _ints(inputs[1]) if operator == "Pad" and len(inputs) > 1 else at.get("pads", [])
        half, sides = len(spread) // 2, shapes[0]
        grown = [
            max(sides[len(sides) - half + axis] + spread[axis] + spread[half + axis], 0)
            for axis in range(min(half, len(sides)))
        ]
        inner = math.prod(sides[: len(sides) - half]) * math.prod(grown)
        return max(
            inner,
            math.prod(grown[2:] if operator == "Pad" else grown) * sides[0] * shapes[1][0]
            if operator == "Conv"
            else 0,
        )
    if operator == "Gather":
        axis: int = at.get("axis", 0) % max(len(shapes[0]), 1)
        return math.prod(shapes[0][:axis]) * math.prod(shapes[1]) * math.prod(shapes[0][axis + 1 :])
    if operator in ("MatMul", "Gemm") and all(len(shape) >= 2 for shape in shapes[:2]):
        a, b = (
            shape[::-1] if at.get(f"trans{side}") else shape
            for side, shape in zip("AB", shapes, strict=False)
        )
        return math.prod((*torch.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]))
    if operator in (
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Where",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "Equal",
        "Less",
        "Greater",
        "Mod",
    ):
        return math.prod(torch.broadcast_shapes(*shapes))
    if operator in ("LSTM", "GRU", "RNN"):
        return math.prod(shapes[0][:2]) * math.prod(shapes[2][:1]) * shapes[2][2]
    if operator == "Resize":
        return _product([size for _, size, _ in resized(at, *inputs)])
    if operator == "Einsum":
        return math.prod(math.prod(shape) for shape in shapes)
    return 0
