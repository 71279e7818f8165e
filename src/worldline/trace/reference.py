"""What data that no attack saw looks like at each layer: a frame and the class means, streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import ShapeError
from worldline.geometry import Frame, Moments, check_frame_name
from worldline.settings import DEFAULT, FrameName, Settings
from worldline.trace.given import labels_of
from worldline.trace.layers import Layer
from worldline.trace.opening import Model
from worldline.trace.sketch import Sketch
from worldline.trace.stream import tracing
from worldline.trace.values import at_least_float32

__all__ = ["WIDEST_WHITENING", "Reference", "check_whitening", "trace_reference"]

WIDEST_WHITENING = 4096


@dataclass(frozen=True)
class Reference:
    """What a layer's reference data looks like.

    Attributes:
        frame: the frame fitted on it.
        means: (K, D) class means in that frame; NaN for a class without a sample. Projected to (K,
            m) where there is a sketch.
        lengths: (K,) float64, |mean|.
        sketch: the projection that the means went through; None where they are exact.
        left_out: reference samples whose features hold NaN or infinity here: they count nowhere.
    """

    frame: Frame
    means: Tensor
    lengths: Tensor
    sketch: Sketch | None = None
    left_out: int = 0


def trace_reference(
    model: Model,
    x: Tensor,
    y: Tensor,
    layers: Sequence[Layer],
    *,
    classes: int,
    project_to: int | None = None,
    settings: Settings = DEFAULT,
) -> tuple[Reference, ...]:
    """Frame and class means of each layer, streamed.

    Args:
        model: the model.
        x, y: (N, …) inputs and (N,) labels that no attack has seen.
        layers: the layers to look at.
        classes: K.
        project_to: class means of wider layers go through a random projection to so many numbers
            (:class:`worldline.trace.Sketch`); the origin stays exact. Default: all are exact. Not
            with ``whitened``.
        settings: frame (``whitened`` holds D² numbers a layer), batch size, seed of the projection,
            progress.

    Returns:
        One :class:`Reference` a layer. The mean of a class that has no sample is NaN; samples whose
        features are not finite are left out and counted.

    Raises:
        LabelError: labels that are not one class in 0…K−1 for each input. UsageError: no such
        frame. ShapeError: a layer is too wide to whiten.

    Cost: one forward pass; memory K·D float64 a layer, or D + K·m where it is projected.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(3, 2), torch.eye(3)
    >>> layers = wl.trace.find_layers(model, x)
    >>> y, raw = torch.tensor([0, 0, 1]), wl.Settings(frame="raw")
    >>> wl.trace.trace_reference(model, x, y, layers, classes=2, settings=raw)[0].means
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    y = labels_of(y, len(x), classes=classes)
    check_frame_name(settings.frame)
    if settings.frame == "whitened":
        check_whitening(layers)
        project_to = None
    sketches = _sketches(layers, project_to, settings.seed)
    batch_size = settings.batch_size
    sums = [
        _Sums(layer.width, classes, settings.frame, sketch)
        for layer, sketch in zip(layers, sketches, strict=True)
    ]
    with tracing(model, layers) as run:
        for start in range(0, len(x), batch_size):
            labels = y[start : start + batch_size]
            present, place = labels.unique(return_inverse=True)

            def add(
                position: int, features: Tensor, present: Tensor = present, place: Tensor = place
            ) -> None:
                sums[position].add(at_least_float32(features), present.cpu(), place)

            run(x[start : start + batch_size], add)
            settings.progress("reference", min(start + batch_size, len(x)), len(x))
    return tuple(sums.pop(0).reference() for _ in layers)


def check_whitening(layers: Sequence[Layer]) -> None:
    """Refuse layers that are too wide to whiten, whose D×D matrix would not fit.

    >>> import torch, worldline as wl
    >>> wl.trace.check_whitening(wl.trace.find_layers(torch.nn.Linear(3, 2), torch.eye(3)))
    """
    for layer in layers:
        if layer.width > WIDEST_WHITENING:
            raise ShapeError(
                f"The whitened frame needs a {layer.width}×{layer.width} matrix at layer "
                f"{layer.name!r}, over the limit of "
                f"{WIDEST_WHITENING}. Use the centered frame, or choose narrower layers."
            )


def _sketches(layers: Sequence[Layer], project_to: int | None, seed: int) -> list[Sketch | None]:
    """One for each layer that is wider; they share their signs, and each has its own shifts."""
    wide = [layer.width for layer in layers if project_to is not None and layer.width > project_to]
    if project_to is None or not wide:
        return [None for _ in layers]
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (max(wide),), generator=generator).float() * 2 - 1
    return [
        Sketch.draw(layer.width, project_to, generator, signs=signs)
        if layer.width > project_to
        else None
        for layer in layers
    ]


class _Sums:
    """Sums of one layer's features by class; of all where the frame needs them beside a sketch."""

    def __init__(self, width: int, classes: int, frame: FrameName, sketch: Sketch | None) -> None:
        self.frame, self.sketch = frame, sketch
        self.by_class = torch.zeros(classes, sketch.width if sketch else width, dtype=torch.float64)
        self.total = torch.zeros(width, dtype=torch.float64) if sketch and frame != "raw" else None
        self.moments = Moments(width, scatter=True) if frame == "whitened" else None
        self.counts = torch.zeros(classes, dtype=torch.float64)
        self.left_out = 0

    def add(self, features: Tensor, present: Tensor, place: Tensor) -> None:
        """Take in a batch; ``place`` says which of the ``present`` classes each sample is of."""
        batch = self._batch(features, present, place)
        if not bool(batch.isfinite().all()):  # sums are fewer than the numbers behind them
            known = features.isfinite().all(1)
            self.left_out += int((~known).sum())
            features, place = features[known], place[known]
            batch = self._batch(features, present, place)
        self.counts[present] += place.bincount(minlength=len(present)).cpu()
        if self.moments is not None:
            self.moments.update(features)
        if self.total is not None:
            self.total += features.sum(0).cpu()
        self.by_class[present] += batch.cpu()

    def _batch(self, features: Tensor, present: Tensor, place: Tensor) -> Tensor:
        if self.sketch is not None:
            features = self.sketch(features)
        return features.new_zeros(len(present), features.shape[1]).index_add_(0, place, features)

    def reference(self) -> Reference:
        """What they amount to; all NaN where no sample could be counted."""
        fitted = self._frame(int(self.counts.sum()))
        means = self.by_class.div_(self.counts[:, None])
        if self.sketch is None:
            means = fitted(means)
        elif fitted.origin is not None:
            means -= self.sketch(fitted.origin[None])
        lengths = torch.linalg.vector_norm(means, dim=1)
        return Reference(fitted, means, lengths, self.sketch, self.left_out)

    def _frame(self, count: int) -> Frame:
        if not count:
            width = self.by_class.shape[1] if self.total is None else len(self.total)
            return Frame(self.frame, origin=torch.full((width,), torch.nan, dtype=torch.float64))
        if self.moments is not None:
            return self.moments.frame(self.frame)
        total = self.by_class.sum(0) if self.total is None else self.total
        moments = Moments(len(total))
        moments.count, moments.mean = count, total / count
        return moments.frame(self.frame)
