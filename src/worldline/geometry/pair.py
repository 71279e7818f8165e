"""A pair of features: correlation, rapidity, Lorentz factor, entanglement.

Everything is a function of the angle θ between two vectors, and every angle comes from one place,
:func:`_half_chords`: with unit vectors â and b̂ the two chords |â+b̂| = 2 cos(θ/2) and |â−b̂| = 2
sin(θ/2) keep their full relative accuracy at both ends, where ``acos(cosine)`` and
``artanh(cosine)`` lose half the digits.

The field's names: rapidity is Fisher's z-transform of the correlation, entanglement is the Gaussian
mutual information of two random readings of the pair, in nats (arXiv:2309.15669 for the
relativistic names).
"""

from __future__ import annotations

import math
import warnings
from enum import IntEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import ShapeError, UndefinedPairWarning

__all__ = [
    "PairStatus",
    "angle",
    "correlation",
    "entanglement",
    "length_contraction",
    "log_lorentz_factor",
    "lorentz_factor",
    "pair_status",
    "proper_depth",
    "rapidity",
    "rapidity_of_displacement",
]


class PairStatus(IntEnum):
    """Why a pair has a value, or has none."""

    OK = 0
    ZERO = 1  # a vector is zero: it has no direction
    NONFINITE = 2  # a vector contains NaN or an infinity


def correlation(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Cosine similarity of each pair, seen from the origin.

    ρ = â·b̂, computed as (p² − m²)/(p² + m²) from the chords p = |â+b̂| and m = |â−b̂|.

    Args:
        a, b: (N, D), any floating dtype and device. Subtract an origin first for a centred
            correlation (:mod:`worldline.geometry.frames`).

    Returns:
        (N,) in [−1, 1]. +1: same direction; −1: opposite; 0: orthogonal, unrelated. The dtype is
        the inputs'; half precisions are computed in float32 and rounded once. A pair with a zero,
        NaN or infinite vector has the value NaN, is counted in an :class:`UndefinedPairWarning` and
        explained by :func:`pair_status`.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Cost: four passes over the inputs, one copy of each.

    >>> import torch, worldline as wl
    >>> wl.correlation(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([0.6000])
    """
    plus, minus = _half_chords(a, b)
    return _finish("correlation", (plus**2 - minus**2) / (plus**2 + minus**2), a)


def rapidity(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Signed rapidity of each pair: Fisher's z of the correlation.

    φ = artanh ρ = ln(|â+b̂| / |â−b̂|). Odd in b → −b, and additive under collinear boosts.

    Args:
        a, b: (N, D), any floating dtype and device.

    Returns:
        (N,) real. +∞: the same direction (a value, not an error); −∞: opposite; 0: orthogonal. Over
        D independent coordinates its sampling error is about 1/√(D − 3). Undefined pairs as in
        :func:`correlation`.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Accuracy: relative 1e-10 in float64 for angles from 1e-6 to π − 1e-6. For twins that are closer,
    pass the displacement itself to :func:`rapidity_of_displacement`. Cost: four passes.

    Source: Fisher 1915; Bond and Richardson, Psychometrika 69:291 (2004), for the hyperbolic
    reading.

    >>> import torch, worldline as wl
    >>> wl.rapidity(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # artanh 0.6
    tensor([0.6931])
    """
    plus, minus = _half_chords(a, b)
    return _finish("rapidity", plus.log() - minus.log(), a)


def lorentz_factor(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Lorentz factor of each pair.

    γ = 1/√(1−ρ²) = 1/sin θ = cosh φ; its inverse sin θ is :func:`length_contraction`.

    Args:
        a, b: (N, D), any floating dtype and device.

    Returns:
        (N,) in [1, ∞]. 1: orthogonal; ∞: the same or the opposite direction. Undefined pairs as in
        :func:`correlation`.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Cost: four passes. Source: arXiv:2309.15669.

    >>> import torch, worldline as wl
    >>> wl.lorentz_factor(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([1.2500])
    """
    plus, minus = _half_chords(a, b)
    return _finish("lorentz_factor", (plus**2 + minus**2) / (2 * plus * minus), a)


def entanglement(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Computational entanglement of each pair in nats: what one random reading tells of the other.

    E = ln γ = −½ ln(1−ρ²) = ln cosh φ. A neuron with weights w ~ N(0, I) reads w·a and w·b; E is
    exactly the information that one reading carries about the other.

    Args:
        a, b: (N, D), any floating dtype and device.

    Returns:
        (N,) in [0, ∞] nats. 0: orthogonal, unrelated; ∞: the same or the opposite direction.
        Undefined pairs as in :func:`correlation`.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Cost: four passes. Not the "entanglement" of the soft nearest neighbour loss (Frosst, Papernot
    and Hinton 2019), which measures how class manifolds mix at a layer.

    >>> import torch, worldline as wl
    >>> wl.entanglement(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # ln 1.25
    tensor([0.2231])
    """
    plus, minus = _half_chords(a, b)
    return _finish("entanglement", log_lorentz_factor(plus.log() - minus.log()), a)


def angle(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Angle between the vectors of each pair, in radians.

    θ = 2 atan2(|â−b̂|, |â+b̂|).

    Args:
        a, b: (N, D), any floating dtype and device.

    Returns:
        (N,) in [0, π] radians. 0: the same direction; π/2: orthogonal; π: opposite. θ/π is the
        expected fraction of sign bits that differ under random hyperplanes (Charikar 2002).
        Undefined pairs as in :func:`correlation`.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Cost: four passes. Source: Kahan, *How futile are mindless assessments of roundoff* (2006),
    section 12.

    >>> import torch, worldline as wl
    >>> wl.angle(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([1.5708])
    """
    plus, minus = _half_chords(a, b)
    return _finish("angle", 2 * torch.atan2(minus, plus), a)


def rapidity_of_displacement(
    a: Float[Tensor, "N D"], d: Float[Tensor, "N D"]
) -> Float[Tensor, " N"]:
    """Rapidity between a and a + d, from the displacement itself.

    φ = asinh(cot θ) = ± [ln(|b| + |c|) − ln s] with c = â·b the part of b = a + d along a, and s
    the part of d across a. Nothing close is ever subtracted, so twins that differ by 1e-300 keep
    every digit, where forming a + d would lose them.

    Args:
        a: (N, D) the clean features.
        d: (N, D) the displacement, same dtype.

    Returns:
        (N,) real, as :func:`rapidity` of (a, a + d). +∞ where d has no part across a and does not
        turn it round.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Accuracy: relative 1e-10 in float64 down to |d|/|a| = 1e-300, as long as d is not parallel to a
    to within 1e-6. Cost: six passes.

    >>> import torch, worldline as wl
    >>> a, d = torch.tensor([[[1.0, 0.0]], [[0.0, 2e-300]]], dtype=torch.float64)
    >>> wl.rapidity_of_displacement(a, d)  # ln 1e300
    tensor([690.7755], dtype=torch.float64)
    """
    _check_pair(a, d)
    unit, length = _split(_wide(a))
    shape, size = _split(_wide(d))
    along = (unit * shape).sum(-1)
    across = shape - along[:, None] * unit
    across = across - (unit * across).sum(-1, keepdim=True) * unit  # twice is enough
    log_s = _split(across)[1].log() + size.log()
    # the ratio may underflow to zero: then b = a to the last digit, and only log_s matters
    ratio = size / length
    c = 1 + along * ratio
    s = (log_s - length.log()).exp()
    value = torch.copysign(torch.log(torch.hypot(c, s) + c.abs()) - (log_s - length.log()), c)
    stays = (size == 0) & (length > 0) & torch.isfinite(length)
    value = torch.where(stays, torch.full_like(value, math.inf), value)
    vanishes = (a + d == 0).all(-1)  # b = 0 has no direction
    return _finish("rapidity_of_displacement", value.masked_fill(vanishes, math.nan), a)


def log_lorentz_factor(rapidity: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Entanglement of a pair whose rapidity is known, in nats: ln γ = ln cosh φ.

    |φ| + log1p(e^−2|φ|) − ln 2, which neither overflows nor loses digits near φ = 0.

    Args:
        rapidity: φ in nats, any shape and floating dtype, as :func:`rapidity` gives it.

    Returns:
        The same shape, in [0, ∞] nats. 0: orthogonal; ∞ at φ = ±∞. NaN where φ is undefined.

    >>> import torch
    >>> from worldline.geometry import log_lorentz_factor
    >>> log_lorentz_factor(torch.tensor([0.0, -1000.0])).round(decimals=2)  # 1000 − ln 2
    tensor([  0.0000, 999.3100])
    """
    speed = rapidity.abs()
    return speed + torch.log1p(torch.expm1(-2 * speed) / 2)


def length_contraction(rapidity: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Length contraction of a pair whose rapidity is known: the sine of its angle.

    1/γ = 1/cosh φ = sin θ, computed as 2 e^−|φ| / (1 + e^−2|φ|), which never overflows.

    Args:
        rapidity: φ in nats, any shape and floating dtype, as :func:`rapidity` gives it.

    Returns:
        The same shape and dtype, in [0, 1]. 1: orthogonal, not contracted; 0: at φ = ±∞, the two
        are one direction. NaN where the rapidity is undefined (no warning: it was given once).

    Raises:
        ShapeError: not a floating tensor.

    Source: arXiv:2309.15669 for the name.

    >>> import math, torch, worldline as wl
    >>> wl.length_contraction(torch.tensor([0.0, math.log(2), -math.log(2), math.inf]))
    tensor([1.0000, 0.8000, 0.8000, 0.0000])
    """
    if not isinstance(rapidity, Tensor) or not rapidity.is_floating_point():
        raise ShapeError(
            f"Rapidities must be a floating tensor, in nats; got {_describe(rapidity)}. Rapidities "
            "of features come from wl.rapidity(a, b)."
        )
    decay = torch.exp(-_wide(rapidity).abs())
    return (2 * decay / (1 + decay**2)).to(rapidity.dtype)


def proper_depth(rapidity: Float[Tensor, "*S"], dim: int = -1) -> Float[Tensor, "*R"]:
    """Proper depth of a pair: how many layers tell the two apart, as the pair itself counts them.

    Σ_ℓ 1/γ_ℓ = Σ_ℓ 1/cosh φ_ℓ = Σ_ℓ sin θ_ℓ over the layers that are given: the network's time
    dilated by each layer's Lorentz factor.

    Args:
        rapidity: (…, L, …) φ_ℓ in nats, of one pair through the layers.
        dim: the dimension of the layers.

    Returns:
        The other dimensions, in [0, L] layers. 0: never told apart (φ = ±∞ everywhere); L:
        orthogonal throughout. NaN for a pair that is undefined at any layer: callers count it as
        undefined, they do not drop the layer.

    Raises:
        ShapeError: not a floating tensor, or one without that dimension.

    >>> import math, torch, worldline as wl
    >>> wl.proper_depth(torch.tensor([[0.0, math.log(2), math.inf], [0.0, 0.0, math.nan]]))
    tensor([1.8000,    nan])
    """
    contraction = length_contraction(rapidity)
    if not -rapidity.ndim <= dim < rapidity.ndim:
        raise ShapeError(
            f"dim must be one of the {rapidity.ndim} dimensions of the rapidities; got {dim} for "
            f"{_describe(rapidity)}."
        )
    return contraction.sum(dim)


def pair_status(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
    """Why each pair has a value, or has none.

    Args:
        a, b: (N, D), any floating dtype and device.

    Returns:
        (N,) int64 codes of :class:`PairStatus`: 0 OK, 1 ZERO (a vector is zero and has no
        direction), 2 NONFINITE (a vector contains NaN or an infinity). Identical and opposite
        vectors are OK: their rapidity is ±∞.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D).

    Cost: two passes.

    >>> import torch, worldline as wl
    >>> wl.pair_status(torch.tensor([[1.0], [0.0], [float("nan")]]), torch.ones(3, 1))
    tensor([0, 1, 2])
    """
    _check_pair(a, b)
    zero = (a == 0).all(-1) | (b == 0).all(-1)
    bad = ~(torch.isfinite(a).all(-1) & torch.isfinite(b).all(-1))
    status = zero.long() * PairStatus.ZERO
    return status.masked_fill(bad, PairStatus.NONFINITE)


def _half_chords(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """|â+b̂| and |â−b̂|, NaN where a vector has no direction."""
    _check_pair(a, b)
    unit_a, _ = _split(_wide(a))
    unit_b, _ = _split(_wide(b))
    return _split(unit_a + unit_b)[1], _split(unit_a - unit_b)[1]


def _split(v: Tensor) -> tuple[Tensor, Tensor]:
    """Direction (N, D) and length (N,), scaled so that no square over- or underflows."""
    scale = v.detach().abs().amax(-1, keepdim=True)
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    scaled = v / safe
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / length, (length * safe).squeeze(-1)


def _wide(v: Tensor) -> Tensor:
    return v.float() if v.dtype in (torch.float16, torch.bfloat16) else v


def _check_pair(a: Tensor, b: Tensor) -> None:
    for name, tensor in (("first", a), ("second", b)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.ndim != 2:
            raise ShapeError(
                f"The {name} argument must be a floating tensor of shape (N, D); got "
                f"{_describe(tensor)}. Flatten features with x.flatten(1) and convert integers "
                "with x.float()."
            )
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        raise ShapeError(
            f"A pair needs two tensors of one shape, dtype and device; got {_describe(a)} and "
            f"{_describe(b)}."
        )
    if a.shape[1] == 0:
        raise ShapeError(f"Features need at least one coordinate; got {_describe(a)}.")


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype} on {value.device}"
    return type(value).__name__


def _finish(name: str, value: Tensor, like: Tensor) -> Tensor:
    """Round to the input's dtype once, and say aloud which pairs have no value."""
    undefined = torch.isnan(value.detach())
    if bool(undefined.any()):
        rows = undefined.nonzero().flatten().tolist()
        shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        warnings.warn(
            f"{name}: {len(rows)} of {len(value)} pairs have a vector without a direction (rows "
            f"{shown}); their value is NaN. wl.pair_status(a, b) says which vector is zero or not "
            "finite.",
            UndefinedPairWarning,
            stacklevel=3,
        )
    return value.to(like.dtype)
