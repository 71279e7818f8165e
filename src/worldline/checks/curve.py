"""Accuracy under attack by ε, up to chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import (
    Descent,
    NormName,
    Square,
    adversarial_twin,
    choices,
    noise_twin,
    predict,
    told_elsewhere,
)
from worldline.checks.found import whole_range
from worldline.errors import ModelError, UsageError
from worldline.inputs import check_settings
from worldline.settings import DEFAULT, Settings
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
        undefined: samples that were left out here, as an output holds NaN.
    """

    epsilon: float
    accuracy: float
    interval: tuple[float, float]
    noise_accuracy: float
    undefined: int = 0


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
    attack: Descent | Square,
    epsilons: tuple[float, ...] | None = None,
    settings: Settings = DEFAULT,
) -> Curve:
    """Accuracy under an attack of growing radius.

    Args:
        model, x, y: as for the attack.
        attack: :class:`PGD`, :class:`APGD` or :class:`Square`; its ε is replaced, and a
            given step size scaled with it.
        epsilons: growing radii; default: 0, ¼, ½, 1, 1½ and 2 times the attack's ε, then doubled
            until the accuracy is at chance or the ball holds the whole range of inputs.
        settings: batch size, progress, and the seed of the noise twins; the bounds are the
            attack's own.

    Returns:
        A :class:`Curve`. Accuracy 0 at some ε: every sample can be fooled there. Each point is an
        upper bound on the robust accuracy, and is measured on its own: that it falls with ε is a
        check of the attack, not assumed. It ends where no output names a class any more.

    Raises:
        UsageError: an attack without ε, or radii that do not grow.
        ModelError: every output holds NaN.

    Cost: one attack for each radius, usually 6 to 9.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(2, 2), torch.rand(40, 2)
    >>> y = wl.attacks.predict(model, x).argmax(1)
    >>> curve = wl.checks.accuracy_curve(model, x, y, attack=wl.attacks.PGD(epsilon=0.2, steps=3))
    >>> curve.points[0].accuracy, curve.points[-1].accuracy <= curve.chance
    (1.0, True)
    """
    check_settings(settings)
    if not isinstance(attack, Descent | Square):
        raise UsageError(
            "A curve needs an attack whose ε can be set (PGD, APGD, Square); got "
            f"{getattr(attack, '__name__', type(attack).__name__)}."
        )
    if epsilons is not None and (
        not epsilons or list(epsilons) != sorted(epsilons) or epsilons[0] < 0
    ):
        raise UsageError(f"epsilons must grow from at least 0; got {epsilons}.")
    effort = attack.queries if isinstance(attack, Square) else attack.steps
    chance = float(y.unique(return_counts=True)[1].max()) / len(y)
    largest = whole_range(attack.norm, attack.bounds, x)
    radii = epsilons if epsilons is not None else _grid(attack.epsilon, largest)
    points: list[CurvePoint] = []
    for number, point in enumerate(_points(model, x, y, attack, radii, settings)):
        settings.progress("Measuring the curve", number, len(radii))
        points.append(point)
        if epsilons is None and point.epsilon >= attack.epsilon and point.accuracy <= chance:
            break
    settings.progress("Measuring the curve", len(radii), len(radii))
    if not points:
        raise ModelError(
            f"The outputs of all {len(x)} samples hold NaN, so that there is no accuracy. Look for "
            "a logarithm, a division or an overflow in the model."
        )
    return Curve(attack.norm, f"{type(attack).__name__}-{effort}", len(x), chance, (*points,))


def _points(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Descent | Square,
    radii: tuple[float, ...],
    settings: Settings,
) -> Iterator[CurvePoint]:
    """One point after the other, as long as any output names a class."""
    generator = torch.Generator().manual_seed(settings.seed)
    labels, size = y.cpu(), settings.batch_size
    for epsilon in radii:
        twins = x
        if epsilon:
            here = attack.with_epsilon(epsilon)
            batches = zip(x.split(size), y.split(size), strict=True)
            with told_elsewhere():
                twins = torch.cat([adversarial_twin(here, model, *it) for it in batches])
        noise = noise_twin(x, twins, bounds=attack.bounds, generator=generator)
        said, noisy = (choices(predict(model, twin, batch_size=size)) for twin in (twins, noise))
        known = (said >= 0) & (noisy >= 0)
        count = int(known.sum())
        if not count:
            return
        right, still = (int((it[known] == labels[known]).sum()) for it in (said, noisy))
        yield CurvePoint(
            epsilon, right / count, wilson(right, count), still / count, len(x) - count
        )


def _grid(epsilon: float, largest: float) -> tuple[float, ...]:
    unit = epsilon or largest / 8
    inner = [unit * factor for factor in GRID]
    while inner[-1] < largest:
        inner.append(2 * inner[-1])
    return (*tuple(value for value in inner if value < largest), largest)
