"""From a configuration to what a run works with: the device, the attack."""

from __future__ import annotations

import platform
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from worldline import __version__
from worldline.attacks import FGSM, PGD, Attack, Budget, Square, strong_attack
from worldline.errors import BoundsError, ModelError, UsageError
from worldline.inputs import Data, ends_in_sigmoid, in_dtype_of, labels_of, logits_of
from worldline.loading import import_object, load_data, load_model
from worldline.loading.imports import user_code
from worldline.runs.budgets import open_budget, with_own_bounds
from worldline.runs.config import AUTO, AttackConfig, DataConfig, ModelConfig, ReachConfig
from worldline.runs.fitting import channels_last, fitted, is_lazy, note_of, ready
from worldline.settings import Progress
from worldline.trace import untouched

__all__ = [
    "Opened",
    "bounded",
    "channels_last",
    "fitted",
    "make_attack",
    "note_of",
    "open_data",
    "open_device",
    "open_model",
    "open_one",
    "prepare_inputs",
    "refuse_probability",
    "versions",
]


ONE_LOGIT = 2  # classes that are told by one number
WIDEST = (-1e37, 1e37)  # what float32 holds, with room for a difference
OF_SHAPES = (
    r"(?i)^(RuntimeError|ValueError|AssertionError|IndexError|LayerError|ShapeError):"
    r".*(shape|size|dimension|dims?\b|channel|broadcast|unpack)"
)
"""Errors that come of inputs in another shape than the model takes, in torch's words."""


@dataclass(frozen=True)
class Opened:
    """What a run on one model works with; inputs and labels are on the device, ``reference`` was
    set apart.
    """

    device: torch.device
    data: Data
    model: nn.Module
    x: Tensor
    y: Tensor
    reference: tuple[Tensor, Tensor]
    budget: Budget | None = None  # of a run that has one


def open_one(config: ModelConfig, progress: Progress) -> Opened:
    """Device, data and model of a configuration, tried together once."""
    device = open_device(config.device)
    data = open_data(config)
    model = open_model(config.model, config, device, progress, data, weights=config.weights)
    data = fitted(model, data)
    x, y, reference = prepare_inputs(model, data, config.samples, device)
    if not isinstance(config, ReachConfig):
        return Opened(device, data, model, x, y, reference)
    budget, said = open_budget(config, data, x)
    data = replace(data, conversions=(*data.conversions, *said))
    return Opened(device, data, model, x, y, reference, budget)


def open_data(config: DataConfig) -> Data:
    """The data that a configuration names, or was handed."""
    if config.handed.data is not None:
        for name in ("image_size", "x", "y"):
            _refuse(config, name, "data")
        return cast(Data, config.handed.data)
    load = partial(load_data, config.data, image_size=config.image_size, x=config.x, y=config.y)
    return bounded(config, load)


def bounded(config: DataConfig, load: Callable[..., Data]) -> Data:
    """Data inside the bounds that a configuration says, or inside their own.

    Args:
        config: says the bounds.
        load: takes ``bounds``.
    """
    if config.bounds != AUTO:
        return load(bounds=config.bounds)
    try:
        data = load(bounds=(0.0, 1.0))
    except BoundsError:
        data = load(bounds=WIDEST)
    return with_own_bounds(data, by_column=isinstance(config, ReachConfig))


def open_model(
    spec: str,
    config: DataConfig,
    device: torch.device,
    progress: Progress,
    data: Data,
    *,
    weights: str = "",
) -> nn.Module:
    """A model by name, on the device.

    One that was handed over is taken as it is where it is there already, else copied; of a lazy one
    a copy gets its shapes from the data.
    """
    if spec in config.handed.models:
        _refuse(config, "weights", "the model")
        handed: nn.Module = config.handed.models[spec]
        if not is_lazy(handed):
            return _on(handed, device)
        return ready(handed, spec, data.x, config.seed).to(device)
    model = load_model(
        spec,
        weights or None,
        unsafe_pickle=config.unsafe_pickle,
        bounds=data.bounds,
        sample=tuple(data.x.shape[1:]),
        progress=progress,
    )
    return (ready(model, spec, data.x, config.seed) if is_lazy(model) else model).to(device)


def _refuse(config: DataConfig, name: str, what: str) -> None:
    if getattr(config, name, None):
        raise UsageError(f"{name} is for {what} by name; {what} was handed over as it is.")


def _on(model: nn.Module, device: torch.device) -> nn.Module:
    """The user's own model is not moved."""
    tensors = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()
    return model if {it.device for it in tensors} <= {device} else deepcopy(model).to(device)


def open_device(name: str) -> torch.device:
    """The device by its name; UsageError if it cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name!r} cannot be used here: {reason}") from error
    return device


def make_attack(config: AttackConfig, *, classes: int = 2, budget: Budget | None = None) -> Attack:
    """PGD, FGSM, the strong default for so many classes, or the user's callable."""
    if config.handed.attack is not None:
        return cast(Attack, config.handed.attack)
    ball = config.ball if budget is None else budget.given
    if config.attack == "fgsm":
        return FGSM(**ball)
    if config.attack == "pgd":
        return PGD(**ball, steps=config.steps, seed=config.seed)
    if config.attack == "square":
        return Square(**ball, seed=config.seed)
    if config.attack == "strong":
        size = config.batch_size
        return strong_attack(
            **ball, classes=classes, steps=config.steps, seed=config.seed, batch_size=size
        )
    attack = import_object(config.attack)
    if not callable(attack):
        raise ModelError(
            f"--attack {config.attack} is a {type(attack).__name__}, not a callable (model, x, y)."
        )
    return attack


def prepare_inputs(
    model: nn.Module, data: Data, samples: int, device: torch.device
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Inputs, labels and reference on the device in the model's dtype, tried on the model once."""
    x = in_dtype_of(model, data.x[:samples]).to(device)
    y = data.y[:samples].to(device)
    reference_x = in_dtype_of(model, data.reference_x).to(device)
    reference_y = data.reference_y.to(device)
    tried = f"The model, on inputs of shape {tuple(x[:2].shape)} {x.dtype},"
    advice = "Check that the data's shape is what the model expects."
    with untouched(model), torch.no_grad(), user_code(tried, advice, fits=OF_SHAPES):
        logits = logits_of(model, x[:2])
    classes = logits.shape[1]
    if classes == ONE_LOGIT:
        refuse_probability(model, x[:2])
    y, reference_y = (labels_of(it, len(it), classes=classes) for it in (y, reference_y))
    return x, y, (reference_x, reference_y)


def refuse_probability(model: nn.Module, x: Tensor) -> None:
    """Refuse a model whose one output is no logit; ModelError."""
    if ends_in_sigmoid(model, x):
        raise ModelError(
            "The model gives one probability a sample: it ends in a sigmoid. One output is taken "
            "for a logit, whose sign decides. Leave the sigmoid out, as BCEWithLogitsLoss wants it."
        )


def versions(device: torch.device) -> dict[str, str]:
    """What a run was made with."""
    return {
        "worldline": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }
