"""Rapidities of given pairs of inputs by layer, streamed; and the frames they are seen from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import UndefinedPairWarning
from worldline.geometry import Frame, Moments, check_frame_name, rapidity
from worldline.settings import FrameName, Progress, silent
from worldline.trace.given import check_layers
from worldline.trace.layers import Layer
from worldline.trace.opening import Model
from worldline.trace.reference import check_whitening
from worldline.trace.stream import tracing
from worldline.trace.values import at_least_float32

__all__ = ["FrameFit", "fit_frames", "trace_pairs"]


def fit_frames(
    model: Model,
    x: Float[Tensor, "N ..."],
    layers: Sequence[Layer],
    name: FrameName = "centered",
    *,
    batch_size: int = 256,
    progress: Progress = silent,
) -> tuple[Frame, ...]:
    """The frame of each layer, fitted on these inputs.

    Args:
        model: the model.
        x: (N, …) inputs.
        layers: the layers to look at.
        name: see :mod:`worldline.geometry.frames`; ``whitened`` holds D² numbers a layer.
        batch_size: inputs in one pass.
        progress: is told of the inputs that are done, as ``frames``.

    Returns:
        One :class:`worldline.geometry.Frame` a layer, in float64, of the inputs whose features are
        finite there.

    Raises:
        UsageError: no such frame. ShapeError: a layer is too wide to whiten.

    Cost: one forward pass; memory D float64 a layer, D² more for ``whitened``.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Identity(), torch.eye(2)
    >>> wl.trace.fit_frames(model, x, wl.trace.find_layers(model, x))[0].origin
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    fit = FrameFit(layers, name)
    if name == "raw":
        return fit.frames()
    with tracing(model, layers) as run:
        for start in range(0, len(x), batch_size):
            run(x[start : start + batch_size], fit.add)
            progress("frames", min(start + batch_size, len(x)), len(x))
    return fit.frames()


class FrameFit:
    """Frames of layers, from features that stream by: of samples that are finite there.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Identity(), torch.eye(2)
    >>> fit = wl.trace.FrameFit(wl.trace.find_layers(model, x), "centered")
    >>> fit.add(0, x)
    >>> fit.frames()[0].origin
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def __init__(self, layers: Sequence[Layer], name: FrameName) -> None:
        check_frame_name(name)
        if name == "whitened":
            check_whitening(layers)
        self.name: FrameName = name
        self.moments = [Moments(layer.width, scatter=name == "whitened") for layer in layers]

    def add(self, position: int, features: Tensor) -> None:
        """Take in a batch at one layer (n, D)."""
        if self.name != "raw":
            self.moments[position].update(features[features.isfinite().all(1)])

    def frames(self) -> tuple[Frame, ...]:
        """One a layer."""
        if self.name == "raw":
            return tuple(Frame("raw") for _ in self.moments)
        return tuple(moment.frame(self.name) for moment in self.moments)


def trace_pairs(
    model: Model,
    x: Float[Tensor, "N ..."],
    first: Int[Tensor, " P"],
    second: Int[Tensor, " P"],
    frames: Sequence[Frame],
    layers: Sequence[Layer],
    *,
    batch_size: int = 256,
    progress: Progress = silent,
) -> Float[Tensor, "P L"]:
    """Rapidity of every pair at every layer: the worldlines of pairs of strangers.

    Args:
        model: the model.
        x: (N, …) inputs.
        first, second: (P,) rows of x.
        frames: of the same layers (:func:`fit_frames`).
        layers: the layers to look at.
        batch_size: inputs in one pass (two a pair).
        progress: is told of the pairs that are done, as ``pairs``.

    Returns:
        (P, L) float64 φ in nats: +∞ the same direction, −∞ the opposite one, 0 unrelated; NaN where
        a vector has no direction.

    Raises:
        ShapeError: not one frame a layer.

    Accuracy, for float32 features: 1e-6, |φ| up to about 8.
    Cost: one forward pass of 2P inputs, about ten reads of their features, memory of one batch.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.ReLU(), torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    >>> layers = wl.trace.find_layers(model, x)
    >>> frames = wl.trace.fit_frames(model, x, layers, "raw")
    >>> wl.trace.trace_pairs(model, x, torch.tensor([0]), torch.tensor([1]), frames, layers)
    tensor([[0.0000, 0.8814]], dtype=torch.float64)
    """
    check_layers(len(layers), len(frames), "frame")
    found = torch.full((len(first), len(layers)), torch.nan, dtype=torch.float64)
    step = max(1, batch_size // 2)
    with tracing(model, layers) as run, warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedPairWarning)
        for start in range(0, len(first), step):
            rows = slice(start, min(start + step, len(first)))

            def reduce(position: int, features: Tensor, rows: slice = rows) -> None:
                a, b = frames[position](at_least_float32(features)).chunk(2)
                found[rows, position] = rapidity(a, b).cpu().double()

            run(torch.cat((x[first[rows]], x[second[rows]])), reduce)
            progress("pairs", rows.stop, len(first))
    return found
