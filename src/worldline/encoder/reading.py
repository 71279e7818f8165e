"""The law of |y|, the length of the k selected readings, by quadrature and not by simulation.

Derivation. Given the tail probability t of the (k+1)-th reading, t ~ Beta(k+1, n−k), the k kept
ones are i.i.d.: normals conditioned to lie beyond z = Φ⁻¹(t/2) (rule ``largest``; Φ⁻¹(t) for
``most_negative``). So the Laplace transform of S = |y|² is an average over one variable of a closed
form,

    L(s) = E_t [ Φ(z√(1+2s)) / (Φ(z) √(1+2s)) ]^k ,

and the moments follow from integrals over u = ln s (Frullani; ε Euler's constant; S scaled by its
mean):

    E ln S         = ∫ (e^{−s} − L(s)) du            E √S = 1 + ∫ (e^{−s} − L(s)) e^{−u/2} du /
    (2√π) ½ E ln² S      = ∫ u (L(s) − e^{−s}) du − ε E ln S.

Both variables are integrated by the trapezoidal rule on the whole line, which converges
exponentially for such analytic integrands (Trefethen and Weideman, SIAM Review 56:385, 2014); the
result is good to 1e-10.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.selection import Selection

__all__ = ["ReadingLength", "reading_length"]

_EULER = 0.57721566490153286061


class ReadingLength:
    """Law of |y| for one selection; build it with :func:`reading_length`, which remembers.

    Attributes:
        mean_reading: E y_i of one kept reading: 0 by symmetry, but for ``most_negative``.
        mean_square: E |y|², k·m₂ for large k.
        log_mean: E ln |y|, in nats.
        log_variance: Var ln |y|, in nats².
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        k, n = selection.width, selection.candidates
        self._chi = selection.rule == "none" or n == k  # all are kept: |y| is chi-distributed
        self.mean_reading = 0.0
        if self._chi:
            self.mean_square = float(k)
            return
        self._z, self._weight = _threshold(selection)
        below = torch.special.log_ndtr(self._z)
        ratio = torch.exp(-(self._z**2) / 2 - below) / math.sqrt(2 * math.pi)  # φ(z)/Φ(z)
        self.mean_square = k * float((self._weight * (1 - self._z * ratio)).sum())
        if selection.rule == "most_negative":
            self.mean_reading = -float((self._weight * ratio).sum())

    def laplace(self, s: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """L(s) = E exp(−s |y|²) at each s ≥ 0: 1 at s = 0, 0 at ∞."""
        k = self.selection.width
        if self._chi:
            return torch.exp(-k / 2 * torch.log1p(2 * s))
        root = torch.sqrt(1 + 2 * s)[:, None]
        log_tail = torch.special.log_ndtr
        tail = log_tail(self._z * root) - log_tail(self._z)  # (N, nodes)
        return torch.exp(k * (tail - root.log())) @ self._weight

    @cached_property
    def mean(self) -> float:
        """E |y|, also where |y| is chi-distributed."""
        u, difference, step = self._frullani
        # further out e^{−u/2} amplifies rounding
        used = u > (-18.5 if self.selection.width < 16 else -15)
        shift = (difference * torch.exp(-u / 2))[used].sum() * step / (2 * math.sqrt(math.pi))
        return math.sqrt(self.mean_square) * (1 + float(shift))

    @cached_property
    def log_mean(self) -> float:
        """E ln |y|, in nats."""
        if self._chi:
            return log_chi(self.selection.width)
        _, difference, step = self._frullani
        return 0.5 * (math.log(self.mean_square) + float(difference.sum()) * step)

    @cached_property
    def log_variance(self) -> float:
        """Var ln |y|, in nats²."""
        if self._chi:
            return 0.25 * polygamma(1, self.selection.width / 2)
        u, difference, step = self._frullani
        first = float(difference.sum()) * step
        second = -float((u * difference).sum()) * step
        return 0.25 * (2 * (second - _EULER * first) - first**2)

    @cached_property
    def _frullani(self) -> tuple[Tensor, Tensor, float]:
        """Nodes u, e^{−s} − L(s / E S) at s = e^u, and the step."""
        k, step = self.selection.width, 0.125
        end = 8 + 80 / k + math.log(self.mean_square / k)
        u = torch.arange(-42.0, end, step, dtype=torch.float64)
        s = u.exp()
        return u, torch.exp(-s) - self.laplace(s / self.mean_square), step


@lru_cache(maxsize=256)
def reading_length(selection: Selection) -> ReadingLength:
    """Law of the length |y| of the selected readings of a unit feature.

    Args:
        selection: n, k and the rule.

    Returns:
        A :class:`ReadingLength`. Without selection |y| is chi-distributed with k degrees; with it,
        longer.

    Cost: about 10⁵ evaluations of the normal distribution on first use, whatever n and k are.

    >>> from worldline.encoder import Selection, reading_length
    >>> round(reading_length(Selection(candidates=1, width=1)).mean, 6)  # E|g| = √(2/π)
    0.797885
    """
    return ReadingLength(selection)


def _threshold(selection: Selection) -> tuple[Tensor, Tensor]:
    """Quantile z of the (k+1)-th tail probability at nodes in its log-odds, and their weights."""
    k, n = selection.width, selection.candidates
    spread = math.sqrt(1 / (k + 1) + 1 / (n - k))
    mode = math.log((k + 1) / (n - k))
    step = min(0.2, spread / 5)
    low, high = mode - 12 * spread - 45 / (k + 1), mode + 12 * spread + 45 / (n - k)
    odds = torch.arange(low, high, step, dtype=torch.float64)
    log_t, log_rest = torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds)
    log_density = (k + 1) * log_t + (n - k) * log_rest
    density = torch.exp(log_density - log_density.max())
    keep = density > 1e-20
    log_t, log_rest, density = log_t[keep], log_rest[keep], density[keep]
    if selection.rule == "largest":
        z = torch.special.ndtri(log_t.exp() / 2)
    else:
        z = torch.where(
            log_t < log_rest, torch.special.ndtri(log_t.exp()), -torch.special.ndtri(log_rest.exp())
        )
    return z, density / density.sum()


def log_chi(degrees: int) -> float:
    """E ln χ = ½[ln 2 + ψ(degrees/2)], in nats."""
    return 0.5 * (math.log(2) + polygamma(0, degrees / 2))


def polygamma(order: int, x: float) -> float:
    """ψ of the given order at x > 0 (0 is digamma)."""
    return float(torch.special.polygamma(order, torch.tensor(x, dtype=torch.float64)))
