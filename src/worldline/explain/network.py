"""One network, ready to be searched at one layer: features, frames, predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import ModelError, ShapeError
from worldline.geometry import Frame, FrameName
from worldline.trace import Layer, Model, fit_frames, logits_in, trace_pairs, tracing

__all__ = ["Network", "Reader"]

Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Network:
    """A model with its features (N, D) at the searched layer.

    Attributes:
        model: the model.
        features: (N, D); the reader's store, so only until the next network is read.
        frames: of all layers.
        frame: of the searched layer.
        predictions: (N,).
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
    """How networks of one shape are read: inputs, layers, the searched one, the frame and where
    features are kept.
    """

    x: Tensor
    reference: Tensor
    layers: tuple[Layer, ...]
    index: int
    frame: FrameName
    store: Tensor
    batch_size: int
    tick: Tick

    @classmethod
    def of(
        cls,
        x: Tensor,
        reference: Tensor,
        layers: tuple[Layer, ...],
        index: int,
        frame: FrameName,
        store: Tensor | None,
        batch_size: int,
        tick: Tick,
    ) -> Reader:
        """With a store of the right shape."""
        shape = len(x), layers[index].width
        if store is None:
            store = torch.empty(shape)
        if tuple(store.shape) != shape or not store.is_floating_point():
            raise ShapeError(
                f"The store must be a floating tensor {shape} for layer {layers[index].name!r}; "
                f"got {tuple(store.shape)} {store.dtype}."
            )
        return cls(x, reference, layers, index, frame, store, batch_size, tick)

    def read(self, model: Model, stage: str) -> Network:
        """Fit the frames, then fill the store."""
        frames = fit_frames(
            model,
            self.reference,
            self.layers,
            self.frame,
            batch_size=self.batch_size,
            progress=lambda part, *at: self.tick(f"{stage}, {part}", *at),
        )
        predictions = torch.empty(len(self.x), dtype=torch.long)
        low = torch.full((self.store.shape[1],), torch.inf)
        high = -low
        bad: list[int] = []
        with tracing(model, self.layers[self.index : self.index + 1]) as run:
            for start in range(0, len(self.x), self.batch_size):
                rows = slice(start, min(start + self.batch_size, len(self.x)))

                def keep(_position: int, features: Tensor, rows: slice = rows) -> None:
                    self.store[rows] = features
                    seen = features.float().cpu()
                    torch.minimum(low, seen.amin(0), out=low)
                    torch.maximum(high, seen.amax(0), out=high)
                    bad.extend(
                        (rows.start + (~seen.isfinite().all(1)).nonzero().flatten()).tolist()
                    )

                predictions[rows] = (
                    logits_in(run(self.x[rows], keep), rows.stop - rows.start).argmax(-1).cpu()
                )
                self.tick(f"{stage}, features", rows.stop, len(self.x))
        name = self.layers[self.index].name
        if bad:
            raise ModelError(
                f"Layer {name!r} returned NaN or infinity for {len(bad)} of {len(self.x)} "
                f"samples, first sample {bad[0]}. Look for "
                "overflow or a division by zero before it, or leave those samples out."
            )
        still = low == high
        if bool(still.all()):
            raise ModelError(
                f"Layer {name!r} returned the same {len(low)} features for all {len(self.x)} "
                f"samples: no two can be told apart there, "
                "and no pair has a direction. Search an earlier layer."
            )
        dead = int((still & (low == 0)).sum())
        return Network(
            model,
            self.store,
            frames,
            frames[self.index],
            predictions,
            dead,
            int(still.sum()) - dead,
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
            batch_size=self.batch_size,
            progress=lambda _part, *at: self.tick(stage, *at),
        )
