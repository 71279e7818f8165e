"""Accuracy under attack by ε, up to chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from worldline.attacks import (
    PGD,
    Descent,
    Iterate,
    NormName,
    Square,
    adversarial_twin,
    choices,
    named_norm,
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
STRIDE = 2
"""Steps after which the samples that are fooled leave."""


@dataclass(frozen=True)
class CurvePoint:
    """One ε of the curve.

    Attributes:
        epsilon: radius, in the units of the input.
        accuracy: share of samples still right under the attack.
        interval: of it, 95 %, over samples (Wilson 1927).
        noise_accuracy: share still right under noise of size ε.
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
    held: Bool[Tensor, " N"] | None = None,
    settings: Settings = DEFAULT,
) -> Curve:
    """Accuracy under an attack of growing radius.

    Args:
        model, x, y: as for the attack.
        attack: :class:`PGD`, :class:`APGD` or :class:`Square`; its ε is replaced, and a
            given step size scaled with it.
        epsilons: growing radii; default: 0, ¼, ½, 1, 1½ and 2 times the attack's ε, then doubled
            until the accuracy is at chance or the ball holds the whole range of inputs.
        held: which samples a stronger attack, with the same ε, could not fool: up to that ε they
            count as right and are not tried again.
        settings: batch size, progress, and the seed of the noise twins; the bounds are the
            attack's own.

    Returns:
        A :class:`Curve`. Accuracy 0 at some ε: every sample can be fooled there. Each point is an
        upper bound on the robust accuracy, and is measured on its own (but for ``held``): that it
        falls with ε is a check of the attack, not assumed. It ends where no output names a class
        any more.

    Raises:
        UsageError: an attack without ε, or radii that do not grow.
        ModelError: every output holds NaN.

    Cost: one attack for each radius, usually 6 to 9, on the samples that are right without it; PGD
        lets go of a sample within two steps of fooling it, which changes no accuracy.

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
    for number, point in enumerate(_points(model, x, y, attack, radii, held, settings)):
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
    held: Tensor | None,
    settings: Settings,
) -> Iterator[CurvePoint]:
    """One point after the other, as long as any output names a class."""
    generator = torch.Generator().manual_seed(settings.seed)
    labels, size, norm = y.cpu(), settings.batch_size, named_norm(attack.norm)
    clean = choices(predict(model, x, batch_size=size))
    for epsilon in radii:
        said = noisy = clean
        if epsilon:
            tried = clean == labels
            if held is not None and epsilon <= attack.epsilon:
                tried &= ~held.cpu()
            here = attack.with_epsilon(epsilon)
            batches = (it.split(size) for it in (x, y, clean, tried))
            with told_elsewhere():
                said = torch.cat([_answers(here, model, *it) for it in zip(*batches, strict=True)])
            noise = norm.direction(torch.randn(x.shape, generator=generator)).to(x)
            noise = (x + epsilon * noise).clamp(*attack.bounds)
            noisy = choices(predict(model, noise, batch_size=size))
        known = (said >= 0) & (noisy >= 0)
        count = int(known.sum())
        if not count:
            return
        right, still = (int((it[known] == labels[known]).sum()) for it in (said, noisy))
        yield CurvePoint(
            epsilon, right / count, wilson(right, count), still / count, len(x) - count
        )


def _answers(
    attack: Descent | Square, model: Model, x: Tensor, y: Tensor, clean: Tensor, tried: Tensor
) -> Tensor:
    """(N,) what the model takes the attack's twins for, on the CPU; ``clean`` where none is tried.

    All but the plain PGD are tried on every sample.
    """
    if type(attack) is not PGD or attack.targeted or attack.restarts > 1 or attack.keep == "last":
        said = choices(predict(model, adversarial_twin(attack, model, x, y), batch_size=len(x)))
        return torch.where(tried | (clean != y.cpu()), said, clean)
    size = 2.5 * attack.epsilon / attack.steps if attack.step_size is None else attack.step_size
    found, point = clean.clone(), x
    if attack.random_start:  # as PGD itself draws it
        generator = torch.Generator().manual_seed(attack.seed)
        point = x + named_norm(attack.norm).random(x, attack.epsilon, generator)
    rows = tried.nonzero().flatten().to(x.device)
    point = point[rows]
    last: list[Tensor] = []

    def keep(iterate: Iterate) -> None:
        last[:] = [iterate.x]

    for done in range(0, attack.steps if len(rows) else 0, STRIDE):
        steps = min(STRIDE, attack.steps - done)
        part = replace(attack, steps=steps, step_size=size, callback=keep)
        some = part(model, x[rows], y[rows], start=point)
        found[rows.cpu()] = some.prediction.cpu()
        rows, point = rows[~some.success], last[0][~some.success]
        if not len(rows):
            break
    return found


def _grid(epsilon: float, largest: float) -> tuple[float, ...]:
    unit = epsilon or largest / 8
    inner = [unit * factor for factor in GRID]
    while inner[-1] < largest:
        inner.append(2 * inner[-1])
    return (*tuple(value for value in inner if value < largest), largest)
