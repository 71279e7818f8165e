"""A seeded random projection that keeps inner products on average, with an exact variance.

Features are given random signs, cut into blocks of m, each block is turned by a random shift, and
the blocks are added:

    S x = Σ_p R^{r_p} (s_p ∘ x_p),   s_i = ±1, r_p uniform in 0…m−1, R the cyclic shift of m
    entries.

It is the count sketch of Charikar, Chen and Farach-Colton (2002) with cyclic shifts for its hash,
so it reads the features once and in order. Features i ≠ j meet with probability 1/m if they are in
different blocks, and never within one. The signs are independent, so only pairs of terms with the
same two features survive in the second moment, and for all x, y

    E ⟨Sx, Sy⟩ = ⟨x, y⟩,   Var ⟨Sx, Sy⟩ = (1/m) Σ_{p≠q} (|x_p|² |y_q|² + ⟨x_p, y_p⟩⟨x_q, y_q⟩) ≤
    (|x|²|y|² + ⟨x, y⟩²)/m,

whatever the features are, spatially correlated ones included, as the shifts are random. The
correlation of two sketches, ρ̂ = ⟨Sx, Sy⟩/(|Sx||Sy|), is to first order ρ plus the deviation of
⟨Sx̂, Sŷ⟩ − ½ρ(|Sx̂|² + |Sŷ|²), a quadratic form with the matrix Q = ½(x̂ŷᵀ + ŷx̂ᵀ) − ½ρ(x̂x̂ᵀ +
ŷŷᵀ), hence

    Var ρ̂ = (2/m) Σ_{p≠q} |Q_pq|² ≤ (2/m)|Q|² = (1 − ρ²)²/m,   and as dφ = dρ/(1 − ρ²),   sd φ̂ ≤
    1/√m.

So the standard error of a rapidity is at most 1/√m nats, and that of a correlation (1 − ρ²)/√m, to
first order in 1/√m. One sketch serves a whole layer, so its error is common to the samples of a
layer and does not shrink with their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import UsageError

__all__ = ["Sketch"]


@dataclass(frozen=True)
class Sketch:
    """A projection of D features to m.

    Attributes:
        signs: (≥ D,) ±1, of which the first D are used.
        shifts: one for each block of m features.
        width: m.

    >>> import torch
    >>> from worldline.trace import Sketch
    >>> sketch = Sketch.draw(10_000, 1024, torch.Generator().manual_seed(0))
    >>> x = torch.randn(10_000, generator=torch.Generator().manual_seed(1))[None]
    >>> sketch(x).shape, round(float(sketch(x).norm() / x.norm()), 2), sketch.standard_error
    (torch.Size([1, 1024]), 1.02, 0.03125)
    """

    signs: Tensor
    shifts: tuple[int, ...]
    width: int

    @classmethod
    def draw(
        cls, features: int, width: int, generator: torch.Generator, *, signs: Tensor | None = None
    ) -> Sketch:
        """One of D = ``features`` to m = ``width``.

        Given signs, at least D of them, are shared, and only shifts are drawn.
        """
        if width < 1:
            raise UsageError(f"A sketch needs a width of at least 1; got {width}.")
        if signs is None:
            signs = torch.randint(0, 2, (features,), generator=generator).float() * 2 - 1
        blocks = -(-features // width)
        return cls(
            signs, tuple(torch.randint(width, (blocks,), generator=generator).tolist()), width
        )

    @property
    def standard_error(self) -> float:
        """1/√m: of a rapidity between sketches in nats, at most; times 1 − ρ² of a correlation."""
        return 1 / math.sqrt(self.width)

    def __call__(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N M"]:
        """(N, m), in the features' dtype and on their device; no copy of the features is made."""
        signs = self.signs.to(features)
        out = features.new_zeros(len(features), self.width)
        for block, shift in enumerate(self.shifts):
            start = block * self.width
            turn = start + self.width - shift  # from here on the block comes round to the front
            stop = min(start + self.width, features.shape[1])
            for low, high, to in ((start, min(turn, stop), shift), (turn, stop, 0)):
                if high > low:
                    out[:, to : to + high - low].addcmul_(features[:, low:high], signs[low:high])
        return out
