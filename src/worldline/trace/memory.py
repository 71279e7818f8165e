"""How to stay within memory: how many inputs in one pass, and how many numbers for a class mean."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from worldline.errors import UsageError
from worldline.settings import FrameName
from worldline.trace.layers import Layer
from worldline.trace.opening import Model, modules_behind
from worldline.trace.probing import PROBES, few
from worldline.trace.stream import tracing
from worldline.trace.values import tensors_in

__all__ = ["Plan", "bytes_a_sample", "fitting", "model_bytes", "plan_memory"]

WIDTHS = [2**power for power in range(8, 17)]  # numbers for a projected class mean
USUAL = 24  # inputs in one pass that are worth more than wider projections
KEPT, PASSING = 1.2, 4.0
"""How much more is held than is asked of the allocator, for what stays and for what a pass needs:
libraries work in buffers of their own, and freed memory is in pieces. Measured on a ResNet-50
(benchmarks/memory.py).
"""


@dataclass(frozen=True)
class Plan:
    """How a trace is done.

    Attributes:
        batch_size: inputs in one pass.
        project_to: class means of wider layers are projected to so many numbers; None: all are
            exact.
        bytes_an_input: what one input takes at the peak of a pass, as far as torch's allocator
            knows.
        bytes_kept: what origins and class means take all the while, and a copy of the model's
            parameters and buffers.
    """

    batch_size: int
    project_to: int | None
    bytes_an_input: int
    bytes_kept: int


def plan_memory(
    model: Model,
    x: Tensor,
    layers: Sequence[Layer],
    *,
    classes: int,
    memory: int | None,
    frame: FrameName = "centered",
    batch_size: int = 256,
    copies: int = 1,
) -> Plan:
    """A plan that keeps a trace of twins within so much memory over the model and its data.

    Class means are exact where they fit in half of it, or beside a pass of 24 inputs; else
    projected to the largest power of two, from 256 to 65,536, that does. What is left decides how
    many inputs go in one pass: at most ``batch_size``, and a multiple of three.

    Args:
        model: the model.
        x: (N, …) a few inputs.
        layers: the layers to look at.
        classes: K.
        memory: bytes; None: no limit.
        frame: the frame they are seen from.
        batch_size: at most so many inputs.
        copies: of the parameters and buffers that are held meanwhile (one by :func:`untouched`).

    Raises:
        UsageError: not even the origins and one sample's three twins fit; the message says what
            would.

    Cost: two passes of two and three inputs.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(1000, 10), torch.rand(4, 1000)
    >>> layers = wl.trace.find_layers(model, x)
    >>> wl.trace.plan_memory(model, x, layers, classes=10, memory=2_000_000).project_to is None
    True
    """
    if memory is None:
        return Plan(batch_size, None, 0, 0)
    an_input = _bytes_an_input(model, x, layers)
    held = copies * model_bytes(model)
    widths = [layer.width for layer in layers]

    def kept(project_to: int | None) -> int:
        return int(KEPT * (held + _kept(widths, classes, frame, project_to)))

    room = max(memory // 2, memory - int(PASSING * an_input * min(batch_size, USUAL)))
    project_to = None
    if kept(None) > room and frame != "whitened":
        project_to = max((width for width in WIDTHS if kept(width) <= room), default=WIDTHS[0])
    inputs = int((memory - kept(project_to)) / (PASSING * max(1, an_input))) // 3 * 3
    if inputs < 3:
        least = kept(project_to) + int(3 * PASSING * an_input)
        raise UsageError(
            f"{memory:,} bytes of memory are too few: the origins, the class means, a copy of the "
            f"parameters and one sample's three twins take {least:,}. Allow more, or choose fewer "
            "layers."
        )
    return Plan(max(1, min(batch_size, inputs)), project_to, an_input, kept(project_to))


def _kept(widths: Sequence[int], classes: int, frame: FrameName, project_to: int | None) -> int:
    """Bytes of origins and class means, and of the maps of the whitened frame.

    They are float64, and float32 for use unless projected.
    """
    means = sum(12 * classes * min(width, project_to or width) for width in widths)
    origins = sum((8 if width > (project_to or width) else 12) * width for width in widths)
    maps = sum(28 * width**2 for width in widths) if frame == "whitened" else 0
    return (
        means
        + (origins if frame != "raw" else 0)
        + maps
        + (4 * max(widths, default=0) if project_to else 0)
    )


def _bytes_an_input(model: Model, x: Tensor, layers: Sequence[Layer]) -> int:
    """What one more input adds to the peak of a pass."""

    def read(_position: int, features: Tensor) -> None:
        torch.zeros_like(features)  # as the reduction holds it once more for a moment

    with tracing(model, layers) as run:
        return bytes_a_sample(lambda samples: run(few(x, samples), read))


def bytes_a_sample(run: Callable[[int], object]) -> int:
    """What one more sample adds to the peak of tensors alive, of two runs of a few."""
    peaks: list[int] = []
    for samples in PROBES:
        with _Live() as live:
            run(samples)
        peaks.append(live.peak)
    return (peaks[1] - peaks[0]) // (PROBES[1] - PROBES[0])


def fitting(memory: int, *, kept: int, a_sample: int, what: str) -> int:
    """How many samples at a time keep within so much memory, what is kept all the while beside.

    Raises:
        UsageError: not even one does; the message says what would.
    """
    held, passing = int(KEPT * kept), max(1, int(PASSING * a_sample))
    if memory < held + passing:
        raise UsageError(
            f"{memory:,} bytes of memory are too few: {what} take {held + passing:,}. Allow more, "
            "or choose fewer layers."
        )
    return (memory - held) // passing


def model_bytes(model: Model) -> int:
    """Of the model's parameters and buffers."""
    return sum(
        value.numel() * value.element_size()
        for module in modules_behind(model)
        for value in (*module.parameters(), *module.buffers())
    )


class _Live(TorchDispatchMode):
    """The most bytes of tensors that were alive at a time, of those that were made inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {tensor.untyped_storage()._cdata for _, tensor in tensors_in((args, kwargs))}
        output = func(*args, **(kwargs or {}))
        for _, tensor in tensors_in(output):
            storage = tensor.untyped_storage()
            # a view of a parameter was not made inside
            if storage._cdata not in self.known | given:
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return output

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
