"""Gradient descent on one example: every step has rank one, and its sum is known in closed form.

Derivation. The loss |Wx − t|² has the gradient 2(Wx − t)xᵀ, so a step is W ← W − 2η(Wx − t)xᵀ. It
changes what W does to x alone: the error e = Wx − t becomes βe with β = 1 − 2η|x|², hence e_s = βˢ
e_0, and the sum of all steps is a geometric series,

    W_s = W_0 + (1 − βˢ)(t − W_0 x) xᵀ/|x|².

|β| < 1 converges, |β| > 1 **diverges**, and both add a matrix of rank one. Where it outweighs W_0
every vector z goes to ±(t − W_0 x), the sign that of x·z: the selecting encoder's collapse, with
another rank-one matrix.

In two dimensions write W_s = p x̂ᵀ + w x̂⊥ᵀ. Then w = W_0 x̂⊥ never changes, and p = W_0 x̂ + a(t −
W_0 x)/|x| with a = 1 − βˢ. A pair z, z' goes to p z₁ + w z₂ and p z'₁ + w z'₂, so for |p| ≫ |w|

    sinh φ' = |p| z₁ z'₁ / (w_⊥ (z₁z'₂ − z₂z'₁)),    ln(σ₁/σ₂) = ln|p| − ln|w_⊥|.

For normal W_0, z and z' all factors are normal, and z₁z'₂ − z₂z'₁ is |z| times a normal, so

    E ln|sinh φ'| = E ln|p| − E ln χ_2,    E ln(σ₁/σ₂) = E ln|p| − E ln|g|,

with E ln|p| = ln μ + ½ E₁(μ²/(2σ²)), p being normal around a t/|x|, of length μ = |a||t|/|x|, with
σ = |1 − a| = |β|ˢ. (E₁, the exponential integral, is the little by which a logarithm that is
harmonic but for the origin differs from its value in the middle.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_count
from worldline.encoder.reading import log_chi
from worldline.errors import ShapeError, UsageError

__all__ = ["NORMAL_LOG", "Descent", "descend", "descended", "descent_law"]

NORMAL_LOG = log_chi(1)  # E ln|g| of a normal g


@dataclass(frozen=True)
class Descent:
    """What gradient descent on one example does to unseen pairs in two dimensions, by the law.

    Attributes:
        factor: β = 1 − 2η|x|². Between −1 and 1 it converges; beyond, the loss grows by β² a step.
        log_sinh: E ln|sinh φ| of unseen pairs after the steps, in nats: where they nearly merge it
            is their mean |φ| less ln 2.
        log_gap: E ln(σ₁/σ₂) of the weights, in nats.
    """

    factor: float
    log_sinh: float
    log_gap: float


def descend(
    weights: Float[Tensor, "*P k D"],
    x: Float[Tensor, " D"],
    target: Float[Tensor, " k"],
    *,
    rate: float,
    steps: int,
) -> Float[Tensor, "*P k D"]:
    """Weights after steps of plain gradient descent on |Wx − t|², by autograd, one at a time.

    Args:
        weights: (k, D), or (P, k, D) for independent starts; not changed.
        x, target: (D,) and (k,), the one example.
        rate: η.
        steps: s ≥ 0.

    Returns:
        (…, k, D). For |1 − 2η|x|²| > 1 it diverges.

    Raises:
        ShapeError: shapes that do not fit.

    Cost: s passes. Oracle of :func:`descended`.

    >>> import torch
    >>> from worldline.encoder import descend
    >>> descend(torch.zeros(1, 2), torch.tensor([1.0, 0.0]), torch.ones(1), rate=0.25, steps=2)
    tensor([[0.7500, 0.0000]])
    """
    _check(weights, x, target)
    for _ in range(steps):
        moving = weights.detach().requires_grad_()
        with torch.enable_grad():
            loss = (moving @ x - target).square().sum()
            (gradient,) = torch.autograd.grad(loss, moving)
        weights = weights - rate * gradient
    return weights


def descended(
    weights: Tensor, x: Tensor, target: Tensor, *, rate: float, steps: int
) -> Float[Tensor, "*P k D"]:
    """The same in closed form: W_0 + (1 − βˢ)(t − W_0 x)xᵀ/|x|².

    >>> import torch
    >>> from worldline.encoder.descent import descended
    >>> descended(torch.zeros(1, 2), torch.tensor([1.0, 0.0]), torch.ones(1), rate=0.25, steps=2)
    tensor([[0.7500, 0.0000]])
    """
    _check(weights, x, target)
    square = float(x @ x)
    moved = 1 - (1 - 2 * rate * square) ** steps
    return weights + moved / square * (target - weights @ x)[..., None] * x


def descent_law(
    x: Float[Tensor, " 2"], target: Float[Tensor, " 2"], *, rate: float, steps: int
) -> Descent:
    """What descent on one example does to unseen normal pairs, for W_0 with normal entries.

    Args:
        x, target: (2,) the example.
        rate: η.
        steps: s ≥ 1.

    Returns:
        :class:`Descent`, exact up to terms of order 1/|p|: the formulas of the module.

    Raises:
        ShapeError: not two numbers each. UsageError: no step, or an example at the origin.

    >>> import torch
    >>> from worldline.encoder import descent_law
    >>> law = descent_law(torch.tensor([0.11, 0.1]), torch.ones(2), rate=1000.0, steps=5)
    >>> round(law.factor, 1)  # diverges
    -43.2
    """
    if x.shape != (2,) or target.shape != (2,):
        raise ShapeError(f"x and target must be (2,); got {came(x)} and {came(target)}.")
    check_count("steps", steps)
    square = float(x @ x)
    if square == 0 or not bool(target.any()):
        raise UsageError("An example at the origin, or a target of zero, has no direction.")
    factor = 1 - 2 * rate * square
    across = abs(factor**steps)
    middle = abs(1 - factor**steps) * float(target.norm()) / math.sqrt(square)
    log_length = math.log(middle) + 0.5 * _exponential_integral(middle**2 / (2 * across**2))
    return Descent(factor, log_length - log_chi(2), log_length - NORMAL_LOG)


def _exponential_integral(z: float) -> float:
    """E₁(z) = ∫_z^∞ e^{−u}/u du, by the trapezoidal rule in u = z e^v."""
    if z > 700:
        return 0.0
    v = torch.arange(0.0, 60.0, 2e-3, dtype=torch.float64)
    values = torch.exp(-z * torch.exp(v))
    return float(2e-3 * (values.sum() - 0.5 * values[0]))


def _check(weights: Tensor, x: Tensor, target: Tensor) -> None:
    if x.ndim != 1 or target.ndim != 1 or weights.shape[-2:] != (len(target), len(x)):
        raise ShapeError(
            "weights must be (…, k, D), x (D,) and target (k,); got "
            f"{came(weights)}, {came(x)} and {came(target)}."
        )
