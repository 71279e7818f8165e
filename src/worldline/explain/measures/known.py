"""Measures of complexity that the field knows: size, norms, sharpness, activation flips. Each says
what it is, or why it does not fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from worldline.errors import ModelError
from worldline.explain.measures.limits import LinearLayer
from worldline.explain.measures.operators import norm_scale, spectral_norm
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
        status: ``measured``, or a sentence that says why there is no value or what to know about
            it.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    untrained: float | None
    definition: str
    status: str


Found = tuple[float | None, str]
"""A value and its status."""


def parameters(model: Model) -> Found:
    """Number of parameters."""
    if not isinstance(model, nn.Module):
        return None, "The model is a plain callable: its parameters cannot be seen."
    return float(sum(parameter.numel() for parameter in model.parameters())), "measured"


def spectral_norms(model: Model, layers: tuple[LinearLayer, ...], *, steps: int = 30) -> Found:
    """ln of the product of the spectral norms of all linear and convolutional layers, and of batch
    normalisation in eval mode.

    Σ ln σ₁(W), each by Lanczos on the layer's own forward
    (:func:`~worldline.explain.measures.operators.spectral_norm`); for batch normalisation the
    largest |γ|/√(variance + ε). An upper bound on the Lipschitz constant's logarithm for a chain of
    these and of 1-Lipschitz activations, and of nothing else; a module called twice counts once.
    """
    if not isinstance(model, nn.Module) or not layers:
        return None, "There is no linear or convolutional layer that runs."
    modules = dict(model.named_modules())
    with untouched(model):
        logs = {
            layer.module: _log(spectral_norm(modules[layer.module], layer.shape, steps=steps))
            for layer in layers
        }
    scales = [scale for it in modules.values() if (scale := norm_scale(it)) is not None]
    total = sum(logs.values()) + sum(_log(float(scale.max())) for scale in scales)
    owners = {layer.module for layer in layers}
    kinds = {type(it).__name__ for name, it in modules.items() if _owns(it) and name not in owners}
    other = sorted(
        kinds - {type(it).__name__ for it in modules.values() if norm_scale(it) is not None}
    )
    if not math.isfinite(total):
        return None, "A layer is zero or not finite: the logarithm has no value."
    return (
        total,
        f"Left out, as they are not linear layers: {', '.join(other)}." if other else "measured",
    )


def path_norm(model: Model, x: Tensor) -> Found:
    """ln of the path norm: the sum over all paths from an input or a bias to an output of the
    product of |weights| (Neyshabur 2015, p = 1).

    One forward pass of the network with |w|, |b| on an input of ones: there every ReLU is open. A
    bias is a path that starts at a constant 1; batch normalisation is folded into a scale and a
    shift; a maximum pool counts its largest entry. It is defined for
    positively homogeneous networks: whether this one is, is tested (without biases, twice the input
        must give twice the output), and
    any other is refused.
    """
    if not isinstance(model, nn.Module):
        return None, "The model is a plain callable: its weights cannot be seen."
    ones = torch.ones_like(x[:1])
    with untouched(model), torch.no_grad():
        values = _absolute(model)
        bare = {name: it * 0 if name in _offsets(model) else it for name, it in values.items()}
        try:
            total = functional_call(model, values, (ones,))
            single, double = (
                functional_call(model, bare, (ones,)),
                functional_call(model, bare, (2 * ones,)),
            )
        except (RuntimeError, TypeError, ValueError) as error:
            return None, f"The network did not run with |weights| ({str(error).splitlines()[0]})."
    if not all(isinstance(it, Tensor) for it in (total, single, double)):
        return None, "The path norm needs a model that returns one tensor."
    if not torch.allclose(double, 2 * single, rtol=1e-3) or float(single.sum()) <= 0:
        other = sorted(
            {
                type(it).__name__
                for it in model.modules()
                if not list(it.children()) and not _owns(it)
            }
        )
        return None, (
            "The path norm is defined for networks of linear layers and ReLU-like activations; "
            "with |weights| this one is not positively "
            f"homogeneous (its other modules: {', '.join(other) or 'none'})."
        )
    return _log(float(total.double().sum())), "measured"


def _absolute(model: nn.Module) -> dict[str, Tensor]:
    """|w| and |b| by name, batch normalisations folded so that their shift is |β − γ μ/s| and their
    scale |γ|/s.
    """
    values = {name: parameter.detach().abs() for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        if (
            isinstance(module, _BatchNorm)
            and module.running_mean is not None
            and module.running_var is not None
        ):
            dot = f"{name}." if name else ""
            scale = (module.running_var + module.eps).rsqrt()
            values[f"{dot}running_mean"] = torch.zeros_like(module.running_mean)
            if module.weight is not None:
                shift = module.bias.detach() - module.weight.detach() * module.running_mean * scale
                values[f"{dot}bias"] = shift.abs()
    return values


def _offsets(model: nn.Module) -> set[str]:
    """Names of the parameters that are added rather than multiplied: those called bias."""
    return {name for name, _ in model.named_parameters() if name.rsplit(".", 1)[-1] == "bias"}


def sharpness(
    model: Model, x: Tensor, y: Tensor | None, *, steps: int = 20, samples: int = 256, seed: int = 0
) -> Found:
    """Largest eigenvalue of the Hessian of the mean cross-entropy with respect to all weights, by
    Lanczos.

    λ_max(∇²_w CE(f_w(x), y)) (Hochreiter and Schmidhuber 1997; Keskar et al. 2017 in the version of
    Ghorbani et al. 2019). Without labels the model's own predictions stand for them, and the status
    says so. Not invariant to a rescaling of the layers (Dinh et al. 2017).
    Cost: ``steps`` Hessian products, each about two backward passes, on at most ``samples`` inputs;
        memory three copies of the weights.
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
                    (w, g)
                    for w, g in zip(weights, gradient, strict=True)
                    if g is not None and g.requires_grad
                ]
                value = _largest_eigenvalue(used, steps, seed)
        except ModelError as error:
            return None, str(error)
        except (RuntimeError, NotImplementedError) as error:
            return (
                None,
                f"The loss has no second derivative in the weights "
                f"({str(error).splitlines()[0].rstrip('.')}).",
            )
    return (
        value,
        "measured" if y is not None else "measured with the model's own predictions as labels",
    )


def _largest_eigenvalue(used: list[tuple[Tensor, Tensor]], steps: int, seed: int) -> float:
    if not used:
        return 0.0
    weights, gradient = [w for w, _ in used], [g for _, g in used]
    generator = torch.Generator().manual_seed(seed)
    size = sum(w.numel() for w in weights)
    vector = torch.randn(size, generator=generator).to(weights[0])
    vector = vector / vector.norm()
    before, beta = torch.zeros_like(vector), 0.0
    diagonal: list[float] = []
    beyond: list[float] = []
    for _ in range(min(steps, size)):
        parts = vector.split([w.numel() for w in weights])
        cotangents = [part.view_as(w) for part, w in zip(parts, weights, strict=True)]
        products = torch.autograd.grad(
            gradient, weights, cotangents, retain_graph=True, materialize_grads=True
        )
        image = torch.cat([product.flatten() for product in products]) - beta * before
        alpha = float(image @ vector)
        diagonal.append(alpha)
        image = image - alpha * vector
        beta = float(image.norm())
        if beta <= 1e-10 * max(1e-30, abs(alpha)):
            break
        beyond.append(beta)
        before, vector = vector, image / beta
    table = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beyond[: len(diagonal) - 1], dtype=torch.float64)
    table += torch.diag(off, 1) + torch.diag(off, -1)
    return float(torch.linalg.eigvalsh(table)[-1])


def activation_flips(
    model: Model, first: Tensor, second: Tensor, *, points: int = POINTS, batch_size: int = 256
) -> tuple[Tensor | None, str]:
    """(P,) how often the units' inputs change sign along the segment between two samples, per unit.

    Activation-pattern transitions (Raghu et al. 2017; Novak et al. 2018) on ``points`` points of
    each segment: the number of linear regions that a ReLU network crosses, seen at that resolution;
        for other activations the same count of signs. 0: one linear region;
    each unit can flip at most ``points`` − 1 times. Cost: ``points`` forward passes a segment.
    """
    modules = (
        [it for it in model.modules() if _activates(it)] if isinstance(model, nn.Module) else []
    )
    if not modules:
        return (
            None,
            "The model has no activation modules (nn.ReLU and its kin), so its units' signs "
            "cannot be seen.",
        )
    counts: list[Tensor] = []
    share = torch.linspace(0, 1, points).to(first).view(-1, *(1,) * first.ndim)
    flips = first.new_zeros(0)
    units = 0

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal flips, units
        signs = inputs[0].flatten(1).view(points, -1, inputs[0][0].numel()) > 0
        flips = flips + (signs[1:] != signs[:-1]).sum((0, 2))
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
    return torch.cat(counts), "measured"


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
