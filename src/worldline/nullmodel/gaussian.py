"""Deep linear networks: the Lyapunov exponents of products of Gaussian matrices."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import UsageError

__all__ = ["lyapunov_exponents"]


def lyapunov_exponents(width: int, *, variance: float | None = None) -> Float[Tensor, " n"]:
    """Lyapunov exponents of products of square Gaussian matrices, in nats per layer, largest first.

    λ_i = ½[ln 2 + ψ((n−i+1)/2)] + ½ ln s², for entries N(0, s²).

    Args:
        width: n ≥ 1.
        variance: s² > 0 of the entries; 1/n by default, which keeps lengths for large n.

    Returns:
        (n,) float64. Pairs of features align at the rate λ₁ − λ₂ ≈ 1/(2n), to ρ = ±1 with a random
        sign: a deep linear network at random weights merges everything, the slower the wider.

    Raises:
        UsageError: width < 1, variance not positive.

    Source: Newman, Commun. Math. Phys. 103:121 (1986).

    >>> from worldline.nullmodel import lyapunov_exponents
    >>> first, second = lyapunov_exponents(2).tolist()
    >>> round(first - second, 4)  # ln 2
    0.6931
    """
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise UsageError(f"width must be an integer of at least 1; got {width!r}.")
    s2 = 1 / width if variance is None else variance
    if not (s2 > 0 and math.isfinite(s2)):
        raise UsageError(f"variance must be positive and finite; got {variance}.")
    degrees = torch.arange(width, 0, -1, dtype=torch.float64)
    exponents: Tensor = 0.5 * (math.log(2 * s2) + torch.digamma(degrees / 2))
    return exponents
