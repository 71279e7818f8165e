"""Checks of the threat model itself: is ε one that can be meant, and is it kept to?"""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.attacks import Budget, named_norm
from worldline.checks.check import Verdict, at_least, at_most
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


def epsilon(threat: Budget, x: Tensor) -> Verdict:
    """Is the radius one that can be meant?

    Beyond half of the whole range every input can be moved to the middle of the bounds, so that no
    model is robust. Below one level of a stored picture, no picture can be changed.
    """
    size, width = threat.radius, threat.width
    level, half = width / LEVELS, threat.reach(x) / 2
    span = f"({threat.outer[0]:g}, {threat.outer[1]:g})"
    if not threat.plain:
        return at_most(
            size,
            half,
            f"ε = {size:.3g} is plausible for the entries that may change, where {half:.3g} "
            "reaches the middle of the bounds.",
            f"ε = {size:.3g} is not plausible: beyond {half:.3g} each entry that may change can be "
            "moved to the middle of its bounds.",
        )
    if size < (1 - TOLERANCE) * level and is_picture(x, threat.outer):
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


def ball(threat: Budget, clean: Tensor, adversarial: Tensor) -> Verdict:
    """Does every twin stay within ε and the bounds?"""
    if not threat.plain:
        return _entrywise(threat, clean, adversarial)
    size, out = threat.largest(clean, adversarial), outside(threat, adversarial)
    limit = threat.radius + slack(threat)
    return at_most(
        size,
        limit,
        f"All adversarial inputs stay within ε and the bounds (largest {threat.sign} change "
        f"{size:.4g}).",
        f"An adversarial input leaves the ball or the bounds: largest {threat.sign} change "
        f"{size:.4g} against ε = {threat.radius:.4g}, {max(out, 0.0):.2g} outside the bounds. "
        "Project the attack's result.",
        also=out <= slack(threat),
    )


def _entrywise(threat: Budget, clean: Tensor, adversarial: Tensor) -> Verdict:
    """The same where entries differ: sizes, bounds, a mask."""
    kept, fixed = threat.within(clean, adversarial), ~threat.around(clean).free
    held = int((fixed & (adversarial != clean)).sum())
    moved = threat.around(clean).unscaled(adversarial - clean)
    size = float(named_norm(threat.norm).size(moved).max())
    so = f"largest {threat.sign} change of what may change {size:.4g}, against {threat.radius:.4g}"
    return at_most(
        float((~kept).double().mean()),
        0.0,
        f"All adversarial inputs keep to ε, bounds and mask entry by entry ({so}).",
        f"{int((~kept).sum()):,} of {len(kept):,} adversarial inputs leave the budget: {so}; "
        f"{held:,} fixed entries changed. Project the attack's result.",
    )


def outside(threat: Budget, x: Tensor) -> float:
    """By how much the worst entry leaves the bounds; negative inside."""
    return max(threat.outer[0] - float(x.min()), float(x.max()) - threat.outer[1])


def slack(threat: Budget) -> float:
    """What rounding may add to a size."""
    return TOLERANCE * threat.width


def stored(x: Tensor, threat: Budget) -> Tensor:
    """As a picture file holds it: on one of 256 levels."""
    low, width = threat.outer[0], threat.width
    return torch.round((x - low) / width * LEVELS) / LEVELS * width + low


def with_half_a_level(threat: Budget, x: Tensor) -> float:
    """The largest change of a twin in the ball once it is stored."""
    half = threat.reach(x) / LEVELS / 2
    return threat.radius + half + slack(threat)
