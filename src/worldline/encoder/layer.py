"""One layer of the encoder: k rows drawn as if n had been drawn and the best k kept.

Derivation. For a unit feature x̂ write a row as r = (r·x̂) x̂ + r(1 − x̂x̂ᵀ): for a Gaussian r the
two parts are independent. Selection looks at r·x̂ only, so a kept row is a selected reading along
x̂ and an untouched Gaussian across it,

    W = y x̂ᵀ + G (1 − x̂x̂ᵀ) = G + (y − G x̂) x̂ᵀ,   G i.i.d. N(0, 1) of shape (k, D),

where y comes from its order statistics (:mod:`worldline.encoder.selection`). The same distribution
as drawing n rows, at the price of k. To apply the layer W is not needed: W f = G f⊥ + y (x̂·f) with
f⊥ = f − x̂(x̂·f), one product with G.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.selection import Selection

__all__ = ["apply_rows", "draw_rows", "draw_rows_literally", "set_readings"]


def draw_rows(
    direction: Float[Tensor, "P D"], readings: Float[Tensor, "P k"], *, generator: torch.Generator
) -> Float[Tensor, "P k D"]:
    """Rows that read unit features as the given readings, Gaussian in every other direction.

    W = G + (y − G x̂) x̂ᵀ, so that W x̂ = y to rounding.

    Args:
        direction: (P, D) unit features x̂, float32 or float64.
        readings: (P, k), y of :meth:`Selection.draw`.
        generator: on the device of ``direction``; k·D normals per layer are drawn from it, layer
            after layer.

    Returns:
        (P, k, D), the weights of P independent layers, in the dtype of ``direction``.

    Cost: k·D normals, one product with x̂ and one rank-one update: O(k D), and no other memory than
    the result.

    >>> import torch
    >>> from worldline.encoder.layer import draw_rows
    >>> generator = torch.Generator().manual_seed(0)
    >>> rows = draw_rows(torch.eye(3)[:1], torch.tensor([[2.0, -3.0]]), generator=generator)
    >>> rows[0, :, 0]  # what x̂, the first axis, is read as
    tensor([ 2., -3.])
    """
    return set_readings(
        draw_noise(direction, readings.shape[-1], generator=generator), direction, readings
    )


def draw_noise(direction: Tensor, width: int, *, generator: torch.Generator) -> Tensor:
    """G of the module, (P, k, D) for unit features (P, D)."""
    shape = (len(direction), width, direction.shape[-1])
    return torch.randn(shape, dtype=direction.dtype, device=direction.device, generator=generator)


def set_readings(noise: Tensor, direction: Tensor, readings: Tensor) -> Tensor:
    """W = G + (y − G x̂) x̂ᵀ, (P, k, D), written over G."""
    missing = readings.to(noise.dtype)[..., None] - noise @ direction[..., None]  # (P, k, 1)
    return noise.baddbmm_(missing, direction[:, None, :])


def apply_rows(
    noise: Float[Tensor, "P k D"],
    direction: Float[Tensor, "P D"],
    readings: Float[Tensor, "P k"],
    features: Float[Tensor, "P N D"],
) -> Float[Tensor, "P N k"]:
    """Features after the layer, W f = G f⊥ + y (x̂·f) with f⊥ = f − x̂(x̂·f), without forming W.

    Args:
        noise: G, or rows that read anything along x̂: only their part across it counts.
        direction, readings: x̂ and y of the layer.
        features: f, N of them for each of the P layers.

    Cost: one product of the features with G, and N·D beside it.

    >>> import torch
    >>> from worldline.encoder.layer import apply_rows
    >>> x = torch.eye(3)[:1]
    >>> apply_rows(torch.zeros(1, 2, 3), x, torch.tensor([[2.0, -3.0]]), 5 * x[None])
    tensor([[[ 10., -15.]]])
    """
    along = features @ direction[..., None]  # (P, N, 1)
    across = torch.baddbmm(features, along, direction[:, None], alpha=-1)
    return torch.baddbmm(along * readings.to(noise.dtype)[:, None], across, noise.transpose(-1, -2))


def draw_rows_literally(
    direction: Float[Tensor, "P D"], selection: Selection, *, generator: torch.Generator
) -> tuple[Float[Tensor, "P k"], Float[Tensor, "P k D"]]:
    """Readings and rows by the paper's own recipe, all n rows drawn: the exact scheme's oracle.

    Args:
        direction: (P, D) unit features x̂, float32 or float64.
        selection: n, k and the rule.
        generator: on the device of ``direction``.

    Returns:
        Readings (P, k) and rows (P, k, D), in the order of :meth:`Selection.draw`.

    Cost: n·D normals and as much memory per layer: for small n only.

    >>> import torch
    >>> from worldline.encoder import Selection
    >>> from worldline.encoder.layer import draw_rows_literally
    >>> selection = Selection(candidates=50, width=2, rule="most_negative")
    >>> generator = torch.Generator().manual_seed(0)
    >>> y, rows = draw_rows_literally(torch.eye(3)[:1], selection, generator=generator)
    >>> bool((y < -1).all()), torch.equal(rows[:, :, 0], y)
    (True, True)
    """
    layers, inputs, k = len(direction), direction.shape[-1], selection.width
    n = k if selection.rule == "none" else selection.candidates
    rows = torch.randn(
        layers, n, inputs, dtype=direction.dtype, device=direction.device, generator=generator
    )
    readings = (rows @ direction[..., None]).squeeze(-1)  # (P, n)
    if selection.rule == "none":
        return readings, rows
    score = readings.abs() if selection.rule == "largest" else -readings
    kept = score.topk(k, dim=-1).indices  # (P, k), best first
    return readings.gather(-1, kept), rows.gather(-2, kept[..., None].expand(-1, -1, inputs))
