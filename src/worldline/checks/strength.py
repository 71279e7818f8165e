"""Is the attack strong enough? Each check tries to fool what the attack left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from worldline.attacks import (
    FGSM,
    PGD,
    Attack,
    Descent,
    NormName,
    Square,
    WorstCase,
    adversarial_twin,
    predict,
)
from worldline.checks.check import Check, judge, skip
from worldline.checks.standin import fit_standin
from worldline.trace import Model

__all__ = ["ATHALYE", "Found", "doubled", "fgsm", "gradient_free", "transfer"]

ATHALYE = "Athalye, Carlini and Wagner 2018"
STANDIN_STEPS = 40


@dataclass(frozen=True)
class Found:
    """What an attack found, and under which threat model: (N, …) inputs and twins, labels, which
    twins and which inputs are wrong.
    """

    model: Model
    x: Tensor
    adversarial: Tensor
    y: Tensor
    wrong: Tensor
    attack: Attack
    epsilon: float
    norm: NormName
    bounds: tuple[float, float]
    clean_wrong: Tensor

    @property
    def left(self) -> Tensor:
        """Rows that are right, attacked or not."""
        return (~self.wrong & ~self.clean_wrong).nonzero().flatten().to(self.x.device)

    def gain(self, attack: Attack) -> int:
        """How many of those another attack fools."""
        rows = self.left
        if len(rows) == 0:
            return 0
        twins = [
            adversarial_twin(attack, self.model, x, y)
            for x, y in zip(self.x[rows].split(256), self.y[rows].split(256), strict=True)
        ]
        return self.fooled(rows, torch.cat(twins))

    def fooled(self, rows: Tensor, twins: Tensor) -> int:
        """How many twins of these rows are misclassified."""
        return int((predict(self.model, twins).argmax(1) != self.y[rows].cpu()).sum())

    def points(self, samples: int) -> float:
        """As percentage points of accuracy."""
        return 100 * samples / len(self.x)


def fgsm(found: Found) -> Check:
    """One step against the whole attack."""
    if isinstance(found.attack, FGSM) or getattr(found.attack, "targeted", False):
        return skip("fgsm", "The attack is FGSM or targeted; nothing to compare.", ATHALYE)
    step = FGSM(epsilon=found.epsilon, norm=found.norm, bounds=found.bounds)
    twin = torch.cat(
        [
            adversarial_twin(step, found.model, x, y)
            for x, y in zip(found.x.split(256), found.y.split(256), strict=True)
        ]
    )
    one_step = float((predict(found.model, twin).argmax(1) != found.y.cpu()).float().mean())
    many = float(found.wrong.float().mean())
    words = (
        f"The attack leaves {many:.1%} misclassified, one gradient step {one_step:.1%}.",
        f"One gradient step leaves {one_step:.1%} misclassified, more than the attack's "
        f"{many:.1%}: gradients are masked or "
        "the attack's steps are wrong.",
    )
    return judge("fgsm", many, one_step, passed=many >= one_step, words=words, source=ATHALYE)


def doubled(found: Found, what: Literal["steps", "restarts"]) -> Check:
    """Twice the effort on what the attack left: as many steps again from where it ended, or twice
    the restarts.
    """
    source = "Carlini et al. 2019"
    parts = found.attack.attacks if isinstance(found.attack, WorstCase) else (found.attack,)
    known = [part for part in parts if isinstance(part, Descent) and not isinstance(part, FGSM)]
    if not known:
        reason = (
            f"Only the {what} of PGD and APGD can be doubled here; check your attack's own "
            f"convergence."
        )
        return skip(what, reason, source)
    more = (
        _went_on(found, known)
        if what == "steps"
        else found.gain(WorstCase([_restarted(part) for part in known]))
    )
    change = found.points(more)
    words = (
        f"Doubling the {what} fools {more} more samples ({change:.1f} points): the attack has "
        f"converged.",
        f"Doubling the {what} fools {more} more samples ({change:.1f} points): the attack has not "
        f"converged. Use more {what}, or "
        "a stronger attack.",
    )
    return judge(what, change, 1.0, passed=change <= 1.0, words=words, source=source)


def gradient_free(found: Found, queries: int, seed: int) -> Check:
    """Square Attack on what the attack left."""
    more = found.gain(
        Square(
            epsilon=found.epsilon, norm=found.norm, queries=queries, bounds=found.bounds, seed=seed
        )
    )
    gain = found.points(more)
    words = (
        f"Square Attack, without gradients, fools {more} more samples in {queries:,} queries "
        f"({gain:.1f} points).",
        f"Square Attack, without gradients, fools {more} more samples in {queries:,} queries "
        f"({gain:.1f} points): the gradients "
        "mislead the attack, or it is too weak. Add a gradient-free attack, or attack through the "
        "defence (BPDA).",
    )
    return judge(
        "gradient-free", gain, 0.2, passed=gain <= 0.2, words=words, source="Croce and Hein 2020"
    )


def transfer(found: Found, standin: Model | None, reference: Tensor | None, seed: int) -> Check:
    """Adversarial inputs of an undefended model, on what the attack left."""
    if standin is None and reference is None:
        return skip(
            "transfer", "No stand-in and no reference data to fit one to were given.", ATHALYE
        )
    standin = standin or fit_standin(found.model, reference, seed=seed)  # type: ignore[arg-type]
    options = {"epsilon": found.epsilon, "norm": found.norm, "bounds": found.bounds, "seed": seed}
    attack = PGD(steps=STANDIN_STEPS, **options)  # type: ignore[arg-type]
    rows = found.left
    more = (
        found.fooled(rows, adversarial_twin(attack, standin, found.x[rows], found.y[rows]))
        if len(rows)
        else 0
    )
    words = (
        "No sample that the attack left is fooled by what fools an undefended stand-in.",
        f"{more} samples that the attack left are fooled by adversarial inputs of an undefended "
        f"stand-in: an attack that sees "
        "the model must do at least as well. Gradients are masked, or the attack is too weak.",
    )
    return judge("transfer", float(more), 0.0, passed=more == 0, words=words, source=ATHALYE)


def _went_on(found: Found, attacks: list[Descent]) -> int:
    """How many samples fall if each attack goes on from the twins that it left, with nothing drawn
    anew.
    """
    rows = found.left
    fooled = torch.zeros(len(rows), dtype=torch.bool)
    for attack in attacks if len(rows) else ():
        once = replace(attack, restarts=1)
        batches = zip(
            found.x[rows].split(256),
            found.y[rows].split(256),
            found.adversarial[rows].split(256),
            strict=True,
        )
        twins = torch.cat([once(found.model, x, y, start=start).x for x, y, start in batches])
        fooled |= predict(found.model, twins).argmax(1) != found.y[rows].cpu()
    return int(fooled.sum())


def _restarted(attack: Descent) -> Descent:
    return replace(attack, restarts=2 * attack.restarts, random_start=True)
