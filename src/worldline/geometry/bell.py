"""Bell values of features that are read by sign, with and without selection.

Derivation. Two sides read the same random vector w ~ N(0, I) by sign, one along a, the other along
b at the angle θ. Given the reading g of a, that of b is g cos θ + h sin θ with h ~ N(0, 1), so the
mean product of the signs is E[erf(|g| cot θ/√2)]. Keep only the vectors with |g| > τ, a share q of
them: in polar coordinates of (g, h)

    E(θ) = E[erf(|g| cot θ/√2) | |g| > τ] = (2/πq) ∫₀^{π/2−θ} exp(−τ²/(2 cos² u)) du

(4/q times Owen's T).

At 45° erf(|g|/√2) is itself uniform, so E = 1 − q/2, and the four CHSH settings give S = 4 − 2q.

What it means, and what it does not: without selection (q = 1) S is 2, the classical bound, exactly.
Above 2
there is **no non-locality** here: the vectors are selected after one side's setting is known, which
is **post-selection**, the detection loophole (Pearle 1970; Garg and Mermin 1987). q = 2 − √2 gives
the number of quantum mechanics, 2√2, and stronger selection exceeds it up to 4. Plain cosines in
place of sign readings reach 2√2 trivially (Tsirelson's theorem), so a CHSH value of cosines shows
nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import BoundsError, ShapeError, UsageError

__all__ = ["CLASSICAL_BOUND", "TSIRELSON_BOUND", "bell_value", "chsh", "sign_correlation"]

CLASSICAL_BOUND = 2.0
TSIRELSON_BOUND = 2 * math.sqrt(2)


def bell_value(share: float) -> float:
    """CHSH value of sign readings at 0°/90° against 45°/135°, a share q of them kept by looking at
    one side.

    S = 4 − 2q.

    Args:
        share: q in (0, 1], the share of vectors kept.

    Returns:
        S in [2, 4). 2: no selection, the classical bound; 2√2 at q = 2 − √2; towards 4 as q → 0.
        Post-selection, not non-locality: see the module.

    Raises:
        UsageError: share outside (0, 1].

    >>> from worldline.geometry.bell import bell_value
    >>> [round(bell_value(q), 3) for q in (1.0, 0.8, 2 - 2**0.5, 0.3, 0.05)]
    [2.0, 2.4, 2.828, 3.4, 3.9]
    """
    _check_share(share)
    return 4 - 2 * share


def sign_correlation(angle: Float[Tensor, " N"], share: float) -> Float[Tensor, " N"]:
    """Mean product of the signs that two directions read, a share q of the vectors kept by looking
    at one side.

    E(θ) = (2/πq) ∫₀^{π/2−θ} exp(−τ²/(2 cos² u)) du with P(|g| > τ) = q, and E(π − θ) = −E(θ).

    Args:
        angle: (N,) θ in [0, π] radians.
        share: q in (0, 1], the share of vectors kept.

    Returns:
        (N,) float64 in [−1, 1]. 1 at θ = 0, 0 at 90°, −1 at 180°; the straight line 1 − 2θ/π
        without selection, a step at 90° as q → 0.

    Raises:
        ShapeError: angles not a floating (N,). BoundsError: an angle outside [0, π]. UsageError:
            share outside (0, 1].

    Accuracy: 1e-12 absolute, for shares down to 1e-12. Cost: 200 exponentials per angle. Source:
        Owen, Ann.
    Math. Stat. 27:1075 (1956) for the integral.

    >>> import torch
    >>> from worldline.geometry.bell import sign_correlation
    >>> sign_correlation(torch.tensor([torch.pi / 4]), 0.3)  # 1 − q/2
    tensor([0.8500], dtype=torch.float64)
    """
    _check_share(share)
    if not angle.is_floating_point() or angle.ndim != 1:
        raise ShapeError(
            f"angle must be a floating tensor (N,); got {tuple(angle.shape)} {angle.dtype}."
        )
    theta = angle.double()
    if bool(((theta < 0) | (theta > math.pi * (1 + 1e-6)) | theta.isnan()).any()):
        raise BoundsError("Angles must be radians in [0, π]; convert degrees with torch.deg2rad.")
    nodes, weights = _gauss_legendre(200)
    half_square = float(torch.special.ndtri(torch.tensor(share / 2, dtype=torch.float64))) ** 2 / 2
    reach = (math.pi / 2 - theta).abs().clamp_max(math.pi / 2)  # how far u goes
    tangent = math.sqrt(
        80 / max(2 * half_square, 1.0)
    )  # beyond tan u = this the integrand is below e^{−40}
    reach_used = (
        torch.minimum(reach, torch.full_like(reach, math.atan(tangent)))
        if half_square > 0.5
        else reach
    )
    u = reach_used[:, None] * (nodes.to(theta.device) + 1) / 2  # (N, nodes)
    # exp(−τ²/(2 cos² u))/q, with both factors as one exponential so that no tiny share divides by
    # zero
    log_integrand = -half_square / torch.cos(u) ** 2 - math.log(share)
    integral = torch.exp(log_integrand) @ weights.to(theta.device) * reach_used / 2
    return torch.sign(math.pi / 2 - theta) * (2 / math.pi * integral).clamp_max(1.0)


def chsh(correlations: Float[Tensor, "*B 2 2"]) -> Float[Tensor, "*B"]:
    """CHSH value of four correlations E(aᵢ, bⱼ).

    S = max over the place of the minus sign of |ΣE − 2 E_ij|.

    Args:
        correlations: (…, 2, 2) in [−1, 1]; rows are the settings of one side, columns those of the
            other.

    Returns:
        (…) in [0, 4]. At most 2: a joint distribution of all four readings exists (Fine 1982).
        Above 2 it
        does not: by quantum mechanics up to 2√2, or, as everywhere in this library, because the
            readings were
        selected. On noisy estimates the maximum is biased upwards by about their standard error.

    Raises:
        ShapeError: not (…, 2, 2).

    Source: Clauser, Horne, Shimony and Holt, Phys. Rev. Lett. 23:880 (1969).

    >>> import torch
    >>> from worldline.geometry.bell import chsh
    >>> chsh(torch.tensor([[0.5, -0.5], [0.5, 0.5]]))
    tensor(2.)
    """
    if correlations.ndim < 2 or correlations.shape[-2:] != (2, 2):
        raise ShapeError(f"CHSH takes correlations (…, 2, 2); got {tuple(correlations.shape)}.")
    flat = correlations.flatten(-2)
    return (flat.sum(-1, keepdim=True) - 2 * flat).abs().amax(-1)


@lru_cache(maxsize=4)
def _gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"share must be in (0, 1], the kept part of the readings; got {share!r}.")
