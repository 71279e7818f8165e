"""Which of n random neurons are kept, and what they read: the selection step of the encoder.

Derivation. A candidate row r ~ N(0, I) reads the unit vector x̂ as y = r·x̂ ~ N(0, 1), so the n
readings are i.i.d. standard normals whatever x is, and selection is an order statistic of them. The
tail probabilities p of the readings are i.i.d. uniform, and the k smallest of n uniforms are drawn
without the other n − k (Rényi, *On the theory of order statistics*, 1953): −ln(1 − p_(i)) = Σ_{j<i}
e_j / (n − j) with e_j i.i.d. exponential. In float64, with p = −expm1(−Σ), this holds for n = 10¹²
as for n = 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import check_count
from worldline.errors import UsageError

__all__ = ["RULES", "Rule", "Selection"]

Rule = Literal["largest", "most_negative", "none"]
RULES: tuple[str, ...] = get_args(Rule)
_MOST_CANDIDATES = 2**53  # integers are exact in float64 up to here


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One layer's selection: of n random neurons keep k, by what they read of one feature.

    Args:
        candidates: n, neurons drawn; n ≥ k and at most 2⁵³.
        width: k ≥ 1, neurons kept.
        rule: ``largest`` keeps the k largest |y| (the paper); ``most_negative`` the k smallest
            signed y (the paper's label flip: every kept neuron reads the feature as negative when k
            ≪ n); ``none`` keeps k neurons without looking (the control: the same as n = k, up to
            the order of the rows).

    Raises:
        UsageError: n < k, k < 1, n > 2⁵³, not integers, or an unknown rule.

    >>> from worldline.encoder import Selection
    >>> Selection(candidates=10, width=2).share
    0.2
    """

    candidates: int
    width: int
    rule: Rule = "largest"

    def __post_init__(self) -> None:
        check_count("width (neurons kept)", self.width)
        check_count("candidates (neurons drawn)", self.candidates)
        if self.rule not in RULES:
            raise UsageError(f"rule must be one of {', '.join(RULES)}; got {self.rule!r}.")
        if self.candidates < self.width:
            raise UsageError(
                f"Cannot keep {self.width} of {self.candidates} neurons: candidates must be at "
                f"least width. Pass candidates={self.width} or more, or a smaller width."
            )
        if self.candidates > _MOST_CANDIDATES:
            raise UsageError(
                "candidates must be at most 2**53, where float64 still counts; got "
                f"{self.candidates}."
            )

    @property
    def share(self) -> float:
        """k/n in (0, 1], the share of neurons kept: 1 is no selection, as the rule ``none``."""
        return 1.0 if self.rule == "none" else self.width / self.candidates

    def draw(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "P k"]:
        """Readings y of the unit feature by the kept neurons, for ``count`` independent layers.

        Args:
            count: P, independent layers.
            generator: its device is where the readings are drawn.

        Returns:
            (P, k) float64. ``largest``: by decreasing |y|, random signs; ``most_negative``:
            increasing; ``none``: i.i.d. normal, unordered. At most 8.3 or so even for one neuron of
            2⁵³, beyond 10.3 once in 10⁸ draws.

        Cost: O(P k), whatever n is.

        >>> import torch
        >>> from worldline.encoder import Selection
        >>> generator = torch.Generator().manual_seed(0)
        >>> y = Selection(candidates=10**12, width=3).draw(1, generator=generator)
        >>> bool((y.abs() > 6.5).all())  # the three largest of a million million
        True
        """
        shape, device = (count, self.width), generator.device
        if self.rule == "none":
            return torch.randn(shape, dtype=torch.float64, device=device, generator=generator)
        n = self.candidates
        left = torch.arange(n, n - self.width, -1, dtype=torch.float64, device=device)  # n − j
        spacing = torch.empty(shape, dtype=torch.float64, device=device)
        spacing.exponential_(generator=generator)
        # −ln(1 − p); a spacing may round to zero
        depth = spacing.div_(left).cumsum(-1).clamp_min_(1e-300)
        tail = torch.expm1(-depth).neg_()
        if self.rule == "largest":
            signs = torch.randint(
                0, 2, shape, dtype=torch.float64, device=device, generator=generator
            )
            largest: Tensor = torch.special.ndtri(tail.mul_(0.5)).mul_(signs.mul_(2).sub_(1))
            return largest
        # the same number, exact where the tail is near one
        upper = -torch.special.ndtri(torch.exp(-depth))
        return torch.where(depth < math.log(2), torch.special.ndtri(tail), upper)
