"""Gaussian averages of activations: the kernels from which every mean-field map is made.

For jointly Gaussian pre-activations (u₁, u₂) of variances q_a, q_b and correlation c the kernel of
φ is E φ(u₁) φ(u₂).

Derivations. Linear, sign: textbook. ReLU: Cho and Saul 2009. Leaky ReLU of slope s is s·x +
(1−s)·ReLU, and E u₁ ReLU(u₂) = E u₁u₂/2, so its kernel is s·q_ab + (1−s)²·ReLU's. erf: Williams
1997. GELU, x Φ(x) = x P(z < x): with v_i = u_i − z_i it is E u₁u₂ 1(v₁>0, v₂>0), and Stein's lemma
twice gives, with S_i = 1 + q_i and Δ = S_a S_b − q_ab²,

    q_ab [¼ + asin(q_ab/√(S_a S_b))/2π] + [q_a q_b + q_ab² (1 − q_a/S_a − q_b/S_b)] / (2π √Δ).

tanh has no closed form. Its Gaussian averages are computed by the trapezoidal rule on the whole
line, not by Gauss–Hermite nodes: tanh(√q z) has poles at distance π/(2√q) from the real line, so
with a step of 0.3/√q the trapezoidal error is e^{−33}, while Gauss–Hermite with n nodes only
reaches e^{−c√n}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import UsageError

__all__ = ["Activation", "ActivationName"]

ActivationName = Literal["erf", "gelu", "gelu_tanh", "leaky_relu", "linear", "relu", "sign", "tanh"]
_HOMOGENEOUS = ("leaky_relu", "linear", "relu")
_MOST_ELEMENTS = 2**22  # of a quadrature held at once


@dataclass(frozen=True)
class Activation:
    """An activation whose Gaussian averages are known.

    Args:
        name: ``erf``, ``gelu`` (x Φ(x)), ``gelu_tanh`` (PyTorch's approximation), ``leaky_relu``,
            ``linear``, ``relu``, ``sign`` or ``tanh``.
        slope: of ``leaky_relu`` for negative inputs.

    Raises:
        UsageError: an unknown name.

    >>> import torch
    >>> from worldline.nullmodel import Activation
    >>> one, half = torch.ones(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    >>> Activation("sign").kernel(one, one, half)  # (2/π) asin ½
    tensor([0.3333], dtype=torch.float64)
    """

    name: ActivationName
    slope: float = 0.01

    def __post_init__(self) -> None:
        if self.name not in get_args(ActivationName):
            raise UsageError(
                f"activation must be one of {', '.join(get_args(ActivationName))}; got "
                f"{self.name!r}."
            )

    @property
    def homogeneous(self) -> bool:
        """Whether φ(s x) = s φ(x) for s > 0: its correlation map then depends on no variance."""
        return self.name in _HOMOGENEOUS

    def __call__(self, x: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """φ(x)."""
        if self.name == "leaky_relu":
            return torch.where(x > 0, x, self.slope * x)
        return _VALUES[self.name](x)

    def variance(self, q: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """E φ(√q z)², of float64 variances q ≥ 0."""
        return self.kernel(q, q, torch.ones_like(q))

    def kernel(
        self, qa: Float[Tensor, ...], qb: Float[Tensor, ...], c: Float[Tensor, ...]
    ) -> Float[Tensor, ...]:
        """E φ(u₁) φ(u₂), float64, of inputs of variances q_a, q_b ≥ 0 and correlation c.

        To 1e-12 where closed, 1e-10 for ``tanh`` and ``gelu_tanh``, relative to √(E φ(u₁)² E
        φ(u₂)²).
        """
        qab = c * torch.sqrt(qa * qb)
        if self.name in _HOMOGENEOUS:
            s = self._below_zero
            arc = torch.sqrt((1 - c) * (1 + c)) + c * (math.pi - torch.acos(c))
            return s * qab + (1 - s) ** 2 * torch.sqrt(qa * qb) * arc / (2 * math.pi)
        if self.name == "sign":
            return 2 / math.pi * torch.asin(c)
        if self.name == "erf":
            return 2 / math.pi * torch.asin(2 * qab / torch.sqrt((1 + 2 * qa) * (1 + 2 * qb)))
        if self.name == "gelu":
            return _gelu_kernel(qa, qb, qab)
        return self._kernel_by_quadrature(qa, qb, c)

    def gain(self, q: float) -> float:
        """E φ'(√q z)², what χ₁ is made of, for q in [0, ∞]; infinite for ``sign``."""
        if self.name in _HOMOGENEOUS:
            return (1 + self._below_zero**2) / 2
        if self.name == "sign":
            return math.inf
        if self.name == "erf":
            return 4 / (math.pi * math.sqrt(1 + 4 * q))
        if math.isinf(q):
            return 0.5 if self.name.startswith("gelu") else 0.0
        z, weight = _line(q)
        x = (math.sqrt(q) * z).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self(x).sum(), x)
        return float((weight * slope**2).sum())

    @property
    def _below_zero(self) -> float:
        """Slope of a homogeneous activation for negative inputs; for positive ones it is 1."""
        return {"linear": 1.0, "relu": 0.0, "leaky_relu": self.slope}[self.name]

    def _kernel_by_quadrature(self, qa: Tensor, qb: Tensor, c: Tensor) -> Tensor:
        if qa.numel() == 0:
            return qa.clone()
        z, weight = _line(float(torch.maximum(qa, qb).max()), device=qa.device)
        flat = torch.stack((qa, qb, c)).flatten(1)  # (3, pairs)
        pieces = []
        chunk = max(1, _MOST_ELEMENTS // len(z) ** 2)
        for start in range(0, flat.shape[1], chunk):
            va, vb, rho = flat[:, start : start + chunk].unbind(0)
            first = va.sqrt()[:, None] * z  # (pairs, nodes)
            along = (vb.sqrt() * rho)[:, None] * z
            across = torch.sqrt(vb * (1 - rho) * (1 + rho))[:, None] * z
            inner = self(along[:, :, None] + across[:, None, :]) @ weight  # E φ(u₂) given u₁
            pieces.append((self(first) * inner) @ weight)
        return torch.cat(pieces).view(qa.shape)


def _line(q: float, *, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E f(z), z ~ N(0, 1), for f with poles no nearer than π/(2√q)."""
    step = min(0.5, 0.3 / math.sqrt(q)) if q > 0 else 0.5
    half = math.ceil(9 / step)
    z = torch.arange(-half, half + 1, dtype=torch.float64, device=device) * step
    weight = torch.exp(-(z**2) / 2)
    return z, weight / weight.sum()


def _gelu_kernel(qa: Tensor, qb: Tensor, qab: Tensor) -> Tensor:
    sa, sb = 1 + qa, 1 + qb
    delta = sa * sb - qab**2
    both = 0.25 + torch.asin(qab / torch.sqrt(sa * sb)) / (2 * math.pi)
    edges = qa * qb + qab**2 * (1 - qa / sa - qb / sb)
    return qab * both + edges / (2 * math.pi * torch.sqrt(delta))


_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "erf": torch.erf,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "linear": torch.clone,
    "relu": torch.relu,
    "sign": torch.sign,
    "tanh": torch.tanh,
}
