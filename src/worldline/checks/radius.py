"""Checks of the threat model itself: is ε one that can be meant, and is it kept to?"""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.checks.check import Verdict, at_least, at_most
from worldline.checks.found import Threat, whole_range
from worldline.settings import Bounds

__all__ = ["ball", "epsilon", "is_picture", "outside", "slack", "stored", "with_half_a_level"]

LEVELS = 255
CHANNELS = (1, 3, 4)
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Bounds of pictures without channels; other inputs of three dimensions are sequences."""
TOLERANCE = 1e-5
"""Of the range of inputs: rounding of a projection in float32."""


def is_picture(x: Tensor, bounds: Bounds) -> bool:
    """Whether the inputs (N, C, H, W) or (N, H, W) would be stored as 8-bit pictures."""
    if x.ndim == 3:
        return bounds in RANGES
    return x.ndim == 4 and x.shape[1] in CHANNELS


def epsilon(threat: Threat, x: Tensor) -> Verdict:
    """Is the radius one that can be meant?

    Beyond half of the whole range every input can be moved to the middle of the bounds, so that no
    model is robust. Below one level of a stored picture, no picture can be changed.
    """
    size, width = threat.epsilon, threat.width
    level, half = width / LEVELS, whole_range(threat.norm, threat.bounds, x) / 2
    span = f"({threat.bounds[0]:g}, {threat.bounds[1]:g})"
    if size < (1 - TOLERANCE) * level and is_picture(x, threat.bounds):
        meant = f" Did you mean {LEVELS * size:g}?" if width == LEVELS and size else ""
        return at_least(
            size,
            level,
            "",
            f"ε = {size:.3g} is less than one grey level, {level:.3g}: no stored picture can be "
            f"changed by so little.{meant}",
        )
    meant = ""
    if threat.norm == "linf" and width <= size < LEVELS / 2:
        fitting = f"{size:g}/255" if width == 1 else f"{size * width / LEVELS:.3g}"
        meant = f" Did you mean {fitting}?"
    return at_most(
        size,
        half,
        f"ε = {size:.3g} is plausible on data in {span}.",
        f"ε = {size:.3g} is not plausible on data in {span}: beyond {half:.3g} every input "
        f"can be moved to the middle of the bounds, so that no model is robust.{meant}",
    )


def ball(threat: Threat, clean: Tensor, adversarial: Tensor) -> Verdict:
    """Does every twin stay within ε and the bounds?"""
    size, out = threat.largest(clean, adversarial), outside(threat, adversarial)
    limit = threat.epsilon + slack(threat)
    return at_most(
        size,
        limit,
        f"All adversarial inputs stay within ε and the bounds (largest {threat.sign} change "
        f"{size:.4g}).",
        f"An adversarial input leaves the ball or the bounds: largest {threat.sign} change "
        f"{size:.4g} against ε = {threat.epsilon:.4g}, {max(out, 0.0):.2g} outside the bounds. "
        "Project the attack's result.",
        also=out <= slack(threat),
    )


def outside(threat: Threat, x: Tensor) -> float:
    """By how much the worst entry leaves the bounds; negative inside."""
    return max(threat.bounds[0] - float(x.min()), float(x.max()) - threat.bounds[1])


def slack(threat: Threat) -> float:
    """What rounding may add to a size."""
    return TOLERANCE * threat.width


def stored(x: Tensor, threat: Threat) -> Tensor:
    """As a picture file holds it: on one of 256 levels."""
    low, width = threat.bounds[0], threat.width
    return torch.round((x - low) / width * LEVELS) / LEVELS * width + low


def with_half_a_level(threat: Threat, x: Tensor) -> float:
    """The largest change of a twin in the ball once it is stored."""
    half = whole_range(threat.norm, threat.bounds, x) / LEVELS / 2
    return threat.epsilon + half + slack(threat)
