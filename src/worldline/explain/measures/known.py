"""Measures of complexity that the field knows: size, norms, sharpness, activation flips.

Each says what it is, or why it does not fit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator, lobpcg
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from worldline.errors import ModelError
from worldline.explain.measures.operators import norm_scale
from worldline.inputs import logits_of
from worldline.trace import Model, untouched

__all__ = ["Measure", "activation_flips", "parameters", "path_norm", "sharpness", "spectral_norms"]

POINTS = 17
"""Points on a segment between two samples, both ends included."""


@dataclass(frozen=True)
class Measure:
    """One number about a model.

    Attributes:
        name: as in the table.
        value: None where it has none.
        interval: 95 % over samples (bootstrap of the mean); None for measures of the weights alone.
        untrained: the same on the untrained network; None without it.
        definition: one sentence.
        status: ``measured``, or why there is no value, or what to know about it.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    untrained: float | None
    definition: str
    status: str


Array = npt.NDArray[np.floating[Any]]
Found = tuple[float | None, str]
"""A value and its status."""


def parameters(model: Model) -> Found:
    """Number of parameters."""
    if not isinstance(model, nn.Module):
        return None, "The model is a plain callable: its parameters cannot be seen."
    return float(sum(parameter.numel() for parameter in model.parameters())), "measured"


def spectral_norms(model: Model, largest: Mapping[str, float]) -> Found:
    """ln of the product of the spectral norms of all linear layers and batch normalisations.

    Σ ln σ_max(W) over linear and convolutional modules, and over batch normalisations in eval mode,
    whose σ_max is the largest |γ|/√(variance + ε). An upper bound on the Lipschitz constant's
    logarithm for a chain of these and of 1-Lipschitz activations, and of nothing else; a module
    called twice counts once.

    Args:
        largest: module name → σ_max (:func:`~worldline.explain.measures.operators.stretch`).
    """
    if not isinstance(model, nn.Module) or not largest:
        return None, "There is no linear or convolutional layer that runs."
    modules = dict(model.named_modules())
    scales = [scale for it in modules.values() if (scale := norm_scale(it)) is not None]
    total = sum(map(_log, largest.values())) + sum(_log(float(scale.max())) for scale in scales)
    if not math.isfinite(total):
        return None, "A layer is zero or not finite: the logarithm has no value."
    other = {
        type(it).__name__
        for name, it in modules.items()
        if _owns(it) and name not in largest and norm_scale(it) is None
    }
    if other:
        return total, f"Left out, as they are not linear layers: {', '.join(sorted(other))}."
    return total, "measured"


def path_norm(model: Model, x: Tensor) -> Found:
    """ln of the path norm: the sum over all paths to an output of the product of |weights|.

    Paths start at an input or a bias (Neyshabur 2015, p = 1). One forward pass of the network with
    |w|, |b| on an input of ones: there every ReLU is open. A bias is a path that starts at a
    constant 1; batch normalisation is folded into a scale and a shift; a maximum pool counts its
    largest entry. It is defined for positively homogeneous networks: whether this one is, is tested
    (without biases, twice the input must give twice the output), and any other is refused.
    """
    if not isinstance(model, nn.Module):
        return None, "The model is a plain callable: its weights cannot be seen."
    ones = torch.ones_like(x[:1])
    with untouched(model), torch.no_grad():
        values, offsets = _absolute(model)
        bare = {name: it * 0 if name in offsets else it for name, it in values.items()}
        try:
            total = functional_call(model, values, (ones,))
            single = functional_call(model, bare, (ones,))
            double = functional_call(model, bare, (2 * ones,))
        except (RuntimeError, TypeError, ValueError) as error:
            return None, f"The network did not run with |weights| ({str(error).splitlines()[0]})."
    if not all(isinstance(it, Tensor) for it in (total, single, double)):
        return None, "The path norm needs a model that returns one tensor."
    if not torch.allclose(double, 2 * single, rtol=1e-3) or float(single.sum()) <= 0:
        leaves = (it for it in model.modules() if not list(it.children()) and not _owns(it))
        other = ", ".join(sorted({type(it).__name__ for it in leaves}))
        return None, (
            "The path norm is defined for networks of linear layers and ReLU-like activations; "
            "with |weights| this one is not positively homogeneous (its other modules: "
            f"{other or 'none'})."
        )
    return _log(float(total.double().sum())), "measured"


def _absolute(model: nn.Module) -> tuple[dict[str, Tensor], set[str]]:
    """|w| and |b| by name, and the names of what is added rather than multiplied.

    A batch normalisation adds β − γ μ/s, whose absolute value stands as its bias; without a bias of
    its own it stands as a negative mean, −|μ|, which comes out as |μ|/s.
    """
    values = {name: parameter.detach().abs() for name, parameter in model.named_parameters()}
    offsets = {name for name in values if name.rsplit(".", 1)[-1] == "bias"}
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or module.running_mean is None:
            continue
        dot, mean = f"{name}." if name else "", module.running_mean
        scale = norm_scale(module)
        if module.bias is None or scale is None:
            values[f"{dot}running_mean"] = -mean.abs()
            offsets.add(f"{dot}running_mean")
        else:
            shift = module.bias.detach() - module.weight.detach().sign() * scale * mean
            values[f"{dot}running_mean"] = torch.zeros_like(mean)
            values[f"{dot}bias"] = shift.abs()
    return values, offsets


def sharpness(
    model: Model, x: Tensor, y: Tensor | None, *, steps: int = 20, samples: int = 256, seed: int = 0
) -> Found:
    """Largest eigenvalue of the Hessian of the mean cross-entropy in all weights.

    λ_max(∇²_w CE(f_w(x), y)) (Hochreiter and Schmidhuber 1997; Keskar et al. 2017), by LOBPCG,
    which holds few vectors. Without labels the model's own predictions stand for them, and the
    status says so. Not invariant to a rescaling of the layers (Dinh et al. 2017).

    Cost: some ``steps`` Hessian products, each about two backward passes, on at most ``samples``
        inputs; memory some eight copies of the weights.
    """
    if not isinstance(model, nn.Module):
        return None, "The model is a plain callable: its weights cannot be seen."
    x = x[:samples]
    with untouched(model), torch.enable_grad():
        weights = [it.requires_grad_(True) for it in model.parameters() if it.is_floating_point()]
        if not weights:
            return None, "The model has no weights."
        try:
            with sdpa_kernel(SDPBackend.MATH):  # the fused attentions have no second derivative
                logits = logits_of(model, x)
                labels = logits.detach().argmax(1) if y is None else y[:samples]
                loss = nn.functional.cross_entropy(logits, labels)
                gradient = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
                used = [
                    (weight, moved)
                    for weight, moved in zip(weights, gradient, strict=True)
                    if moved is not None and moved.requires_grad
                ]
                value = _largest_eigenvalue(used, steps, seed) if used else 0.0
        except ModelError as error:
            return None, str(error)
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            return None, f"The loss has no second derivative in the weights ({reason})."
    return value, "measured" + (
        "" if y is not None else " with the model's own predictions as labels"
    )


def _largest_eigenvalue(used: Sequence[tuple[Tensor, Tensor]], steps: int, seed: int) -> float:
    """Of the Hessian, from weights and the gradient in them."""
    weights, gradient = [weight for weight, _ in used], [moved for _, moved in used]
    sizes = [weight.numel() for weight in weights]

    def product(vector: Array) -> Array:
        parts = torch.as_tensor(vector).flatten().to(weights[0]).split(sizes)
        cotangents = [part.view_as(w) for part, w in zip(parts, weights, strict=True)]
        products = torch.autograd.grad(
            gradient, weights, cotangents, retain_graph=True, materialize_grads=True
        )
        return np.asarray(torch.cat([it.flatten() for it in products]).to(dtype).cpu())

    dtype = torch.promote_types(weights[0].dtype, torch.float32)  # numpy knows no bfloat16
    generator = torch.Generator().manual_seed(seed)
    begin = np.asarray(torch.randn(sum(sizes), 1, generator=generator).to(dtype))
    hessian = LinearOperator((len(begin), len(begin)), matvec=product, dtype=begin.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is not settled is good to a per cent
        return float(lobpcg(hessian, begin, tol=1e-6, maxiter=steps)[0][0])


def activation_flips(
    model: Model, first: Tensor, second: Tensor, *, points: int = POINTS, batch_size: int = 256
) -> tuple[Tensor | None, str]:
    """(P,) how often the units' inputs change sign along the segment between two samples, per unit.

    Activation-pattern transitions (Raghu et al. 2017; Novak et al. 2018) on ``points`` points of
    each segment: the number of linear regions that a ReLU network crosses, seen at that resolution;
    for other activations the same count of signs. 0: one linear region; each unit can flip at most
    ``points`` − 1 times. Cost: ``points`` forward passes a segment.
    """
    modules = (
        [it for it in model.modules() if _activates(it)] if isinstance(model, nn.Module) else []
    )
    if not modules:
        why = "The model has no activation modules (nn.ReLU and its kin), so its units' signs "
        return None, f"{why}cannot be seen."
    counts: list[Tensor] = []
    share = torch.linspace(0, 1, points).to(first).view(-1, *(1,) * first.ndim)
    flips = first.new_zeros(0)
    units = 0

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal flips, units
        if len(inputs[0]) != points * len(flips):  # of a table of its own, not of the samples
            return
        signs = inputs[0].flatten(1).view(points, -1, inputs[0][0].numel()) > 0
        turns = (signs[1:] != signs[:-1]).sum(0, dtype=torch.int16)  # (P, units)
        flips = flips + turns.sum(1)
        units += signs.shape[2]

    handles = [module.register_forward_pre_hook(look) for module in modules]
    try:
        with untouched(model), torch.no_grad():
            for a, b in zip(
                first.split(max(1, batch_size // points)),
                second.split(max(1, batch_size // points)),
                strict=True,
            ):
                flips, units = a.new_zeros(len(a)), 0
                model((a + share * (b - a)).flatten(0, 1))
                counts.append((flips / max(units, 1)).double().cpu())
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(counts), f"measured on {len(first)} segments of {points} points"


def _activates(module: nn.Module) -> bool:
    """Whether the module is an elementwise activation of torch (softmax and attention are not)."""
    home = type(module).__module__ == "torch.nn.modules.activation"
    return home and not isinstance(
        module, (nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin, nn.MultiheadAttention)
    )


def _owns(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
