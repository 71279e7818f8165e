"""Excessive invariance: how far an input can move while a layer's features stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.attacks.norms import NormName, named_norm
from worldline.attacks.scale import Scale, measure_scale, nearest, share_below
from worldline.errors import UsageError
from worldline.geometry import FrameName
from worldline.inputs import check_inputs
from worldline.trace import Layer, Model, one_layer, reading

__all__ = ["Invariant", "invariance"]

Tick = Callable[[str, int, int], None]
Read = Callable[[Tensor], tuple[Tensor, object]]


@dataclass(frozen=True)
class Invariant:
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

    x: Tensor
    layer: Layer
    narrow: bool
    allowed: float
    change: Tensor
    noise_change: Tensor
    distance: Tensor
    input_closer: Tensor
    nearest_data: Tensor
    usual_nearest: float
    same_prediction: Tensor
    path_change: Tensor
    path_distance: Tensor
    scale: Scale


def invariance(
    model: Model,
    x: Float[Tensor, "N ..."],
    layer: str | None = None,
    *,
    reference: tuple[Tensor, Tensor],
    tolerance: float = 0.1,
    epsilon: float | None = None,
    norm: NormName = "l2",
    bounds: tuple[float, float] = (0.0, 1.0),
    steps: int = 300,
    step_size: float | None = None,
    frame: FrameName = "centered",
    batch_size: int = 256,
    seed: int = 0,
    tick: Tick = lambda _stage, _done, _total: None,
) -> Invariant:
    """Move each input as far as possible while its features at a layer stay where they are.

    max ‖x′ − x‖ with |f(x′) − f(x)| ≤ tolerance · (median distance of two samples of one class).
    While the features are within, the step goes outward (at first towards the further bound of each
    entry), less its part along ∇|f(x′) − f(x)|; else it goes back along that gradient, as far as
    its linear model asks. The furthest allowed iterate is kept.

    Args:
        model: any model; with logits (N, K) it is reported whether the class stayed.
        x: (N, …) inputs.
        layer: where; default: the last default layer before the output.
        reference: inputs and labels that set the frame and the scale.
        tolerance: how far features may move, as a share of the median distance of pairs of one
            class.
        epsilon: the furthest an input may go; None: anywhere inside the bounds.
        norm: that measures how far, ``l2`` or ``linf``.
        bounds: lowest and highest legal value.
        steps: gradient steps.
        step_size: default: the bounds' width · √entries / 50 (``linf``: width / 50).
        frame: ``raw``, ``centered`` or ``whitened``.
        batch_size: inputs moved at once.
        seed: of the noise and the reference pairs.
        tick: called with stage, done, total.

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
    check_inputs(x, bounds)
    if not tolerance > 0:
        raise UsageError(
            f"tolerance must be positive, a share of the distance within a class; got {tolerance}."
        )
    if epsilon is not None and not (math.isfinite(epsilon) and epsilon >= 0):
        raise UsageError(
            f"epsilon must be a finite number ≥ 0 in input units, or None for no budget; got "
            f"{epsilon}."
        )
    if steps < 1 or (step_size is not None and not step_size > 0):
        raise UsageError(
            f"steps must be at least 1 and step_size positive; got {steps} and {step_size}."
        )
    if step_size is None:
        step_size = (
            (bounds[1] - bounds[0]) / 50 * (math.sqrt(x[0].numel()) if norm == "l2" else 1.0)
        )
    named_norm(norm)
    chosen = one_layer(model, x, layer)
    scale = measure_scale(
        model, chosen, reference, frame=frame, bounds=bounds, batch_size=batch_size, seed=seed
    )
    allowed = tolerance * float(scale.same_class.median())
    generator = torch.Generator().manual_seed(seed)
    run = _Run(
        model,
        chosen,
        scale,
        allowed,
        math.inf if epsilon is None else epsilon,
        norm,
        bounds,
        steps,
        step_size,
    )
    parts = []
    for start in range(0, len(x), batch_size):
        parts.append(run(x[start : start + batch_size], generator))
        tick("Moving inputs", min(start + batch_size, len(x)), len(x))
    it = {
        name: torch.cat([part[name] for part in parts], dim=0 if name == "x" else -1)
        for name in parts[0]
    }
    moved = torch.linalg.vector_norm((it["x"] - x).double().flatten(1), dim=1).cpu()
    return Invariant(
        layer=chosen,
        narrow=chosen.width < x[0].numel(),
        allowed=allowed,
        nearest_data=nearest(it["x"], reference[0]),
        usual_nearest=scale.usual_nearest,
        input_closer=share_below(moved, scale.random_input),
        scale=scale,
        **it,
    )


@dataclass(frozen=True)
class _Run:
    model: Model
    layer: Layer
    scale: Scale
    allowed: float
    epsilon: float
    norm: NormName
    bounds: tuple[float, float]
    steps: int
    step_size: float

    def __call__(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """One batch."""
        norm, x = named_norm(self.norm), x.detach()
        project = norm.projector(x, self.epsilon, self.bounds)
        noise = norm.direction(torch.randn(x.shape, generator=generator).to(x))
        middle = (self.bounds[0] + self.bounds[1]) / 2
        point = project(
            x + 0.1 * self.step_size * norm.direction(middle - x)
        )  # each entry towards its further bound
        kept, change = x.clone(), torch.zeros(len(x), dtype=torch.float64)
        went = torch.zeros(len(x), dtype=torch.float64)
        changes, distances = [], []
        with reading(self.model, self.layer) as read:
            with torch.no_grad():
                features, before = read(x)
            home = self.scale.frame.like(features)(features)
            for step in range(self.steps + 1):
                apart, slope = self._look(read, point, home)
                size = norm.size(point - x).double().cpu()
                changes.append(size)
                distances.append(apart.double().cpu())
                better = (apart <= self.allowed).cpu() & (size > change)
                kept = torch.where(_wide(better.to(x.device), x), point, kept)
                change, went = (
                    torch.where(better, size, change),
                    torch.where(better, distances[-1], went),
                )
                scale = self.step_size * (1 + math.cos(math.pi * step / self.steps)) / 2
                point = project(point + self._step(point - x, apart, slope, scale))
            with torch.no_grad():
                after = read(kept)[1]
            noise_change = self._along(read, x, noise, home)
        return {
            "x": kept,
            "change": change,
            "distance": went,
            "noise_change": noise_change,
            "same_prediction": _same(before, after, len(x)),
            "path_change": torch.stack(changes),
            "path_distance": torch.stack(distances),
        }

    def _look(self, read: Read, point: Tensor, home: Tensor) -> tuple[Tensor, Tensor]:
        """How far the features are from home, and the slope of that."""
        point = point.detach().requires_grad_(True)
        with torch.enable_grad():
            seen = read(point)[0]
            apart = torch.linalg.vector_norm(self.scale.frame.like(seen)(seen) - home, dim=1)
            slope = torch.autograd.grad(apart.sum(), point)[0].nan_to_num(0.0, 0.0, 0.0)
        return apart.detach(), slope

    def _step(self, moved: Tensor, apart: Tensor, slope: Tensor, size: float) -> Tensor:
        """Outward and level where the features are within, else downhill."""
        flat, steep = moved.flatten(1), slope.flatten(1)
        steepness = torch.linalg.vector_norm(steep, dim=1, keepdim=True).clamp_min(1e-12)
        downhill = steep / steepness
        outward = named_norm(self.norm).direction(moved).flatten(1)
        level = outward - (outward * downhill).sum(1, keepdim=True) * downhill
        length = torch.linalg.vector_norm(outward, dim=1, keepdim=True) * size
        level = (
            level / torch.linalg.vector_norm(level, dim=1, keepdim=True).clamp_min(1e-12) * length
        )
        back = ((apart[:, None] - 0.8 * self.allowed) / steepness).clamp(
            max=2 * self.step_size * flat.shape[1] ** 0.5
        )
        inside = (apart <= self.allowed)[:, None]
        return torch.where(inside, level, -back * downhill).view_as(moved)

    def _along(self, read: Read, x: Tensor, direction: Tensor, home: Tensor) -> Tensor:
        """By bisection: how far along a fixed direction, clipped to the bounds, until the features
        have moved as far as allowed.
        """
        low = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        high = torch.full_like(low, (self.bounds[1] - self.bounds[0]) * math.sqrt(x[0].numel()))
        with torch.no_grad():
            for _ in range(16):
                middle = (low + high) / 2
                seen = read((x + _wide(middle, x) * direction).clamp(*self.bounds))[0]
                within = (
                    torch.linalg.vector_norm(self.scale.frame.like(seen)(seen) - home, dim=1)
                    <= self.allowed
                )
                low, high = torch.where(within, middle, low), torch.where(within, high, middle)
        reached = (x + _wide(low, x) * direction).clamp(*self.bounds)
        return named_norm(self.norm).size(reached - x).double().cpu()


def _wide(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *(1,) * (like.ndim - 1))


def _same(before: object, after: object, samples: int) -> Tensor:
    if (
        isinstance(before, Tensor)
        and isinstance(after, Tensor)
        and before.ndim == 2
        and len(before) == samples
    ):
        return (before.argmax(1) == after.argmax(1)).cpu()
    return torch.ones(samples, dtype=torch.bool)
