"""Whether a converted ONNX graph computes what the file says.

Its logits and gradients are compared with ONNX' own evaluator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor, nn

from worldline.errors import InputError, ModelError
from worldline.files import available_memory, shorten, size_text
from worldline.loading.black_box import UnsupportedError, open_session
from worldline.loading.shapes import shape_to_try

__all__ = ["check_graph", "counted"]

LOGITS_TOLERANCE = 1e-4
"""Largest difference of logits, relative to the largest of their absolute values: float32 sums in
another order stay below 1e-5.
"""
GRADIENT_TOLERANCE = 0.05
"""Difference of directional derivatives, relative: a step moves the logits by up to 1 %, and
crosses kinks of piecewise linear graphs.
"""
STEPS = (1e-2, 3e-3, 1e-3)  # how far the reference is moved, as shares of the logits' size
SAMPLES = 2


def check_graph(
    proto: Any, graph: nn.Module, name: str, sample: tuple[int, ...] | None = None
) -> None:
    """Compare a converted graph on seeded inputs with onnxruntime, where it is installed.

    Else with ``onnx.reference.ReferenceEvaluator``. Sizes that the file leaves free are those of
    ``sample``, the shape of one sample of the data.

    Logits: max |ours − reference| ≤ 1e-4 · max |reference|.

    Gradient g of a seeded mixture s of the logits: s moves along g/|g| at the rate |g|. The
    reference, asked for (s(x + h g/|g|) − s(x − h g/|g|)) / 2h, must agree to 5 % at one of three
    steps h: in float32 a shorter step drowns in rounding, a longer one crosses kinks. Where g = 0
    there is no direction to ask for, and only the logits are compared.

    Raises:
        ModelError: a disagreement, with both numbers, or a graph that does not run; says on which
            input shape.

    Cost: two passes of the module with two samples, one backward, and up to seven evaluations by
    the reference.

    >>> from onnx import TensorProto, helper
    >>> sides = [helper.make_tensor_value_info(it, TensorProto.FLOAT, ["N", 3]) for it in "xy"]
    >>> node = helper.make_node("Exp", ["x"], ["y"])
    >>> graph = helper.make_graph([node], "e", sides[:1], sides[1:])
    >>> proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    >>> class Wrong(nn.Module):
    ...     shape = (None, 3)
    ...     def forward(self, x):
    ...         return 1 + x
    >>> check_graph(proto, Wrong(), "e.onnx")
    Traceback (most recent call last):
    worldline.loading.black_box.UnsupportedError: The logits of e.onnx differ from those of
        ... by 0.388 (at most ...
    """
    declared: Any = graph.shape
    size: int | None = getattr(graph, "made_for", None)
    shape = shape_to_try(declared, sample, SAMPLES + (size == SAMPLES))
    if len(shape) > 32 or math.prod(shape) > 2**28:
        raise ModelError(
            f"{name} declares inputs of shape {shorten(str(shape))}; at most "
            f"{2**28:,} can be tried. Export it again."
        )
    kind = getattr(graph, "dtype", torch.float32)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=kind)
    try:
        x.requires_grad_()
        with counted(graph, name):
            logits = graph(x)
        reference, oracle = _reference(proto, size)
        expected = reference(x.detach())
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the evaluator raises whatever numpy does
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedError(
            f"{name} does not run on inputs of shape {shape}: {shorten(reason[0], 300)}. Declare "
            "the input's sizes when exporting."
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != tuple(expected.shape):
        raise UnsupportedError(
            f"{name} gives {tuple(getattr(logits, 'shape', ()))} here and {expected.shape} by "
            f"{oracle}. Please report it."
        )
    ours, scale = (
        logits.detach().double().numpy(),
        float(np.abs(expected).max()) if expected.size else 0.0,
    )
    difference = float(np.abs(ours - expected).max()) if expected.size else 0.0
    if not difference <= LOGITS_TOLERANCE * scale:
        raise UnsupportedError(
            f"The logits of {name} differ from those of {oracle} by {difference:.3g} (at "
            f"most {LOGITS_TOLERANCE * scale:.3g} is allowed, a share of {LOGITS_TOLERANCE:g} of "
            f"their size {scale:.3g}). Please report it, with the operators of the graph."
        )
    if logits.is_floating_point() and logits.requires_grad:
        _check_gradient(logits, x, reference, scale, name, oracle)


@contextmanager
def counted(graph: nn.Module, name: str) -> Iterator[None]:
    """Refuse a graph whose values need more than half of the memory: the reference holds them."""
    limit, taken = available_memory() // 2, [0]

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        parts = output if isinstance(output, tuple) else (output,)
        taken[0] += sum(it.nbytes for it in parts if isinstance(it, Tensor))
        if taken[0] > limit:
            raise ModelError(
                f"The values in {name} need more than {size_text(limit)} for {SAMPLES} samples, "
                "half of the memory that is available."
            )

    hooks = [child.register_forward_hook(count) for child in graph.children()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class BatchNormalization(OpRun):
    """Of opsets 9 to 13, in inference: ONNX' own trains whenever a momentum is there."""

    op_domain = ""

    def _run(self, x: Any, s: Any, b: Any, m: Any, v: Any, epsilon: float = 1e-5, **_: Any) -> Any:
        s, b, m, v = (it.reshape(-1, *(1,) * (x.ndim - 2)) for it in (s, b, m, v))
        return (((x - m) * (s / np.sqrt(v + epsilon)) + b).astype(x.dtype),)


def _reference(proto: Any, size: int | None) -> tuple[Callable[[Tensor], np.ndarray], str]:
    """Who knows better what the graph computes, and who that is; by batches of a fixed size."""
    try:
        session, oracle = open_session(proto.SerializeToString()), "onnxruntime"
    except Exception:  # it is missing, or takes no graph of this kind
        old = next(
            (it.version < 14 for it in proto.opset_import if it.domain in ("", "ai.onnx")), 0
        )
        session = ReferenceEvaluator(proto, new_ops=[BatchNormalization] if old else None)
        oracle = "ONNX' reference"
    entry = next(
        it.name
        for it in proto.graph.input
        if it.name not in {weight.name for weight in proto.graph.initializer}
    )

    def ask(x: Tensor) -> np.ndarray:
        answers: Any = session.run(None, {entry: x.numpy()})
        return np.asarray(answers[0], dtype=np.float64)

    def ask_by_batches(x: Tensor) -> np.ndarray:
        assert size is not None
        found = []
        for part in x.split(size):
            more = part[-1:].expand(size - len(part), *part.shape[1:])
            found.append(ask(torch.cat((part, more)))[: len(part)])
        return np.concatenate(found)

    return ask if size is None else ask_by_batches, oracle


def _check_gradient(
    logits: Tensor,
    x: Tensor,
    reference: Callable[[Tensor], np.ndarray],
    scale: float,
    name: str,
    oracle: str,
) -> None:
    mixture = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((logits * mixture).sum(), x)
    rate = float(gradient.norm())
    if rate == 0 or scale == 0:
        return
    direction, weights, tried = gradient / rate, mixture.double().numpy(), []
    if math.isfinite(rate):
        for share in STEPS:
            step = share * scale / rate
            ahead, behind = (reference(x.detach() + sign * step * direction) for sign in (1, -1))
            tried.append(float(((ahead - behind) * weights).sum() / (2 * step)))
            if abs(tried[-1] - rate) <= GRADIENT_TOLERANCE * rate:
                return
    raise UnsupportedError(
        f"The gradient of {name} along itself is {rate:.4g} by autograd; differences of {oracle} "
        f"give {', '.join(f'{it:.4g}' for it in tried) or 'none'} (steps of "
        f"{', '.join(f'{it:g}' for it in STEPS)} of the logits' size; {GRADIENT_TOLERANCE:.0%} "
        "apart is allowed). An attack would be misled, so the model is refused. Please report it, "
        "with the operators of the graph."
    )
