"""Rapidities of twins by layer, reduced while the features stream by.

For each sample the three twins (clean, noise, adversarial) run in one forward pass, and two small products give all that THEORY
asks for at a layer: the 3×3 Gram matrix of each sample, and the inner products with the class means. The Gram matrix is taken of the
clean feature a, moved to the frame's origin, and the displacements d of the two twins from it, in blocks that stay in the
processor's cache. So close twins keep their accuracy: φ = asinh[(|a|² + a·d) / √(|a|²|d|² − (a·d)²)] subtracts nothing close.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import ShapeError
from worldline.geometry import Frame, FrameName, Moments
from worldline.trace.guard import Model
from worldline.trace.layers import Layer
from worldline.trace.stream import tracing

__all__ = ["COMPARISONS", "Reference", "TwinTrace", "trace_reference", "trace_twins"]

COMPARISONS = (
    "adversarial_clean",
    "noise_clean",
    "adversarial_true",
    "adversarial_wrong",
    "noise_true",
    "noise_wrong",
    "clean_true",
    "clean_wrong",
    "clean_rival",
)
"""Pairs whose rapidity is traced. ``true`` and ``wrong`` are class means: of the label, and of the class that the
adversarial twin scores highest beside the label; ``rival`` is the class that the clean input scores highest beside it."""

BLOCK = 2**18  # numbers in one twin's block: three of them, 3 MiB, stay in the cache while they are used
WIDEST_WHITENING = 4096
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Reference:
    """What a layer's reference data looks like.

    Attributes:
        frame: the frame fitted on it.
        means: (K, D) class means in that frame; NaN for a class without a sample.
        lengths: (K,) float64, |mean|.
    """

    frame: Frame
    means: Tensor
    lengths: Tensor


class _Local:
    """A reference in the dtype (at least float32) and on the device in which features of inputs x come."""

    def __init__(self, reference: Reference, x: Tensor) -> None:
        like = _at_least_float32(x[:0])
        self.map = None if reference.frame.map is None else reference.frame.map.to(like)
        self.classes = len(reference.means)
        means = reference.means.to(like)  # (K, D)
        self.rows = torch.nn.functional.pad(means, (0, 0, 0, -self.classes % 8))  # eights of rows multiply fastest
        origin, transform = reference.frame.origin, reference.frame.map
        seen_origin = torch.zeros(reference.means.shape[1], dtype=torch.float64) if origin is None else origin
        if transform is not None:
            seen_origin = seen_origin @ transform
        self.origin = None if origin is None else seen_origin.to(like)  # (D,), after the map
        self.origin_by_means = reference.means @ seen_origin  # (K,)


@dataclass(frozen=True)
class TwinTrace:
    """Rapidities by sample and layer, and what the model said.

    Attributes:
        layers: the L layers.
        rapidity: comparison (:data:`COMPARISONS`) → (N, L) float64, NaN where a vector has no direction.
        predictions: ``clean``, ``noise``, ``adversarial`` → (N,) predicted classes.
        wrong: (N,) the class that stands for ``wrong`` in the comparisons.
    """

    layers: tuple[Layer, ...]
    rapidity: dict[str, Tensor]
    predictions: dict[str, Tensor]
    wrong: Tensor


def trace_reference(
    model: Model,
    x: Tensor,
    y: Tensor,
    layers: Sequence[Layer],
    *,
    classes: int,
    frame: FrameName = "centered",
    batch_size: int = 256,
    tick: Tick = lambda _done: None,
) -> tuple[Reference, ...]:
    """Frame and class means of each layer, streamed.

    Args:
        model: the model.
        x, y: (N, …) inputs and (N,) labels that no attack has seen.
        layers: the layers to look at.
        classes: K.
        frame: see :mod:`worldline.geometry.frames`; ``whitened`` holds D² numbers a layer.
        batch_size: inputs in one pass.
        tick: called with the number of inputs done.

    Returns:
        One :class:`Reference` a layer. The mean of a class that has no sample is NaN.

    Cost: one forward pass; memory K·D float64 a layer.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(3, 2), torch.eye(3)
    >>> layers = wl.trace.find_layers(model, x)
    >>> wl.trace.trace_reference(model, x, torch.tensor([0, 0, 1]), layers, classes=2, frame="raw")[0].means
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    if frame == "whitened":
        wide = next((layer for layer in layers if layer.width > WIDEST_WHITENING), None)
        if wide is not None:
            raise ShapeError(
                f"The whitened frame needs a {wide.width}×{wide.width} matrix at layer {wide.name!r}, over the limit of "
                f"{WIDEST_WHITENING}. Use the centered frame, or choose narrower layers."
            )
    sums = [torch.zeros(classes, layer.width, dtype=torch.float64) for layer in layers]
    moments = [Moments(layer.width, scatter=True) for layer in layers] if frame == "whitened" else []
    counts = torch.zeros(classes, dtype=torch.float64)
    with tracing(model, layers) as run:
        for start in range(0, len(x), batch_size):
            labels = y[start : start + batch_size]
            counts += labels.bincount(minlength=classes).cpu()

            def add(position: int, features: Tensor, labels: Tensor = labels) -> None:
                features = _at_least_float32(features)
                total = features.new_zeros(classes, features.shape[1])
                sums[position] += total.index_add_(0, labels, features).cpu()
                if moments:
                    moments[position].update(features)

            run(x[start : start + batch_size], add)
            tick(min(start + batch_size, len(x)))
    return tuple(
        _reference(total, counts, frame, moments[position] if moments else None) for position, total in enumerate(sums)
    )


def _reference(total: Tensor, counts: Tensor, frame: FrameName, moments: Moments | None) -> Reference:
    if moments is None:
        moments = Moments(total.shape[1])
        moments.count, moments.mean = int(counts.sum()), total.sum(0) / counts.sum()
    fitted = moments.frame(frame)
    means = fitted(total / counts[:, None])
    return Reference(fitted, means, torch.linalg.vector_norm(means, dim=1))


def trace_twins(
    model: Model,
    clean: Tensor,
    noise: Tensor,
    adversarial: Tensor,
    y: Tensor,
    references: Sequence[Reference],
    layers: Sequence[Layer],
    *,
    wrong: Tensor | None = None,
    batch_size: int = 256,
    tick: Tick = lambda _done: None,
) -> TwinTrace:
    """Rapidity of every comparison at every layer, for every sample.

    Args:
        model: the model, which returns logits (N, K) first.
        clean, noise, adversarial: (N, …), the three twins of each sample.
        y: (N,) labels.
        references: of the same layers (:func:`trace_reference`).
        layers: the layers to look at.
        wrong: (N,) classes for the ``wrong`` comparisons; default: the adversarial twin's highest logit beside the label.
        batch_size: inputs in one pass (three twins a sample).
        tick: called with the number of samples done.

    Returns:
        A :class:`TwinTrace`.

    Accuracy, for float32 features: about 1e-6 relative for the twin comparisons, however close the twins; those with
    class means resolve |φ| up to about 8. Cost: one forward pass of the 3N inputs and two reads of each feature;
    memory over the bare pass is one block of about two megabytes, and 9 numbers a sample and layer.

    >>> import torch, worldline as wl
    >>> model, x, y = torch.nn.Linear(3, 2), torch.eye(3), torch.tensor([0, 0, 1])
    >>> layers = wl.trace.find_layers(model, x)
    >>> references = wl.trace.trace_reference(model, x, y, layers, classes=2)
    >>> traced = wl.trace.trace_twins(model, x, x, x + 0.1, y, references, layers)
    >>> traced.rapidity["adversarial_clean"].shape  # (samples, layers)
    torch.Size([3, 2])
    """
    size = len(clean)
    local = [_Local(reference, clean) for reference in references]
    lengths = torch.stack([reference.lengths for reference in references])  # (L, K)
    rapidity = {name: torch.empty(size, len(layers), dtype=torch.float64) for name in COMPARISONS}
    predictions = {name: torch.empty(size, dtype=torch.long) for name in ("clean", "noise", "adversarial")}
    used = torch.empty(size, dtype=torch.long)
    step = max(1, batch_size // 3)
    with tracing(model, layers) as run:
        for start in range(0, size, step):
            rows = slice(start, min(start + step, size))
            samples = rows.stop - rows.start
            gram = torch.empty(len(layers), samples, 3, 3, dtype=torch.float64)
            against = torch.empty(len(layers), samples, 3, lengths.shape[1], dtype=torch.float64)

            def reduce(position: int, features: Tensor, gram: Tensor = gram, against: Tensor = against) -> None:
                gram[position], against[position] = _products(features, local[position])

            logits = run(torch.cat((clean[rows], noise[rows], adversarial[rows])), reduce)
            scores = logits.cpu().view(3, -1, logits.shape[-1])
            labels = y[rows].cpu()
            for name, score in zip(("clean", "noise", "adversarial"), scores, strict=True):
                predictions[name][rows] = score.argmax(-1)
            used[rows] = _highest_beside(scores[2], labels) if wrong is None else wrong[rows].cpu()
            rival = _highest_beside(scores[0], labels)
            for name, value in _rapidities(gram, against, lengths, labels, used[rows], rival).items():
                rapidity[name][rows] = value.T
            tick(rows.stop)
    return TwinTrace(tuple(layers), rapidity, predictions, used)


def _products(features: Tensor, local: _Local) -> tuple[Tensor, Tensor]:
    """Gram matrices (b, 3, 3) of [clean − o, noise − clean, adversarial − clean]; products (b, 3, K) of the twins with the means."""
    features = _at_least_float32(features)
    if local.map is not None:
        features = features @ local.map
    width, classes = features.shape[1], local.classes
    twins = features.view(3, -1, width)
    gram = _gram_of_displacements(twins, local)
    against = (features @ local.rows.T)[:, :classes].cpu().double() - local.origin_by_means
    return gram.cpu().double(), against.view(3, -1, classes).transpose(0, 1)


def _gram_of_displacements(twins: Tensor, local: _Local) -> Tensor:
    _, samples, width = twins.shape
    gram = twins.new_empty(samples, 3, 3)
    block = min(samples, max(1, BLOCK // width))
    space = twins.new_empty(3, block, width)  # one for all blocks: fresh memory costs page faults
    for start in range(0, samples, block):
        part = twins[:, start : start + block]
        rows = space[:, : part.shape[1]]
        torch.sub(part[1:], part[0], out=rows[1:])
        if local.origin is None:
            rows[0].copy_(part[0])
        else:
            torch.sub(part[0], local.origin, out=rows[0])
        by_sample = rows.transpose(0, 1)  # (block, 3, D)
        gram[start : start + block] = torch.bmm(by_sample, by_sample.transpose(1, 2))
    if width == 1:  # a single coordinate knows only the sign: keep rounding from making an angle of it
        gram[:, 1:, 1:] = gram[:, :1, 1:].transpose(1, 2) @ gram[:, :1, 1:] / gram[:, :1, :1]
    return gram


def _rapidities(
    gram: Tensor, against: Tensor, mean_lengths: Tensor, true: Tensor, wrong: Tensor, rival: Tensor
) -> dict[str, Tensor]:
    """From (L, b, 3, 3), (L, b, 3, K) and (L, K): comparison → (L, b)."""
    clean = gram[..., 0, :1]  # |a|²
    along = gram[..., 0, 1:]  # a·d for noise, adversarial
    moved = gram.diagonal(dim1=-2, dim2=-1)[..., 1:]  # |d|²
    area = (clean * moved - along**2).clamp(min=0)
    to_clean = torch.asinh((clean + along) / area.sqrt())  # (L, b, 2)
    squared = torch.cat((clean, clean + 2 * along + moved), dim=-1).clamp(min=0)  # (L, b, 3) |twin|²
    lengths = squared.sqrt()[..., None] * mean_lengths[:, None, None]
    pick = torch.arange(gram.shape[1])

    def to_mean(twin: int, label: Tensor) -> Tensor:
        correlation = against[:, pick, twin, label] / lengths[:, pick, twin, label]
        return torch.atanh(correlation.clamp(-1, 1))

    return {
        "adversarial_clean": to_clean[..., 1],
        "noise_clean": to_clean[..., 0],
        "adversarial_true": to_mean(2, true),
        "adversarial_wrong": to_mean(2, wrong),
        "noise_true": to_mean(1, true),
        "noise_wrong": to_mean(1, wrong),
        "clean_true": to_mean(0, true),
        "clean_wrong": to_mean(0, wrong),
        "clean_rival": to_mean(0, rival),
    }


def _highest_beside(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.scatter(1, labels[:, None], -torch.inf).argmax(-1)


def _at_least_float32(features: Tensor) -> Tensor:
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
