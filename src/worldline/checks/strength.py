"""Is the attack strong enough? Each check tries to fool what the attack left."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from worldline.attacks import FGSM, PGD, Descent, Square, WorstCase, adversarial_twin
from worldline.checks.check import Verdict, at_least, at_most, fine, several, skip
from worldline.checks.found import Found
from worldline.checks.standin import fit_standin
from worldline.trace import Model

__all__ = ["doubled", "fgsm", "gradient_free", "transfer"]

STANDIN_STEPS = 40


def fgsm(found: Found) -> Verdict:
    """One step against the whole attack."""
    if isinstance(found.attack, FGSM) or getattr(found.attack, "targeted", False):
        return skip("The attack is FGSM or targeted; nothing to compare.")
    threat = found.threat
    step = FGSM(epsilon=threat.epsilon, norm=threat.norm, bounds=threat.bounds)
    rows = torch.arange(len(found), device=found.clean.device)
    one_step = float(found.fools(rows, found.attacked(step, rows)).double().mean())
    many = float((~found.still_right).double().mean())
    of = several(len(found), "sample")
    return at_least(
        many,
        one_step,
        f"The attack leaves {many:.1%} of {of} misclassified, one gradient step {one_step:.1%}.",
        f"One gradient step leaves {one_step:.1%} of {of} misclassified, more than the attack's "
        f"{many:.1%}: gradients are masked or the attack's steps are wrong.",
    )


def doubled(
    found: Found, what: Literal["steps", "restarts"], nearest: int | None = None
) -> Verdict:
    """Twice the effort on what the attack left.

    As many steps again from where it ended, or twice the restarts; on all of it, or on so many
    whose twins came nearest to another class, by the lead of the highest logit: what falls to more
    steps falls there first.
    """
    parts = found.attack.attacks if isinstance(found.attack, WorstCase) else (found.attack,)
    known = [part for part in parts if isinstance(part, Descent) and not isinstance(part, FGSM)]
    if not known:
        return skip(
            f"Only the {what} of PGD and APGD can be doubled here; check your attack's own "
            "convergence."
        )
    if not len(found.left):
        return _nothing_left(found)
    rows, on = found.left, ""
    if nearest is not None and len(rows) > nearest:
        on = f" on the {nearest:,} that came nearest to it of the {len(rows):,} left"
        rows = rows[found.lead[rows.cpu()].argsort()[:nearest].to(rows.device)]
    more = (_went_on if what == "steps" else _again)(found, known, rows)
    change = found.points(more)
    so = f"Doubling the {what}{on} fools {several(more, 'more sample')} ({change:.1f} points)"
    return at_most(
        change,
        1.0,
        f"{so}: the attack has converged.",
        f"{so}: the attack has not converged. Use more {what}, or a stronger attack.",
    )


def gradient_free(found: Found, queries: int) -> Verdict:
    """Square Attack on what the attack left."""
    if not len(found.left):
        return _nothing_left(found)
    threat = found.threat
    square = Square(
        epsilon=threat.epsilon,
        norm=threat.norm,
        queries=queries,
        bounds=threat.bounds,
        seed=found.settings.seed,
    )
    more = int(found.fools(found.left, found.attacked(square, found.left)).sum())
    gain = found.points(more)
    so = (
        f"Square Attack, without gradients, fools {several(more, 'more sample')} in "
        f"{queries:,} queries ({gain:.1f} points)"
    )
    return at_most(
        gain,
        0.2,
        f"{so}.",
        f"{so}: the gradients mislead the attack, or it is too weak. Add a gradient-free attack, "
        "or attack through the defence (BPDA).",
    )


def transfer(found: Found, standin: Model | None, reference: Tensor | None) -> Verdict:
    """Adversarial inputs of an undefended model, on what the attack left."""
    if standin is None and reference is None:
        return skip("No stand-in and no reference data to fit one to were given.")
    if not len(found.left):
        return _nothing_left(found)
    seed, threat = found.settings.seed, found.threat
    if standin is None and reference is not None:
        standin = fit_standin(found.model, reference, seed=seed)
    attack = PGD(
        steps=STANDIN_STEPS,
        epsilon=threat.epsilon,
        norm=threat.norm,
        bounds=threat.bounds,
        seed=seed,
    )
    twins = found.attacked(attack, found.left, model=standin)
    more = int(found.fools(found.left, twins).sum())
    return at_most(
        float(more),
        0.0,
        "No sample that the attack left is fooled by what fools an undefended stand-in.",
        f"{several(more, 'sample')} that the attack left {'is' if more == 1 else 'are'} fooled by "
        "adversarial inputs of an undefended stand-in: an attack that sees the model must do at "
        "least as well. Gradients are masked, or the attack is too weak.",
    )


def _nothing_left(found: Found) -> Verdict:
    if not bool(found.right.any()):
        return skip("The model gets no sample right, so that there is none to fool.")
    return fine("The attack left no sample: there is nothing more to fool.")


def _went_on(found: Found, attacks: list[Descent], rows: Tensor) -> int:
    """How many samples fall if each attack goes on from its twins, with nothing drawn anew."""
    fooled = torch.zeros(len(rows), dtype=torch.bool)
    for attack in attacks:
        once = replace(attack, restarts=1)
        batches = found.batches(found.clean[rows], found.y[rows], found.adversarial[rows])
        twins = [once(found.model, x, y, start=start).x for x, y, start in batches]
        fooled |= found.fools(rows, torch.cat(twins))
    return int(fooled.sum())


def _again(found: Found, attacks: list[Descent], rows: Tensor) -> int:
    """How many samples fall to twice the restarts."""
    more = [replace(each, restarts=2 * each.restarts, random_start=True) for each in attacks]
    worst = WorstCase(more, found.settings.batch_size)
    return int(
        found.fools(
            rows, adversarial_twin(worst, found.model, found.clean[rows], found.y[rows])
        ).sum()
    )
