"""What distances mean at a layer, and at the input: their distribution over reference data."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import LabelError, ShapeError, UndefinedPairWarning
from worldline.geometry import Frame, rapidity
from worldline.inputs import check_inputs, labels_of
from worldline.settings import Settings
from worldline.trace import Layer, Model, fit_frames, tracing

__all__ = ["Scale", "measure_scale", "nearest", "quiet_rapidity", "share_below"]

PAIRS = 2000


@dataclass(frozen=True)
class Scale:
    """Distances in reference data, for comparison.

    Attributes:
        frame: fitted on the reference at the layer.
        same_class: (S,) sorted distances at the layer, in the frame, of random pairs of one class.
        random: (S,) sorted, of random pairs of any classes.
        random_rapidity: sorted φ of those that have one.
        random_input: (S,) sorted Euclidean input distances of random pairs.
        usual_nearest: median Euclidean input distance of a reference input to its nearest neighbour
            among the others.
    """

    frame: Frame
    same_class: Tensor
    random: Tensor
    random_rapidity: Tensor
    random_input: Tensor
    usual_nearest: float


def measure_scale(
    model: Model, layer: Layer, reference: tuple[Tensor, Tensor], *, settings: Settings
) -> Scale:
    """Measure it on reference inputs and labels; a few thousand of them are enough."""
    x, y = reference
    check_inputs(x, settings.bounds)
    y = labels_of(y, len(x))
    generator = torch.Generator().manual_seed(settings.seed)
    batch_size = settings.batch_size
    fitted = fit_frames(model, x, (layer,), settings.frame, batch_size=batch_size)[0]
    first, second = _pairs(y.cpu(), generator)
    ours, theirs = torch.randint(len(x), (2, PAIRS), generator=generator)
    theirs = torch.where(ours == theirs, (theirs + 1) % len(x), theirs)
    used = torch.cat((first, second, ours, theirs)).unique()
    parts: list[Tensor] = []
    with tracing(model, (layer,)) as run:
        for rows in used.split(batch_size):
            run(x[rows], lambda _position, features: parts.append(fitted(features.double()).cpu()))
    features, place = torch.cat(parts), torch.zeros(len(x), dtype=torch.long)
    place[used] = torch.arange(len(used))

    def apart(a: Tensor, b: Tensor) -> Tensor:
        far: Tensor = torch.linalg.vector_norm(features[place[a]] - features[place[b]], dim=1)
        return far.sort().values

    value = quiet_rapidity(features[place[ours]], features[place[theirs]])
    at_input = torch.linalg.vector_norm((x[ours] - x[theirs]).double().flatten(1), dim=1)
    return Scale(
        frame=fitted,
        same_class=apart(first, second),
        random=apart(ours, theirs),
        random_rapidity=value[~value.isnan()].sort().values,
        random_input=at_input.cpu().sort().values,
        usual_nearest=float(nearest(x[used[:PAIRS]], x, itself=used[:PAIRS]).median()),
    )


def nearest(x: Tensor, data: Tensor, *, itself: Tensor | None = None) -> Tensor:
    """(N,) float64 Euclidean distance to the nearest row of the data but ``itself`` (N,)."""
    parts = []
    flat, exactly = data.flatten(1).double(), "donot_use_mm_for_euclid_dist"
    for start in range(0, len(x), 256):
        rows = x[start : start + 256].flatten(1).double()
        apart = torch.cdist(rows, flat, compute_mode=exactly)
        if itself is not None:
            apart.scatter_(1, itself[start : start + 256, None].to(apart.device), torch.inf)
        parts.append(apart.amin(1).cpu())
    return torch.cat(parts)


def share_below(values: Tensor, of: Tensor) -> Tensor:
    """(N,) share of the sorted ``of`` that is under each value."""
    return torch.searchsorted(of, values.double().cpu()).double() / max(len(of), 1)


def quiet_rapidity(a: Tensor, b: Tensor) -> Tensor:
    """Rapidity without a warning for vectors that have no direction: NaN is their value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedPairWarning)
        return rapidity(a, b)


def _pairs(y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random pairs of one class."""
    if len(y) < 2:
        raise ShapeError(f"The reference needs at least two samples; got {len(y)}.")
    order = y.argsort(stable=True)
    sizes = y[order].unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    if int(sizes.max()) < 2:
        raise LabelError(
            "No class of the reference has two samples, so nothing says how far apart a class is. "
            "Give more samples."
        )
    chosen = torch.multinomial(
        (sizes * (sizes - 1)).double(), PAIRS, replacement=True, generator=generator
    )
    uniform = torch.rand(2, PAIRS, generator=generator, dtype=torch.float64)
    one = (uniform[0] * sizes[chosen]).long()
    other = (uniform[1] * (sizes[chosen] - 1)).long()
    return order[starts[chosen] + one], order[starts[chosen] + other + (other >= one)]
