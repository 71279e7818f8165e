"""Where features are after each layer: unit directions and ln lengths, safe at any depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import BoundsError, LayerError, UsageError
from worldline.geometry.pair import rapidity

__all__ = ["Composed", "Path", "from_fitted", "spacetime_path", "split_length"]


@dataclass(frozen=True)
class Composed:
    """The product H = W_L … W_1 of P encoders (no axis P for one), as H = exp(log_scale) · matrix.

    Attributes:
        matrix: (P, k, D) of unit Frobenius norm.
        log_scale: (P,) ln |H|_F; grows by about ½ ln(k m₂) per layer, and never overflows.
    """

    matrix: Tensor
    log_scale: Tensor


@dataclass(frozen=True)
class Path:
    """Features through the layers: layer is time.

    Attributes:
        layers: numbers of the layers held; 0 is the input.
        directions: for each, (…, D_l) unit vectors; a zero feature has the direction zero.
        log_norms: (layers, …) ln of the length that the feature has without any normalisation; −∞
            for a zero feature.
        normalise: whether :meth:`features` gives unit vectors.
    """

    layers: tuple[int, ...]
    directions: tuple[Tensor, ...]
    log_norms: Tensor
    normalise: bool

    def features(self, layer: int) -> Tensor:
        """Features (…, D_l) after a layer: unit vectors, or with their lengths as the encoder does.

        Raises:
            LayerError: the layer is not held.
            BoundsError: a length does not fit the dtype; ``directions`` and ``log_norms`` always
                do.
        """
        if layer not in self.layers:
            raise LayerError(
                f"Layer {layer} is not in this path; layers held: {_shown(self.layers)}."
            )
        place = self.layers.index(layer)
        direction, log_norm = self.directions[place], self.log_norms[place]
        if self.normalise:
            return direction
        values = direction * log_norm.exp()[..., None].to(direction.dtype)
        values = torch.where(log_norm.isneginf()[..., None], torch.zeros_like(values), values)
        if not bool(torch.isfinite(values).all()):
            raise BoundsError(
                f"Features of layer {layer} have lengths up to e^{float(log_norm.max()):.0f}, more "
                f"than {direction.dtype} holds. Use directions and log_norms, or normalise=True."
            )
        return values


def spacetime_path(path: Path, *, speed: float) -> Float[Tensor, "L1 ... D1"]:
    """The paper's spacetime path: directions, the layer number as a time coordinate, normalised.

    [ℓ·c ; x̂_ℓ] / |[ℓ·c ; x̂_ℓ]| for the layers of one width.

    Args:
        path: of :class:`FittedEncoder`; layers whose width differs from the last layer's (an input
            of D ≠ k) are left out.
        speed: c > 0, a free constant of the picture: large c brings every point to the time axis at
            once.

    Returns:
        (layers, …, k + 1), unit vectors; coordinate 0 is time. A picture, with no law behind c.

    Raises:
        UsageError: speed not positive.

    Cost: one copy of the path.

    >>> import torch
    >>> from worldline.encoder import Encoder, spacetime_path
    >>> fitted = Encoder(candidates=5, width=3, depth=4).fit(torch.ones(3))
    >>> spacetime_path(fitted.path, speed=1.0).shape
    torch.Size([5, 4])
    """
    if not 0 < speed < math.inf:
        raise UsageError(f"speed must be positive and finite; got {speed}.")
    width = path.directions[-1].shape[-1]
    rows = []
    for layer, direction in zip(path.layers, path.directions, strict=True):
        if direction.shape[-1] == width:
            time = torch.full_like(direction[..., :1], layer * speed)
            rows.append(torch.nn.functional.normalize(torch.cat((time, direction), -1), dim=-1))
    return torch.stack(rows)


def from_fitted(directions: Tensor) -> Tensor:
    """Rapidities (…, M) of the other features from the first of each (…, M + 1, D)."""
    first, others = directions[..., :1, :].expand_as(directions[..., 1:, :]), directions[..., 1:, :]
    return rapidity(first.flatten(0, -2), others.flatten(0, -2)).view(others.shape[:-1])


def split_length(v: Tensor) -> tuple[Tensor, Tensor]:
    """Unit direction (…, D) and ln length (…) in float64, without overflow; 0 and −∞ for zero."""
    direction, *factors = unit(v)
    return direction, log_length(*factors)


def unit(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit direction (…, D) and two factors (…, 1) of the length, neither of which overflows."""
    tiny = torch.finfo(v.dtype).tiny
    scale = v.abs().amax(-1, keepdim=True).clamp_min(tiny)
    direction = v / scale
    length = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    return direction.div_(length.clamp_min(tiny)), scale, length


def log_length(scale: Tensor, length: Tensor) -> Tensor:
    """ln length (…) in float64 from the factors of :func:`unit`."""
    return (length.double().log() + scale.double().log()).squeeze(-1)


def _shown(layers: tuple[int, ...]) -> str:
    return ", ".join(map(str, layers[:12])) + (", …" if len(layers) > 12 else "")
