"""Is the evaluation trustworthy? Cheap checks that have caught broken evaluations before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from worldline.attacks.norms import NormName, named_norm
from worldline.attacks.pgd import FGSM, PGD
from worldline.attacks.twins import Attack, adversarial_twin
from worldline.inputs import logits_of
from worldline.trace import Model, untouched

__all__ = ["Check", "check_evaluation", "predict"]


@dataclass(frozen=True)
class Check:
    """One check of an evaluation.

    Attributes:
        name: short identifier.
        status: ``passed``, ``warned`` or ``not applicable``.
        value: what was measured, or None.
        threshold: what it was compared with, or None.
        sentence: the finding in words, with the numbers and what to do.
        source: who found that it matters.
    """

    name: str
    status: Literal["passed", "warned", "not applicable"]
    value: float | None
    threshold: float | None
    sentence: str
    source: str


def predict(model: Model, x: Tensor, *, batch_size: int = 256) -> Tensor:
    """Logits (N, K) in batches, in eval mode and without gradients, on the CPU; the model is left as it was.

    >>> import torch, worldline as wl
    >>> wl.attacks.predict(torch.nn.Linear(3, 2), torch.rand(5, 3), batch_size=2).shape
    torch.Size([5, 2])
    """
    with untouched(model), torch.no_grad():
        return torch.cat([logits_of(model, batch).cpu() for batch in x.split(batch_size)])


def check_evaluation(
    model: Model,
    clean: Tensor,
    noise: Tensor,
    adversarial: Tensor,
    y: Tensor,
    *,
    attack: Attack,
    epsilon: float,
    norm: NormName = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    samples: int = 512,
) -> tuple[Check, ...]:
    """Check an evaluation by what it found and by a few more passes.

    Args:
        model: the model that was attacked.
        clean, noise, adversarial, y: the twins (N, …) and labels (N,).
        attack: what made them; doubling its steps is checked for :class:`PGD`.
        epsilon, norm, bounds: the declared threat model, in pixel units.
        samples: how many samples the repeated attacks use.

    Returns:
        The checks: deterministic, logits, gradient, ball, chance, noise, fgsm, steps. A check that warns names the
        measured value, the threshold and the way out.

    Cost: five forward passes of a batch, one FGSM and one attack with doubled steps on ``samples`` inputs.

    >>> import torch, worldline as wl
    >>> model, x, y = torch.nn.Linear(2, 2), torch.rand(60, 2), torch.arange(60) % 2
    >>> attack = wl.attacks.PGD(epsilon=0.1, steps=3)
    >>> checks = wl.attacks.check_evaluation(model, x, x, attack(model, x, y).x, y, attack=attack, epsilon=0.1)
    >>> [check.name for check in checks]
    ['deterministic', 'logits', 'gradient', 'ball', 'chance', 'noise', 'fgsm', 'steps']
    """
    found = {
        name: predict(model, x).argmax(1) != y.cpu()
        for name, x in (("clean", clean), ("noise", noise), ("adversarial", adversarial))
    }
    few = slice(0, samples)
    return (
        _deterministic(model, clean[:256]),
        _logits(model, clean[:256]),
        _gradient(model, clean[:256], y[:256]),
        _ball(clean, adversarial, epsilon, norm, bounds),
        _chance(found["clean"], y),
        _noise(found["noise"], found["adversarial"], ~found["clean"]),
        _fgsm(model, clean[few], y[few], found["adversarial"][few], epsilon, norm, bounds, attack),
        _steps(model, clean[few], y[few], found["adversarial"][few], attack),
    )


def _check(name: str, value: float, threshold: float, *, passed: bool, words: tuple[str, str], source: str) -> Check:
    status: Literal["passed", "warned"] = "passed" if passed else "warned"
    return Check(name, status, value, threshold, words[0] if passed else words[1], source)


def _deterministic(model: Model, x: Tensor) -> Check:
    with untouched(model), torch.no_grad():
        outputs = torch.stack([logits_of(model, x) for _ in range(5)])
    spread = float((outputs.amax(0) - outputs.amin(0)).max())
    words = (
        f"Five passes over the same inputs agree to {spread:.2g}.",
        f"Five passes over the same inputs differ by up to {spread:.2g}: the model is random at test time. A single "
        "gradient misleads the attack; average it over passes (expectation over transformations).",
    )
    return _check("deterministic", spread, 1e-4, passed=spread <= 1e-4, words=words, source="Croce and Hein 2020")


def _logits(model: Model, x: Tensor) -> Check:
    output = predict(model, x)
    off = float((output.sum(1) - 1).abs().max())
    probabilities = off < 1e-3 and bool((output >= 0).all())
    words = (
        "The outputs are logits: their rows do not sum to one.",
        f"The outputs look like probabilities (rows sum to one within {off:.1g}): gradients vanish where the model is "
        "sure. Return the logits, before the softmax.",
    )
    return _check("logits", off, 1e-3, passed=not probabilities, words=words, source="Croce and Hein 2020")


def _gradient(model: Model, x: Tensor, y: Tensor) -> Check:
    with untouched(model), torch.enable_grad():
        point = x.detach().clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(logits_of(model, point), y, reduction="sum")
        gradient = torch.autograd.grad(loss, point, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None:
        dead = 1.0
    else:
        flat = gradient.flatten(1)
        dead = float(((flat == 0).all(1) | ~torch.isfinite(flat).all(1)).float().mean())
    words = (
        "Every input has a finite gradient that is not zero.",
        f"{dead:.1%} of the inputs have a gradient that is zero, not finite or missing: the attack is blind there. Look for "
        "saturation, rounding or a detach in the model.",
    )
    return _check("gradient", dead, 0.0, passed=dead == 0, words=words, source="Carlini et al. 2019")


def _ball(clean: Tensor, adversarial: Tensor, epsilon: float, norm: NormName, bounds: tuple[float, float]) -> Check:
    size = float(named_norm(norm).size(adversarial - clean).max())
    outside = max(bounds[0] - float(adversarial.min()), float(adversarial.max()) - bounds[1])
    limit = epsilon + 1e-5 * (bounds[1] - bounds[0])
    words = (
        f"All adversarial inputs stay within ε and the bounds (largest {norm} change {size:.4g}).",
        f"An adversarial input leaves the ball or the bounds: largest {norm} change {size:.4g} against ε = {epsilon:.4g}, "
        f"{max(outside, 0.0):.2g} outside the bounds. Project the attack's result.",
    )
    passed = size <= limit and outside <= limit - epsilon
    return _check("ball", size, limit, passed=passed, words=words, source="Carlini et al. 2019")


def _chance(clean_errors: Tensor, y: Tensor) -> Check:
    accuracy = 1 - float(clean_errors.float().mean())
    majority = float(y.bincount().max()) / len(y)
    level = majority + 2 * math.sqrt(majority * (1 - majority) / len(y))
    words = (
        f"Clean accuracy {accuracy:.1%} is above chance ({majority:.1%}).",
        f"Clean accuracy {accuracy:.1%} is no better than always naming the commonest class ({majority:.1%}, two "
        f"standard errors above: {level:.1%}): check weights, preprocessing and the order of the classes.",
    )
    return _check("chance", accuracy, level, passed=accuracy > level, words=words, source="Carlini et al. 2019")


def _noise(noise_errors: Tensor, adversarial_errors: Tensor, right: Tensor) -> Check:
    fooled = int(adversarial_errors[right].sum())
    noisy = int(noise_errors[right].sum())
    words = (
        f"Noise of the same size fools {noisy} of {int(right.sum())} samples, the attack {fooled}.",
        f"Noise of the same size fools {noisy} of {int(right.sum())} samples, the attack {fooled}: the attack adds nothing to "
        "noise. It is broken, or ε is so large that anything works (or so small that nothing does).",
    )
    return _check(
        "noise", float(noisy), float(fooled), passed=noisy < fooled, words=words, source="Carlini et al. 2019"
    )


def _fgsm(
    model: Model,
    x: Tensor,
    y: Tensor,
    errors: Tensor,
    epsilon: float,
    norm: NormName,
    bounds: tuple[float, float],
    attack: Attack,
) -> Check:
    source = "Athalye, Carlini and Wagner 2018"
    if isinstance(attack, FGSM) or getattr(attack, "targeted", False):
        return Check(
            "fgsm",
            "not applicable",
            None,
            None,
            "The attack is FGSM or targeted; nothing to compare.",
            source,
        )
    one_step = float(FGSM(epsilon=epsilon, norm=norm, bounds=bounds)(model, x, y).success.float().mean())
    many = float(errors.float().mean())
    words = (
        f"The attack leaves {many:.1%} misclassified, one gradient step {one_step:.1%}.",
        f"One gradient step leaves {one_step:.1%} misclassified, more than the attack's {many:.1%}: gradients are masked or "
        "the attack's steps are wrong.",
    )
    return _check("fgsm", many, one_step, passed=many >= one_step, words=words, source=source)


def _steps(model: Model, x: Tensor, y: Tensor, errors: Tensor, attack: Attack) -> Check:
    if not isinstance(attack, PGD) or isinstance(attack, FGSM):
        reason = "Only PGD's steps can be doubled here; check your attack's own convergence."
        return Check("steps", "not applicable", None, None, reason, "Carlini et al. 2019")
    doubled = adversarial_twin(attack.with_steps(2 * attack.steps), model, x, y)
    more = float((predict(model, doubled).argmax(1) != y.cpu()).float().mean())
    now = float(errors.float().mean())
    change = 100 * abs(more - now)
    words = (
        f"Doubling the steps to {2 * attack.steps} changes success by {change:.1f} points: the attack has converged.",
        f"Doubling the steps to {2 * attack.steps} changes success by {change:.1f} points (from {now:.1%} to {more:.1%}): the "
        "attack has not converged. Use more steps.",
    )
    return _check("steps", change, 1.0, passed=change <= 1.0, words=words, source="Carlini et al. 2019")
