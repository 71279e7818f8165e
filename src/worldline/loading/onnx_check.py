"""Whether a converted ONNX graph computes what the file says.

Its logits and gradients are compared with ONNX' own evaluator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from worldline.errors import InputError, ModelError
from worldline.files import shorten

__all__ = ["check_graph"]

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
UNKNOWN = 32  # taken for a size that the file leaves open


def check_graph(proto: Any, graph: nn.Module, name: str) -> None:
    """Compare a converted graph with ``onnx.reference.ReferenceEvaluator`` on seeded inputs.

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
    worldline.errors.ModelError: The logits of e.onnx differ from those of ONNX' reference by 0.388
        (at most ...
    """
    declared: Any = graph.shape
    batch, *sides = declared
    shape = (batch or SAMPLES, *(side or UNKNOWN for side in sides))
    if math.prod(shape) > 2**28:
        raise ModelError(
            f"{name} declares inputs of shape {shape}, {math.prod(shape):,} numbers; at most "
            f"{2**28:,} can be tried. Export it again."
        )
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    try:
        x.requires_grad_()
        logits = graph(x)
        reference = _reference(proto)
        expected = reference(x.detach())
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the evaluator raises whatever numpy does
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{name} does not run on inputs of shape {shape}: {shorten(reason[0], 300)}. Declare "
            "the input's sizes when exporting."
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != tuple(expected.shape):
        raise ModelError(
            f"{name} gives {tuple(getattr(logits, 'shape', ()))} here and {expected.shape} by "
            "ONNX' reference. Please report it."
        )
    ours, scale = (
        logits.detach().double().numpy(),
        float(np.abs(expected).max()) if expected.size else 0.0,
    )
    difference = float(np.abs(ours - expected).max()) if expected.size else 0.0
    if not difference <= LOGITS_TOLERANCE * scale:
        raise ModelError(
            f"The logits of {name} differ from those of ONNX' reference by {difference:.3g} (at "
            f"most {LOGITS_TOLERANCE * scale:.3g} is allowed, a share of {LOGITS_TOLERANCE:g} of "
            f"their size {scale:.3g}). Please report it, with the operators of the graph."
        )
    if logits.is_floating_point() and logits.requires_grad:
        _check_gradient(logits, x, reference, scale, name)


def _reference(proto: Any) -> Callable[[Tensor], np.ndarray]:
    session = ReferenceEvaluator(proto)
    entry = next(
        it.name
        for it in proto.graph.input
        if it.name not in {weight.name for weight in proto.graph.initializer}
    )

    def run(x: Tensor) -> np.ndarray:
        answers: Any = session.run(None, {entry: x.numpy()})
        return np.asarray(answers[0], dtype=np.float64)

    return run


def _check_gradient(
    logits: Tensor, x: Tensor, reference: Callable[[Tensor], np.ndarray], scale: float, name: str
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
    raise ModelError(
        f"The gradient of {name} along itself is {rate:.4g} by autograd; differences of ONNX' "
        f"reference give {', '.join(f'{it:.4g}' for it in tried) or 'none'} (steps of "
        f"{', '.join(f'{it:g}' for it in STEPS)} of the logits' size; {GRADIENT_TOLERANCE:.0%} "
        "apart is allowed). An attack would be misled, so the model is refused. Please report it, "
        "with the operators of the graph."
    )
