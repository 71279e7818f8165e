"""Controls that stand beside every demonstration: the sign that is kept, and the rank that is lost.

Derivation of the sign. By the one-step law sinh φ' = (|y| sinh φ + g)/χ, a linear recursion. After
L layers the sign of φ is that of sinh φ₀ + Z with Z = Σ_l (g_l/|y_l|) Π_{j<l} χ_j/|y_j|, which
given the lengths is Gaussian of variance

    V = Σ_l |y_l|⁻² Π_{j<l} (χ_j/|y_j|)²,    so    P(sign kept) = E Φ(|sinh φ₀| / √V).

For many neurons |y|² → k m₂ and χ² → k: V → (1/k) Σ_{l=1…L} m₂^{−l}. Selection makes the sum
converge: what the first layers decide stays. Without selection it grows like L/k while L ≪ k, and
the sign is forgotten; for L ≫ k it stops growing, and 1 − θ₀/π of the pairs keep theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import check_count
from worldline.encoder.laws import check_rapidity, chi_lengths
from worldline.encoder.rates import reading_second_moment
from worldline.encoder.reading import reading_length
from worldline.encoder.seeds import make_generator
from worldline.encoder.selection import Selection
from worldline.errors import ShapeError, UsageError

__all__ = ["Estimate", "RankOne", "rank_one", "sign_kept_large_width", "sign_kept_probability"]


@dataclass(frozen=True)
class Estimate:
    """A value for each of N pairs, (N,), and its standard error, zero where nothing was sampled."""

    value: Tensor
    standard_error: Tensor


@dataclass(frozen=True)
class RankOne:
    """How near matrices are to rank one; leading axes as the matrix's.

    Attributes:
        log_gap: (…,) ln(σ₁/σ₂) in nats, the boost rapidity of the matrix; ∞: rank one exactly (or a
            single row).
        share: (…,) σ₁²/Σσ² in (0, 1]; 1: rank one.
        left: (…, k) u₁, where every feature ends, up to sign.
        right: (…, D) v₁: the sign of ⟨v₁, x'⟩ is the one bit that x' leaves in the limit.
    """

    log_gap: Tensor
    share: Tensor
    left: Tensor
    right: Tensor


def sign_kept_probability(
    rapidity: Float[Tensor, " N"],
    selection: Selection,
    depth: int,
    *,
    samples: int = 4096,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> Estimate:
    """Probability that a pair's correlation ends with the sign that it began with.

    E Φ(|sinh φ₀|/√V), V as in the module; the normal is integrated exactly, only the lengths are
    sampled. For
    one layer they are integrated too: 1 − (1/π)∫₀^∞ L(sinh²φ₀ (1+v²)/2)/(1+v²) dv, L the Laplace
        transform of
    |y|².

    Args:
        rapidity: (N,) φ₀ at the input, in nats.
        selection: n, k and the rule.
        depth: L ≥ 1.
        samples: draws of the lengths, shared by all pairs; depth 1 uses none.
        seed, generator: of those draws; the generator instead of the seed.

    Returns:
        :class:`Estimate` in [½, 1]. ½: the end is a coin toss; 1: the start decides.

    Raises:
        UsageError: depth < 1, samples < 2. ShapeError, BoundsError: not a (N,) without NaN.

    Cost: O(samples · L · k + samples · N); for depth 1 about 10⁵ evaluations of a normal
    distribution per pair.

    >>> import torch
    >>> from worldline.encoder import Selection, sign_kept_probability
    >>> start = torch.tensor([0.0, 0.3])
    >>> sign_kept_probability(start, Selection(candidates=10, width=2), 1).value
    tensor([0.5000, 0.7615], dtype=torch.float64)
    """
    check_count("depth (number of layers)", depth)
    slope = torch.sinh(check_rapidity(rapidity)).abs()
    if depth == 1:
        return Estimate(_sign_kept_once(slope, selection), torch.zeros_like(slope))
    if samples < 2:
        raise UsageError(f"samples must be at least 2, for a standard error; got {samples}.")
    generator = generator or make_generator(seed, slope.device)
    variance = torch.zeros(samples, dtype=torch.float64, device=slope.device)
    # V_L = (1 + χ² V_{L−1}) / |y|², the lengths being exchangeable over layers
    for _ in range(depth):
        square = selection.draw(samples, generator=generator).square().sum(-1)
        across = chi_lengths(samples, selection.width - 1, generator=generator)
        variance = (1 + across**2 * variance) / square
    kept = torch.special.ndtr(slope[:, None] / variance.sqrt())  # (N, samples)
    return Estimate(kept.mean(-1), kept.std(-1) / math.sqrt(samples))


def sign_kept_large_width(
    rapidity: Float[Tensor, " N"], selection: Selection, depth: int
) -> Float[Tensor, " N"]:
    """Probability that the sign is kept, in the limit of many kept neurons at a fixed share.

    Φ(|sinh φ₀| √k / √(Σ_{l=1…L} m₂^{−l})).

    Args:
        rapidity: (N,) φ₀ in nats, small: of the order 1/√k, as unrelated features have.
        selection: n, k and the rule.
        depth: L ≥ 1.

    Returns:
        (N,) float64 in [½, 1]. For unrelated features of width D ≈ k it is about ½ + arctan(√(m₂ −
        1))/π on average.

    Raises:
        UsageError: depth < 1. ShapeError, BoundsError: not a (N,) without NaN.

    >>> import torch
    >>> from worldline.encoder import Selection, sign_kept_large_width
    >>> sign_kept_large_width(torch.tensor([0.05]), Selection(candidates=16384, width=256), 10)
    tensor([0.9804], dtype=torch.float64)
    """
    check_count("depth (number of layers)", depth)
    slope = torch.sinh(check_rapidity(rapidity)).abs()
    m2 = reading_second_moment(selection)
    total = sum(m2**-layer for layer in range(1, depth + 1))
    probability: Tensor = torch.special.ndtr(slope * math.sqrt(selection.width / total))
    return probability


def rank_one(matrix: Float[Tensor, "*P k D"]) -> RankOne:
    """How near a composed encoder is to rank one.

    H → σ₁ u₁ v₁ᵀ: then H x' → ±u₁ for every x', and one bit of x' is left.

    Args:
        matrix: (…, k, D), such as :attr:`Composed.matrix`; its scale does not matter.

    Returns:
        :class:`RankOne`. Over the layers the gap grows by :func:`rapidity_rate`, for L ≫ k; in
        float64 it is resolved up to about 36 nats, in float32 to 16, and beyond that it is
        rounding.

    Raises:
        ShapeError: not (…, k, D) with k, D ≥ 1.

    Cost: one singular value decomposition.

    >>> import torch
    >>> from worldline.encoder import rank_one
    >>> round(float(rank_one(torch.diag(torch.tensor([3.0, 1.0]))).share), 3)
    0.9
    """
    if matrix.ndim < 2 or matrix.numel() == 0:
        raise ShapeError(
            f"A composed matrix must be (…, k, D), not empty; got {tuple(matrix.shape)}."
        )
    left, sigma, right = torch.linalg.svd(matrix, full_matrices=False)
    second = sigma[..., 1] if sigma.shape[-1] > 1 else torch.zeros_like(sigma[..., 0])
    return RankOne(
        log_gap=sigma[..., 0].log() - second.log(),
        share=sigma[..., 0] ** 2 / (sigma**2).sum(-1),
        left=left[..., :, 0],
        right=right[..., 0, :],
    )


def _sign_kept_once(slope: Tensor, selection: Selection) -> Tensor:
    """E Φ(|y| c) for each c, by Craig's form of the normal tail, with v = e^w on the whole line."""
    law, step = reading_length(selection), 0.125
    w = torch.arange(-40.0, 40.0, step, dtype=torch.float64)
    measure = step / (2 * math.pi * torch.cosh(w))  # dv/(π(1+v²))
    flipped = [
        (law.laplace(float(c) ** 2 * (1 + torch.exp(2 * w)) / 2) * measure).sum()
        if c > 0
        else measure.sum()
        for c in slope
    ]
    return 1 - torch.stack(flipped).to(slope.device) if flipped else slope
