"""The loop behind collisions: gradient steps on features, the best iterate kept, measured against
reference data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from worldline.attacks.norms import NormName, named_norm
from worldline.attacks.scale import Scale, measure_scale, nearest, quiet_rapidity, share_below
from worldline.errors import ModelError, UsageError
from worldline.geometry import FrameName
from worldline.inputs import check_inputs
from worldline.trace import Layer, Model, one_layer, reading

__all__ = ["CLOSE", "Collided", "Matching", "Objective", "Tick"]

CLOSE = 0.1
"""A collision succeeds when it is closer than all but this share of pairs of one class; a
separation, in mirror image.
"""
Objective = Literal["distance", "rapidity"]
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Collided:
    """What became of inputs that were moved towards a stranger's features, or away from their own.

    Attributes:
        x: (N, …) the best iterates, inside the ball and the bounds.
        sign: +1 towards the stranger, −1 towards its opposite; 0 away from the input's own
            features.
        layer: where.
        narrow: the layer has fewer features than the input has entries, so collisions exist
            trivially, in any network.
        success: (N,) closer to what was aimed at than all but a tenth of reference pairs of one
            class are to each other (``separate``: further from itself than all but a tenth of
                them).
        rapidity_before, rapidity: (N,) φ to the stranger (``separate``: to itself, +∞ before).
        distance_before, distance: (N,) at the layer in the frame, to the features aimed at
            (``separate``: to its own).
        same_class_closer, random_closer: (N,) share of reference pairs, of one class and of any,
            that are closer than that.
        random_less: (N,) share of random reference pairs that are less entangled, with that sign
            (``separate``: more).
        input_distance: (N,) Euclidean, from the moved input to the stranger (``separate``: to its
            start); ``input_closer``: share of random reference pairs that are closer at the input.
            Near 0 the input has simply become the stranger: without a budget that is the trivial
                way to meet it, and no distant pair.
        change: (N,) size of the move in the norm of the attack.
        nearest_data: (N,) Euclidean input distance to the nearest reference input, and
            ``usual_nearest``, its median among reference inputs: several times that is no plausible
                input.
        prediction_before, prediction, stranger_prediction: (N,) classes; −1 where the model returns
            no logits.
        best_step: (N,) which iterate was kept.
        path_rapidity, path_distance: (steps + 1, N) along the way.
        path: (steps + 1, N, …) all iterates, on the CPU; None unless asked for.
        scale: the reference distances behind the shares.
    """

    x: Tensor
    sign: int
    layer: Layer
    narrow: bool
    success: Tensor
    rapidity_before: Tensor
    rapidity: Tensor
    distance_before: Tensor
    distance: Tensor
    same_class_closer: Tensor
    random_closer: Tensor
    random_less: Tensor
    input_distance: Tensor
    input_closer: Tensor
    change: Tensor
    nearest_data: Tensor
    usual_nearest: float
    prediction_before: Tensor
    prediction: Tensor
    stranger_prediction: Tensor
    best_step: Tensor
    path_rapidity: Tensor
    path_distance: Tensor
    path: Tensor | None
    scale: Scale


@dataclass(frozen=True)
class Matching:
    """The loop behind both."""

    model: Model
    layer: Layer
    scale: Scale
    reference: Tensor
    epsilon: float
    norm: NormName
    bounds: tuple[float, float]
    steps: int
    step_size: float
    keep_path: bool
    batch_size: int
    seed: int

    @classmethod
    def of(
        cls,
        model: Model,
        x: Tensor,
        layer: str | None,
        reference: tuple[Tensor, Tensor],
        epsilon: float | None,
        norm: NormName,
        bounds: tuple[float, float],
        steps: int,
        step_size: float | None,
        frame: FrameName,
        keep_path: bool,
        batch_size: int,
        seed: int,
    ) -> Matching:
        """With the layer, the reference distances and the step size."""
        check_inputs(x, bounds)
        named_norm(norm)
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
            whole = (bounds[1] - bounds[0]) / 2 * (math.sqrt(x[0].numel()) if norm == "l2" else 1.0)
            step_size = (whole if epsilon is None else epsilon) / 10
        chosen = one_layer(model, x, layer)
        scale = measure_scale(
            model, chosen, reference, frame=frame, bounds=bounds, batch_size=batch_size, seed=seed
        )
        radius = math.inf if epsilon is None else epsilon
        return cls(
            model,
            chosen,
            scale,
            reference[0],
            radius,
            norm,
            bounds,
            steps,
            step_size,
            keep_path,
            batch_size,
            seed,
        )

    def __call__(
        self, x: Tensor, stranger: Tensor, sign: int, objective: Objective, tick: Tick
    ) -> Collided:
        """Move all inputs, a batch at a time."""
        generator = torch.Generator().manual_seed(self.seed)
        parts = []
        for start in range(0, len(x), self.batch_size):
            rows = slice(start, start + self.batch_size)
            at = (start, len(x))
            parts.append(self._batch(x[rows], stranger[rows], sign, objective, generator, tick, at))
        best, path = torch.cat([part["x"] for part in parts]), None
        if self.keep_path:
            path = torch.cat([part["path"] for part in parts], dim=1)
        it = {
            name: torch.cat([part[name] for part in parts], dim=-1)
            for name in parts[0]
            if name not in ("x", "path")
        }
        same, close = self.scale.same_class, it["distance"]
        edge = float(same.quantile(CLOSE if sign else 1 - CLOSE))
        direction = sign or -1
        values = self.scale.random_rapidity
        apart = torch.linalg.vector_norm((best - stranger).double().flatten(1), dim=1).cpu()
        return Collided(
            x=best,
            sign=sign,
            layer=self.layer,
            narrow=self.layer.width < x[0].numel(),
            success=close <= edge if sign else close >= edge,
            same_class_closer=share_below(close, same),
            random_closer=share_below(close, self.scale.random),
            random_less=share_below(direction * it["rapidity"], (direction * values).sort().values),
            input_distance=apart,
            input_closer=share_below(apart, self.scale.random_input),
            change=named_norm(self.norm).size(best - x).cpu(),
            nearest_data=nearest(best, self.reference),
            usual_nearest=self.scale.usual_nearest,
            path=path,
            scale=self.scale,
            **it,
        )

    def _batch(
        self,
        x: Tensor,
        stranger: Tensor,
        sign: int,
        objective: Objective,
        generator: torch.Generator,
        tick: Tick,
        at: tuple[int, int],
    ) -> dict[str, Tensor]:
        """One batch, from start to best."""
        norm = named_norm(self.norm)
        project = norm.projector(x.detach(), self.epsilon, self.bounds)
        point = x.detach().clone()
        if sign == 0:
            point = project(point + norm.random(x, self.epsilon, generator))
        with reading(self.model, self.layer) as read:
            with torch.no_grad():
                theirs, output = read(stranger)
                own, output_before = read(x)
            if not bool(theirs.isfinite().all() and own.isfinite().all()):
                raise ModelError(
                    f"Layer {self.layer.name!r} returned NaN or infinity; look for overflow "
                    f"before it."
                )
            frame = self.scale.frame.like(theirs)
            target, own = frame(theirs), frame(own)
            aim = (sign or 1) * target
            best = _Best(x, aim, target)
            best.before(own)
            for step in range(self.steps + 1):
                point = point.detach().requires_grad_(True)
                with torch.enable_grad():
                    features, logits = read(point)
                    seen = frame(features)
                    if objective == "rapidity":
                        loss = -(sign or -1) * quiet_rapidity(seen, target)
                    else:
                        loss = (1 if sign else -1) * (seen - aim).square().sum(1)
                    gradient = torch.autograd.grad(loss.sum(), point)[0].nan_to_num(0.0, 0.0, 0.0)
                point = point.detach()
                best.add(step, point, seen.detach(), loss.detach(), logits, self.keep_path)
                size = self.step_size * (1 + math.cos(math.pi * step / self.steps)) / 2
                point = project(point - size * norm.direction(gradient))
                tick(
                    "Moving inputs",
                    at[0] * (self.steps + 1) + len(x) * (step + 1),
                    at[1] * (self.steps + 1),
                )
        return best.result(output_before, output)


class _Best:
    """The best iterate of each input, and the way there."""

    def __init__(self, x: Tensor, aim: Tensor, target: Tensor) -> None:
        self.aim, self.target = aim, target
        self.x, self.loss = (
            x.detach().clone(),
            torch.full((len(x),), torch.inf, dtype=aim.dtype, device=x.device),
        )
        self.step = torch.zeros(len(x), dtype=torch.long)
        self.prediction = torch.full((len(x),), -1)
        self.rapidities: list[Tensor] = []
        self.distances: list[Tensor] = []
        self.path: list[Tensor] = []
        self.clean: tuple[Tensor, Tensor] | None = None

    def _measure(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        wide, aim, target = (value.double() for value in (seen, self.aim, self.target))
        return quiet_rapidity(wide, target).cpu(), torch.linalg.vector_norm(wide - aim, dim=1).cpu()

    def before(self, own: Tensor) -> None:
        self.clean = self._measure(own)

    def add(
        self, step: int, point: Tensor, seen: Tensor, loss: Tensor, output: object, keep: bool
    ) -> None:
        value, distance = self._measure(seen)
        self.rapidities.append(value)
        self.distances.append(distance)
        if keep:
            self.path.append(point.cpu().clone())
        better = loss.nan_to_num(torch.inf) < self.loss
        self.x = torch.where(better.reshape(-1, *(1,) * (point.ndim - 1)), point, self.x)
        self.loss = torch.where(better, loss, self.loss)
        self.step = torch.where(better.cpu(), step, self.step)
        self.prediction = torch.where(better.cpu(), _classes(output, len(point)), self.prediction)

    def result(self, output_before: object, output_stranger: object) -> dict[str, Tensor]:
        assert self.clean is not None
        rapidities, distances = torch.stack(self.rapidities), torch.stack(self.distances)
        found = {
            "x": self.x,
            "rapidity_before": self.clean[0],
            "distance_before": self.clean[1],
            "rapidity": rapidities.gather(0, self.step[None])[0],
            "distance": distances.gather(0, self.step[None])[0],
            "prediction_before": _classes(output_before, len(self.x)),
            "prediction": self.prediction,
            "stranger_prediction": _classes(output_stranger, len(self.x)),
            "best_step": self.step,
            "path_rapidity": rapidities,
            "path_distance": distances,
        }
        return {**found, "path": torch.stack(self.path)} if self.path else found


def _classes(output: object, samples: int) -> Tensor:
    if isinstance(output, Tensor) and output.ndim == 2 and len(output) == samples:
        return output.detach().argmax(1).cpu()
    return torch.full((samples,), -1)
