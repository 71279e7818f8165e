"""Rapidities of twins by layer, reduced while the features stream by.

For each sample the three twins (clean, noise, adversarial) run in one forward pass, and two small
products give all that is asked for at a layer: the 3×3 Gram matrix of each sample, and the inner
products with the class means. The Gram matrix is taken of the clean feature a, moved to the frame's
origin, and the displacements d of the two twins from it, in blocks that stay in the processor's
cache. So close twins keep their accuracy: φ = asinh[(|a|² + a·d) / √(|a|²|d|² − (a·d)²)] subtracts
nothing close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from worldline.settings import Progress, silent
from worldline.trace.given import check_layers, check_twins, labels_of
from worldline.trace.layers import Layer
from worldline.trace.opening import Model
from worldline.trace.reference import Reference
from worldline.trace.stream import tracing
from worldline.trace.values import Answers, at_least_float32, logits_in

__all__ = ["COMPARISONS", "Comparison", "TwinTrace", "trace_twins"]

Comparison = Literal[
    "adversarial_clean",
    "noise_clean",
    "adversarial_true",
    "adversarial_wrong",
    "noise_true",
    "noise_wrong",
    "clean_true",
    "clean_wrong",
    "clean_rival",
]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
"""Pairs whose rapidity is traced. ``true`` and ``wrong`` are class means: of the label, and of the
class that the adversarial twin scores highest beside the label; ``rival`` is the class that the
clean input scores highest beside it.
"""

TWINS = "clean", "noise", "adversarial"
BLOCK = 2**18  # numbers in one twin's block: three of them, 3 MiB, stay in the cache in use


class _Local:
    """A reference in the dtype (at least float32) and on the device of a layer's features."""

    def __init__(self, reference: Reference, like: Tensor) -> None:
        self.like = like.dtype, like.device
        frame, self.sketch = reference.frame, reference.sketch
        self.map = None if frame.map is None else frame.map.to(like)
        self.classes = len(reference.means)
        means = reference.means.to(like)  # (K, D), or (K, m)
        # eights of rows multiply fastest
        self.rows = torch.nn.functional.pad(means, (0, 0, 0, -self.classes % 8))
        self.origin: Tensor | None = None  # (D,), after the map
        self.projected_origin: Tensor | None = None  # (1, m)
        self.origin_by_means = torch.zeros(self.classes, dtype=torch.float64)
        if frame.origin is not None:
            seen = frame.origin if frame.map is None else frame.origin @ frame.map
            # memory is short where there is a sketch
            self.origin = seen.to(like) if self.sketch is None else seen
            if self.sketch is None:
                self.origin_by_means = reference.means @ seen  # (K,)
            else:
                self.projected_origin = self.sketch(seen[None]).to(like)

    def against(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Products (n, K) of rows with the class means, both moved to the origin.

        With a sketch also the rows' lengths (n,).
        """
        if self.sketch is None:
            return self._products(features) - self.origin_by_means, None
        rows = self.sketch(features)
        if self.projected_origin is not None:
            rows -= self.projected_origin
        return self._products(rows), torch.linalg.vector_norm(rows, dim=1).cpu().double()

    def _products(self, rows: Tensor) -> Tensor:
        return (rows @ self.rows.T)[:, : self.classes].cpu().double()


@dataclass(frozen=True)
class TwinTrace:
    """Rapidities by sample and layer, and what the model said.

    Attributes:
        layers: the L layers.
        rapidity: comparison (:data:`COMPARISONS`) → (N, L) float64, NaN where a vector has no
            direction.
        answers: ``clean``, ``noise``, ``adversarial`` → what the model said of each.
        wrong: (N,) the class that stands for ``wrong`` in the comparisons.
        projected_to: by layer, to how many numbers m the class means were projected, which gives
            rapidities with them a standard error of at most 1/√m; None where they are exact.
    """

    layers: tuple[Layer, ...]
    rapidity: dict[Comparison, Tensor]
    answers: dict[str, Answers]
    wrong: Tensor
    projected_to: tuple[int | None, ...]

    @property
    def predictions(self) -> dict[str, Tensor]:
        """``clean``, ``noise``, ``adversarial`` → (N,) classes; −1 where the output holds NaN."""
        return {twin: said.choices for twin, said in self.answers.items()}


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
    progress: Progress = silent,
) -> TwinTrace:
    """Rapidity of every comparison at every layer, for every sample.

    Args:
        model: the model, which returns logits (N, K) first.
        clean, noise, adversarial: (N, …), the three twins of each sample.
        y: (N,) labels.
        references: of the same layers (:func:`trace_reference`).
        layers: the layers to look at.
        wrong: (N,) classes for the ``wrong`` comparisons; default: the adversarial twin's highest
            logit beside the label.
        batch_size: inputs in one pass (three twins a sample).
        progress: is told of the samples that are done, as ``twins``.

    Returns:
        A :class:`TwinTrace`.

    Raises:
        ShapeError, BoundsError, LabelError: twins, labels or references that do not fit, before any
        work.

    Accuracy, for float32 features: about 1e-6 relative for the twin comparisons, however close the
    twins; those with class means resolve |φ| up to about 8.
    Cost: one forward pass of the 3N inputs and two reads of each feature; memory over the bare pass
    is one block of about two megabytes, and 9 numbers a sample and layer.

    >>> import torch, worldline as wl
    >>> model, x, y = torch.nn.Linear(3, 2), torch.eye(3), torch.tensor([0, 0, 1])
    >>> layers = wl.trace.find_layers(model, x)
    >>> references = wl.trace.trace_reference(model, x, y, layers, classes=2)
    >>> traced = wl.trace.trace_twins(model, x, x, x + 0.1, y, references, layers)
    >>> traced.rapidity["adversarial_clean"].shape  # (samples, layers)
    torch.Size([3, 2])
    """
    size = len(clean)
    check_twins(clean, noise=noise, adversarial=adversarial)
    check_layers(len(layers), len(references), "reference")
    classes = len(references[0].means) if references else None
    y = labels_of(y, size, classes=classes)
    wrong = wrong if wrong is None else labels_of(wrong, size, classes=classes)
    local: list[_Local | None] = [None for _ in references]
    lengths = torch.stack([reference.lengths for reference in references])  # (L, K)
    rapidity: dict[Comparison, Tensor] = {
        name: torch.empty(size, len(layers), dtype=torch.float64) for name in COMPARISONS
    }
    said: dict[str, list[Answers]] = {name: [] for name in TWINS}
    used = torch.empty(size, dtype=torch.long)
    step = max(1, batch_size // 3)
    with tracing(model, layers) as run:
        for start in range(0, size, step):
            rows = slice(start, min(start + step, size))
            samples = rows.stop - rows.start
            gram = torch.empty(len(layers), samples, 3, 3, dtype=torch.float64)
            against = torch.empty(len(layers), samples, 3, lengths.shape[1], dtype=torch.float64)

            def reduce(
                position: int, features: Tensor, gram: Tensor = gram, against: Tensor = against
            ) -> None:
                features = at_least_float32(features)
                here = local[position]
                if here is None or here.like != (features.dtype, features.device):
                    here = local[position] = _Local(references[position], features[:0])
                gram[position], against[position] = _products(features, here, lengths[position])

            output = run(torch.cat((clean[rows], noise[rows], adversarial[rows])), reduce)
            logits = logits_in(output, 3 * samples)
            scores = logits.cpu().view(3, -1, logits.shape[-1])
            labels = y[rows].cpu()
            for name, score in zip(TWINS, scores, strict=True):
                said[name].append(Answers.of(score))
            used[rows] = _highest_beside(scores[2], labels) if wrong is None else wrong[rows].cpu()
            rival = _highest_beside(scores[0], labels)
            for name, value in _rapidities(gram, against, labels, used[rows], rival).items():
                rapidity[name][rows] = value.T
            progress("twins", rows.stop, size)
    projected_to = tuple(
        reference.sketch.width if reference.sketch else None for reference in references
    )
    answers = {name: Answers.joined(parts) for name, parts in said.items()}
    return TwinTrace(tuple(layers), rapidity, answers, used, projected_to)


def _products(features: Tensor, local: _Local, mean_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Gram matrices (b, 3, 3) and correlations (b, 3, K) of the twins with the means.

    The Gram matrices are of [clean − o, noise − clean, adversarial − clean].
    """
    if local.map is not None:
        features = features @ local.map
    twins = features.view(3, -1, features.shape[1])
    origin = None if local.origin is None else local.origin.to(features)
    gram = _gram_of_displacements(twins, origin).cpu().double()
    products, lengths = local.against(features)
    if lengths is None:
        along, moved = gram[:, 0, 1:], gram.diagonal(dim1=1, dim2=2)[:, 1:]
        clean = gram[:, 0, :1]
        squared = torch.cat((clean, clean + 2 * along + moved), dim=1)  # (b, 3) |twin|²
        lengths = squared.clamp(min=0).sqrt().T.flatten()
    correlations = products / (lengths[:, None] * mean_lengths)
    return gram, correlations.view(3, -1, local.classes).transpose(0, 1)


def _gram_of_displacements(twins: Tensor, origin: Tensor | None) -> Tensor:
    _, samples, width = twins.shape
    gram = twins.new_empty(samples, 3, 3)
    block = min(samples, max(1, BLOCK // width))
    space = twins.new_empty(3, block, width)  # one for all blocks: fresh memory costs page faults
    for start in range(0, samples, block):
        part = twins[:, start : start + block]
        rows = space[:, : part.shape[1]]
        torch.sub(part[1:], part[0], out=rows[1:])
        torch.sub(part[0], 0 if origin is None else origin, out=rows[0])
        by_sample = rows.transpose(0, 1)  # (block, 3, D)
        gram[start : start + block] = torch.bmm(by_sample, by_sample.transpose(1, 2))
    if width == 1:  # one coordinate knows only the sign: keep rounding from making an angle of it
        gram[:, 1:, 1:] = gram[:, :1, 1:].transpose(1, 2) @ gram[:, :1, 1:] / gram[:, :1, :1]
    return gram


def _rapidities(
    gram: Tensor, correlations: Tensor, true: Tensor, wrong: Tensor, rival: Tensor
) -> dict[Comparison, Tensor]:
    """From (L, b, 3, 3) and (L, b, 3, K): comparison → (L, b)."""
    clean = gram[..., 0, :1]  # |a|²
    along = gram[..., 0, 1:]  # a·d for noise, adversarial
    moved = gram.diagonal(dim1=-2, dim2=-1)[..., 1:]  # |d|²
    area = (clean * moved - along**2).clamp(min=0)
    to_clean = torch.asinh((clean + along) / area.sqrt())  # (L, b, 2)
    pick = torch.arange(gram.shape[1])

    def to_mean(twin: int, label: Tensor) -> Tensor:
        return torch.atanh(correlations[:, pick, twin, label].clamp(-1, 1))

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
