"""When a feature's growing length overtakes a clock that ticks evenly: the layer of the crossing.

Derivation. Without normalisation the fitted feature is multiplied by |y| in every layer, so ln|x_ℓ|
= ln|x_0| + Σ ln|y_l| is a walk of i.i.d. steps of mean λ = E ln|y| and variance v. The paper's
spacetime point is [cℓ ; x_ℓ]: time leads while |x_ℓ| < cℓ. With b = ln c − ln|x_0|, the means meet
where

    f(t) = λt − ln t − b = 0,   at the larger of its two roots (time begins at 0, behind).

Around it the walk gains s = f'(t) = λ − 1/t a layer on the clock, and its spread is √(vt), so the
crossing has the variance v t/s². Two terms of the next order move its mean: a renewal process of
positive steps, drawn as straight lines between its layers, arrives later than its mean does, by
v/(2s²) (the step that crosses is a long one, by its own length); and f bends upwards, f'' = 1/t²,
which brings it earlier by ½ f'' (v t/s²)/s = v/(2 t s³).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_finite
from worldline.encoder.reading import reading_length
from worldline.encoder.selection import Selection
from worldline.errors import ShapeError, UsageError

__all__ = ["Crossing", "crossing_layer", "measured_crossing"]


@dataclass(frozen=True)
class Crossing:
    """When features overtake time, for each of N; both (N,), in layers.

    Attributes:
        mean: of the crossing, between two layers. 0: the feature leads from the start; ∞: it never
            catches up.
        spread: its standard deviation; 0 and ∞ likewise.
    """

    mean: Tensor
    spread: Tensor


def crossing_layer(
    log_length: Float[Tensor, " N"], selection: Selection, *, speed: float
) -> Crossing:
    """The layer at which the fitted feature's length overtakes cℓ.

    λt = ln t + ln c − ln|x_0|, λ = E ln|y|, with the corrections of the module.

    Args:
        log_length: (N,) ln|x_0| at the input.
        selection: n, k and the rule of every layer.
        speed: c > 0 of the time coordinate cℓ.

    Returns:
        :class:`Crossing`; good to 1/t² where the steps are positive, √v ≪ λ.

    Raises:
        UsageError: speed not positive. ShapeError, BoundsError: not a finite (N,).

    Cost: some operations a feature, beside :func:`reading_length`.

    >>> import torch
    >>> from worldline.encoder import Selection, crossing_layer
    >>> found = crossing_layer(torch.zeros(1), Selection(candidates=100, width=2), speed=100.0)
    >>> round(float(found.mean), 2), round(float(found.spread), 2)
    (4.78, 0.24)
    """
    if not 0 < speed < math.inf:
        raise UsageError(f"speed must be positive and finite; got {speed}.")
    if not isinstance(log_length, Tensor) or log_length.ndim != 1:
        raise ShapeError(f"log_length must be a tensor (N,); got {came(log_length)}.")
    check_finite("log_length", log_length)
    law = reading_length(selection)
    rate, variance = law.log_mean, law.log_variance
    behind = math.log(speed) - log_length.double()  # b
    if rate <= 0:
        none = torch.full_like(behind, math.inf)
        return Crossing(none, none)
    always = behind <= 1 + math.log(rate)  # f has no root: the least of λt − ln t is 1 + ln λ
    t = torch.where(always, 2 / rate, 2 * behind.clamp_min(1.0) / rate + 2 / rate)
    for _ in range(40):  # Newton from above on a convex function
        t = t - (rate * t - t.log() - behind.clamp_min(1.0001 + math.log(rate))) / (rate - 1 / t)
    gain = rate - 1 / t
    mean = t + variance / (2 * gain**2) - variance / (2 * t * gain**3)
    spread = (variance * t).sqrt() / gain
    return Crossing(mean.masked_fill(always, 0.0), spread.masked_fill(always, 0.0))


def measured_crossing(log_lengths: Tensor, *, speed: float) -> Tensor:
    """(P,) where ln|x|, (L + 1, P), straight between layers, overtakes ln cℓ for good; ∞: nowhere.

    >>> import torch
    >>> from worldline.encoder.crossing import measured_crossing
    >>> measured_crossing(torch.tensor([[0.0], [1.0], [2.0], [3.0]]).double(), speed=4.0)
    tensor([2.1533], dtype=torch.float64)
    """
    depth = len(log_lengths) - 1
    layers = torch.arange(1, depth + 1, dtype=torch.float64)
    ahead = log_lengths[1:] >= (speed * layers).log()[:, None]  # (L, P)
    behind_at = torch.where(ahead, 0, layers[:, None]).amax(0)  # the last layer behind, or 0
    found = torch.full_like(behind_at, math.inf)
    crossed = behind_at < depth
    start = behind_at[crossed].long()
    low, high = (log_lengths[:, crossed].gather(0, (start + at)[None])[0] for at in (0, 1))
    part = torch.full_like(low, 0.5)
    for halving in range(2, 42):
        ahead_there = low + (high - low) * part >= (speed * (start + part)).log()
        part = part + torch.where(ahead_there, -1.0, 1.0) * 0.5**halving
    found[crossed] = start + part
    return found
