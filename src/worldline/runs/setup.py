"""From a configuration to what a run works with: the device, the attack."""

from __future__ import annotations

import platform

import numpy as np
import torch

from worldline import __version__
from worldline.attacks import FGSM, PGD, Attack
from worldline.errors import ModelError, UsageError
from worldline.loading import import_object
from worldline.runs.config import RunConfig

__all__ = ["make_attack", "open_device", "versions"]


def open_device(name: str) -> torch.device:
    """The device by its name; UsageError if it cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name!r} cannot be used here: {reason}") from error
    return device


def make_attack(config: RunConfig) -> Attack:
    """PGD, FGSM, or the user's callable."""
    if config.attack == "pgd":
        return PGD(
            epsilon=config.epsilon,
            norm=config.norm,
            steps=config.steps,
            bounds=config.bounds,
            seed=config.seed,
        )
    if config.attack == "fgsm":
        return FGSM(epsilon=config.epsilon, norm=config.norm, bounds=config.bounds)
    attack = import_object(config.attack)
    if not callable(attack):
        raise ModelError(f"--attack {config.attack} is a {type(attack).__name__}, not a callable (model, x, y).")
    return attack


def versions(device: torch.device) -> dict[str, str]:
    """What a run was made with."""
    return {
        "worldline": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }
