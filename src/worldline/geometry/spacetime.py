"""A pair of features as an event in spacetime, and a linear layer as a Lorentz transformation.

Derivation. Put the pair in its own plane, [a b] = Q C with Q (D, 2) orthonormal and C (2, 2). The
symmetric matrix S = C Cᵀ is a point of 2+1-dimensional Minkowski space: t = (S₁₁+S₂₂)/2,
x = (S₁₁−S₂₂)/2, y = S₁₂, and det S = t² − x² − y² = |a|²|b|² sin²θ ≥ 0. It lies inside the light
cone, and on it exactly when the pair is (anti-)parallel. A linear layer W maps the plane to another
plane, W Q = Q' B, so S ↦ B S Bᵀ: a dilation by |det B| times an element of O(2,1) whose boost has
rapidity η = ln(σ₁/σ₂), σ the singular values of B. Hence the **speed limit** |φ_out − φ_in| ≤ η ≤
ln κ(W).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import ShapeError
from worldline.geometry.pair import _check_pair, rapidity

__all__ = [
    "LayerBoost",
    "boost_rapidity",
    "condition_limit",
    "interval",
    "layer_boost",
    "limit_share",
    "lorentz_matrix",
    "minkowski_point",
    "plane",
    "speed_limit",
]


@dataclass(frozen=True)
class LayerBoost:
    """What a linear layer does to each of N pairs; all tensors (N,), rapidities in nats.

    Attributes:
        rapidity_in, rapidity_out: φ of the pair before and after the layer.
        boost: η = ln(σ₁/σ₂) of the layer restricted to the pair's plane, the most that φ can change
            there.
        dilation: |det B|, the factor on the area that the pair spans.
        limit: ln κ(W), the speed limit of the layer for any pair.
        share: how much of the limit the pair uses, by :func:`limit_share`.
    """

    rapidity_in: Tensor
    rapidity_out: Tensor
    boost: Tensor
    dilation: Tensor
    limit: float
    share: Tensor


def plane(
    a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]
) -> tuple[Float[Tensor, "N D 2"], Float[Tensor, "N 2 2"]]:
    """Orthonormal basis of each pair's plane and the pair's coordinates in it: [a b] = Q C.

    Args:
        a, b: (N, D) with D ≥ 2.

    Returns:
        Q (N, D, 2) with QᵀQ = 1, and C (N, 2, 2) upper triangular with C₁₁ = ±|a|. A parallel pair
        gets some plane that contains it, with C₂₂ = 0 to rounding.

    Raises:
        ShapeError: not two floating tensors of one shape (N, D), or D < 2: one coordinate spans no
            plane.

    Cost: one batched Householder QR.

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> basis, coordinates = spacetime.plane(torch.eye(3)[:1], torch.tensor([[1.0, 1.0, 0.0]]))
    >>> torch.allclose(basis @ coordinates, torch.tensor([[[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]]))
    True
    """
    _check_pair(a, b)
    if a.shape[1] < 2:
        raise ShapeError(f"A pair spans a plane only for D ≥ 2 coordinates; got D = {a.shape[1]}.")
    basis, coordinates = torch.linalg.qr(torch.stack((a, b), dim=-1))
    return basis, coordinates


def minkowski_point(coordinates: Float[Tensor, "N 2 2"]) -> Float[Tensor, "N 3"]:
    """Event (t, x, y) of each pair from its coordinates C in its plane.

    S = C Cᵀ, t = (S₁₁+S₂₂)/2, x = (S₁₁−S₂₂)/2, y = S₁₂.

    Args:
        coordinates: (N, 2, 2), the C of :func:`plane`.

    Returns:
        (N, 3). t = (|a|²+|b|²)/2 > 0: always in the future cone; √(x²+y²)/t is the pair's speed,
        |ρ| for vectors of equal length. Turning the plane's basis turns (x, y).

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.minkowski_point(torch.eye(2)[None])  # an orthogonal pair is at rest
    tensor([[1., 0., 0.]])
    """
    if coordinates.ndim != 3 or coordinates.shape[1:] != (2, 2):
        raise ShapeError(f"Coordinates must have shape (N, 2, 2); got {tuple(coordinates.shape)}.")
    s = coordinates @ coordinates.transpose(-1, -2)
    s11, s22, s12 = s[:, 0, 0], s[:, 1, 1], s[:, 0, 1]
    return torch.stack(((s11 + s22) / 2, (s11 - s22) / 2, s12), dim=-1)


def interval(event: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """Squared interval of each event from the origin.

    det S = t² − x² − y² = |a|²|b|² sin²θ.

    Args:
        event: (N, 3), (t, x, y).

    Returns:
        (N,). Positive inside the light cone; 0 on it, exactly when ρ = ±1 (or a vector is zero).

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.interval(torch.tensor([[5.0, 3.0, 0.0]]))
    tensor([16.])
    """
    t, x, y = event.unbind(-1)
    space = torch.hypot(x, y)
    return (t - space) * (t + space)


def lorentz_matrix(restriction: Float[Tensor, "N 2 2"]) -> Float[Tensor, "N 3 3"]:
    """Lorentz transformation by which a layer, on a pair's plane, moves the pair's event.

    Λ defined by (t, x, y) of B S Bᵀ = |det B| Λ (t, x, y) of S. It keeps the metric: Λᵀ η Λ = η, η
    = diag(1, −1, −1).

    Args:
        restriction: (N, 2, 2), B, invertible.

    Returns:
        (N, 3, 3). The identity for a rotation-free uniform scaling; Λ₀₀ = cosh ln(σ₁/σ₂) is the
        boost's γ. An element has no finite value where det B = 0 (the layer collapses the plane: a
        boost of infinite rapidity).

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.lorentz_matrix(torch.diag(torch.tensor([2.0, 1.0]))[None])[0, 0, 0]  # cosh ln 2
    tensor(1.2500)
    """
    if restriction.ndim != 3 or restriction.shape[1:] != (2, 2):
        raise ShapeError(
            f"A restriction must have shape (N, 2, 2); got {tuple(restriction.shape)}."
        )
    generators = restriction.new_tensor(
        [[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]]
    )  # t, x, y
    moved = torch.einsum("nij,gjk,nlk->ngil", restriction, generators, restriction)
    matrix: Tensor = torch.einsum("ngil,hil->nhg", moved, generators) / 2
    dilation: Tensor = torch.linalg.det(restriction).abs()
    return matrix / dilation[:, None, None]


def boost_rapidity(restriction: Float[Tensor, "N 2 2"]) -> Float[Tensor, " N"]:
    """Rapidity of the boost, η = ln(σ₁/σ₂), in nats.

    Args:
        restriction: (N, 2, 2), B.

    Returns:
        (N,) in [0, ∞]. 0: the layer only turns and scales the plane; ∞: it collapses the plane to a
        line.

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.boost_rapidity(torch.diag(torch.tensor([2.0, 1.0]))[None])
    tensor([0.6931])
    """
    sigma: Tensor = torch.linalg.svdvals(restriction)
    return sigma[:, 0].log() - sigma[:, 1].log()


def speed_limit(weight: Float[Tensor, "O D"]) -> float:
    """Most nats of rapidity that a bias-free linear layer can add to any pair or take: ln κ(W).

    Args:
        weight: (O, D).

    Returns:
        ln(σ_max/σ_min) ≥ 0 over the D input directions. 0: a scaled isometry, which moves no pair;
        ∞: the layer has a null space (always when O < D), so some pair is merged or separated
        without limit.

    Cost: one singular value decomposition in float64.

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.speed_limit(torch.eye(3))
    0.0
    """
    if weight.ndim != 2 or weight.numel() == 0:
        raise ShapeError(f"A weight must be a non-empty matrix (O, D); got {tuple(weight.shape)}.")
    outputs, inputs = weight.shape
    sigma = torch.linalg.svdvals(weight.double())
    smallest = float(sigma[-1]) if outputs >= inputs else 0.0
    return condition_limit(float(sigma[0]), smallest, inputs, weight.dtype)


def condition_limit(largest: float, smallest: float, inputs: int, dtype: torch.dtype) -> float:
    """:func:`speed_limit` of a layer whose extreme singular values are known: ln(σ_max/σ_min).

    Args:
        largest, smallest: σ_max and σ_min over the D input directions.
        inputs: D.
        dtype: of the weights. Rounding W moves σ by up to ½ eps |W|_F ≤ ½ eps √D σ_max, so a σ_min
            under twice that cannot be told from 0, and the limit is ∞.

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.condition_limit(2.0, 0.0, 4, torch.float32)
    inf
    """
    negligible = largest * math.sqrt(inputs) * torch.finfo(dtype).eps
    return math.inf if smallest <= negligible else math.log(largest) - math.log(smallest)


def limit_share(change: Float[Tensor, "*N"], limit: float) -> Float[Tensor, "*N"]:
    """Share of a layer's speed limit that pairs use: |φ_out − φ_in| / ln κ(W).

    Args:
        change: φ_out − φ_in in nats, any shape.
        limit: ln κ(W), from :func:`speed_limit`.

    Returns:
        The same shape, in [0, 1]. 1: the pair is moved as far as any can be; 0: it stays, or the
        layer has no limit (ln κ = ∞), or moves no pair at all (ln κ = 0). NaN stays NaN.

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> spacetime.limit_share(torch.tensor([-1.0, 0.5]), 2.0)
    tensor([0.5000, 0.2500])
    """
    moved = change.abs()
    return moved / limit if 0 < limit < math.inf else torch.where(moved.isnan(), moved, 0.0)


def layer_boost(
    weight: Float[Tensor, "O D"], a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]
) -> LayerBoost:
    """Boost that a bias-free linear layer gives to each pair, beside the layer's speed limit.

    B = R with W Q = Q' R; η = ln(σ₁(B)/σ₂(B)); |φ_out − φ_in| ≤ η ≤ ln κ(W).

    Args:
        weight: (O, D) with O ≥ 2.
        a, b: (N, D) with D ≥ 2.

    Returns:
        A :class:`LayerBoost`.

    Raises:
        ShapeError: widths do not fit.

    Cost: two applications of the layer per pair and a batched 2×2 decomposition.

    >>> import torch
    >>> from worldline.geometry import spacetime
    >>> a, b = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    >>> moved = spacetime.layer_boost(torch.diag(torch.tensor([2.0, 1.0])), a, b)
    >>> round(float(moved.share), 3)  # this pair uses the whole limit ln 2
    1.0
    """
    if weight.ndim != 2 or weight.shape[0] < 2 or weight.shape[1] != a.shape[-1]:
        raise ShapeError(
            f"The weight must have shape (O ≥ 2, D = {a.shape[-1]}) to act on these pairs; got "
            f"{tuple(weight.shape)}."
        )
    basis, _ = plane(a, b)
    restriction = torch.linalg.qr(weight @ basis).R  # (N, 2, 2)
    before, after = rapidity(a, b), rapidity(a @ weight.T, b @ weight.T)
    limit = speed_limit(weight)
    return LayerBoost(
        rapidity_in=before,
        rapidity_out=after,
        boost=boost_rapidity(restriction),
        dilation=torch.linalg.det(restriction).abs(),
        limit=limit,
        share=limit_share(after - before, limit),
    )
