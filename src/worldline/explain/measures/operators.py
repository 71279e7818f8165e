"""The linear part of a layer as an operator: its action without the bias, and its singular values.

The kernel of a convolution is never reshaped: the operator is the layer's own forward, so stride,
padding, dilation and groups are in it, and the adjoint is what automatic differentiation makes of
it, which is exact for a linear map. Where the operator is small its matrix is written out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator, lobpcg
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
    "pulled_back",
    "stretch",
    "top_singular_values",
]

DENSE = 2**23
"""Up to so many entries, and up to ``WIDEST`` inputs, an operator is written out as a matrix."""
WIDEST = 1024
FEWEST_STEPS, MOST_STEPS, NUMBERS = 40, 400, 2**22
"""Steps of the thorough search for the smallest singular value: fewer, the wider the layer."""
KRYLOV, HELD = 60, 2**25
"""Most steps of the bidiagonalisation, and most numbers that its two bases may hold."""
SETTLED, NEARLY = 1e-3, 0.02
"""Residuals, as shares of the value, at which σ_max and σ_min are found."""
BLOCK = 16
"""Vectors of a basis that are held, and multiplied, together."""

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


def pulled_back(out: Tensor, point: Tensor, u: Tensor, *, create_graph: bool = False) -> Tensor:
    """Jᵀu at a point, with the graph kept.

    By the gradient of u·out, as ``grad_outputs=`` would import sympy: a third of a second.
    """
    with torch.enable_grad():
        along = (out * u).sum()
    return torch.autograd.grad(along, point, retain_graph=True, create_graph=create_graph)[0]


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
    as a matrix. A larger one is bidiagonalised until σ_max is found to 0.1 %, in some 30 steps;
    their smallest singular value approaches σ_min from above, and where it has not settled the
    limit is a lower bound, and the status says so. ``thorough`` goes on to σ_min from there, with
    ``lobpcg`` on WᵀW.

    Cost: one singular value decomposition, or some thirty applications of W and of Wᵀ; thorough:
        some hundred.
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
    apply, adjoint = _forth_and_back(module, shape)
    width = math.prod(shape)
    start = torch.as_tensor(np.random.default_rng(seed).standard_normal((1, width)))
    image = apply(start)
    if not torch.isfinite(image).all():
        return NOT_FINITE
    start = start.to(image)
    most = max(8, min(KRYLOV, HELD // (width + outputs)))
    found = bidiagonalise(apply, adjoint, start, steps=most, enough=_top_settled)
    left, sigma, right = torch.linalg.svd(found.square[0])
    top, low = float(sigma[0]), float(sigma[-1])
    if outputs < width:
        return Stretch(top, math.inf, _status(math.inf))
    settled = float(found.beyond[0, -1] * left[-1, -1].abs()) <= NEARLY * low
    steps = len(sigma)
    if thorough and not settled:
        begin = found.right.combined(right[None, -1])[0].double()
        steps = max(FEWEST_STEPS, min(MOST_STEPS, NUMBERS // width))
        low, settled = _smallest(apply, adjoint, begin, steps)
    weight = module.weight
    assert isinstance(weight, Tensor)
    limit = condition_limit(top, low, width, weight.dtype)
    if settled or math.isinf(limit):
        return Stretch(top, limit, _status(limit))
    return Stretch(
        top,
        limit,
        f"ln κ is at least this, and shares are at most theirs: σ_min of {width:,} inputs was "
        f"still falling after {steps} steps",
    )


def _forth_and_back(module: nn.Module, shape: tuple[int, ...]) -> tuple[Operator, Operator]:
    """W and Wᵀ on (1, D) and (1, O), on the CPU; half precision comes back single."""
    weight, operator = module.weight, linear_part(module)
    assert isinstance(weight, Tensor)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    with torch.enable_grad():
        point = weight.new_zeros(1, *shape).requires_grad_(True)
        out = operator(point)

    def apply(v: Tensor) -> Tensor:
        with torch.no_grad():
            return operator(v.to(weight).view_as(point)).flatten(1).to("cpu", dtype)

    def adjoint(u: Tensor) -> Tensor:
        return pulled_back(out, point, u.to(weight).view_as(out)).flatten(1).to("cpu", dtype)

    return apply, adjoint


def _top_settled(found: Bidiagonal) -> bool:
    """Whether Wᵀu is σ_max v to 0.1 %, asked at every fourth step."""
    if found.steps < 8 or found.steps % 4:
        return False
    left, sigma, _ = torch.linalg.svd(found.square[0])
    return bool(found.beyond[0, -1] * left[-1, 0].abs() <= SETTLED * sigma[0])


def _smallest(apply: Operator, adjoint: Operator, begin: Tensor, steps: int) -> tuple[float, bool]:
    """σ_min from above, from a first guess (D,) on, and whether it has settled."""

    def squared(v: Array) -> Array:
        return np.asarray(adjoint(apply(torch.as_tensor(v).view(1, -1))).flatten())

    width = len(begin)
    square = LinearOperator((width, width), matvec=squared, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # not settled yet: the status says so
        values, vectors = lobpcg(square, begin.numpy()[:, None], largest=False, maxiter=steps)[:2]
    low = max(0.0, float(values[0]))
    error = np.linalg.norm(square @ vectors[:, 0] - values[0] * vectors[:, 0])
    return math.sqrt(low), float(error) <= NEARLY * low


class Basis:
    """Orthonormal vectors (N, k, D), a set for each of N operators, held in blocks."""

    def __init__(self) -> None:
        self.size = 0
        self.blocks: list[Tensor] = []

    def add(self, vector: Tensor) -> None:
        """One more vector (N, D)."""
        place = self.size % BLOCK
        if not place:
            self.blocks.append(vector.new_empty(len(vector), BLOCK, vector.shape[1]))
        self.blocks[-1][:, place] = vector
        self.size += 1

    def without(self, vector: Tensor) -> Tensor:
        """What is left of a vector (N, D) beside the basis: Gram–Schmidt.

        It is done again where it took more than half of a vector away, with as much of its accuracy
        (Kahan's "twice is enough").
        """
        length = torch.linalg.vector_norm(vector, dim=1)
        vector = self._projected(vector)
        if bool((torch.linalg.vector_norm(vector, dim=1) < 0.5 * length).any()):
            vector = self._projected(vector)
        return vector

    def _projected(self, vector: Tensor) -> Tensor:
        for block in self._filled():
            along = torch.bmm(block, vector[..., None])  # (N, k, 1)
            vector = torch.baddbmm(vector[..., None], block.mT, along, alpha=-1)[..., 0]
        return vector

    def combined(self, shares: Tensor) -> Tensor:
        """The vectors (N, D) with these coordinates (N, k)."""
        vectors = torch.cat(self._filled(), 1)
        return torch.bmm(shares[:, None].to(vectors), vectors)[:, 0]

    def _filled(self) -> list[Tensor]:
        last = self.size - BLOCK * (len(self.blocks) - 1)
        return [*self.blocks[:-1], self.blocks[-1][:, :last]] if self.blocks else []


@dataclass
class Bidiagonal:
    """A V = U B after k steps, U and V orthonormal, B (k, k) with two diagonals, for N operators.

    And Aᵀ U = V Bᵀ but for its last column, in which ``beyond[:, -1]`` times one more vector of
    ``right`` is missing.
    """

    right: Basis = field(default_factory=Basis)
    diagonals: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """How many were taken."""
        return len(self.diagonals)

    @property
    def diagonal(self) -> Tensor:
        """(N, k) float64."""
        return torch.stack([alpha for alpha, _ in self.diagonals], 1).double()

    @property
    def beyond(self) -> Tensor:
        """(N, k) float64, right of the diagonal."""
        return torch.stack([beta for _, beta in self.diagonals], 1).double()

    @property
    def square(self) -> Tensor:
        """B (N, k, k), float64."""
        return torch.diag_embed(self.diagonal) + torch.diag_embed(self.beyond[:, :-1], offset=1)


def bidiagonalise(
    apply: Operator,
    adjoint: Operator,
    start: Tensor,
    *,
    steps: int,
    enough: Callable[[Bidiagonal], bool],
) -> Bidiagonal:
    """N operators at once, fully reorthogonalised (Golub and Kahan 1965).

    B's singular values approach A's from inside: the largest from below, and where A has a trivial
    null space the smallest from above, as they are those of A on the span of V.

    Args:
        apply, adjoint: (N, *in) ↦ (N, *out) and back; row n by the n-th operator.
        start: (N, *in) random.
        steps: most steps, the size of the Krylov space; cut at the smaller of the two dimensions.
        enough: ends it; asked after each step.

    Cost: at most ``steps`` applications and adjoints; memory N × steps × (in + out) numbers.
    """
    left, found = Basis(), Bidiagonal()
    v = _unit(start.flatten(1))[0]
    before: Tensor | None = None
    while True:
        found.right.add(v)
        image = apply(v.view_as(start))
        u = image.flatten(1)
        if before is not None:
            u = u - found.diagonals[-1][1][:, None] * before
        u, alpha = _unit(left.without(u))
        left.add(u)
        back = adjoint(u.view_as(image)).flatten(1) - alpha[:, None] * v
        v, beta = _unit(found.right.without(back))
        before = u
        found.diagonals.append((alpha, beta))
        most = min(steps, u.shape[1], v.shape[1])
        if found.steps >= most or not bool(beta.any()) or enough(found):
            return found


def top_singular_values(
    apply: Operator,
    adjoint: Operator,
    start: Tensor,
    *,
    top: int,
    steps: int,
    tolerance: float = 0.0,
) -> Tensor:
    """(N, top) largest singular values of N operators at once, each approached from below.

    (scipy's solvers take one operator at a time, which costs one backward pass a sample and step
    instead of one a batch.)

    Args:
        apply, adjoint, start, steps: as for :func:`bidiagonalise`.
        top: how many values.
        tolerance: stop when eight steps have changed none of the values by more than this share.
    """
    before: Tensor | None = None

    def enough(found: Bidiagonal) -> bool:
        nonlocal before
        if not tolerance or found.steps < top or (found.steps - top) % 8:
            return False
        now = _singular(found, top)
        last, before = before, now
        return last is not None and bool(((now - last).abs() <= tolerance * now).all())

    return _singular(bidiagonalise(apply, adjoint, start, steps=steps, enough=enough), top)


def _singular(found: Bidiagonal, top: int) -> Tensor:
    """The largest of the bidiagonal (N, k, k + 1), zeros where it has fewer."""
    wide = torch.nn.functional.pad(torch.diag_embed(found.diagonal), (0, 1))
    wide = wide + torch.diag_embed(found.beyond, offset=1)[:, : found.steps]
    values: Tensor = torch.linalg.svdvals(wide)
    return torch.nn.functional.pad(values, (0, max(0, top - values.shape[1])))[:, :top]


def _unit(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Direction and length; a row that vanished stays zero, which ends its Krylov space."""
    length = torch.linalg.vector_norm(vector, dim=1)
    tiny = length <= torch.finfo(vector.dtype).tiny * 2
    safe = torch.where(tiny, torch.ones_like(length), length)
    return vector / safe[:, None] * ~tiny[:, None], torch.where(
        tiny, torch.zeros_like(length), length
    )
