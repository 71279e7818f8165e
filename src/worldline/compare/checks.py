"""Refuse what cannot be compared, in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from worldline.attacks import OTHERWISE, gradient_problem
from worldline.compare.models import Failure, Loader, Models
from worldline.errors import LabelError, ModelError, ShapeError, UsageError
from worldline.inputs import check_inputs, check_settings
from worldline.settings import Bounds, Settings
from worldline.trace import Model

__all__ = [
    "FEWEST",
    "check_constant",
    "check_given",
    "check_gradient",
    "check_label_order",
    "check_left",
    "check_models",
    "check_samples",
]

FEWEST = 30
"""Samples under which no score of transfer is given."""


def check_given(models: Models, x: Tensor, settings: Settings) -> None:
    """Refuse what no comparison can start from, before anything is opened."""
    check_models(models)
    check_settings(settings)
    check_samples(x, settings.bounds)


def check_models(models: Models) -> None:
    """Refuse what is no mapping of names to models, and too few of them."""
    if not isinstance(models, Mapping) or not all(isinstance(name, str) for name in models):
        raise UsageError(
            f"models must be a mapping of names to models; got {type(models).__name__}."
        )
    if len(models) < 2:
        raise UsageError(f"At least 2 models are needed; got {', '.join(models) or 'none'}.")
    for name, entry in models.items():
        if not callable(entry) and not isinstance(entry, Loader):
            raise UsageError(
                f"Model {name!r} must be callable, or a wl.compare.Loader of something callable; "
                f"got {type(entry).__name__}."
            )


def check_samples(x: Tensor, bounds: Bounds) -> None:
    """Refuse bad inputs, and too few of them.

    >>> import torch, worldline as wl
    >>> wl.compare.check_samples(torch.rand(40, 8), (0.0, 1.0))
    """
    check_inputs(x, bounds)
    if len(x) < FEWEST:
        raise ShapeError(
            f"At least {FEWEST} samples are needed to compare models; got {len(x)}. "
            "Fewer give a ranking by chance."
        )


def check_left(left: int, failures: Mapping[str, Failure]) -> None:
    """Refuse to go on with fewer than two models, and say how the others were lost."""
    if left < 2:
        reasons = " ".join(f"{failure.model!r}: {failure.reason}" for failure in failures.values())
        raise ModelError(f"Fewer than two models are left to compare. {reasons}".rstrip())


def check_constant(name: str, scores: Tensor) -> None:
    """Refuse a model that answers every input alike."""
    if float((scores - scores[:1]).abs().max()) == 0:
        raise ModelError(
            f"Model {name!r} gives the same answer to all {len(scores)} inputs; "
            "check its weights and preprocessing."
        )


def check_gradient(model: Model, x: Tensor, y: Tensor) -> None:
    """Refuse a gradient attack on a model that hands no gradient on: it would stay where it is."""
    problem = gradient_problem(model, x[:32], y[:32])
    if problem:
        raise ModelError(f"It can be a target, but not be attacked: {problem}. {OTHERWISE}")


def check_label_order(classes: Mapping[str, Tensor], y: Tensor | None, count: int) -> None:
    """Refuse models whose classes are in another order than the labels', or the first model's.

    Suspected where fewer than half as many answers agree as would if the classes were renamed one
    by one. Without labels, the first model's classes stand for them.
    """
    names = list(classes)
    goal = y.cpu() if y is not None else classes[names[0]]
    for name in names if y is not None else names[1:]:
        agree = float((classes[name] == goal).float().mean())
        table = torch.zeros(count, count).index_put_(
            (goal, classes[name]), torch.ones(len(goal)), accumulate=True
        )  # (goal, answer)
        best = table.argmax(1)
        renamed = float(table.max(1).values.sum()) / len(goal)
        if agree < 0.5 * renamed and renamed > 0.6 and len(best.unique()) == count:
            than = "the labels" if y is not None else f"model {names[0]!r}"
            raise LabelError(
                f"Model {name!r} agrees with {than} on {agree:.0%} of the samples, and on "
                f"{renamed:.0%} once its classes are renamed: they are in another order. "
                "Put all models' outputs, and the labels, in one order."
            )
