"""Features as a search reads them: by label, from a frame, as unit vectors, a block at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.errors import BoundsError
from worldline.geometry import Frame

__all__ = ["AT_ONCE", "View", "centered", "distances"]

AT_ONCE = 2**22
"""Float64 numbers that are looked at in one go."""
ROWS = 64


class View:
    """Features (N, D) of any size and place, seen from a frame.

    Attributes:
        order: (N,) the samples by label (stable), or as they come.
        directed: (N,) by place in that order: all but those that equal the frame's origin to within
            eight roundings of their dtype; what is left of such a sample is rounding and has no
            direction. Known of the places that were made ready.
        width: D.
    """

    def __init__(self, features: Tensor, frame: Frame, labels: Tensor | None = None) -> None:
        self.features, self.frame = features, frame.like(features[:0].double())
        size, self.width = features.shape
        self.in_order = labels is None or bool((labels[1:] >= labels[:-1]).all())
        everyone = torch.arange(size, device=features.device)
        self.order = everyone if labels is None or self.in_order else labels.argsort(stable=True)
        unseen = torch.full((size,), torch.nan, dtype=torch.float64)
        self.lengths = unseen.to(features.device)  # NaN: not seen yet
        self.directed = torch.ones(size, dtype=torch.bool, device=features.device)

    def undirected(self) -> Tensor:
        """(N,) by sample, the opposite of ``directed``."""
        return torch.zeros_like(self.directed).index_copy_(0, self.order, ~self.directed)

    def units(self, start: int, stop: int) -> Tensor:
        """Unit vectors (stop − start, D) of these places, rounded once, to float32."""
        rows, places = self._rows(start, stop), slice(start, stop)
        new = bool(self.lengths[places].isnan().any())
        if new:
            self._judge(torch.linalg.vector_norm(rows, dim=1), places)
        if self.frame.map is not None:
            rows = rows @ self.frame.map
            if new:
                length = torch.linalg.vector_norm(rows, dim=1)
                self.lengths[places] = length.masked_fill_(~self.directed[places], 1.0)
        return rows.div_(self.lengths[places, None]).float()

    def _judge(self, length: Tensor, places: slice) -> None:
        """Which places have a direction, from their distance to the origin."""
        if not bool(torch.isfinite(length).all()):
            self._refuse()
        faint = length == 0
        if self.frame.origin is not None:
            far = torch.linalg.vector_norm(self.frame.origin)
            faint = length <= 8 * torch.finfo(self.features.dtype).eps * far
        self.directed[places] = ~faint
        self.lengths[places] = length.masked_fill(faint, 1.0)

    def _refuse(self) -> None:
        """Say which features are not finite."""
        rows = [
            int(i) for i, row in enumerate(self.features) if not bool(torch.isfinite(row).all())
        ]
        where = f"first sample {rows[0]}" if rows else "as seen from the frame"
        raise BoundsError(
            f"Features must be finite; {len(rows)} of {len(self.features)} samples hold NaN or "
            f"infinity, {where}. Look for overflow or a division by zero in the model, or leave "
            f"those samples out."
        )

    def _rows(self, start: int, stop: int) -> Tensor:
        """A fresh float64 copy of these places, moved to the origin."""
        rows = self.features[start:stop] if self.in_order else self.features[self.order[start:stop]]
        rows = rows.to(torch.float64, copy=True)
        return rows if self.frame.origin is None else rows.sub_(self.frame.origin)

    def exact(self, samples: Tensor) -> Tensor:
        """Features of these samples from the frame, in float64.

        They are the same bits whichever samples are asked for together.
        """
        rows = self.features[samples].double()
        if self.frame.map is None:
            return self.frame(rows)
        padded = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % ROWS))
        # one shape of product has one order of sums
        return torch.cat([self.frame(part) for part in padded.split(ROWS)])[: len(rows)]


def centered(features: Tensor) -> Frame:
    """The frame centered on the features' own mean, a block at a time."""
    total = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
    for start in range(0, len(features), 4096):
        total += features[start : start + 4096].sum(0, dtype=torch.float64)
    return Frame("centered", origin=total / len(features))


def distances(inputs: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distance (P,) float64 between rows of inputs (N, …), a block of pairs at a time."""
    step = max(1, AT_ONCE // inputs[0].numel())
    parts = [
        torch.linalg.vector_norm((inputs[a].double() - inputs[b].double()).flatten(1), dim=1)
        for a, b in zip(first.split(step), second.split(step), strict=True)
    ]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64, device=inputs.device)
