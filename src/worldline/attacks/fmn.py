"""Fast minimum-norm attack: the smallest change that fools, each sample in a ball of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.asking import choices
from worldline.attacks.descent import OTHERWISE, problem_of, slope_of
from worldline.attacks.norms import BallName, named_ball
from worldline.attacks.record import Iterate, by_sample
from worldline.errors import BoundsError, GradientWarning, ShapeError, UsageError
from worldline.inputs import check_inputs, labels_of, logits_of
from worldline.settings import Bounds
from worldline.trace import Model, untouched

__all__ = ["FMN", "Smallest"]

LAST_STEP, LAST_GAMMA = 0.01, 0.001  # of the first step; what the annealing ends at
ROUNDING = 8  # units in the last place of the logits: a margin that another batch could undo


@dataclass(frozen=True)
class Smallest:
    """The smallest changes that an attack found: upper bounds, as a better attack may find less.

    Attributes:
        x: (N, …) the adversarial twins, inside the bounds; the input itself where none was found
            or none is needed.
        size: (N,) of x minus the input; 0 where the model is wrong by itself, +∞ where nothing that
            fools was found.
        success: (N,) whether the twin fools: the size is finite.
        prediction: (N,) class of the twin; −1 where the output holds NaN.
        passes: number of forward passes, the backward passes not counted.
    """

    x: Tensor
    size: Tensor
    success: Tensor
    prediction: Tensor
    passes: int


@dataclass(frozen=True, kw_only=True)
class FMN:
    """Fast minimum-norm attack (Pintor et al. 2021, algorithm 1), as ``attack(model, x, y)``.

    With the margin m = z_y − max_{i≠y} z_i, δ ← project(clip(δ − α ∇m/‖∇m‖₂), ε), and the radius ε
    of each sample follows its δ: it shrinks by γ where δ fools, grows by γ where it does not, and
    until the first success reaches as far as the gradient says the boundary is. α and γ fall along
    a cosine. Nothing is drawn at random.

    Attributes:
        norm: what is to be small: ``linf``, ``l2``, ``l1`` or ``l0`` (how many values change).
        steps: number of gradient steps.
        step_size: first α, an L2 length in widths of the bounds; the last is a hundredth of it.
        gamma: first γ; the last is 0.001.
        targeted: ``y`` are the classes to reach.
        bounds: lowest and highest legal value of the input.
        callback: called with every :class:`Iterate`; ``loss`` is the margin (its negative,
            targeted), below 0 where the point fools, and ``rows`` the samples that were right.

    Errors: UsageError for impossible options; ShapeError, BoundsError, LabelError for x, y, mask
        and start that do not fit. A GradientWarning says where no gradient came.
    Cost: ``steps`` forward and backward passes for the input alone over the samples that the model
        gets right, and two forward passes; memory of one backward pass and six copies of x.
    Source: arXiv:2102.12827. Where we differ: the clip comes before the projection, which keeps
        inside the bounds what is inside them, so that no part of ε is lost to the clip; L0 begins
        at the number of entries that the gradient asks for, not at 1; the first reach is γ beyond
        the boundary, as a linear model would never be fooled at it; a twin counts as fooling only
        by a margin beyond rounding, so that it fools in any batch.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[0.6, 0.4], [0.5, 0.9]]), torch.tensor([0, 0])
    >>> found = wl.attacks.FMN(norm="linf")(model, x, y)
    >>> [round(size, 3) for size in found.size.tolist()], found.success
    ([0.1, 0.0], tensor([True, True]))
    """

    norm: BallName = "linf"
    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    callback: Callable[[Iterate], None] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        named_ball(self.norm)
        if not -math.inf < self.bounds[0] < self.bounds[1] < math.inf:
            raise BoundsError(f"bounds must be finite, with low < high; got {self.bounds}.")
        if self.steps < 1:
            raise UsageError(f"steps must be at least 1; got {self.steps}.")
        if not (0 < self.step_size < math.inf and 0 < self.gamma < 1):
            raise UsageError(
                f"step_size must be positive and gamma a share in (0, 1); got {self.step_size} and "
                f"{self.gamma}."
            )

    def __call__(
        self,
        model: Model,
        x: Float[Tensor, "N ..."],
        y: Int[Tensor, " N"],
        *,
        mask: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Smallest:
        """Attack each input.

        Args:
            model: returns logits (N, K).
            x: (N, …) inputs inside the bounds.
            y: (N,) labels, or targets.
            mask: true (or 1) where an entry may change, of a shape that broadcasts to x.
            start: (N, …) where to start instead of the input, such as another attack's twins; it is
                clipped to the bounds and the mask. What it fools with is never given back larger.
        """
        check_inputs(x, self.bounds)
        y = labels_of(y, len(x)).to(x.device)
        x = x.detach()
        free = None if mask is None else _mask_like(mask, x)
        if start is not None and start.shape != x.shape:
            raise ShapeError(f"start must be like x, {tuple(x.shape)}; got {tuple(start.shape)}.")
        with untouched(model):
            with torch.no_grad():
                logits = logits_of(model, x)
                y = labels_of(y, len(x), classes=logits.shape[1])
                said = choices(logits)
            already = ((said == y) == self.targeted) & (said >= 0)
            rows = (~already).nonzero().flatten()
            found = Smallest(
                x.clone(),
                torch.where(already, 0, torch.inf).to(x.dtype),
                already,
                said,
                1 + (self.steps + 1 if len(rows) else 0),
            )
            if len(rows):
                search = _Search(self, x[rows], y[rows], None if free is None else free[rows])
                search.run(model, rows, None if start is None else start.detach().to(x)[rows])
                found.x[rows], found.size[rows] = search.best, search.best_size
                found.success[rows] = search.best_size < torch.inf
                found.prediction[rows] = torch.where(
                    found.success[rows], search.prediction, said[rows]
                )
        return found


class _Search:
    """Algorithm 1 for the samples that are still right."""

    def __init__(self, attack: FMN, clean: Tensor, y: Tensor, free: Tensor | None) -> None:
        self.attack, self.clean, self.y, self.free = attack, clean, y, free
        self.ball = named_ball(attack.norm)
        low, high = attack.bounds
        self.down, self.up = low - clean, high - clean  # how far δ may go
        if free is not None:
            self.down, self.up = self.down * free, self.up * free
        self.worst = self.ball.size(torch.maximum(-self.down, self.up))
        self.best = clean.clone()
        self.best_size = torch.full_like(self.worst, torch.inf)
        self.radius = torch.full_like(self.worst, torch.inf)
        self.prediction = torch.full_like(y, -1)

    def run(self, model: Model, rows: Tensor, start: Tensor | None) -> None:
        """Step by step; the last point is only looked at."""
        attack = self.attack
        point = self.clean.clone()
        if start is not None:
            point = start.clamp(*attack.bounds)
            point = point if self.free is None else torch.where(self.free > 0, point, self.clean)
        for step in range(attack.steps + 1):
            final = step == attack.steps
            with torch.set_grad_enabled(not final):
                point.requires_grad_(not final)
                logits = logits_of(model, point)
                margin = _margin(logits, self.y) * (-1 if attack.targeted else 1)
                gradient = None if final else slope_of(margin, point)
            point, logits, margin = point.detach(), logits.detach(), margin.detach()
            if attack.callback is not None:
                attack.callback(Iterate(0, step, point, logits, margin, rows))
            delta = point - self.clean
            size = self.ball.size(delta)
            fools = self._keep(point, size, logits, margin)
            if step == 0 and (problem := problem_of(gradient, len(rows))):
                warnings.warn(
                    f"FMN could not attack: {problem}. {OTHERWISE}", GradientWarning, stacklevel=4
                )
                return
            if gradient is not None:
                point = self._step(step / attack.steps, delta, size, fools, margin, gradient)

    def _keep(self, point: Tensor, size: Tensor, logits: Tensor, margin: Tensor) -> Tensor:
        """Keep what fools and is smaller; returns what fools."""
        rounding = ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1)
        fools = margin < -rounding
        better = fools & (size < self.best_size)
        self.best_size = torch.where(better, size, self.best_size)
        self.best = torch.where(by_sample(better, point), point, self.best)
        self.prediction = torch.where(better, choices(logits), self.prediction)
        return fools

    def _step(
        self,
        done: float,
        delta: Tensor,
        size: Tensor,
        fools: Tensor,
        margin: Tensor,
        gradient: Tensor,
    ) -> Tensor:
        attack, ball = self.attack, self.ball
        cosine = (1 + math.cos(math.pi * done)) / 2
        gamma = LAST_GAMMA + (attack.gamma - LAST_GAMMA) * cosine
        length = attack.step_size * (LAST_STEP + (1 - LAST_STEP) * cosine)
        length *= attack.bounds[1] - attack.bounds[0]
        gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
        if self.free is not None:
            gradient = gradient * self.free
        less = torch.minimum(self.radius * (1 - gamma), self.best_size)
        more = self.radius * (1 + gamma)
        if attack.norm == "l0":  # whole numbers, so at least one entry at a time
            less = torch.minimum(less, self.radius - 1).floor().clamp(min=1)
            more = torch.maximum(more.floor(), self.radius + 1)
        never = self.best_size == torch.inf
        if bool(never.any()):
            room = torch.where(gradient > 0, -self.down, self.up)
            reach = size + ball.needed(margin.abs(), gradient, room)
            more = torch.where(never, reach * (1 + gamma), more)  # beyond, not at, the boundary
        self.radius = torch.where(fools, less, more).nan_to_num(torch.inf, torch.inf)
        self.radius = torch.minimum(self.radius, self.worst)
        slope = torch.linalg.vector_norm(gradient.flatten(1), dim=1).clamp(min=1e-12)
        delta = delta.addcmul_(gradient, by_sample(-length / slope, gradient))
        return self._within(ball.onto(delta.clamp_(self.down, self.up), self.radius))

    def _within(self, delta: Tensor) -> Tensor:
        """x + δ; the sum may round to beyond the bounds."""
        return delta.add_(self.clean).clamp_(*self.attack.bounds)


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """z_y − max_{i≠y} z_i, (N,)."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return logits.gather(1, y[:, None])[:, 0] - others.amax(1)


def _mask_like(mask: Tensor, x: Tensor) -> Tensor:
    """(N, …) 1 where an entry may change, else 0, in the dtype of x."""
    try:
        whole = torch.as_tensor(mask, device=x.device).broadcast_to(x.shape)
    except (RuntimeError, TypeError, ValueError):
        came = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ShapeError(
            f"mask must be a tensor that broadcasts to x, {tuple(x.shape)}; got {came}."
        ) from None
    if not bool(((whole == 0) | (whole == 1)).all()):
        raise UsageError("mask must be true (1) where an entry may change, else false (0).")
    return whole.to(x.dtype)
