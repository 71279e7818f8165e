"""The loop behind collisions: gradient steps on features, the best iterate kept and measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from worldline.attacks.budget import Budget
from worldline.attacks.scale import Scale, measure_scale, nearest, quiet_rapidity, share_below
from worldline.attacks.walking import Walk, classes_of, joined, wide
from worldline.errors import ModelError, UsageError
from worldline.inputs import check_inputs, check_settings
from worldline.settings import NormName, Settings
from worldline.trace import Layer, Model, one_layer, reading

__all__ = ["CLOSE", "Collided", "Matching", "Objective"]

CLOSE = 0.1
"""A collision is closer than all but this share of pairs of one class; a separation, further."""
PART = 0.1
"""The first step, as a part of ε."""
Objective = Literal["distance", "rapidity"]


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """What the loop found for each input; fields as of :class:`Collided`."""

    x: Tensor
    rapidity_before: Tensor
    rapidity: Tensor
    distance_before: Tensor
    distance: Tensor
    prediction_before: Tensor
    prediction: Tensor
    stranger_prediction: Tensor
    best_step: Tensor
    path_rapidity: Tensor
    path_distance: Tensor
    path: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Collided(_Moved):
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
        change: (N,) size of the move in the norm of the attack; with sizes by feature, in these.
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

    sign: int
    layer: Layer
    narrow: bool
    success: Tensor
    same_class_closer: Tensor
    random_closer: Tensor
    random_less: Tensor
    input_distance: Tensor
    input_closer: Tensor
    change: Tensor
    nearest_data: Tensor
    usual_nearest: float
    scale: Scale


@dataclass(frozen=True)
class Matching:
    """The loop behind both.

    Attributes:
        layer, scale: where, and what distances mean there.
        reference: the inputs behind the scale.
        walk: how far, and in which steps.
        objective: what is made small or large.
        keep_path: keep all iterates.
    """

    model: Model
    layer: Layer
    scale: Scale
    reference: Tensor
    walk: Walk
    objective: Objective
    keep_path: bool
    settings: Settings

    @classmethod
    def of(
        cls,
        model: Model,
        x: Tensor,
        layer: str | nn.Module | None,
        *,
        reference: tuple[Tensor, Tensor],
        epsilon: float | None,
        norm: NormName,
        steps: int,
        step_size: float | None,
        objective: Objective,
        keep_path: bool,
        settings: Settings,
        budget: Budget | None = None,
    ) -> Matching:
        """Checked, with the layer and the reference distances."""
        if objective not in ("distance", "rapidity"):
            raise UsageError(f"Unknown objective {objective!r}; choose distance or rapidity.")
        check_settings(settings)
        check_inputs(x, settings.bounds)
        if budget is None:
            walk = Walk.of(x, norm, epsilon, settings.bounds, steps, step_size, PART)
        else:
            budget.check(x)
            walk = Walk.within(budget, steps, step_size, PART)
        chosen = one_layer(model, x, layer)
        scale = measure_scale(model, chosen, reference, settings=settings)
        return cls(model, chosen, scale, reference[0], walk, objective, keep_path, settings)

    def __call__(self, x: Tensor, stranger: Tensor, sign: int) -> Collided:
        """Move all inputs, a batch at a time."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        size, parts = self.settings.batch_size, []
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            parts.append(self._batch(x[rows], stranger[rows], sign, generator, start, len(x)))
        it = joined(parts)
        same, random = self.scale.same_class, self.scale.random_rapidity
        edge = float(same.quantile(CLOSE if sign else 1 - CLOSE))
        less = (sign or -1) * it.rapidity
        apart = torch.linalg.vector_norm((it.x - stranger).double().flatten(1), dim=1).cpu()
        return Collided(
            **vars(it),
            sign=sign,
            layer=self.layer,
            narrow=self.layer.width < x[0].numel(),
            success=it.distance <= edge if sign else it.distance >= edge,
            same_class_closer=share_below(it.distance, same),
            random_closer=share_below(it.distance, self.scale.random),
            random_less=share_below(less, ((sign or -1) * random).sort().values),
            input_distance=apart,
            input_closer=share_below(apart, self.scale.random_input),
            change=self._change(x, it.x).cpu(),
            nearest_data=nearest(it.x, self.reference),
            usual_nearest=self.scale.usual_nearest,
            scale=self.scale,
        )

    def _change(self, x: Tensor, moved: Tensor) -> Tensor:
        around = self.walk.around(x)
        return around.norm.size(around.unscaled(moved - x))

    def _batch(
        self,
        x: Tensor,
        stranger: Tensor,
        sign: int,
        generator: torch.Generator,
        start: int,
        total: int,
    ) -> _Moved:
        """One batch, from start to best."""
        walk, passes = self.walk, self.walk.steps + 1
        around = walk.around(x)
        point = x.detach().clone()
        if sign == 0:
            point = around.project(point + around.random(generator))
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
            target = frame(theirs)
            best = _Best(x, (sign or 1) * target, target, frame(own))
            for step in range(passes):
                point = point.detach().requires_grad_(True)
                with torch.enable_grad():
                    features, logits = read(point)
                    seen = frame(features)
                    loss = self._loss(seen, target, sign)
                    gradient = torch.autograd.grad(loss.sum(), point)[0].nan_to_num(0.0, 0.0, 0.0)
                point = point.detach()
                best.add(step, point, seen.detach(), loss.detach(), logits, self.keep_path)
                point = around.project(point - walk.size(step) * around.direction(gradient))
                done = start * passes + len(x) * (step + 1)
                self.settings.progress("Moving inputs", done, total * passes)
        return best.result(output_before, output)

    def _loss(self, seen: Tensor, target: Tensor, sign: int) -> Tensor:
        if self.objective == "rapidity":
            return -(sign or -1) * quiet_rapidity(seen, target)
        return (1 if sign else -1) * (seen - (sign or 1) * target).square().sum(1)


class _Best:
    """The best iterate of each input, and the way there."""

    def __init__(self, x: Tensor, aim: Tensor, target: Tensor, own: Tensor) -> None:
        self.aim, self.target, self.x = aim, target, x.detach().clone()
        self.before = self._measure(own)
        self.loss = torch.full((len(x),), torch.inf, dtype=aim.dtype, device=x.device)
        self.step = torch.zeros(len(x), dtype=torch.long)
        self.prediction = torch.full((len(x),), -1)
        self.rapidities: list[Tensor] = []
        self.distances: list[Tensor] = []
        self.path: list[Tensor] = []

    def _measure(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        seen, aim, target = (value.double() for value in (seen, self.aim, self.target))
        return quiet_rapidity(seen, target).cpu(), torch.linalg.vector_norm(seen - aim, dim=1).cpu()

    def add(
        self, step: int, point: Tensor, seen: Tensor, loss: Tensor, output: object, keep: bool
    ) -> None:
        value, distance = self._measure(seen)
        self.rapidities.append(value)
        self.distances.append(distance)
        if keep:
            self.path.append(point.cpu().clone())
        better = loss.nan_to_num(torch.inf) < self.loss
        self.x = torch.where(wide(better, point), point, self.x)
        self.loss = torch.where(better, loss, self.loss)
        self.step = torch.where(better.cpu(), step, self.step)
        self.prediction = torch.where(better.cpu(), classes_of(output, len(point)), self.prediction)

    def result(self, output_before: object, output_stranger: object) -> _Moved:
        rapidities, distances = torch.stack(self.rapidities), torch.stack(self.distances)
        return _Moved(
            x=self.x,
            rapidity_before=self.before[0],
            rapidity=rapidities.gather(0, self.step[None])[0],
            distance_before=self.before[1],
            distance=distances.gather(0, self.step[None])[0],
            prediction_before=classes_of(output_before, len(self.x)),
            prediction=self.prediction,
            stranger_prediction=classes_of(output_stranger, len(self.x)),
            best_step=self.step,
            path_rapidity=rapidities,
            path_distance=distances,
            path=torch.stack(self.path) if self.path else None,
        )
