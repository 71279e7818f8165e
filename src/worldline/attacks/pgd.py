"""Projected gradient descent and its one-step case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from worldline.attacks.budget import Around, Budget
from worldline.attacks.descent import Descent, Step
from worldline.attacks.norms import Box, NormName
from worldline.attacks.record import Iterate
from worldline.errors import UsageError

__all__ = ["FGSM", "PGD"]


@dataclass(frozen=True, kw_only=True)
class PGD(Descent):
    """Projected gradient descent on the cross-entropy, as ``attack(model, x, y)``.

    x ← project(x + step_size · direction(∇ₓ CE)), direction = sign for L∞ and g/|g| for L2;
    targeted, the sign turns (Madry et al. 2018).

    Its success is a lower bound on how often the model can be fooled, so the accuracy that is left
    is an upper bound on the model's robustness.

    Attributes:
        epsilon: radius of the ball, in the units of the input (pixel units); or a tensor of sizes
            by feature (it broadcasts to one input) or by sample ((N,) or (N, 1, …)), see
            :class:`Budget`.
        norm: ``linf`` or ``l2``.
        steps: number of gradient steps, at least 1.
        step_size: in the units of the input (of ``epsilon``, where that is a tensor); default
            2.5 · epsilon / steps.
        random_start: start uniformly in the ball instead of at the input.
        restarts: how often to start again; each sample keeps its best.
        targeted: ``y`` are the classes to reach.
        keep: ``best``: of all iterates, a successful one before others and then the one of highest
            loss (lowest, targeted); ``last``: the final iterate.
        bounds: lowest and highest legal value of the input, two numbers or two tensors by feature.
        mask: true where an entry may change, of a shape that broadcasts to x; default: everywhere.
        seed: of the random starts; the global random state is not used.
        callback: called with every :class:`Iterate`, the final one included.

    Errors: UsageError for impossible options; ShapeError, BoundsError, LabelError for x and y that
        do not fit.
    Cost: ``restarts`` × (``steps`` forward and backward passes for the input alone, and one forward
        pass); memory of one backward pass. The model is left bit for bit as it was.
    Source: arXiv:1706.06083.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
    >>> found = wl.attacks.PGD(epsilon=0.3, steps=5)(model, x, y)
    >>> found.x, found.success
    (tensor([[0.3000, 0.7000]]), tensor([True]))
    """

    step_size: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        if self.step_size is not None and not self.step_size > 0:
            raise UsageError(f"step_size must be positive; got {self.step_size}.")

    def with_budget(self, budget: Budget) -> PGD:
        """The same attack within another budget; a given step size grows with it."""
        size, before = self.step_size, self.budget.radius
        if size is not None and before:
            size *= budget.radius / before
        return replace(self, **{"mask": None, **budget.given}, step_size=size)

    def stepper(self, around: Around) -> Step:  # noqa: D102
        direction, project = around.direction, around.project
        size = self.step_size if self.step_size is not None else 2.5 * around.radius / self.steps
        return lambda point, gradient, _height: project(point.add_(direction(gradient), alpha=size))


class FGSM(PGD):
    """Fast gradient sign method: one step of the whole radius from the input itself.

    x + ε · direction(∇ₓ CE), clipped to the bounds (Goodfellow et al. 2015); attributes as
    :class:`PGD`.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> wl.attacks.FGSM(epsilon=0.25)(model, torch.tensor([[0.6, 0.4]]), torch.tensor([0])).x
    tensor([[0.3500, 0.6500]])
    """

    def __init__(
        self,
        *,
        epsilon: float | Tensor,
        norm: NormName = "linf",
        targeted: bool = False,
        bounds: Box = (0.0, 1.0),
        mask: Tensor | None = None,
        callback: Callable[[Iterate], None] | None = None,
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            norm=norm,
            steps=1,
            step_size=Budget(epsilon).radius or None,
            random_start=False,
            targeted=targeted,
            keep="last",
            bounds=bounds,
            mask=mask,
            callback=callback,
        )

    def with_budget(self, budget: Budget) -> PGD:
        """The same attack within another budget."""
        return FGSM(**budget.given, targeted=self.targeted, callback=self.callback)
