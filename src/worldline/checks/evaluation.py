"""Is the evaluation trustworthy? Checks that have caught broken evaluations before."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from worldline.attacks import Attack, NormName, named_norm, predict
from worldline.checks import outputs, strength
from worldline.checks.check import Check, attempt, judge, skip
from worldline.checks.curve import Curve
from worldline.trace import Model

__all__ = ["check_evaluation"]

CARLINI = "Carlini et al. 2019"
LEVELS = 255
TOLERANCE = 1e-5
"""Of the range of inputs: rounding of a projection in float32."""


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
    curve: Curve | None = None,
    thorough: bool = False,
    standin: Model | None = None,
    reference: Tensor | None = None,
    queries: int = 1000,
    seed: int = 0,
    tick: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Check, ...]:
    """Check an evaluation by what it found and by a few more passes.

    Args:
        model: the model that was attacked.
        clean, noise, adversarial, y: the twins (N, …) and labels (N,).
        attack: what made them; its steps and restarts are doubled where it is one of ours.
        epsilon, norm, bounds: the declared threat model, in pixel units.
        samples: how many samples the repeated attacks use.
        curve: of :func:`accuracy_curve`; without it, its two checks do not apply.
        thorough: also restarts, a gradient-free attack and transfer, on the samples that the attack
            left.
        standin: an undefended model whose adversarial inputs are tried on this one; default: one
            fitted to the model's answers on ``reference`` (N, …), inputs that no attack saw.
        queries: of the gradient-free attack.
        seed: of what is random here.
        tick: called with checks done and in all.

    Returns:
        The checks, each with its value, its threshold, what to do, and its source: deterministic,
        logits, gradient, ball, rounding, chance, noise, fgsm, steps, curve, unbounded; thorough:
        also restarts, gradient-free, transfer. What the model raises becomes a check that warns.
        All of them passing proves nothing: the accuracy that is left is an upper bound on the
            robustness.

    Cost: five forward passes of a batch, one FGSM, and the attack again, from where it ended, on
        what it left of
    ``samples``; thorough: the same with doubled restarts, ``queries`` forward passes and a stand-in
    fitted in seconds.

    >>> import torch, worldline as wl
    >>> model, x, y = torch.nn.Linear(2, 2), torch.rand(60, 2), torch.arange(60) % 2
    >>> attack = wl.attacks.PGD(epsilon=0.1, steps=3)
    >>> checks = wl.checks.check_evaluation(model, x, x, attack(model, x, y).x, y, attack=attack, epsilon=0.1)
    >>> [check.name for check in checks if check.status != "not applicable"]
    ['deterministic', 'logits', 'gradient', 'ball', 'rounding', 'chance', 'noise', 'fgsm', 'steps']
    """
    few = slice(0, samples)
    wrong = {
        name: predict(model, twin).argmax(1) != y.cpu()
        for name, twin in (("clean", clean), ("noise", noise), ("adversarial", adversarial))
    }
    found = strength.Found(
        model,
        clean[few],
        adversarial[few],
        y[few],
        wrong["adversarial"][few],
        attack,
        epsilon,
        norm,
        bounds,
        wrong["clean"][few],
    )
    looks: list[tuple[str, str, Callable[[], Check]]] = [
        ("deterministic", "Croce and Hein 2020", lambda: outputs.deterministic(model, clean[:256])),
        ("logits", "Croce and Hein 2020", lambda: outputs.logits(model, clean[:256])),
        ("gradient", CARLINI, lambda: outputs.gradient(model, clean[:256], y[:256])),
        ("ball", CARLINI, lambda: _ball(clean, adversarial, epsilon, norm, bounds)),
        (
            "rounding",
            CARLINI,
            lambda: _rounding(model, clean, adversarial, y, wrong, epsilon, norm, bounds),
        ),
        ("chance", CARLINI, lambda: outputs.chance(wrong["clean"], y.cpu())),
        ("noise", CARLINI, lambda: _noise(wrong["noise"], wrong["adversarial"], ~wrong["clean"])),
        ("fgsm", strength.ATHALYE, lambda: strength.fgsm(found)),
        ("steps", CARLINI, lambda: strength.doubled(found, "steps")),
        ("curve", CARLINI, lambda: _falling(curve)),
        ("unbounded", strength.ATHALYE, lambda: _unbounded(curve)),
    ]
    if thorough:
        looks += [
            ("restarts", CARLINI, lambda: strength.doubled(found, "restarts")),
            (
                "gradient-free",
                "Croce and Hein 2020",
                lambda: strength.gradient_free(found, queries, seed),
            ),
            (
                "transfer",
                strength.ATHALYE,
                lambda: strength.transfer(found, standin, reference, seed),
            ),
        ]
    done = []
    for number, (name, source, look) in enumerate(looks):
        tick(number, len(looks))
        done.append(attempt(name, source, look))
    tick(len(looks), len(looks))
    return tuple(done)


def _ball(
    clean: Tensor, adversarial: Tensor, epsilon: float, norm: NormName, bounds: tuple[float, float]
) -> Check:
    size = float(named_norm(norm).size(adversarial - clean).max())
    outside = max(bounds[0] - float(adversarial.min()), float(adversarial.max()) - bounds[1])
    limit = epsilon + TOLERANCE * (bounds[1] - bounds[0])
    words = (
        f"All adversarial inputs stay within ε and the bounds (largest {norm} change {size:.4g}).",
        f"An adversarial input leaves the ball or the bounds: largest {norm} change {size:.4g} "
        f"against ε = {epsilon:.4g}, "
        f"{max(outside, 0.0):.2g} outside the bounds. Project the attack's result.",
    )
    passed = size <= limit and outside <= limit - epsilon
    return judge("ball", size, limit, passed=passed, words=words, source=CARLINI)


def _rounding(
    model: Model,
    clean: Tensor,
    adversarial: Tensor,
    y: Tensor,
    wrong: dict[str, Tensor],
    epsilon: float,
    norm: NormName,
    bounds: tuple[float, float],
) -> Check:
    """As a picture file would store them: rounded to 8 bits, do the twins stay in the ball, and do
    they still fool?
    """
    low, high = bounds
    stored = torch.round((adversarial - low) / (high - low) * LEVELS) / LEVELS * (high - low) + low
    half = (high - low) / LEVELS / 2 * (clean[0].numel() ** 0.5 if norm == "l2" else 1.0)
    size, limit = (
        float(named_norm(norm).size(stored - clean).max()),
        epsilon + half + TOLERANCE * (high - low),
    )
    outside = max(low - float(stored.min()), float(stored.max()) - high) > TOLERANCE * (high - low)
    fooled = wrong["adversarial"] & ~wrong["clean"]
    kept = (predict(model, stored).argmax(1) != y.cpu()) & fooled
    lost = 1 - int(kept.sum()) / max(1, int(fooled.sum()))
    words = (
        f"Rounded to 8 bits the twins stay within ε and half a level, and {1 - lost:.1%} of those "
        f"that fool still do.",
        f"Rounded to 8 bits, {lost:.1%} of the twins that fool no longer do, and the largest "
        f"{norm} change is {size:.4g} against "
        f"{limit:.4g} (ε and half a level): the attack lives between the levels of a stored "
        f"picture, or leaves the ball.",
    )
    passed = lost <= 0.05 and size <= limit and not outside
    return judge("rounding", lost, 0.05, passed=passed, words=words, source=CARLINI)


def _noise(noise_wrong: Tensor, adversarial_wrong: Tensor, right: Tensor) -> Check:
    fooled, noisy = int(adversarial_wrong[right].sum()), int(noise_wrong[right].sum())
    words = (
        f"Noise of the same size fools {noisy} of {int(right.sum())} samples, the attack {fooled}.",
        f"Noise of the same size fools {noisy} of {int(right.sum())} samples, the attack "
        f"{fooled}: the attack adds nothing to "
        "noise. It is broken, or ε is so large that anything works (or so small that nothing does).",
    )
    return judge(
        "noise", float(noisy), float(fooled), passed=noisy < fooled, words=words, source=CARLINI
    )


def _falling(curve: Curve | None) -> Check:
    if curve is None or len(curve.points) < 2:
        return skip("curve", "No curve of accuracy by ε was measured; see accuracy_curve.", CARLINI)
    accuracy = [point.accuracy for point in curve.points]
    rise = 100 * max(after - before for before, after in itertools.pairwise(accuracy))
    words = (
        f"Accuracy under {curve.attack} falls with ε (from {accuracy[0]:.1%} to "
        f"{accuracy[-1]:.1%}).",
        f"Accuracy under {curve.attack} rises by {rise:.1f} points from one ε to a larger one, "
        f"where it cannot be harder to fool: "
        "gradients are masked, or the attack does not converge.",
    )
    return judge("curve", max(rise, 0.0), 1.0, passed=rise <= 1.0, words=words, source=CARLINI)


def _unbounded(curve: Curve | None) -> Check:
    if curve is None:
        return skip(
            "unbounded",
            "No curve of accuracy by ε was measured; see accuracy_curve.",
            strength.ATHALYE,
        )
    last = curve.points[-1]
    words = (
        f"At ε = {last.epsilon:.3g} accuracy is {last.accuracy:.1%}, at chance "
        f"({curve.chance:.1%}) or below.",
        f"Even at ε = {last.epsilon:.3g} accuracy is {last.accuracy:.1%}, above chance "
        f"({curve.chance:.1%}), though any input may "
        "become any other there: the attack fails for a reason that is not the model's robustness.",
    )
    passed = last.accuracy <= curve.chance
    return judge(
        "unbounded",
        last.accuracy,
        curve.chance,
        passed=passed,
        words=words,
        source=strength.ATHALYE,
    )
