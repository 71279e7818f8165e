"""Auto-PGD: projected gradient descent with momentum that chooses its step size by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.attacks.descent import Climb, Descent, Step
from worldline.attacks.losses import LossName, check_loss, cross_entropy, dlr, targeted_dlr
from worldline.attacks.norms import Norm, named_norm
from worldline.attacks.record import Record, by_sample
from worldline.errors import ModelError, UsageError
from worldline.inputs import labels_of, logits_of
from worldline.trace import Model

__all__ = ["APGD", "checkpoints"]

MOMENTUM = 0.75


@dataclass(frozen=True, kw_only=True)
class APGD(Descent):
    """Auto-PGD (Croce and Hein 2020, algorithm 1), as ``attack(model, x, y)``: steps adapt.

    z = project(x⁽ᵏ⁾ + η direction(∇f)), x⁽ᵏ⁺¹⁾ = project(x⁽ᵏ⁾ + ¾ (z − x⁽ᵏ⁾) + ¼ (x⁽ᵏ⁾ − x⁽ᵏ⁻¹⁾)),
    from η = 2ε. At each of the :func:`checkpoints` a sample halves η and goes back to its best
    point if f rose in at most ``rho`` of the steps since the last one, or if neither η nor its best
    f has changed since then.

    Attributes:
        epsilon, norm, keep, bounds, seed, callback: as in :class:`PGD`; as there, success is a
            lower bound on how often the model can be fooled.
        steps: number of gradient steps.
        loss: ``ce``, the cross-entropy, or ``dlr``, the difference of logits ratio, which no
            scaling of the logits can saturate (at least 3 classes; with ``targets`` at least 4).
        restarts: how often to start again; later runs take only the samples that still hold.
        targets: 0, or how many of the likeliest other classes to aim at one after the other
            (AutoAttack's targeted APGD: ``loss="dlr", targets=9``); at most as many as there are.
        targeted: ``y`` are the classes to reach; only with ``ce``.
        rho: share of steps that must rise for η to stay.

    Errors: as :class:`PGD`; ModelError where the model has too few classes for the loss.
    Cost: as :class:`PGD`, and a copy of the best point and of its gradient.
    Source: arXiv:2003.01690; where the paper says "less than ρ" we follow its code, "at most ρ". A
        run's first random start is uniform in the ball.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
    >>> found = wl.attacks.APGD(epsilon=0.3, steps=10)(model, x, y)
    >>> found.x, found.success
    (tensor([[0.3000, 0.7000]]), tensor([True]))
    """

    steps: int = 100
    loss: LossName = "ce"
    targets: int = 0
    rho: float = 0.75

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        check_loss(self.loss)
        if not 0 < self.rho < 1:
            raise UsageError(f"rho is a share of steps in (0, 1); got {self.rho}.")
        if self.targets < 0:
            raise UsageError(
                f"targets is how many classes to aim at, 0 for none; got {self.targets}."
            )
        if self.targeted and (self.targets or self.loss != "ce"):
            raise UsageError(
                "targeted=True aims at the given y by cross-entropy. For the DLR loss give the "
                "labels as y, and how many classes to aim at as targets=."
            )

    def stepper(self, clean: Tensor, project: Callable[[Tensor], Tensor]) -> Step:  # noqa: D102
        return _Adaptive(self, clean, project)

    def loss_of(self, logits: Tensor, y: Tensor, climb: Climb) -> tuple[Tensor, bool]:  # noqa: D102
        if climb.target is not None:
            if self.loss == "dlr":
                return targeted_dlr(logits, y, climb.target), False
            return cross_entropy(logits, climb.target), True
        return (dlr if self.loss == "dlr" else cross_entropy)(logits, y), self.targeted

    def runs(self, model: Model, x: Tensor, y: Tensor, record: Record) -> Iterator[Climb]:
        """Restarts, and within each the classes aimed at; later ones take what still holds."""
        aims = self._aims(model, x, y) if self.targets else None
        each = 1 if aims is None else aims.shape[1]
        for number in range(self.restarts * each):
            rows = (
                (~record.success).nonzero().flatten()
                if number
                else torch.arange(len(x), device=x.device)
            )
            if len(rows) == 0:
                return
            target = None if aims is None else aims[rows, number % each]
            yield Climb(number, rows if number else None, target)

    def _aims(self, model: Model, x: Tensor, y: Tensor) -> Tensor:
        """(N, targets) the likeliest classes of each input other than its label."""
        with torch.no_grad():
            logits = logits_of(model, x).detach().clone()
        y = labels_of(y, len(y), classes=logits.shape[1])
        if self.loss == "dlr" and logits.shape[1] < 4:
            raise ModelError(
                "The targeted DLR loss needs at least 4 classes; the model has "
                f"{logits.shape[1]}. Use loss='ce'."
            )
        logits.scatter_(1, y[:, None], -torch.inf)
        return logits.argsort(1, descending=True)[:, : min(self.targets, logits.shape[1] - 1)]


def checkpoints(steps: int) -> tuple[int, ...]:
    """Iterations at which APGD looks back.

    w_j = ⌈p_j · steps⌉, p₁ = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06).

    >>> from worldline.attacks.apgd import checkpoints
    >>> checkpoints(100)
    (22, 41, 57, 70, 80, 87, 93, 99)
    """
    before, here = 0, 22  # in hundredths, so that no rounding moves a checkpoint
    found = []
    while here <= 100:
        found.append(-(-here * steps // 100))
        before, here = here, here + max(here - before - 3, 6)
    return tuple(dict.fromkeys(found))


class _Adaptive:
    """Algorithm 1 for one run: every sample with its own step size."""

    def __init__(self, attack: APGD, clean: Tensor, project: Callable[[Tensor], Tensor]) -> None:
        self.norm: Norm = named_norm(attack.norm)
        self.project, self.rho = project, attack.rho
        self.checkpoints = frozenset(checkpoints(attack.steps))
        self.size = torch.full(
            (len(clean),), 2 * attack.epsilon, dtype=clean.dtype, device=clean.device
        )
        self.taken = self.since = 0  # steps in all, and since the last checkpoint
        self.rises = torch.zeros(len(clean), dtype=clean.dtype, device=clean.device)
        self.kept_size = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)

    def __call__(self, point: Tensor, gradient: Tensor, height: Tensor) -> Tensor:
        if self.taken == 0:
            self.last = point
            self.best, self.best_gradient, self.best_height = point, gradient, height
            self.height_then = height
        else:
            point, gradient = self._look_back(point, gradient, height)
        self.height = height
        step = self.norm.direction(gradient).mul_(by_sample(self.size, point)).add_(point)
        moved = self.project(step)
        if self.taken:
            moved = (
                moved.sub_(point)
                .mul_(MOMENTUM)
                .add_(point)
                .add_(point - self.last, alpha=1 - MOMENTUM)
            )
            moved = self.project(moved)
        self.last = point
        self.taken += 1
        return moved

    def _look_back(self, point: Tensor, gradient: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
        """Note the newest iterate; at a checkpoint halve steps, and go back to the best point."""
        self.since += 1
        self.rises += height > self.height
        better = height > self.best_height
        chosen = by_sample(better, point)
        self.best = torch.where(chosen, point, self.best)
        self.best_gradient = torch.where(chosen, gradient, self.best_gradient)
        self.best_height = torch.where(better, height, self.best_height)
        if self.taken not in self.checkpoints:
            return point, gradient
        stuck = self.kept_size & (self.height_then >= self.best_height)
        halve = (self.rises <= self.rho * self.since) | stuck
        self.size = torch.where(halve, self.size / 2, self.size)
        self.kept_size, self.height_then = ~halve, self.best_height
        self.rises, self.since = torch.zeros_like(self.rises), 0
        back = by_sample(halve, point)
        return torch.where(back, self.best, point), torch.where(back, self.best_gradient, gradient)
