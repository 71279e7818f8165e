"""Frames: from where features are seen.

A frame is an origin o and an optional linear map M, a ← (a − o) Mᵀ, fitted on reference data that
streams by in batches. ReLU features are non-negative, so raw cosines are biased upward;
``centered`` is the default everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import ShapeError, UsageError
from worldline.settings import FrameName

__all__ = ["Frame", "Moments", "check_frame_name"]


@dataclass(frozen=True)
class Frame:
    """An origin (D,) and a symmetric map (D, D); ``None`` stands for 0 and for the identity.

    >>> import torch
    >>> from worldline.geometry import Frame
    >>> Frame("centered", origin=torch.tensor([1.0, 0.0]))(torch.tensor([[3.0, 4.0]]))
    tensor([[2., 4.]])
    """

    name: FrameName
    origin: Tensor | None = None
    map: Tensor | None = None

    def like(self, features: Tensor) -> Frame:
        """The same frame in the dtype and on the device of these features."""
        origin = None if self.origin is None else self.origin.to(features)
        return Frame(self.name, origin, None if self.map is None else self.map.to(features))

    def __call__(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The features as seen from this frame, in their own dtype and on their own device."""
        here = self.like(features)
        seen = features if here.origin is None else features - here.origin
        return seen if here.map is None else seen @ here.map


class Moments:
    """Count, mean and (for whitening) scatter of features that stream by, in float64.

    ``update`` and ``merge`` use the pairwise formula of Chan, Golub and LeVeque (1983), so any
    order and any sharding give the same answer to rounding. Memory: D numbers, and D² more with
    ``scatter``.

    >>> import torch
    >>> from worldline.geometry import Moments
    >>> moments = Moments(2)
    >>> for batch in torch.tensor([[0.0, 0.0], [2.0, 4.0]]).split(1):
    ...     moments.update(batch)
    >>> moments.frame("centered").origin
    tensor([1., 2.], dtype=torch.float64)
    """

    def __init__(self, width: int, *, scatter: bool = False) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.scatter = torch.zeros(width, width, dtype=torch.float64) if scatter else None

    def update(self, features: Float[Tensor, "N D"]) -> None:
        """Take in a batch (N, D) of any floating dtype and device."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ShapeError(
                f"Expected features (N, {len(self.mean)}); got {tuple(features.shape)}."
            )
        if len(features) == 0:
            return
        batch = Moments(len(self.mean))
        wide = features.detach().to("cpu", torch.float64)
        batch.count, batch.mean = len(wide), wide.mean(0)
        if self.scatter is not None:
            rest = wide - batch.mean
            batch.scatter = rest.T @ rest
        self.merge(batch)

    def merge(self, other: Moments) -> None:
        """Take in the moments of other samples."""
        if other.count == 0:
            return
        total = self.count + other.count
        shift = other.mean - self.mean
        if self.scatter is not None:
            if other.scatter is None:
                raise UsageError(
                    "Cannot merge moments without scatter into moments with scatter=True."
                )
            weight = self.count * other.count / total
            self.scatter = self.scatter + other.scatter + weight * torch.outer(shift, shift)
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    def covariance(self) -> Float[Tensor, "D D"]:
        """Maximum-likelihood covariance, scatter / count."""
        if self.scatter is None or self.count < 2:
            raise UsageError("A covariance needs scatter=True and at least two samples.")
        return self.scatter / self.count

    def frame(self, name: FrameName) -> Frame:
        """The frame of this name, fitted on what streamed by.

        ``raw``: o = 0, M = 1. ``centered``: o = mean. ``whitened``: o = mean, M = Σ*^(−1/2) with
        the covariance shrunk towards its mean variance by the oracle approximating shrinkage of
        Chen, Wiesel, Eldar and Hero (2010), so that M exists for any sample count; a constant
        feature set gets M = 1.
        """
        check_frame_name(name)
        if name == "raw":
            return Frame("raw")
        if self.count == 0:
            raise UsageError(f"The {name} frame needs reference samples; none have been seen.")
        if name == "centered":
            return Frame("centered", origin=self.mean)
        return Frame("whitened", origin=self.mean, map=self._whitening())

    def shrinkage(self) -> float:
        """Share of the mean variance in the shrunk covariance, in [0, 1] (Chen et al. 2010)."""
        covariance = self.covariance()
        width = len(covariance)
        variance = covariance.trace() / width
        alpha = (covariance**2).mean()
        numerator = alpha + variance**2
        denominator = (self.count + 1) * (alpha - variance**2 / width)
        return 1.0 if denominator <= 0 else float((numerator / denominator).clamp(max=1.0))

    def _whitening(self) -> Tensor:
        covariance = self.covariance()
        width = len(covariance)
        variance = covariance.trace() / width
        if variance <= 0:
            return torch.eye(width, dtype=torch.float64)
        shrinkage = self.shrinkage()
        shrunk = (1 - shrinkage) * covariance
        shrunk.diagonal().add_(shrinkage * variance)
        values, vectors = torch.linalg.eigh(shrunk)
        floor = values[-1] * torch.finfo(torch.float64).eps * width
        inverse_root: Tensor = (vectors * values.clamp(min=float(floor)).rsqrt()) @ vectors.T
        return inverse_root


def check_frame_name(name: str) -> None:
    """Refuse a frame that does not exist, with a UsageError that names those that do.

    >>> from worldline.geometry import check_frame_name
    >>> check_frame_name("raw")
    """
    if name not in get_args(FrameName):
        raise UsageError(f"Unknown frame {name!r}; choose one of {', '.join(get_args(FrameName))}.")
