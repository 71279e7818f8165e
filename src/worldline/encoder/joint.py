"""The encoder on given features only: their exact joint path without drawing the weights.

Derivation. Factor the M features of a layer as F = Q R, Q an orthonormal basis with q₁ = ±x̂ the
fitted feature. The weights act on them as W F = (W Q) R, and W Q is all that is needed of W: its
first column is the selected readings ±y and the others are i.i.d. normals, k (M − 1) numbers in
place of k (D − 1).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_directions, check_finite
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Path, split_length
from worldline.encoder.seeds import make_generator
from worldline.errors import ShapeError, UsageError

__all__ = ["encode_together"]


def encode_together(
    encoder: Encoder,
    features: Float[Tensor, "P M D"],
    *,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> Path:
    """Paths of M features through an encoder fitted to the first, for P independent encoders.

    W F = [±y, G] R with F = Q R: the same joint distribution as ``encoder.fit(features[:,
    0]).transform(features)``, far cheaper when M ≪ D, and without weights that could be applied to
    anything else.

    Args:
        encoder: the setting, with the exact sampler.
        features: (P, M, D) float32 or float64; feature 0 of each row is the one that the encoder is
            fitted to.
        seed, generator: of the layers; the generator instead of the seed, on the device of the
            features.

    Returns:
        :class:`Path` with directions (P, M, D_l) and log norms (L + 1, P, M).

    Raises:
        ShapeError: not a floating (P, M, D), nothing empty. BoundsError: NaN, an infinity or a zero
            fitted feature.
        UsageError: the literal sampler.

    Cost: O(L P k M²), whatever n and D are, beside one decomposition of the input.

    >>> import torch
    >>> from worldline.encoder import Encoder, encode_together
    >>> pairs = torch.randn(50, 2, 512, generator=torch.Generator().manual_seed(0))
    >>> path = encode_together(Encoder(candidates=10, width=2, depth=20), pairs)
    >>> bool(((path.features(20)[:, 0] * path.features(20)[:, 1]).sum(-1).abs() > 0.999).all())
    True
    """
    _check(encoder, features)
    generator = generator or make_generator(seed, features.device)
    direction, log_norm = split_length(features)
    directions, log_norms = [direction], [log_norm]
    for _ in range(encoder.depth):
        factor = torch.linalg.qr(direction.transpose(-1, -2), mode="r").R  # (P, min(D, M), M)
        y = encoder.selection.draw(len(features), generator=generator).to(features.dtype)
        first = y * factor[:, :1, 0].sign()  # q₁ may be −x̂
        shape = (len(features), encoder.width, factor.shape[-2] - 1)
        across = torch.randn(shape, dtype=y.dtype, device=y.device, generator=generator)
        moved = torch.cat((first[..., None], across), -1) @ factor  # (P, k, M)
        direction, growth = split_length(moved.transpose(-1, -2))
        log_norm = log_norm + growth
        directions.append(direction)
        log_norms.append(log_norm)
    return Path(
        tuple(range(encoder.depth + 1)),
        tuple(directions),
        torch.stack(log_norms),
        encoder.normalise,
    )


def _check(encoder: Encoder, features: Tensor) -> None:
    if encoder.sampler != "exact":
        raise UsageError(
            "encode_together has no literal sampler; use Encoder.fit and transform for the oracle."
        )
    floating = isinstance(features, Tensor) and features.dtype in (torch.float32, torch.float64)
    if not floating or features.ndim != 3 or features.numel() == 0:
        raise ShapeError(
            "features must be a float32 or float64 tensor (P, M, D), the fitted feature first of "
            f"each M; got {came(features)}."
        )
    check_finite("features", features)
    check_directions(features[:, 0], "has a zero feature first: no direction to fit to")
