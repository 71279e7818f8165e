"""Accuracy under attack by ε, up to chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import Descent, NormName, adversarial_twin, noise_twin, predict
from worldline.errors import UsageError
from worldline.statistics import wilson
from worldline.trace import Model

__all__ = ["Curve", "CurvePoint", "accuracy_curve"]

GRID = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Of the attack's ε; from there it doubles."""


@dataclass(frozen=True)
class CurvePoint:
    """One ε of the curve.

    Attributes:
        epsilon: radius, in the units of the input.
        accuracy: share of samples still right under the attack.
        interval: of it, 95 %, over samples (Wilson 1927).
        noise_accuracy: share still right under noise of the same size.
    """

    epsilon: float
    accuracy: float
    interval: tuple[float, float]
    noise_accuracy: float


@dataclass(frozen=True)
class Curve:
    """Accuracy by ε: an upper bound on robustness at each, as a stronger attack may find more.

    Attributes:
        norm: of the ball.
        attack: what was run at each ε, in words.
        samples: how many.
        chance: the share of the commonest label, what a constant answer gets.
        points: by growing ε, the first at 0.
    """

    norm: NormName
    attack: str
    samples: int
    chance: float
    points: tuple[CurvePoint, ...]


def accuracy_curve(
    model: Model,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    attack: Descent,
    epsilons: tuple[float, ...] | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> Curve:
    """Accuracy under an attack of growing radius.

    Args:
        model, x, y: as for the attack.
        attack: :class:`PGD`, :class:`APGD` or another :class:`Descent`; its ε is replaced, and a
            given step size scaled with it.
        epsilons: growing radii; default: 0, ¼, ½, 1, 1½ and 2 times the attack's ε, then doubled
            until the accuracy is at chance or the ball holds the whole range of inputs.
        batch_size: inputs in one pass.
        seed: of the noise twins.

    Returns:
        A :class:`Curve`. Accuracy 0 at some ε: every sample can be fooled there. Each point is an
        upper bound on the
        robust accuracy, and is measured on its own: that it falls with ε is a check of the attack,
            not assumed.

    Raises:
        UsageError: an attack without ε, or radii that do not grow.

    Cost: one attack for each radius, usually 6 to 9.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(2, 2), torch.rand(40, 2)
    >>> y = wl.attacks.predict(model, x).argmax(1)
    >>> curve = wl.checks.accuracy_curve(model, x, y, attack=wl.attacks.PGD(epsilon=0.2, steps=3))
    >>> curve.points[0].accuracy, curve.points[-1].accuracy <= curve.chance
    (1.0, True)
    """
    if not isinstance(attack, Descent):
        raise UsageError(
            f"A curve needs an attack whose ε can be set (PGD, APGD); got "
            f"{getattr(attack, '__name__', type(attack).__name__)}."
        )
    if epsilons is not None and (
        not epsilons or list(epsilons) != sorted(epsilons) or epsilons[0] < 0
    ):
        raise UsageError(f"epsilons must grow from at least 0; got {epsilons}.")
    labels = y.cpu()
    chance = float(labels.unique(return_counts=True)[1].max()) / len(labels)
    largest = _whole_range(attack, x)
    generator = torch.Generator().manual_seed(seed)
    points: list[CurvePoint] = []
    for epsilon in epsilons if epsilons is not None else _grid(attack.epsilon, largest):
        twins = _attacked(model, x, y, attack, epsilon, batch_size) if epsilon else x
        noise = noise_twin(x, twins, bounds=attack.bounds, generator=generator)
        right, noisy = (
            int((predict(model, twin, batch_size=batch_size).argmax(1) == labels).sum())
            for twin in (twins, noise)
        )
        points.append(CurvePoint(epsilon, right / len(x), wilson(right, len(x)), noisy / len(x)))
        if epsilons is None and epsilon >= attack.epsilon and right / len(x) <= chance:
            break
    name = f"{type(attack).__name__}-{attack.steps}"
    return Curve(attack.norm, name, len(x), chance, tuple(points))


def _attacked(
    model: Model, x: Tensor, y: Tensor, attack: Descent, epsilon: float, batch_size: int
) -> Tensor:
    here = attack.with_epsilon(epsilon)
    batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
    return torch.cat([adversarial_twin(here, model, *batch) for batch in batches])


def _whole_range(attack: Descent, x: Tensor) -> float:
    """The radius from which the ball holds every legal input."""
    width = attack.bounds[1] - attack.bounds[0]
    return width * math.sqrt(x[0].numel()) if attack.norm == "l2" else width


def _grid(epsilon: float, largest: float) -> tuple[float, ...]:
    unit = epsilon or largest / 8
    inner = [unit * factor for factor in GRID]
    while inner[-1] < largest:
        inner.append(2 * inner[-1])
    return (*tuple(value for value in inner if value < largest), largest)
