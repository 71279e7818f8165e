"""One network, ready to be searched at one layer: features, frames, predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import ModelError, ShapeError
from worldline.geometry import Frame
from worldline.settings import Settings
from worldline.trace import Layer, Model, fit_frames, logits_in, trace_pairs, tracing

__all__ = ["Network", "Reader"]


@dataclass(frozen=True)
class Network:
    """A model with its features (N, D) at the searched layer.

    Attributes:
        model: the model.
        features: (N, D); the reader's store, so only until the next network is read.
        frames: of all layers.
        frame: of the searched layer.
        predictions: (N,); −1 where the output is NaN.
        dead, constant: features that are zero, or another constant, for all samples.
    """

    model: Model
    features: Tensor
    frames: tuple[Frame, ...]
    frame: Frame
    predictions: Tensor
    dead: int
    constant: int


@dataclass(frozen=True)
class Reader:
    """How networks of one shape are read.

    Attributes:
        x: the inputs, and ``rows`` what each is called.
        reference: that frames are fitted on.
        layers, index: all layers, and which of them is searched.
        store: (N, D) where its features are kept.
        settings: frame, batch size, progress.
    """

    x: Tensor
    rows: Tensor
    reference: Tensor
    layers: tuple[Layer, ...]
    index: int
    store: Tensor
    settings: Settings

    def __post_init__(self) -> None:
        """Refuse a store of another shape."""
        shape = len(self.x), self.layers[self.index].width
        if tuple(self.store.shape) != shape or not self.store.is_floating_point():
            raise ShapeError(
                f"The store must be a floating tensor {shape} for layer "
                f"{self.layers[self.index].name!r}; got {tuple(self.store.shape)} "
                f"{self.store.dtype}."
            )

    def read(self, model: Model, stage: str) -> Network:
        """Fit the frames, then fill the store."""
        size, progress = len(self.x), self.settings.progress
        frames = fit_frames(
            model,
            self.reference,
            self.layers,
            self.settings.frame,
            batch_size=self.settings.batch_size,
            progress=lambda part, *at: progress(f"{stage}, {part}", *at),
        )
        predictions = torch.empty(size, dtype=torch.long)
        low = torch.full((self.store.shape[1],), torch.inf)
        high = -low
        finite = torch.ones(size, dtype=torch.bool)
        with tracing(model, self.layers[self.index : self.index + 1]) as run:
            for start in range(0, size, self.settings.batch_size):
                rows = slice(start, min(start + self.settings.batch_size, size))

                def keep(_position: int, features: Tensor, rows: slice = rows) -> None:
                    self.store[rows] = features
                    seen = features.float().cpu()
                    torch.minimum(low, seen.amin(0), out=low)
                    torch.maximum(high, seen.amax(0), out=high)
                    finite[rows] = seen.isfinite().all(1)

                logits = logits_in(run(self.x[rows], keep), rows.stop - rows.start).cpu()
                undefined = logits.isnan().any(-1)
                predictions[rows] = logits.argmax(-1).masked_fill(undefined, -1)
                progress(f"{stage}, features", rows.stop, size)
        self._check(low, high, finite)
        still = low == high
        dead = int((still & (low == 0)).sum())
        constant = int(still.sum()) - dead
        frame = frames[self.index]
        return Network(model, self.store, frames, frame, predictions, dead, constant)

    def _check(self, low: Tensor, high: Tensor, finite: Tensor) -> None:
        """Refuse a layer at which no search is possible."""
        name, size = self.layers[self.index].name, len(self.x)
        if not bool(finite.all()):
            raise ModelError(
                f"Layer {name!r} returned NaN or infinity for {int((~finite).sum())} of {size} "
                f"samples, first sample {int(self.rows[~finite][0])}. Look for overflow or a "
                f"division by zero before it, or leave those samples out."
            )
        if bool((low == high).all()):
            raise ModelError(
                f"Layer {name!r} returned the same {len(low)} features for all {size} samples: no "
                f"two can be told apart there, and no pair has a direction. Search an earlier "
                f"layer."
            )

    def lines(self, network: Network, first: Tensor, second: Tensor, stage: str) -> Tensor:
        """(P, L) rapidities of these pairs through the network."""
        return trace_pairs(
            network.model,
            self.x,
            first,
            second,
            network.frames,
            self.layers,
            batch_size=self.settings.batch_size,
            progress=lambda _part, *at: self.settings.progress(stage, *at),
        )
