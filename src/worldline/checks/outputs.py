"""Checks of what a model returns and of its gradients; they need no attack."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.attacks import predict
from worldline.checks.check import Check, judge
from worldline.inputs import logits_of
from worldline.trace import Model, untouched

__all__ = ["chance", "deterministic", "gradient", "logits"]


def deterministic(model: Model, x: Tensor) -> Check:
    """Five passes over the same inputs."""
    with untouched(model), torch.no_grad():
        outputs = torch.stack([logits_of(model, x.clone()) for _ in range(5)]).double()
    spread = float((outputs.amax(0) - outputs.amin(0)).max())
    scale = max(1.0, float(outputs.abs().max()))
    limit = 1e-4 * scale if scale < torch.inf else 1e-4
    words = (
        f"Five passes over the same inputs agree to {spread:.2g}.",
        f"Five passes over the same inputs differ by up to {spread:.2g}: the model is random at "
        f"test time. A single "
        "gradient misleads the attack; average it over passes (expectation over transformations).",
    )
    return judge(
        "deterministic",
        spread,
        limit,
        passed=spread <= limit,
        words=words,
        source="Croce and Hein 2020",
    )


def logits(model: Model, x: Tensor) -> Check:
    """Rows that sum to one are probabilities."""
    output = predict(model, x.clone()).double()
    off = float((output.sum(1) - 1).abs().max())
    probabilities = off < 1e-3 and bool((output >= 0).all())
    words = (
        "The outputs are logits: their rows do not sum to one.",
        f"The outputs look like probabilities (rows sum to one within {off:.1g}): gradients "
        f"vanish where the model is "
        "sure. Return the logits, before the softmax.",
    )
    return judge(
        "logits", off, 1e-3, passed=not probabilities, words=words, source="Croce and Hein 2020"
    )


def gradient(model: Model, x: Tensor, y: Tensor) -> Check:
    """Share of inputs at which the cross-entropy has no usable gradient."""
    with untouched(model), torch.enable_grad():
        point = x.detach().clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(logits_of(model, point), y, reduction="sum")
        slope = (
            torch.autograd.grad(loss, point, allow_unused=True)[0] if loss.requires_grad else None
        )
    if slope is None:
        dead = 1.0
    else:
        flat = slope.flatten(1)
        dead = float(((flat == 0).all(1) | ~torch.isfinite(flat).all(1)).float().mean())
    words = (
        "Every input has a finite gradient that is not zero.",
        f"{dead:.1%} of the inputs have a gradient that is zero, not finite or missing: the "
        f"attack is blind there. Look for "
        "saturation, rounding or a detach in the model.",
    )
    return judge("gradient", dead, 0.0, passed=dead == 0, words=words, source="Carlini et al. 2019")


def chance(wrong: Tensor, y: Tensor) -> Check:
    """Accuracy on the clean inputs, against always naming the commonest class."""
    accuracy = 1 - float(wrong.float().mean())
    majority = float(y.unique(return_counts=True)[1].max()) / len(y)
    level = majority + 2 * (majority * (1 - majority) / len(y)) ** 0.5
    words = (
        f"Clean accuracy {accuracy:.1%} is above chance ({majority:.1%}).",
        f"Clean accuracy {accuracy:.1%} is no better than always naming the commonest class "
        f"({majority:.1%}, two "
        f"standard errors above: {level:.1%}): check weights, preprocessing and the order of the "
        f"classes.",
    )
    return judge(
        "chance",
        accuracy,
        level,
        passed=accuracy > level,
        words=words,
        source="Carlini et al. 2019",
    )
