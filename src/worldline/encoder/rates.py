"""How fast the encoder merges pairs: rapidity rate and Lyapunov spectrum, exact and for large k.

Derivation. In the frames of :mod:`worldline.encoder.laws` every layer is the triangle [[|y|, gᵀ],
[0, G']], so the Lyapunov exponents of the product are E ln|y| and those of products of Gaussian (k
− 1)-square matrices, which are E ln χ_{k−i} = ½[ln 2 + ψ((k−i)/2)], i = 1 … k−1 (Newman, Commun.
Math. Phys. 103:121, 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.reading import log_chi, polygamma, reading_length
from worldline.encoder.selection import Selection

__all__ = [
    "RapidityGain",
    "lyapunov_spectrum",
    "rapidity_gain",
    "rapidity_rate",
    "rapidity_rate_large_width",
    "reading_second_moment",
]


@dataclass(frozen=True)
class RapidityGain:
    """Nats of rapidity that one layer adds near the light cone: i.i.d. over layers.

    Attributes:
        mean: the rate r. Positive: pairs merge; negative: they part; ∞ for width 1.
        variance: of the gain of one layer; after L layers the rapidity has variance L times this.
    """

    mean: float
    variance: float


def rapidity_gain(selection: Selection) -> RapidityGain:
    """Mean and variance of the nats that a layer adds near the light cone, exact for all n and k.

    mean r = E ln|y| − ½[ln 2 + ψ((k−1)/2)], variance = Var ln|y| + ¼ ψ₁((k−1)/2).

    Args:
        selection: n, k and the rule.

    Returns:
        :class:`RapidityGain`; E ln|y| by exact order statistics (:mod:`worldline.encoder.reading`),
        to 1e-10.

    >>> from worldline.encoder import Selection, rapidity_gain
    >>> gain = rapidity_gain(Selection(candidates=10, width=2))
    >>> round(gain.mean, 3), round(gain.variance, 3)
    (1.468, 1.298)
    """
    law, k = reading_length(selection), selection.width
    if k == 1:
        return RapidityGain(math.inf, math.nan)
    variance = law.log_variance + polygamma(1, (k - 1) / 2) / 4
    return RapidityGain(law.log_mean - log_chi(k - 1), variance)


def rapidity_rate(selection: Selection) -> float:
    """Nats of rapidity per layer near the light cone: the Lyapunov gap λ_x − λ₂ of the encoder.

    r = E ln|y| − ½[ln 2 + ψ((k−1)/2)]; with the rule ``none`` it is ½[ψ(k/2) − ψ((k−1)/2)]:
    Gaussian products contract without any selection, fast at small k. That is the control to show
    beside a small-k figure.

    Args:
        selection: n, k and the rule.

    Returns:
        r. Positive: every pair ends parallel or anti-parallel, γ ~ e^{rL}. Negative
        (``most_negative`` with more than about half of them kept): near pairs part. ∞: width 1.

    Source: the mean of the one-step law (:mod:`worldline.encoder.laws`); for ``none`` Newman,
    Commun. Math. Phys. 103:121 (1986).

    >>> from worldline.encoder import Selection, rapidity_rate
    >>> round(rapidity_rate(Selection(candidates=10, width=2)), 3)
    1.468
    >>> round(rapidity_rate(Selection(candidates=2, width=2, rule="none")), 3)  # ln 2
    0.693
    """
    return rapidity_gain(selection).mean


def rapidity_rate_large_width(selection: Selection) -> float:
    """Nats of rapidity per layer in the limit of many kept neurons at a fixed share.

    r → ½ ln m₂, m₂ = E[y²] of a kept reading. The exact rate differs by O(1/k).

    Args:
        selection: only its share k/n and its rule matter.

    Returns:
        0 without selection: then only finite width contracts.

    >>> from worldline.encoder import Selection, rapidity_rate_large_width
    >>> round(rapidity_rate_large_width(Selection(candidates=16384, width=256)), 4)
    1.0169
    """
    return 0.5 * math.log(reading_second_moment(selection))


def reading_second_moment(selection: Selection) -> float:
    """Second moment of a kept reading in the limit of many neurons.

    m₂(q) = E[g² | kept] with q = k/n: 1 + 2τφ(τ)/q beyond |g| > τ, P(|g| > τ) = q; 1 + τφ(τ)/q
    beyond g < −τ, P(g < −τ) = q (τ < 0 when more than half are kept).

    Args:
        selection: only its share k/n and its rule matter.

    Returns:
        m₂ > 0. 1: reading as without selection; large: strong selection, m₂ ≈ τ² ≈ 2 ln(n/k).

    >>> from worldline.encoder import Selection, reading_second_moment
    >>> half = Selection(candidates=2, width=1, rule="most_negative")
    >>> reading_second_moment(half)  # half a normal
    1.0
    """
    q = selection.share
    if q == 1.0:
        return 1.0
    sides = 2 if selection.rule == "largest" else 1
    tau = -float(torch.special.ndtri(torch.tensor(q / sides, dtype=torch.float64)))
    return 1 + sides * tau * math.exp(-(tau**2) / 2) / (math.sqrt(2 * math.pi) * q)


def lyapunov_spectrum(selection: Selection) -> Float[Tensor, " k"]:
    """Lyapunov exponents of the encoder's product W_L … W_1, in nats per layer, largest first.

    E ln|y| for the fitted feature, and ½[ln 2 + ψ((k−i)/2)], i = 1 … k−1, across it.

    Args:
        selection: n, k and the rule.

    Returns:
        (k,) float64. The gap of the first two, where the fitted feature leads, is
        :func:`rapidity_rate`: the singular values of H part at that rate, H tends to **rank one**,
        and all that another feature x' leaves in H x' is one bit, the sign of ⟨v₁, x'⟩. The limit
        needs L ≫ k; before it, the singular values of H are closer.

    >>> from worldline.encoder import Selection, lyapunov_spectrum
    >>> spectrum = lyapunov_spectrum(Selection(candidates=10, width=2))
    >>> round(float(spectrum[0] - spectrum[1]), 3)
    1.468
    """
    k = selection.width
    halves = torch.arange(k - 1, 0, -1, dtype=torch.float64) / 2  # (k − i)/2 for i = 1 … k − 1
    across = 0.5 * (math.log(2) + torch.digamma(halves))
    values = torch.cat((halves.new_tensor([reading_length(selection).log_mean]), across))
    return values.sort(descending=True).values
