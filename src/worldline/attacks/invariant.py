"""Excessive invariance: how far an input can move while a layer's features stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.attacks.scale import Scale, measure_scale, nearest, share_below
from worldline.attacks.walking import Walk, classes_of, joined, wide
from worldline.errors import UsageError
from worldline.inputs import check_inputs, check_settings
from worldline.settings import DEFAULT, NormName, Settings
from worldline.trace import Layer, Model, one_layer, reading

__all__ = ["Invariant", "invariance"]

PART = 0.04
"""The first step, as a part of ε."""
Read = Callable[[Tensor], tuple[Tensor, object]]


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """What the loop found for each input; fields as of :class:`Invariant`."""

    x: Tensor
    change: Tensor
    noise_change: Tensor
    distance: Tensor
    same_prediction: Tensor
    path_change: Tensor
    path_distance: Tensor


@dataclass(frozen=True, kw_only=True)
class Invariant(_Moved):
    """How far inputs were moved with their features in place.

    Attributes:
        x: (N, …) the furthest iterates whose features stayed, inside the bounds.
        layer: where.
        narrow: the layer has fewer features than the input has entries, so such moves exist
            trivially, in any network.
        allowed: how far the features may go, at the layer in the frame.
        change: (N,) how far the input went, in the norm; 0 where nothing further was found.
        noise_change: (N,) how far along a random direction it gets before the features have moved
            that far (control).
        distance: (N,) how far the features went.
        input_closer: (N,) share of random reference pairs that are closer at the input, Euclidean,
            than the moved input to its start.
        nearest_data: (N,) Euclidean distance to the nearest reference input; ``usual_nearest``: its
            median among those.
        same_prediction: (N,) whether the class stayed; True where the model returns no logits.
        path_change, path_distance: (steps + 1, N) along the way.
        scale: the reference distances.
    """

    layer: Layer
    narrow: bool
    allowed: float
    input_closer: Tensor
    nearest_data: Tensor
    usual_nearest: float
    scale: Scale


def invariance(
    model: Model,
    x: Float[Tensor, "N ..."],
    layer: str | nn.Module | None = None,
    *,
    reference: tuple[Tensor, Tensor],
    tolerance: float = 0.1,
    epsilon: float | None = None,
    norm: NormName = "l2",
    steps: int = 300,
    step_size: float | None = None,
    settings: Settings = DEFAULT,
) -> Invariant:
    """Move each input as far as possible while its features at a layer stay where they are.

    max ‖x′ − x‖ with |f(x′) − f(x)| ≤ tolerance · (median distance of two samples of one class).
    While the features are within, the step goes outward (at first towards the further bound of each
    entry), less its part along ∇|f(x′) − f(x)|; else it goes back along that gradient, as far as
    its linear model asks. The furthest allowed iterate is kept. A Python function: no command uses
    it.

    Args:
        model: any model; with logits (N, K) it is reported whether the class stayed.
        x: (N, …) inputs.
        layer: where; default: the embedding, which the classifier reads.
        reference: inputs and labels that set the frame and the scale.
        tolerance: how far features may move, as a share of the median distance of pairs of one
            class.
        epsilon: the furthest an input may go; None: anywhere inside the bounds.
        norm: that measures how far, ``l2`` or ``linf``.
        steps: gradient steps.
        step_size: the first one; default: a twenty-fifth of ε, or a fiftieth of the bounds' width
            (``l2``: times √entries).
        settings: bounds, frame, batch size, progress, and the seed of the noise and of the
            reference pairs.

    Returns:
        :class:`Invariant`; a lower bound on how far one can go. Large beside ``noise_change``: the
        layer ignores directions that lead far away. Far from the data (``nearest_data`` over
        ``usual_nearest``) nobody says what the label should be.

    Raises:
        ShapeError, BoundsError, LabelError, LayerError, UsageError: what was given does not fit.

    Cost: steps + 1 forward and backward passes. Source: the question is of Jacobsen et al.,
        arXiv:1811.00401.

    >>> import worldline as wl
    >>> data, model = wl.zoo.digits(), wl.zoo.load("mlp")
    >>> found = wl.attacks.invariance(
    ...     model, data.x[:4], "relu1", reference=(data.reference_x, data.reference_y), steps=30
    ... )
    >>> bool((found.distance <= found.allowed).all()), found.narrow
    (True, False)
    """
    check_settings(settings)
    check_inputs(x, settings.bounds)
    if not tolerance > 0:
        raise UsageError(
            f"tolerance must be positive, a share of the distance within a class; got {tolerance}."
        )
    walk = Walk.of(x, norm, epsilon, settings.bounds, steps, step_size, PART)
    chosen = one_layer(model, x, layer)
    scale = measure_scale(model, chosen, reference, settings=settings)
    run = _Run(model, chosen, scale, tolerance * float(scale.same_class.median()), walk)
    generator = torch.Generator().manual_seed(settings.seed)
    parts = []
    for start in range(0, len(x), settings.batch_size):
        parts.append(run(x[start : start + settings.batch_size], generator))
        settings.progress("Moving inputs", min(start + settings.batch_size, len(x)), len(x))
    it = joined(parts)
    moved = torch.linalg.vector_norm((it.x - x).double().flatten(1), dim=1).cpu()
    return Invariant(
        **vars(it),
        layer=chosen,
        narrow=chosen.width < x[0].numel(),
        allowed=run.allowed,
        nearest_data=nearest(it.x, reference[0]),
        usual_nearest=scale.usual_nearest,
        input_closer=share_below(moved, scale.random_input),
        scale=scale,
    )


@dataclass(frozen=True)
class _Run:
    model: Model
    layer: Layer
    scale: Scale
    allowed: float
    walk: Walk

    def __call__(self, x: Tensor, generator: torch.Generator) -> _Moved:
        """One batch."""
        walk, norm, x = self.walk, self.walk.norm, x.detach()
        project = norm.projector(x, walk.radius, walk.bounds)
        noise = norm.direction(torch.randn(x.shape, generator=generator).to(x))
        further = norm.direction(sum(walk.bounds) / 2 - x)  # of each entry, its further bound
        point = project(x + 0.1 * walk.step_size * further)
        kept, change = x.clone(), torch.zeros(len(x), dtype=torch.float64)
        went = torch.zeros(len(x), dtype=torch.float64)
        changes, distances = [], []
        with reading(self.model, self.layer) as read:
            with torch.no_grad():
                features, before = read(x)
            home = self.scale.frame.like(features)(features)
            for step in range(walk.steps + 1):
                apart, slope = self._look(read, point, home)
                size, away = norm.size(point - x).double().cpu(), apart.double().cpu()
                changes.append(size)
                distances.append(away)
                better = (apart <= self.allowed).cpu() & (size > change)
                kept = torch.where(wide(better.to(x.device), x), point, kept)
                change = torch.where(better, size, change)
                went = torch.where(better, away, went)
                point = project(point + self._step(point - x, apart, slope, walk.size(step)))
            with torch.no_grad():
                after = read(kept)[1]
            noise_change = self._along(read, x, noise, home)
        return _Moved(
            x=kept,
            change=change,
            noise_change=noise_change,
            distance=went,
            same_prediction=classes_of(before, len(x)) == classes_of(after, len(x)),
            path_change=torch.stack(changes),
            path_distance=torch.stack(distances),
        )

    def _look(self, read: Read, point: Tensor, home: Tensor) -> tuple[Tensor, Tensor]:
        """How far the features are from home, and the slope of that."""
        point = point.detach().requires_grad_(True)
        with torch.enable_grad():
            apart = self._apart(read(point)[0], home)
            slope = torch.autograd.grad(apart.sum(), point)[0].nan_to_num(0.0, 0.0, 0.0)
        return apart.detach(), slope

    def _apart(self, features: Tensor, home: Tensor) -> Tensor:
        seen = self.scale.frame.like(features)(features)
        apart: Tensor = torch.linalg.vector_norm(seen - home, dim=1)
        return apart

    def _step(self, moved: Tensor, apart: Tensor, slope: Tensor, size: float) -> Tensor:
        """Outward and level where the features are within, else downhill."""

        def length(value: Tensor) -> Tensor:
            found: Tensor = torch.linalg.vector_norm(value, dim=1, keepdim=True)
            return found

        steep = slope.flatten(1)
        steepness = length(steep).clamp_min(1e-12)
        downhill = steep / steepness
        outward = self.walk.norm.direction(moved).flatten(1)
        level = outward - (outward * downhill).sum(1, keepdim=True) * downhill
        level = level / length(level).clamp_min(1e-12) * length(outward) * size
        most = 2 * self.walk.step_size * steep.shape[1] ** 0.5
        back = ((apart[:, None] - 0.8 * self.allowed) / steepness).clamp(max=most)
        inside = (apart <= self.allowed)[:, None]
        return torch.where(inside, level, -back * downhill).view_as(moved)

    def _along(self, read: Read, x: Tensor, direction: Tensor, home: Tensor) -> Tensor:
        """How far along a fixed direction the features stay within what is allowed, by bisection.

        The moved inputs are clipped to the bounds.
        """
        low_bound, high_bound = self.walk.bounds
        low = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        high = torch.full_like(low, (high_bound - low_bound) * math.sqrt(x[0].numel()))

        def moved(far: Tensor) -> Tensor:
            return (x + wide(far, x) * direction).clamp(low_bound, high_bound)

        with torch.no_grad():
            for _ in range(16):
                middle = (low + high) / 2
                within = self._apart(read(moved(middle))[0], home) <= self.allowed
                low, high = torch.where(within, middle, low), torch.where(within, high, middle)
        return self.walk.norm.size(moved(low) - x).double().cpu()
