"""Bell values of features that are read by sign, with and without selection.

Derivation. Two sides read the same random vector w ~ N(0, I) by sign, one along a, the other along
b at the angle θ. Given the reading g of a, that of b is g cos θ + h sin θ with h ~ N(0, 1), so the
mean product of the signs is E[erf(|g| cot θ/√2)]. Keep only the vectors with |g| > τ, a share q of
them: in polar coordinates of (g, h)

    E(θ) = E[erf(|g| cot θ/√2) | |g| > τ] = (2/πq) ∫₀^{π/2−θ} exp(−τ²/(2 cos² u)) du
         = (4/q) T(τ, cot θ),   T Owen's function.

At 45° erf(|g|/√2) is itself uniform, so E = 1 − q/2, and the four CHSH settings give S = 4 − 2q.

What it means, and what it does not: without selection (q = 1) S is 2, the classical bound, exactly.
Above 2 there is **no non-locality** here: the vectors are selected after one side's setting is
known, which is **post-selection**, the detection loophole (Pearle 1970; Garg and Mermin 1987). q =
2 − √2 gives the number of quantum mechanics, 2√2, and stronger selection exceeds it up to 4. Plain
cosines in place of sign readings reach 2√2 trivially (Tsirelson's theorem), so a CHSH value of
cosines shows nothing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ndtri, owens_t
from torch import Tensor

from worldline.errors import BoundsError, ShapeError, UsageError

__all__ = ["CLASSICAL_BOUND", "TSIRELSON_BOUND", "bell_value", "chsh", "sign_correlation"]

CLASSICAL_BOUND = 2.0
TSIRELSON_BOUND = 2 * math.sqrt(2)


def bell_value(share: float) -> float:
    """CHSH value of sign readings at 0°/90° against 45°/135°, a share q of them kept by one side.

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
    """Mean product of the signs that two directions read, a share q of vectors kept by one side.

    E(θ) = (4/q) T(τ, cot θ) with P(|g| > τ) = q and T Owen's function, odd in its second argument.

    Args:
        angle: (N,) θ in [0, π] radians.
        share: q in (0, 1], the share of vectors kept.

    Returns:
        (N,) float64 in [−1, 1]. 1 at θ = 0, 0 at 90°, −1 at 180°; the straight line 1 − 2θ/π
        without selection, a step at 90° as q → 0.

    Raises:
        ShapeError: angles not a floating (N,). BoundsError: an angle outside [0, π]. UsageError:
            share outside (0, 1].

    Accuracy: 1e-12 absolute, for shares down to 1e-12. Source: Owen, Ann. Math. Stat. 27:1075
    (1956).

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
    theta = angle.detach().to("cpu", torch.float64)
    if bool(((theta < 0) | (theta > math.pi * (1 + 1e-6)) | theta.isnan()).any()):
        raise BoundsError("Angles must be radians in [0, π]; convert degrees with torch.deg2rad.")
    threshold = -float(ndtri(share / 2))
    cotangent = np.tan(math.pi / 2 - theta.clamp_max(math.pi).numpy())  # huge but finite at 0
    mean: Tensor = torch.from_numpy(4 / share * owens_t(threshold, cotangent))
    return mean.clamp(-1.0, 1.0).to(angle.device)


def chsh(correlations: Float[Tensor, "*B 2 2"]) -> Float[Tensor, "*B"]:
    """CHSH value of four correlations E(aᵢ, bⱼ).

    S = max over the place of the minus sign of |ΣE − 2 E_ij|.

    Args:
        correlations: (…, 2, 2) in [−1, 1]; rows are the settings of one side, columns those of the
            other.

    Returns:
        (…) in [0, 4]. At most 2: a joint distribution of all four readings exists (Fine 1982).
        Above 2 it does not: by quantum mechanics up to 2√2, or, as everywhere in this library,
        because the readings were selected. On noisy estimates the maximum is biased upwards by
        about their standard error.

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


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"share must be in (0, 1], the kept part of the readings; got {share!r}.")
