"""What one layer of the encoder does to a pair, exactly.

Derivation. Take x̂ along the first axis of the input and ŷ, the direction of the selected readings
y, along the first axis of the output. A row with reading y_i is y_i x̂ + (Gaussian across x̂), so
in these frames one layer is

    W = [ |y|  gᵀ ]      |y| the length of the k readings, g i.i.d. N(0,1),
        [  0   G' ]      G' i.i.d. N(0,1) of k − 1 rows, all independent.

A feature at rapidity φ from x (cot θ = sinh φ) has, across x̂, one direction; G' maps it to a chi
length χ_{k−1}. Hence

    sinh φ' = ( |y| sinh φ + g ) / χ_{k−1} :

depth composes like collinear boosts. Far up the light cone every step adds ln|y| − ln χ_{k−1},
whatever φ is: rapidity grows **linearly with depth**, at the rates of
:mod:`worldline.encoder.rates`. With k = 1 nothing lies across and every pair is (anti-)parallel
after one step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_count
from worldline.encoder.reading import reading_length
from worldline.encoder.selection import Selection
from worldline.errors import BoundsError, ShapeError

__all__ = [
    "OneStepMoments",
    "PairWalk",
    "last_readings",
    "one_step",
    "one_step_moments",
    "pair_walk",
    "rapidity_walk",
]


@dataclass(frozen=True)
class OneStepMoments:
    """Moments of sinh φ' = cot θ' after one layer, for each of N pairs.

    Attributes:
        mean: (N,) E sinh φ'; exists for k ≥ 3, NaN below.
        second: (N,) E sinh² φ'; exists for k ≥ 4, NaN below.
    """

    mean: Tensor
    second: Tensor


@dataclass(frozen=True)
class PairWalk:
    """Rapidity and lengths of N pairs through L layers, by the exact law; each (L + 1, N).

    Attributes:
        rapidity: φ of the two features, in nats.
        log_fitted, log_other: ln of their lengths without any normalisation, less those at the
            input: 0 in row 0.
    """

    rapidity: Tensor
    log_fitted: Tensor
    log_other: Tensor


def one_step(
    rapidity: Float[Tensor, " N"], selection: Selection, *, generator: torch.Generator
) -> Float[Tensor, " N"]:
    """Rapidity after one layer for each of N pairs, each with a layer of its own, by the exact law.

    sinh φ' = (|y| sinh φ + g)/χ_{k−1}.

    Args:
        rapidity: (N,) φ between the fitted feature and the other, in nats, any float; ±∞ stays.
        selection: n, k and the rule.
        generator: on the device of ``rapidity``.

    Returns:
        (N,) float64 φ'. ±∞: parallel, always for k = 1.

    Raises:
        ShapeError: not a floating (N,). BoundsError: NaN.

    Cost: O(N k), whatever n and the feature width are. Source: arXiv:2309.15669 states the
    convergence; the law is ours.

    >>> import torch
    >>> from worldline.encoder import Selection, one_step
    >>> g = torch.Generator().manual_seed(0)
    >>> selection = Selection(candidates=16384, width=256)
    >>> after = one_step(torch.full((4000,), 5.0), selection, generator=g)
    >>> round(float(after.mean()), 2)  # 5 and the rate 1.02
    6.02
    """
    return _step(check_rapidity(rapidity), selection, generator)[0]


def rapidity_walk(
    rapidity: Float[Tensor, " N"], selection: Selection, depth: int, *, generator: torch.Generator
) -> Float[Tensor, "L1 N"]:
    """Rapidity of N pairs through L layers by the exact law, without forming features or weights.

    Args:
        rapidity: (N,) at the input, in nats.
        selection: n, k and the rule of every layer.
        depth: L ≥ 1.
        generator: on the device of ``rapidity``.

    Returns:
        (L + 1, N) float64, row 0 the input. Not limited by rounding: vectors in float64 stop at 36
        nats, this does not.

    Raises:
        UsageError: depth < 1. Otherwise as :func:`one_step`.

    Cost: O(L N k).

    >>> import torch
    >>> from worldline.encoder import Selection, rapidity_walk
    >>> g = torch.Generator().manual_seed(0)
    >>> walk = rapidity_walk(torch.zeros(2000), Selection(candidates=10, width=2), 100, generator=g)
    >>> round(float((walk[100] - walk[50]).abs().mean() / 50), 1)  # the rate 1.468
    1.5
    """
    check_count("depth (number of layers)", depth)
    rows = [check_rapidity(rapidity)]
    for _ in range(depth):
        rows.append(one_step(rows[-1], selection, generator=generator))
    return torch.stack(rows)


def pair_walk(
    rapidity: Float[Tensor, " N"], selection: Selection, depth: int, *, generator: torch.Generator
) -> PairWalk:
    """Rapidity and lengths of N pairs through L layers by the exact law, without their features.

    |x| ← |y| |x|, and |x'| ← |x'| √((|y| sinh φ + g)² + χ²)/cosh φ.

    Args:
        rapidity: (N,) at the input, in nats.
        selection: n, k and the rule of every layer.
        depth: L ≥ 1.
        generator: on the device of ``rapidity``.

    Returns:
        :class:`PairWalk`. Both lengths grow by E ln|y| a layer where pairs merge.

    Raises:
        UsageError: depth < 1. Otherwise as :func:`one_step`.

    Cost: O(L N k).

    >>> import torch
    >>> from worldline.encoder import Selection, pair_walk, reading_length
    >>> g, selection = torch.Generator().manual_seed(0), Selection(candidates=100, width=2)
    >>> walk = pair_walk(torch.zeros(2000), selection, 30, generator=g)
    >>> lengths = float(walk.log_fitted[30].mean() / 30), reading_length(selection).log_mean
    >>> [round(it, 2) for it in lengths]
    [1.29, 1.29]
    """
    check_count("depth (number of layers)", depth)
    phi = check_rapidity(rapidity)
    start = torch.zeros_like(phi)
    rows = [(phi, start, start)]
    for _ in range(depth):
        phi, fitted, other = _step(rows[-1][0], selection, generator)
        rows.append((phi, rows[-1][1] + fitted, rows[-1][2] + other))
    return PairWalk(*(torch.stack(column) for column in zip(*rows, strict=True)))


def last_readings(
    rapidity: Float[Tensor, " N"], selection: Selection, *, generator: torch.Generator
) -> tuple[Float[Tensor, "N k"], Float[Tensor, "N k"]]:
    """What the k kept neurons of one layer read of both unit features of N pairs.

    y of the fitted one, and y tanh φ + h/cosh φ of the other, h i.i.d. N(0, 1): the row across x̂
    is untouched by the selection. Whatever is read from a last layer follows from these.

    Args:
        rapidity: (N,) φ of the pairs before the layer, in nats.
        selection: n, k and the rule.
        generator: on the device of ``rapidity``.

    Returns:
        (N, k) twice, float64. φ = ±∞: the second is the first, or its opposite.

    Raises:
        ShapeError, BoundsError: as :func:`one_step`.

    Cost: O(N k), whatever n is.

    >>> import torch
    >>> from worldline.encoder import Selection, last_readings
    >>> g = torch.Generator().manual_seed(0)
    >>> selection = Selection(candidates=9, width=3)
    >>> y, other = last_readings(torch.tensor([40.0]), selection, generator=g)
    >>> torch.equal(y, other)
    True
    """
    phi = check_rapidity(rapidity)
    y = selection.draw(len(phi), generator=generator)
    h = torch.randn(y.shape, dtype=torch.float64, device=phi.device, generator=generator)
    return y, y * phi.tanh()[:, None] + h / torch.cosh(phi)[:, None]


def one_step_moments(rapidity: Float[Tensor, " N"], selection: Selection) -> OneStepMoments:
    """Mean and second moment of sinh φ' after one layer.

    E sinh φ' = sinh φ E|y| E[1/χ_{k−1}], E sinh² φ' = (E|y|² sinh² φ + 1)/(k − 3).

    Args:
        rapidity: (N,) φ in nats.
        selection: n, k and the rule.

    Returns:
        :class:`OneStepMoments`. At φ = 0 the mean is 0 and the second moment 1/(k − 3): no
        direction is preferred.

    Raises:
        ShapeError, BoundsError: as :func:`one_step`.

    >>> import torch
    >>> from worldline.encoder import Selection, one_step_moments
    >>> one_step_moments(torch.zeros(1), Selection(candidates=10, width=5)).second
    tensor([0.5000], dtype=torch.float64)
    """
    s = torch.sinh(check_rapidity(rapidity))
    law, k = reading_length(selection), selection.width
    mean = second = torch.full_like(s, math.nan)
    if k >= 3:
        inverse_chi = math.exp(math.lgamma((k - 2) / 2) - math.lgamma((k - 1) / 2)) / math.sqrt(2)
        mean = s * law.mean * inverse_chi
    if k >= 4:
        second = (law.mean_square * s**2 + 1) / (k - 3)
    return OneStepMoments(mean, second)


def check_rapidity(rapidity: Tensor) -> Tensor:
    """(N,) float64 without NaN, or say what came."""
    if not isinstance(rapidity, Tensor) or not rapidity.is_floating_point() or rapidity.ndim != 1:
        raise ShapeError(
            f"rapidity must be a floating tensor of shape (N,), in nats; got {came(rapidity)}."
        )
    if bool(rapidity.isnan().any()):
        raise BoundsError(
            f"rapidity is NaN for {int(rapidity.isnan().sum())} of {len(rapidity)} pairs. A pair "
            "with a zero vector has no rapidity: drop it first (wl.pair_status says which)."
        )
    return rapidity.double()


def _step(
    phi: Tensor, selection: Selection, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """φ' of each of N pairs, and ln of how much longer each of the two features has become."""
    count, k = len(phi), selection.width
    reading = torch.linalg.vector_norm(selection.draw(count, generator=generator), dim=-1)
    g = torch.randn(count, dtype=torch.float64, device=phi.device, generator=generator)
    across = chi_lengths(count, k - 1, generator=generator)
    # e^{−|φ|} (|y| sinh φ + g), so that no rapidity is too large for its sinh
    near = torch.exp(-phi.abs())
    scaled = reading * -torch.expm1(-2 * phi.abs()) / 2 * phi.sign() + g * near
    after = scaled.sign() * _asinh_exp(phi.abs() + scaled.abs().log() - across.log())
    # e^{|φ|}/cosh φ = 2/(1 + e^{−2|φ|})
    length = torch.hypot(scaled, across * near).log() + math.log(2) - torch.log1p(near**2)
    return after, reading.log(), length


def chi_lengths(count: int, degrees: int, *, generator: torch.Generator) -> Tensor:
    """(count,) chi-distributed with the given degrees of freedom; zeros for none."""
    shape, device = (count, degrees), generator.device
    normals = torch.randn(shape, dtype=torch.float64, device=device, generator=generator)
    lengths: Tensor = torch.linalg.vector_norm(normals, dim=-1)
    return lengths


def _asinh_exp(log_z: Tensor) -> Tensor:
    """asinh(e^l) for any l, without forming e^l."""
    up = log_z.clamp_min(0) + torch.log1p(torch.sqrt(1 + torch.exp(-2 * log_z.clamp_min(0))))
    return torch.where(log_z > 0, up, torch.asinh(log_z.clamp_max(0).exp()))
