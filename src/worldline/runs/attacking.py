"""The attack of a run, batch by batch, so that what was finished is kept when it stops."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.attacks import Attack, adversarial_twin
from worldline.runs.config import AttackConfig
from worldline.runs.keys import content_key
from worldline.runs.opening import Opened
from worldline.runs.store import RunFolder
from worldline.settings import Progress

__all__ = ["attack_in_shards", "forget_shards"]


def attack_in_shards(
    config: AttackConfig, opened: Opened, attack: Attack, folder: RunFolder, progress: Progress
) -> Tensor:
    """Adversarial twins, one file for each batch, named by the content that decides it."""
    model, x, y, budget = opened.model, opened.x, opened.y, opened.budget
    decides = () if budget is None or budget.plain else budget.given.values()
    key = content_key(config.to_toml(), model, x, y, *decides)
    parts = []
    for start in range(0, len(x), config.batch_size):
        rows = slice(start, start + config.batch_size)
        progress("Attacking", start, len(x))
        name = f"shards/{key}-{start:09d}.safetensors"
        stored = folder.kept_tensors(name)
        found = None if stored is None else stored.get("adversarial")
        if found is None or found.shape != x[rows].shape:
            found = adversarial_twin(attack, model, x[rows], y[rows])
            folder.write_tensors(name, {"adversarial": found})
        parts.append(found.to(x))
    progress("Attacking", len(x), len(x))
    return torch.cat(parts)


def forget_shards(folder: RunFolder) -> None:
    """Delete the batches of a run that has its results."""
    folder.remove("shards/*")
