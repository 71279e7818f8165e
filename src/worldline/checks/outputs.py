"""Checks of what a model returns and of its gradients; they need no attack."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.attacks import predict
from worldline.checks.check import Verdict, amount, at_least, at_most, several, skip
from worldline.inputs import logits_of
from worldline.trace import Model, untouched

__all__ = ["chance", "deterministic", "furthest", "gradient", "logits", "rounding_error", "within"]

CLOSE = 1e-4
"""Float32 sums in another order differ by less, relative to the largest output."""


def furthest(one: Tensor, other: Tensor) -> float:
    """Largest difference of two outputs; ∞ where only one is finite, or the shapes differ.

    Where both are NaN, or the same infinity, they do not differ.
    """
    if one.shape != other.shape:
        return torch.inf
    same = (one == other) | (one.isnan() & other.isnan())
    apart = torch.where(same, 0.0, (one - other).abs().nan_to_num(nan=torch.inf))
    return float(apart.max())


def within(apart: float) -> str:
    """How nearly two outputs agree, in words."""
    return f"to {amount(apart)}" if apart else "exactly"


def rounding_error(output: Tensor) -> float:
    """What rounding may change: 10⁻⁴ of the largest finite output, or of 1 where all are below."""
    return CLOSE * float(output.abs().where(output.isfinite(), torch.ones(())).max().clamp_min(1))


def deterministic(model: Model, x: Tensor) -> Verdict:
    """Five passes over the same inputs."""
    with untouched(model), torch.no_grad():
        outputs = [
            logits_of(model, x.clone()).to("cpu", torch.float64, copy=True) for _ in range(5)
        ]
    of = several(len(x), "input")
    spread = max(furthest(outputs[0], output) for output in outputs[1:])
    return at_most(
        spread,
        rounding_error(outputs[0]),
        f"Five passes over the same {of} agree {within(spread)}.",
        f"Five passes over the same {of} differ by up to {amount(spread)}: the model is random "
        "at test time. A single gradient misleads the attack; average it over passes "
        "(expectation over transformations).",
    )


def logits(model: Model, x: Tensor) -> Verdict:
    """Rows of numbers from 0 that sum to one are probabilities."""
    output = predict(model, x.clone()).double()
    output = output[output.isfinite().all(1)]
    of = several(len(output), "input")
    if not len(output):
        return skip("No output is finite, so that it cannot be told what they are.")
    off = max(float((output.sum(1) - 1).abs().max()), float(-output.min()))
    return at_least(
        off,
        1e-3,
        f"The outputs of {of} are no probabilities.",
        f"The outputs of {of} look like probabilities (rows sum to one within {off:.1g}): "
        "gradients vanish where the model is sure. Return the logits, before the softmax.",
    )


def gradient(model: Model, x: Tensor, y: Tensor) -> Verdict:
    """Share of inputs at which the cross-entropy has no usable gradient."""
    with untouched(model), torch.enable_grad():
        point = x.detach().clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(logits_of(model, point), y, reduction="sum")
        slope = None
        if loss.requires_grad:
            slope = torch.autograd.grad(loss, point, allow_unused=True)[0]
    dead = 1.0
    if slope is not None:
        flat = slope.flatten(1)
        dead = float(((flat == 0).all(1) | ~torch.isfinite(flat).all(1)).float().mean())
    of = several(len(x), "input")
    return at_most(
        dead,
        0.0,
        f"Each of {of} has a finite gradient that is not zero.",
        f"{dead:.1%} of {of} have a gradient that is zero, not finite or missing: the "
        "attack is blind there. Look for saturation, rounding or a detach in the model.",
    )


def chance(right: Tensor, y: Tensor) -> Verdict:
    """Accuracy on the clean inputs, against always naming the commonest class."""
    counts = y.unique(return_counts=True)[1]
    if len(counts) < 2:
        return skip("The labels are all the same, so that accuracy says nothing.")
    accuracy = float(right.double().mean())
    majority = float(counts.max()) / len(y)
    level = majority + 2 * (majority * (1 - majority) / len(y)) ** 0.5
    if level > 1:
        return skip(
            f"{several(len(y), 'sample')} cannot tell a model from chance ({majority:.1%})."
        )
    better = "is no better" if accuracy <= majority else "is not surely better"
    return at_least(
        accuracy,
        level,
        f"Clean accuracy {accuracy:.1%} is above chance ({majority:.1%}).",
        f"Clean accuracy {accuracy:.1%} {better} than always naming the commonest class "
        f"({majority:.1%}, two standard errors above: {level:.1%}): check weights, preprocessing "
        "and the order of the classes.",
    )
