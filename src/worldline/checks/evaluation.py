"""Is the evaluation trustworthy? Checks that have caught broken evaluations before."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor

from worldline.attacks import Attack, Box, Budget, NormName
from worldline.checks import outputs, radius, strength
from worldline.checks.check import (
    Check,
    Look,
    Verdict,
    at_least,
    at_most,
    attempt,
    examine,
    several,
    skip,
)
from worldline.checks.curve import Curve
from worldline.checks.found import Found, found_by
from worldline.checks.sources import ATHALYE, CARLINI, CROCE, OURS
from worldline.inputs import check_settings
from worldline.settings import DEFAULT, Settings
from worldline.trace import Answers, Model

__all__ = ["check_evaluation"]

FEW, FEWER, NEAREST = 256, 64, 32
NO_CURVE = "No curve of accuracy by ε was measured; see accuracy_curve."


def check_evaluation(
    model: Model,
    clean: Tensor,
    noise: Tensor,
    adversarial: Tensor,
    y: Tensor,
    *,
    attack: Attack,
    epsilon: float | Tensor,
    norm: NormName = "linf",
    bounds: Box | None = None,
    mask: Tensor | None = None,
    samples: int = 512,
    answers: Sequence[Answers] | None = None,
    curve: Curve | None = None,
    thorough: bool = False,
    brief: bool = False,
    standin: Model | None = None,
    reference: Tensor | None = None,
    queries: int = 1000,
    settings: Settings = DEFAULT,
) -> tuple[Check, ...]:
    """Check an evaluation by what it found and by a few more passes.

    Args:
        model: the model that was attacked.
        clean, noise, adversarial, y: the twins (N, …) and labels (N,).
        attack: what made them; its steps and restarts are doubled where it is one of ours.
        epsilon, norm, bounds, mask: the declared threat model, in pixel units, as in
            :class:`worldline.attacks.Budget`; the bounds are those of ``settings`` if not given.
        samples: how many samples the repeated attacks use.
        answers: what the model says of ``clean``, ``noise`` and ``adversarial`` (as
            ``TwinTrace.answers`` has it); default: it is asked.
        curve: of :func:`accuracy_curve`; without it, its two checks do not apply.
        thorough: also restarts, a gradient-free attack and transfer, on the samples that the attack
            left.
        brief: the steps are doubled on the 32 samples whose twins came nearest to being fooled, one
            gradient step is compared on 128, and the outputs are looked at on 64: a tenth of the
            cost. What falls to more steps falls there first.
        standin: an undefended model whose adversarial inputs are tried on this one; default: one
            fitted to the model's answers on ``reference`` (N, …), inputs that no attack saw.
        queries: of the gradient-free attack.
        settings: bounds, batch size, seed and progress.

    Returns:
        The checks, each with its value, its threshold, what to do, and its source: finite, epsilon,
        deterministic, logits, gradient, ball, rounding, chance, noise, fgsm, steps, curve,
        unbounded; thorough: also restarts, gradient-free, transfer. What the model raises becomes a
        check that warns. Samples with an output of NaN are left out of all but ``finite``, which
        counts them. All of them passing proves nothing: the accuracy that is left is an upper bound
        on the robustness.

    Raises:
        ShapeError, BoundsError, LabelError: twins or labels that do not fit together.
        UsageError: an impossible threat model.

    Cost: five forward passes of a batch, one FGSM, and the attack again, from where it ended, on
        what it left of ``samples`` (brief: of 32 at most); thorough: the same with doubled
        restarts, ``queries`` forward passes and a stand-in fitted in seconds.

    >>> import torch, worldline as wl
    >>> model, x, y = torch.nn.Linear(2, 2), torch.rand(60, 2), torch.arange(60) % 2
    >>> attack = wl.attacks.PGD(epsilon=0.1, steps=3)
    >>> twins = x, x, attack(model, x, y).x
    >>> checks = wl.checks.check_evaluation(model, *twins, y, attack=attack, epsilon=0.1)
    >>> [check.name for check in checks if check.status != "not applicable"][:5]
    ['finite', 'epsilon', 'deterministic', 'logits', 'gradient']
    """
    check_settings(settings)
    threat = Budget(epsilon, norm, bounds or settings.bounds, mask)
    twins = clean, noise, adversarial
    found = found_by(attack, model, *twins, y, threat=threat, answers=answers, settings=settings)
    finite = Look("finite", OURS, lambda: _finite(found))
    if not len(found):
        return (attempt("evaluation", finite),)
    few = found.first(samples)
    one, step = found.first(FEWER if brief else FEW), few.first(2 * FEWER) if brief else few
    nearest = NEAREST if brief else None
    looks = [
        finite,
        Look("epsilon", OURS, lambda: radius.epsilon(threat, found.clean)),
        Look("deterministic", CROCE, lambda: outputs.deterministic(model, one.clean)),
        Look("logits", CROCE, lambda: outputs.logits(model, one.clean)),
        Look("gradient", CARLINI, lambda: outputs.gradient(model, one.clean, one.y)),
        Look("ball", CARLINI, lambda: radius.ball(threat, found.clean, found.adversarial)),
        Look("rounding", CARLINI, lambda: _rounding(found)),
        Look("chance", CARLINI, lambda: outputs.chance(found.right, found.y.cpu())),
        Look("noise", CARLINI, lambda: _noise(found)),
        Look("fgsm", ATHALYE, lambda: strength.fgsm(step)),
        Look("steps", CARLINI, lambda: strength.doubled(few, "steps", nearest)),
        Look("curve", CARLINI, lambda: _falling(curve)),
        Look("unbounded", ATHALYE, lambda: _unbounded(curve, found)),
    ]
    if thorough:
        looks += [
            Look("restarts", CARLINI, lambda: strength.doubled(few, "restarts")),
            Look("gradient-free", CROCE, lambda: strength.gradient_free(few, queries)),
            Look("transfer", ATHALYE, lambda: strength.transfer(few, standin, reference)),
        ]
    return examine("evaluation", looks, settings.progress, "Checking the evaluation")


def _finite(found: Found) -> Verdict:
    odd, samples = found.undefined + found.infinite, len(found) + found.undefined
    left_out = ""
    if found.undefined:
        left_out = f" {several(found.undefined, 'sample')} with NaN left out of all other checks."
    return at_most(
        odd / samples,
        0.0,
        "The outputs of all twins are finite.",
        f"{odd / samples:.1%} of the samples give NaN or infinite outputs, attacked or not: their "
        f"predictions and gradients mean nothing.{left_out} Look for a logarithm, a division or "
        "an overflow in the model.",
    )


def _rounding(found: Found) -> Verdict:
    """As a picture file would store them: rounded to 8 bits, do the twins hold, and still fool?"""
    clean, threat, fooled = found.clean, found.threat, found.fooled
    if not threat.plain:
        return skip("The budget has a mask or differs by entry, which rounding would not keep to.")
    if not radius.is_picture(clean, threat.outer):
        return skip("The inputs are no pictures, which would be stored in 8 bits.")
    count = int(fooled.sum())
    if not count:
        return skip("No twin fools the model, so that there is none for rounding to undo.")
    stored = radius.stored(found.adversarial, threat)
    rows = fooled.nonzero().flatten().to(clean.device)
    lost = 1 - int(found.fools(rows, stored[rows]).sum()) / count
    size, limit = threat.largest(clean, stored), radius.with_half_a_level(threat, clean)
    return at_most(
        lost,
        0.05,
        "Rounded to 8 bits the twins stay within ε and half a level, and "
        f"{1 - lost:.1%} of those that fool still do.",
        f"Rounded to 8 bits, {lost:.1%} of the twins that fool no longer do, and the largest "
        f"{threat.sign} change is {size:.4g} against {limit:.4g} (ε and half a level): the attack "
        "lives between the levels of a stored picture, or leaves the ball.",
        also=size <= limit and radius.outside(threat, stored) <= radius.slack(threat),
    )


def _noise(found: Found) -> Verdict:
    right = int(found.right.sum())
    fooled, noisy = int(found.fooled.sum()), int((found.right & ~found.noise_right).sum())
    if not right:
        return skip("The model gets no sample right, so that neither noise nor attack can fool it.")
    counts = f"Noise of the same size fools {noisy:,} of {several(right, 'sample')}"
    if not found.threat.largest(found.clean, found.adversarial):
        return at_least(
            float(fooled - noisy),
            1.0,
            "",
            "The attack moved no input: it is broken, or ε is lost in rounding.",
        )
    if not fooled and not noisy:
        return skip(
            f"{counts}, and the attack none: there is nothing to compare. The model may be robust, "
            "ε small, or the attack broken; fgsm, steps and unbounded look into that."
        )
    return at_least(
        float(fooled - noisy),
        1.0,
        f"{counts}, the attack {fooled:,}.",
        f"{counts}, the attack {fooled:,}: the attack adds nothing to noise. It is broken, or ε is "
        "so large that anything works (or so small that nothing does).",
    )


def _falling(curve: Curve | None) -> Verdict:
    if curve is None:
        return skip(NO_CURVE)
    if len(curve.points) < 2:
        return skip("The curve has one ε only, so that nothing can rise.")
    first, last = curve.points[0], curve.points[-1]
    pairs = itertools.pairwise(point.accuracy for point in curve.points)
    rise = 100 * max(after - before for before, after in pairs)
    falls = "falls with ε" if last.accuracy < first.accuracy else "does not rise with ε"
    return at_most(
        max(rise, 0.0),
        1.0,
        f"Accuracy under {curve.attack} {falls} (from {first.accuracy:.1%} at ε = "
        f"{first.epsilon:.3g} to {last.accuracy:.1%} at {last.epsilon:.3g}).",
        f"Accuracy under {curve.attack} rises by {rise:.1f} points from one ε to a larger one, "
        "where it cannot be harder to fool: gradients are masked, or the attack does not converge.",
    )


def _unbounded(curve: Curve | None, found: Found) -> Verdict:
    if curve is None:
        return skip(NO_CURVE)
    last = curve.points[-1]
    if not bool(found.threat.around(found.clean[:1]).free.all()):
        return skip("Some entries may not change, so that no ε turns any input into any other.")
    reach = found.threat.reach(found.clean)
    if last.accuracy > curve.chance and last.epsilon < (1 - 1e-9) * reach:
        return skip(
            f"The curve ends at ε = {last.epsilon:.3g}, above chance and below the {reach:.3g} "
            "from which any input may become any other."
        )
    return at_most(
        last.accuracy,
        curve.chance,
        f"At ε = {last.epsilon:.3g} accuracy is {last.accuracy:.1%}, at chance "
        f"({curve.chance:.1%}) or below.",
        f"Even at ε = {last.epsilon:.3g} accuracy is {last.accuracy:.1%}, above chance "
        f"({curve.chance:.1%}), though any input may become any other there: the attack fails "
        "for a reason that is not the model's robustness.",
    )
