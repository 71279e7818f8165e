"""The linear part of a layer as an operator: its action without the bias, and its singular values.

The kernel of a convolution is never reshaped: the operator is the layer's own forward, so stride,
padding, dilation and groups are in it, and the adjoint is what automatic differentiation makes of
it, which is exact for a linear map. Where the operator is small its matrix is written out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator, lobpcg, svds
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from worldline.geometry.spacetime import condition_limit

__all__ = [
    "LINEAR",
    "Operator",
    "Stretch",
    "is_linear",
    "linear_part",
    "norm_scale",
    "stretch",
    "top_singular_values",
]

DENSE = 2**23
"""Up to so many entries, and up to ``WIDEST`` inputs, an operator is written out as a matrix."""
WIDEST = 1024
QUICK_STEPS, FEWEST_STEPS, MOST_STEPS, NUMBERS = 4, 40, 400, 2**22
"""Steps of the search for the smallest singular value: fewer, the wider the layer."""

LINEAR = (nn.Linear, _ConvNd)
"""Modules whose forward is x ↦ W x + b: linear (also on tokens) and every convolution."""

Array = npt.NDArray[np.floating[Any]]
Operator = Callable[[Tensor], Tensor]


def is_linear(module: nn.Module | None) -> TypeGuard[nn.Linear | _ConvNd]:
    """Whether the module is a linear or convolutional layer with floating weights."""
    weight = getattr(module, "weight", None)
    return isinstance(module, LINEAR) and isinstance(weight, Tensor) and weight.is_floating_point()


def linear_part(module: nn.Module) -> Operator:
    """x ↦ W x, the layer's own forward without its bias; no hook of the module runs."""
    bare = object.__new__(type(module))  # a parametrised module refuses to be copied
    bare.__dict__ = dict(module.__dict__)
    bare._parameters = {**module._parameters, "bias": None}
    operator: Operator = bare.forward
    return operator


def norm_scale(module: nn.Module) -> Tensor | None:
    """|γ|/√(variance + ε) by channel of a batch normalisation in eval mode; None for other modules.

    There it is a diagonal linear map and a shift.
    """
    if not isinstance(module, _BatchNorm) or module.running_var is None:
        return None
    scale = (module.running_var + module.eps).rsqrt()
    return scale if module.weight is None else scale * module.weight.detach().abs()


@dataclass(frozen=True)
class Stretch:
    """How far a linear layer stretches what it reads.

    Attributes:
        largest: σ_max, its spectral norm.
        limit: its speed limit ln κ(W) = ln(σ_max/σ_min) over the D inputs, nats; ∞ where it has a
            null space.
        status: ``measured``, or what to know about the limit.
    """

    largest: float
    limit: float
    status: str


NOT_FINITE = Stretch(math.inf, math.inf, "the layer is not finite, so it has no speed limit")


def stretch(
    module: nn.Module, shape: tuple[int, ...], *, seed: int = 0, thorough: bool = True
) -> Stretch:
    """Spectral norm and speed limit of a linear layer on inputs of this shape (without the batch).

    ``nn.Linear`` acts on each token alike, so one token is enough. A small operator is written out
    as a matrix; of a larger one σ_max comes from ARPACK (scipy's ``svds``) and σ_min from
    ``lobpcg`` on WᵀW, which approaches it from above: where it has not settled the limit is a lower
    bound, and the status says so; not ``thorough``, it gets four steps to do so.

    Cost: one singular value decomposition, or some hundred applications of W and of Wᵀ.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(module, nn.Linear):
        shape = (weight.shape[1],)
    width = math.prod(shape)
    with torch.no_grad():
        outputs = linear_part(module)(weight.new_zeros(1, *shape)).numel()
    if width > WIDEST or width * outputs > DENSE:
        return _stretch_of_large(module, shape, outputs, seed, thorough)
    matrix = _written_out(module, shape, outputs)
    if not torch.isfinite(matrix).all():
        return NOT_FINITE
    sigma = torch.linalg.svdvals(matrix)
    smallest = float(sigma[-1]) if outputs >= width else 0.0
    limit = condition_limit(float(sigma[0]), smallest, width, weight.dtype)
    return Stretch(float(sigma[0]), limit, _status(limit))


def _status(limit: float) -> str:
    if limit < math.inf:
        return "measured"
    return "singular: the layer loses a direction of its input, so ln κ = ∞ and no share is used"


def _written_out(module: nn.Module, shape: tuple[int, ...], outputs: int) -> Tensor:
    """(O, D) the operator's matrix, a column for each unit input."""
    width, operator = math.prod(shape), linear_part(module)
    weight = module.weight
    assert isinstance(weight, Tensor)
    found = torch.empty(width, outputs, dtype=torch.float64, device=weight.device)
    with torch.no_grad():
        for rows in torch.arange(width, device=weight.device).split(256):
            units = torch.zeros(len(rows), width, dtype=weight.dtype, device=weight.device)
            units[torch.arange(len(rows), device=weight.device), rows] = 1
            found[rows] = operator(units.view(-1, *shape)).flatten(1).double()
    return found.T


def _stretch_of_large(
    module: nn.Module, shape: tuple[int, ...], outputs: int, seed: int, thorough: bool
) -> Stretch:
    weight = module.weight
    assert isinstance(weight, Tensor)
    width, operator = math.prod(shape), linear_part(module)
    with torch.enable_grad():
        point = weight.new_zeros(1, *shape).requires_grad_(True)
        out = operator(point)

    def apply(v: Array) -> Array:
        with torch.no_grad():
            moved = operator(torch.as_tensor(v).to(weight).view(1, *shape))
        return np.asarray(moved.double().cpu().flatten())

    def adjoint(u: Array) -> Array:
        back = torch.autograd.grad(
            out, point, torch.as_tensor(u).to(weight).view_as(out), retain_graph=True
        )[0]
        return np.asarray(back.double().cpu().flatten())

    start = np.random.default_rng(seed).standard_normal(width)
    if not np.isfinite(apply(start)).all():
        return NOT_FINITE
    whole = LinearOperator((outputs, width), matvec=apply, rmatvec=adjoint, dtype=np.float64)
    # of the smaller of WᵀW and WWᵀ, whose starting vector has that length
    v0 = start[: min(outputs, width)]
    top = float(svds(whole, k=1, tol=1e-3, v0=v0, return_singular_vectors=False)[0])
    if outputs < width:
        return Stretch(top, math.inf, _status(math.inf))
    square = LinearOperator((width, width), matvec=lambda v: adjoint(apply(v)), dtype=np.float64)
    steps = max(FEWEST_STEPS, min(MOST_STEPS, NUMBERS // width)) if thorough else QUICK_STEPS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # not settled yet: the status says so
        values, vectors = lobpcg(square, start[:, None], largest=False, maxiter=steps)[:2]
    low = max(0.0, float(values[0]))
    error = np.linalg.norm(square @ vectors[:, 0] - values[0] * vectors[:, 0])
    limit = condition_limit(top, math.sqrt(low), width, weight.dtype)
    settled = float(error) <= 0.02 * low
    if settled or math.isinf(limit):
        return Stretch(top, limit, _status(limit))
    return Stretch(
        top,
        limit,
        f"ln κ is at least this, and shares are at most theirs: σ_min of {width:,} inputs was "
        f"still falling after {steps} steps",
    )


def top_singular_values(
    apply: Operator,
    adjoint: Operator,
    start: Tensor,
    *,
    top: int,
    steps: int,
    tolerance: float = 0.0,
) -> Tensor:
    """(N, top) largest singular values of N operators at once, by Golub–Kahan bidiagonalisation.

    Uᵀ A = B Vᵀ with B upper bidiagonal (Golub and Kahan 1965), fully reorthogonalised; B's singular
    values approach A's from below, the largest first. (scipy's solvers take one operator at a time,
    which costs one backward pass a sample and step instead of one a batch.)

    Args:
        apply, adjoint: (N, *in) ↦ (N, *out) and back; row n by the n-th operator.
        start: (N, *in) random.
        top: how many values.
        steps: most steps, the size of the Krylov space; cut at the smaller of the two dimensions.
        tolerance: stop when eight steps have changed none of the values by more than this share.

    Cost: ``steps`` applications and adjoints; memory N × steps × (in + out) numbers.
    """
    right = [_unit(start.flatten(1))[0]]
    left: list[Tensor] = []
    diagonal: list[Tensor] = []
    beyond: list[Tensor] = []
    before: Tensor | None = None
    while True:
        image = apply(right[-1].view_as(start))
        u = image.flatten(1)
        if left:
            u = u - beyond[-1][:, None] * left[-1]
        u, alpha = _unit(_orthogonal(u, left))
        left.append(u)
        diagonal.append(alpha)
        v = adjoint(u.view_as(image)).flatten(1) - alpha[:, None] * right[-1]
        v, beta = _unit(_orthogonal(v, right))
        right.append(v)
        beyond.append(beta)
        if len(left) >= min(steps, u.shape[1], v.shape[1]):
            break
        if tolerance and len(left) >= top and (len(left) - top) % 8 == 0:
            now = _singular(diagonal, beyond, top)
            if before is not None and bool(((now - before).abs() <= tolerance * now).all()):
                return now
            before = now
    return _singular(diagonal, beyond, top)


def _singular(diagonal: list[Tensor], beyond: list[Tensor], top: int) -> Tensor:
    """Largest singular values of the bidiagonal (N, steps, steps + 1), zeros where it has fewer."""
    square = torch.nn.functional.pad(torch.diag_embed(torch.stack(diagonal, 1).double()), (0, 1))
    values: Tensor = torch.linalg.svdvals(
        square + torch.diag_embed(torch.stack(beyond, 1).double(), offset=1)[:, : square.shape[1]]
    )
    return torch.nn.functional.pad(values, (0, max(0, top - values.shape[1])))[:, :top]


def _orthogonal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """Twice Gram–Schmidt, each row against its own basis, one vector at a time: no copies."""
    for _ in range(2):
        for direction in basis:
            vector = vector - (vector * direction).sum(1, keepdim=True) * direction
    return vector


def _unit(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Direction and length; a row that vanished stays zero, which ends its Krylov space."""
    length = torch.linalg.vector_norm(vector, dim=1)
    tiny = length <= torch.finfo(vector.dtype).tiny * 2
    safe = torch.where(tiny, torch.ones_like(length), length)
    return vector / safe[:, None] * ~tiny[:, None], torch.where(
        tiny, torch.zeros_like(length), length
    )
