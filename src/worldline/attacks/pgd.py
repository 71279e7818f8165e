"""Projected gradient descent and its one-step case, with every iterate in the open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.norms import NormName, named_norm
from worldline.errors import BoundsError, UsageError
from worldline.inputs import check_inputs, check_labels, logits_of
from worldline.trace import Model, untouched

__all__ = ["FGSM", "PGD", "Attacked", "Iterate"]


@dataclass(frozen=True)
class Iterate:
    """One point on the way of an attack; its tensors are only valid during the callback.

    Attributes:
        restart: which restart, from 0.
        step: 0 for the start, ``steps`` for the final iterate.
        x: (N, …) the iterate.
        logits: (N, K) of the iterate.
        loss: (N,) cross-entropy in nats, of the label (or of the target).
    """

    restart: int
    step: int
    x: Tensor
    logits: Tensor
    loss: Tensor


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Attributes:
        x: (N, …) the adversarial twins, inside the ball and the bounds.
        success: (N,) whether the model misclassifies the twin (targeted: classifies it as the target).
        prediction: (N,) class of the twin.
        loss: (N,) cross-entropy of the twin in nats.
        first_success: (N,) step of the first successful iterate over all restarts, −1 if there was none.
        passes: number of forward passes of the whole batch, backward passes not counted.
    """

    x: Tensor
    success: Tensor
    prediction: Tensor
    loss: Tensor
    first_success: Tensor
    passes: int


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Projected gradient descent on the cross-entropy (Madry et al. 2018), as ``attack(model, x, y)``.

    x ← project(x + step_size · direction(∇ₓ CE)), direction = sign for L∞ and g/|g| for L2; targeted, the sign turns.

    Its success is a lower bound on how often the model can be fooled, so the accuracy that is left is an upper bound
    on the model's robustness.

    Attributes:
        epsilon: radius of the ball, in the units of the input (pixel units).
        norm: ``linf`` or ``l2``.
        steps: number of gradient steps, at least 1.
        step_size: in the units of the input; default 2.5 · epsilon / steps.
        random_start: start uniformly in the ball instead of at the input.
        restarts: how often to start again; each sample keeps its best.
        targeted: ``y`` are the classes to reach.
        keep: ``best``: of all iterates, a successful one before others and then the one of highest loss (lowest,
            targeted); ``last``: the final iterate.
        bounds: lowest and highest legal value of the input.
        seed: of the random starts; the global random state is not used.
        callback: called with every :class:`Iterate`, the final one included.

    Errors: UsageError for impossible options; ShapeError, BoundsError, LabelError for x and y that do not fit.
    Cost: ``restarts`` × (``steps`` forward and backward passes for the input alone, and one forward pass); memory of
    one backward pass. The model is left bit for bit as it was. Source: arXiv:1706.06083.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> found = wl.attacks.PGD(epsilon=0.3, steps=5)(model, torch.tensor([[0.6, 0.4]]), torch.tensor([0]))
    >>> found.x, found.success
    (tensor([[0.3000, 0.7000]]), tensor([True]))
    """

    epsilon: float
    norm: NormName = "linf"
    steps: int = 20
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1
    targeted: bool = False
    keep: Literal["best", "last"] = "best"
    bounds: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    callback: Callable[[Iterate], None] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        named_norm(self.norm)
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise UsageError(f"epsilon must be a finite number ≥ 0 in pixel units; got {self.epsilon}.")
        if self.steps < 1 or self.restarts < 1:
            raise UsageError(f"steps and restarts must be at least 1; got {self.steps} and {self.restarts}.")
        if self.step_size is not None and not self.step_size > 0:
            raise UsageError(f"step_size must be positive; got {self.step_size}.")
        if self.keep not in ("best", "last"):
            raise UsageError(f"keep must be 'best' or 'last'; got {self.keep!r}.")
        low, high = self.bounds
        if not low < high:
            raise BoundsError(f"bounds must be (low, high) with low < high; got {self.bounds}.")

    def __call__(
        self, model: Model, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], *, start: Tensor | None = None
    ) -> Attacked:
        """Attack each input.

        Args:
            model: returns logits (N, K).
            x: (N, …) inputs inside the bounds.
            y: (N,) labels, or targets.
            start: (N, …) where to start instead of the random or the clean point; projected first.
        """
        check_inputs(x, self.bounds)
        check_labels(y, len(x))
        generator = torch.Generator().manual_seed(self.seed)
        record = _Record(x, keep_best=self.keep == "best")
        project = named_norm(self.norm).projector(x.detach(), self.epsilon, self.bounds)
        with untouched(model), torch.enable_grad():
            for restart in range(self.restarts):
                self._run(model, project(self._start(x, start, generator)), y, restart, project, record)
        return record.result()

    def with_steps(self, steps: int) -> PGD:
        """The same attack with another number of steps (and its step size, where that was given)."""
        options = {option.name: getattr(self, option.name) for option in fields(PGD)}
        return PGD(**{**options, "steps": steps})

    def _start(self, x: Tensor, start: Tensor | None, generator: torch.Generator) -> Tensor:
        if start is not None:
            return start.detach().clone()
        if self.random_start:
            return x.detach() + named_norm(self.norm).random(x, self.epsilon, generator)
        return x.detach().clone()

    def _run(
        self,
        model: Model,
        point: Tensor,
        y: Tensor,
        restart: int,
        project: Callable[[Tensor], Tensor],
        record: _Record,
    ) -> None:
        direction = named_norm(self.norm).direction
        size = self.step_size if self.step_size is not None else 2.5 * self.epsilon / self.steps
        signed = -size if self.targeted else size
        for step in range(self.steps + 1):
            final = step == self.steps
            with torch.set_grad_enabled(not final):
                point.requires_grad_(not final)
                logits = logits_of(model, point)
                if step == 0:
                    check_labels(y, len(y), classes=logits.shape[1])
                loss = torch.nn.functional.cross_entropy(logits, y, reduction="none")
                gradient = None if final else torch.autograd.grad(loss.sum(), point)[0]
            point = point.detach()
            iterate = Iterate(restart, step, point, logits.detach(), loss.detach())
            record.add(iterate, y, targeted=self.targeted, final=final)
            if self.callback is not None:
                self.callback(iterate)
            if gradient is not None:
                point = project(point.add_(direction(gradient), alpha=signed))


class FGSM(PGD):
    """Fast gradient sign method (Goodfellow et al. 2015): one step of the whole radius from the input itself.

    x + ε · direction(∇ₓ CE), clipped to the bounds; attributes as :class:`PGD`.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> wl.attacks.FGSM(epsilon=0.25)(model, torch.tensor([[0.6, 0.4]]), torch.tensor([0])).x
    tensor([[0.3500, 0.6500]])
    """

    def __init__(
        self,
        *,
        epsilon: float,
        norm: NormName = "linf",
        targeted: bool = False,
        bounds: tuple[float, float] = (0.0, 1.0),
        callback: Callable[[Iterate], None] | None = None,
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            norm=norm,
            steps=1,
            step_size=epsilon or None,
            random_start=False,
            targeted=targeted,
            keep="last",
            bounds=bounds,
            callback=callback,
        )


class _Record:
    """The iterate that each sample keeps."""

    def __init__(self, x: Tensor, *, keep_best: bool) -> None:
        self.keep_best = keep_best
        self.x = x.detach().clone()
        self.score = torch.full((len(x),), -torch.inf, device=x.device)  # larger is better
        self.success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.prediction = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.loss = torch.zeros(len(x), device=x.device)
        self.first = torch.full((len(x),), -1, dtype=torch.long, device=x.device)
        self.passes = 0

    def add(self, iterate: Iterate, y: Tensor, *, targeted: bool, final: bool) -> None:
        self.passes += 1
        prediction = iterate.logits.argmax(1)
        hit = (prediction == y) == targeted
        self.first = torch.where((self.first < 0) & hit, iterate.step, self.first)
        if not (self.keep_best or final):
            return
        loss = iterate.loss.float()
        score = torch.nan_to_num(-loss if targeted else loss, nan=-torch.inf)
        better = (hit & ~self.success) | ((hit == self.success) & (score > self.score))
        if self.passes == 1 or (final and not self.keep_best and iterate.restart == 0):
            better = torch.ones_like(better)
        self.x = torch.where(better.reshape(-1, *(1,) * (iterate.x.ndim - 1)), iterate.x, self.x)
        self.score = torch.where(better, score, self.score)
        self.success = torch.where(better, hit, self.success)
        self.prediction = torch.where(better, prediction, self.prediction)
        self.loss = torch.where(better, loss, self.loss)

    def result(self) -> Attacked:
        return Attacked(self.x, self.success, self.prediction, self.loss, self.first, self.passes)
