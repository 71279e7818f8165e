"""Mean-field maps of wide random networks: what one layer does to variance and correlation.

A layer of a wide random network is z' = W φ(z) + b, W_ij ~ N(0, σ_w²/fan-in), b_i ~ N(0, σ_b²). The
pre-activations of two inputs are jointly Gaussian over the neurons, and their variance q and
correlation ρ go through the maps

    q' = σ_w² E φ(√q z)² + σ_b²,    ρ' = [σ_w² E φ(u₁)φ(u₂) + σ_b²] / q',

u of variance q and correlation ρ (Poole et al. 2016; Schoenholz et al. 2017). χ₁ = σ_w² E φ'(√q*
z)² is the slope at ρ = 1 at the variance's fixed point q*: below one pairs merge (ordered), above
one near pairs part (chaotic).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from worldline.errors import BoundsError, UsageError
from worldline.nullmodel.activations import Activation, ActivationName

__all__ = [
    "MeanField",
    "Phase",
    "correlation_map",
    "mean_field",
    "variance_fixed_point",
    "variance_map",
]

SMALLEST, FINEST = 1e-15, 1e-15
"""Absolute and relative error of fixed points."""
Phase = Literal["ordered", "critical", "chaotic", "unbounded"]


@dataclass(frozen=True)
class MeanField:
    """Where a wide random network takes variance and correlation.

    Attributes:
        variance: q*, 0 (signals vanish) to ∞ (they grow without bound).
        chi: χ₁ = σ_w² E φ'². Also what a gradient's square is multiplied with per layer; ∞ for
            ``sign``.
        phase: ``ordered`` χ₁ < 1: pairs merge; ``critical`` χ₁ = 1; ``chaotic`` χ₁ > 1: near pairs
            part; ``unbounded``: q* = ∞.
        correlation: c*, the ρ at which pairs that start unrelated or near end; 1 unless chaotic;
            NaN where the limit is a linear network, which leaves every correlation as it is (or,
            for rounding, never decides).
        depth_scale: ξ in layers, |ρ − c*| ~ e^{−ℓ/ξ}; ∞ where the approach is algebraic, as for
            ReLU of σ_w² = 2 (angle 3π/ℓ), or where there is none.
    """

    variance: float
    chi: float
    phase: Phase
    correlation: float
    depth_scale: float


def variance_map(
    q: Float[Tensor, " N"],
    activation: Activation | ActivationName,
    *,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> Float[Tensor, " N"]:
    """Variance of the next pre-activation.

    q' = σ_w² E φ(√q z)² + σ_b².

    Args:
        q: (N,) ≥ 0, any floating dtype.
        activation: an :class:`Activation` or its name.
        sigma_w: σ_w > 0; √2 is He's for ReLU.
        sigma_b: σ_b ≥ 0.

    Returns:
        (N,) float64.

    Raises:
        BoundsError: q negative or not finite. UsageError: σ outside its range, or an unknown
            activation.

    >>> import torch
    >>> from worldline.nullmodel import variance_map
    >>> variance_map(torch.tensor([3.0]), "relu", sigma_w=2**0.5)  # He keeps the variance
    tensor([3.0000], dtype=torch.float64)
    """
    phi = _check(activation, sigma_w, sigma_b)
    if bool((~torch.isfinite(q) | (q < 0)).any()):
        raise BoundsError("Variances must be finite and at least 0.")
    return sigma_w**2 * phi.variance(q.double()) + sigma_b**2


def correlation_map(
    rho: Float[Tensor, " N"],
    activation: Activation | ActivationName,
    *,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    variance: float = 1.0,
) -> Float[Tensor, " N"]:
    """Correlation of the next pre-activations of two inputs.

    ρ' = [σ_w² E φ(u₁)φ(u₂) + σ_b²]/q'; for ReLU without bias [√(1−ρ²) + ρ(π − arccos ρ)]/π.

    Args:
        rho: (N,) in [−1, 1], any floating dtype.
        activation: an :class:`Activation` or its name.
        sigma_w, sigma_b: as in :func:`variance_map`.
        variance: q > 0 of both inputs' pre-activations; without effect for a homogeneous activation
            without bias.

    Returns:
        (N,) float64 in [−1, 1], 1e-10 absolute. ρ = 1 stays 1. A fixed point ρ* = c* is where deep
        pairs end.

    Raises:
        BoundsError: ρ outside [−1, 1]. UsageError: σ, variance outside their ranges, or an unknown
            activation.

    Accuracy: near ρ = 1 the rapidity is good to 1e-10/(1 − ρ²); beyond about 10 nats use 1 − ρ' ≈
        χ₁ (1 − ρ).
    Source: Cho and Saul 2009 for ReLU; Poole et al. 2016.

    >>> import torch
    >>> from worldline.nullmodel import correlation_map
    >>> correlation_map(torch.tensor([-1.0, 0.0, 1.0]), "relu")  # 0, 1/π, 1
    tensor([0.0000, 0.3183, 1.0000], dtype=torch.float64)
    """
    phi = _check(activation, sigma_w, sigma_b)
    if not (variance > 0 and math.isfinite(variance)):
        raise UsageError(f"variance must be positive and finite; got {variance}.")
    if bool((~(rho.abs() <= 1)).any()):
        raise BoundsError("Correlations must lie in [−1, 1]; clamp rounding with rho.clamp(-1, 1).")
    c = rho.double()
    q = torch.full_like(c, variance)
    total = sigma_w**2 * phi.variance(q) + sigma_b**2
    mapped = ((sigma_w**2 * phi.kernel(q, q, c) + sigma_b**2) / total).clamp(-1, 1)
    return torch.where(c == 1, torch.ones_like(c), mapped)


def variance_fixed_point(
    activation: Activation | ActivationName,
    *,
    sigma_w: float,
    sigma_b: float = 0.0,
    start: float = 1.0,
) -> float:
    """Variance q* at which the variance map ends when iterated from a start.

    q* = σ_w² E φ(√q* z)² + σ_b², found by Brent's method: the map increases with q, so the
    iteration is monotone.

    Args:
        activation, sigma_w, sigma_b: as in :func:`variance_map`.
        start: q₀ > 0; matters for GELU, whose fixed point is not unique, and for ReLU of σ_w² = 2,
            where every q is one.

    Returns:
        q* in [0, ∞]. 0: signals vanish; ∞: they grow without bound.

    Raises:
        UsageError: as :func:`variance_map`, or start not positive.

    >>> from worldline.nullmodel import variance_fixed_point
    >>> round(variance_fixed_point("relu", sigma_w=1.0, sigma_b=1.0), 9)  # σ_b²/(1 − σ_w²/2)
    2.0
    """
    phi = _check(activation, sigma_w, sigma_b)
    if not (start > 0 and math.isfinite(start)):
        raise UsageError(f"start must be positive and finite; got {start}.")
    if phi.homogeneous:
        factor = sigma_w**2 * phi.gain(start)
        if abs(factor - 1) < 1e-12:
            return start if sigma_b == 0 else math.inf
        return sigma_b**2 / (1 - factor) if factor < 1 else math.inf

    def excess(q: float) -> float:
        at = torch.tensor([q], dtype=torch.float64)
        return float(variance_map(at, phi, sigma_w=sigma_w, sigma_b=sigma_b)) - q

    low = high = start
    if excess(start) > 0:
        while excess(high) > 0:
            low, high = high, 2 * high
            if high > 1e8:
                return math.inf
    else:
        while excess(low) < 0:
            low, high = low / 2, low
            if high < 1e-12:
                return 0.0
    return float(brentq(excess, low, high, xtol=SMALLEST, rtol=FINEST))


def mean_field(
    activation: Activation | ActivationName,
    *,
    sigma_w: float,
    sigma_b: float = 0.0,
    start: float = 1.0,
) -> MeanField:
    """Fixed points, χ₁, phase and depth scale of a wide random network.

    χ₁ = σ_w² E φ'(√q* z)²; ξ = −1/ln χ₁ when ordered, −1/ln f'(c*) when chaotic.

    Args:
        activation, sigma_w, sigma_b, start: as in :func:`variance_fixed_point`.

    Returns:
        :class:`MeanField`.

    Raises:
        UsageError: as :func:`variance_fixed_point`.

    Cost: some hundred evaluations of the maps. Source: Poole et al. 2016; Schoenholz et al. 2017.

    >>> from worldline.nullmodel import mean_field
    >>> mean_field("tanh", sigma_w=1.0).phase, mean_field("tanh", sigma_w=2.0).phase
    ('critical', 'chaotic')
    >>> round(mean_field("tanh", sigma_w=2.0).correlation, 6)  # unrelated stays so
    0.0
    """
    phi = _check(activation, sigma_w, sigma_b)
    q = variance_fixed_point(phi, sigma_w=sigma_w, sigma_b=sigma_b, start=start)
    chi = sigma_w**2 * phi.gain(q)
    phase: Phase = "ordered" if chi < 1 else "chaotic"
    if math.isinf(q):
        phase = "unbounded"
    elif abs(chi - 1) < 1e-9:
        phase = "critical"
    if q == 0 or math.isinf(q) or (phi.homogeneous and sigma_b == 0):
        # A vanishing network is linear; a scale-free one merges pairs algebraically, not at a rate.
        linear = phi.name == "linear" or (phi.name == "leaky_relu" and phi.slope == 1)
        merged = (math.isinf(q) or phi.homogeneous) and not linear
        return MeanField(q, chi, phase, 1.0 if merged else math.nan, math.inf)
    if phase != "chaotic":
        return MeanField(q, chi, phase, 1.0, -1 / math.log(chi) if phase == "ordered" else math.inf)
    c = _correlation_fixed_point(phi, sigma_w, sigma_b, q)
    slope = _correlation_slope(phi, sigma_w, q, c)
    if slope <= 0:
        return MeanField(q, chi, phase, c, 0.0)
    return MeanField(q, chi, phase, c, -1 / math.log(slope) if slope < 1 else math.inf)


def _correlation_fixed_point(phi: Activation, sigma_w: float, sigma_b: float, q: float) -> float:
    """c* in [0, 1): the map is a power series of positive terms, convex, and crosses once."""

    def excess(c: float) -> float:
        at = torch.tensor([c], dtype=torch.float64)
        return float(correlation_map(at, phi, sigma_w=sigma_w, sigma_b=sigma_b, variance=q)) - c

    low, high = 0.0, 1 - 1e-9
    if excess(low) <= 1e-15:
        return 0.0
    if excess(high) >= 0:  # closer to 1 than the map is accurate
        return high
    return float(brentq(excess, low, high, xtol=SMALLEST, rtol=FINEST))


def _correlation_slope(phi: Activation, sigma_w: float, q: float, c: float) -> float:
    """dρ'/dρ at c < 1 and the variance's fixed point."""
    at = torch.tensor([c], dtype=torch.float64, requires_grad=True)
    variance = torch.full_like(at, q, requires_grad=False)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(phi.kernel(variance, variance, at).sum(), at)
    return sigma_w**2 * float(slope) / q


def _check(activation: Activation | ActivationName, sigma_w: float, sigma_b: float) -> Activation:
    if not (sigma_w > 0 and math.isfinite(sigma_w)):
        raise UsageError(f"sigma_w must be positive and finite; got {sigma_w}.")
    if not (sigma_b >= 0 and math.isfinite(sigma_b)):
        raise UsageError(f"sigma_b must be at least 0 and finite; got {sigma_b}.")
    return activation if isinstance(activation, Activation) else Activation(activation)
