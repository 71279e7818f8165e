"""The template of the gradient attacks: start, step, project, with every iterate in the open."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.budget import Around, Budget
from worldline.attacks.losses import cross_entropy
from worldline.attacks.norms import Box, NormName
from worldline.attacks.record import Attacked, Iterate, Record
from worldline.errors import GradientWarning, UsageError
from worldline.inputs import labels_of, logits_of
from worldline.trace import Model, untouched

__all__ = ["Climb", "Descent", "Step", "gradient_problem", "told_elsewhere"]

OTHERWISE = (
    "Use Square (--attack square), which needs no gradient, or let it through: no torch.no_grad, "
    "detach, rounding or cast to integers in forward, and logits that do not saturate."
)
Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``step(point, gradient, height)`` → the next point; ``height`` (N,) is what is climbed."""


@dataclass(frozen=True)
class Climb:
    """One run of an attack: which samples, and what is climbed.

    Attributes:
        number: of the restart.
        rows: (n,) samples that it takes, or None for all.
        target: (n,) a class to reach for each of them while ``y`` stays the label, or None.
    """

    number: int
    rows: Tensor | None = None
    target: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Descent(ABC):
    """An attack by gradient steps inside a ball, as ``attack(model, x, y)``.

    Subclasses say how to step (:meth:`stepper`) and may say what is climbed (:meth:`loss_of`) and
    which runs there are (:meth:`runs`). Attributes are those of :class:`PGD`.
    """

    epsilon: float | Tensor
    norm: NormName = "linf"
    steps: int = 20
    random_start: bool = True
    restarts: int = 1
    targeted: bool = False
    keep: Literal["best", "last"] = "best"
    bounds: Box = (0.0, 1.0)
    mask: Tensor | None = None
    seed: int = 0
    callback: Callable[[Iterate], None] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        self.budget.radius  # noqa: B018  # whether there is one
        if self.steps < 1 or self.restarts < 1:
            raise UsageError(
                f"steps and restarts must be at least 1; got {self.steps} and {self.restarts}."
            )
        if self.keep not in ("best", "last"):
            raise UsageError(f"keep must be 'best' or 'last'; got {self.keep!r}.")

    def __call__(
        self,
        model: Model,
        x: Float[Tensor, "N ..."],
        y: Int[Tensor, " N"],
        *,
        start: Tensor | None = None,
    ) -> Attacked:
        """Attack each input.

        Args:
            model: returns logits (N, K).
            x: (N, …) inputs inside the bounds.
            y: (N,) labels, or targets.
            start: (N, …) where to start instead of the random or the clean point; projected first.

        A :class:`worldline.errors.GradientWarning` says where no gradient came at the start.
        """
        self.budget.check(x)
        budget = self.budget.on(x)
        y = labels_of(y, len(x))
        generator = torch.Generator().manual_seed(self.seed)
        record = Record(x, keep_best=self.keep == "best")
        everything = torch.arange(len(x), device=x.device)
        problem = ""
        with untouched(model), torch.enable_grad():
            for climb in self.runs(model, x, y, record):
                rows = everything if climb.rows is None else climb.rows
                clean, labels = (x, y) if climb.rows is None else (x[rows], y[rows])
                part = record if climb.rows is None else Record(clean, keep_best=record.keep_best)
                from_here = start if start is None or climb.rows is None else start[rows]
                around = (budget if climb.rows is None else budget.at(rows)).around(clean)
                point = around.project(self._start(around, from_here, generator))
                told = self._run(model, point, labels, climb, rows, self.stepper(around), part)
                problem = problem if climb.number else told
                if part is not record:
                    record.merge(rows, part)
        if problem:
            warnings.warn(
                f"{type(self).__name__} could not attack: {problem}. What it found wrong was wrong "
                f"at its start. {OTHERWISE}",
                GradientWarning,
                stacklevel=2,
            )
        return record.result()

    @property
    def budget(self) -> Budget:
        """How far it may go, and where."""
        return Budget(self.epsilon, self.norm, self.bounds, self.mask)

    def with_budget(self, budget: Budget) -> Descent:
        """The same attack within another budget."""
        return replace(self, **{"mask": None, **budget.given})

    def with_epsilon(self, epsilon: float | Tensor) -> Descent:
        """The same attack in another ball."""
        return self.with_budget(replace(self.budget, epsilon=epsilon))

    @abstractmethod
    def stepper(self, around: Around) -> Step:
        """The rule from one iterate to the next, for one run in the balls around its samples."""

    def runs(self, model: Model, x: Tensor, y: Tensor, record: Record) -> Iterator[Climb]:
        """The runs of the attack, one after the other."""
        yield from (Climb(number) for number in range(self.restarts))

    def loss_of(self, logits: Tensor, y: Tensor, climb: Climb) -> tuple[Tensor, bool]:
        """The loss of each sample, and whether it is to fall."""
        return cross_entropy(logits, y), self.targeted

    def _start(self, around: Around, start: Tensor | None, generator: torch.Generator) -> Tensor:
        if start is not None:
            return start.detach().clone()
        if self.random_start:
            return around.center + around.random(generator)
        return around.center.clone()

    def _run(
        self,
        model: Model,
        point: Tensor,
        y: Tensor,
        climb: Climb,
        rows: Tensor,
        step_on: Step,
        record: Record,
    ) -> str:
        """Climb, and say what was wrong with the gradient at the start."""
        problem = ""
        for step in range(self.steps + 1):
            final = step == self.steps
            with torch.set_grad_enabled(not final):
                point.requires_grad_(not final)
                logits = logits_of(model, point)
                if step == 0:
                    y = labels_of(y, len(y), classes=logits.shape[1])
                loss, falls = self.loss_of(logits, y, climb)
                height = -loss if falls else loss
                gradient = None if final else slope_of(height, point)
            if step == 0:
                problem = problem_of(gradient, len(y))
            point = point.detach()
            iterate = Iterate(climb.number, step, point, logits.detach(), loss.detach(), rows)
            record.add(iterate, y, targeted=self.targeted, lower=falls, final=final)
            if self.callback is not None:
                self.callback(iterate)
            if not final:
                slope = torch.zeros_like(point) if gradient is None else gradient
                point = step_on(point, slope, height.detach())
        return problem


def gradient_problem(model: Model, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> str:
    """Why no attack by gradients can see anything here, in words; empty where one can.

    Of the cross-entropy's gradient at the inputs: it does not come back (a quantised or compiled
    graph, ``torch.no_grad``, ``detach``, a cast to integers), or it is exactly 0 for all of them
    (rounding, a saturated output). A model with an attribute ``no_gradient`` says it itself. Cost:
    one forward and backward pass.

    >>> import torch, worldline as wl
    >>> x, y = torch.rand(3, 2), torch.tensor([0, 1, 1])
    >>> wl.attacks.gradient_problem(torch.nn.Linear(2, 2), x, y)
    ''
    >>> wl.attacks.gradient_problem(lambda x: x.detach(), x, y)
    "no gradient comes back from the model's output to its input"
    """
    if isinstance(told := getattr(model, "no_gradient", None), str):
        return told
    with untouched(model), torch.enable_grad():
        point = x.detach().clone().requires_grad_()
        return problem_of(slope_of(cross_entropy(logits_of(model, point), y), point), len(y))


@contextmanager
def told_elsewhere() -> Iterator[None]:
    """For attacks on few inputs within a result that says itself whether gradients come.

    >>> import torch, worldline as wl
    >>> x, y = torch.rand(2, 2), torch.tensor([0, 1])
    >>> with wl.attacks.told_elsewhere():
    ...     found = wl.attacks.PGD(epsilon=0.1, steps=1)(lambda x: x.detach(), x, y)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GradientWarning)
        yield


def slope_of(height: Tensor, point: Tensor) -> Tensor | None:
    """The gradient; None where the model hands none on, as after a comparison or a detach."""
    if not height.requires_grad:
        return None
    return torch.autograd.grad(height.sum(), point, allow_unused=True)[0]


def problem_of(gradient: Tensor | None, samples: int) -> str:
    if gradient is None:
        return "no gradient comes back from the model's output to its input"
    if not bool(gradient.any()):
        return f"the gradient is exactly 0 for all of {samples:,} inputs"
    return ""
