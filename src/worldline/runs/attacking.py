"""The attack of a run, batch by batch, so that what was finished is kept when it stops."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.attacks import OTHERWISE, Attack, Descent, adversarial_twin, gradient_problem
from worldline.errors import ModelError
from worldline.runs.config import AttackConfig
from worldline.runs.keys import content_key
from worldline.runs.opening import Opened
from worldline.runs.store import RunFolder
from worldline.settings import Progress

__all__ = ["attack_in_shards", "forget_shards", "gives_no_gradient"]

TRIED = 32  # samples on which a gradient is looked for


def gives_no_gradient(opened: Opened, attack: Attack, who: str) -> str:
    """Why no gradient comes; empty where one does.

    Args:
        opened: the model and its data.
        attack: what is to attack it.
        who: the attack and the model by name, for the message: ``pgd cannot attack cnn``.

    Raises:
        ModelError: none comes, and the attack needs it.
    """
    problem = gradient_problem(opened.model, opened.x[:TRIED], opened.y[:TRIED])
    if problem and isinstance(attack, Descent):
        raise ModelError(f"{who}: {problem}. {OTHERWISE}")
    return problem


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
