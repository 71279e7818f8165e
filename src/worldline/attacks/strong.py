"""The strong default of an evaluation."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from worldline.attacks.apgd import APGD
from worldline.attacks.norms import Box, NormName
from worldline.attacks.worst import WorstCase

__all__ = ["strong_attack"]

TARGETS = 9


def strong_attack(
    *,
    epsilon: float | Tensor,
    classes: int,
    norm: NormName = "linf",
    steps: int = 100,
    bounds: Box = (0.0, 1.0),
    mask: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> WorstCase:
    """APGD on the cross-entropy, then targeted APGD on the DLR loss: AutoAttack's first half.

    The targets are the nine likeliest classes other than the label.

    Args:
        epsilon, norm, bounds, mask, seed: as for :class:`PGD`.
        classes: of the model; with fewer than 4, where the targeted DLR loss does not exist, the
            targets are reached by cross-entropy; where there are fewer than nine others, restarts
            make up for the runs.
        steps: of each run.
        batch_size: inputs in one pass.

    >>> import worldline as wl
    >>> [attack.loss for attack in wl.attacks.strong_attack(epsilon=0.1, classes=10).attacks]
    ['ce', 'dlr']
    """
    first = APGD(epsilon=epsilon, norm=norm, steps=steps, bounds=bounds, mask=mask, seed=seed)
    aimed = replace(
        first,
        loss="dlr" if classes >= 4 else "ce",
        targets=TARGETS,
        restarts=-(-TARGETS // min(TARGETS, max(1, classes - 1))),
    )
    return WorstCase((first, aimed), batch_size)
