"""Plant an adversarial example by construction, and see whether an attack finds it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.attacks import Attack, NormName, adversarial_twin, named_norm, told_elsewhere
from worldline.checks.check import Check, Look, Verdict, at_least, attempt, several, skip
from worldline.checks.found import Threat
from worldline.checks.radius import slack
from worldline.checks.sources import ZIMMERMANN
from worldline.errors import UsageError
from worldline.inputs import check_inputs, check_settings
from worldline.settings import DEFAULT, Settings
from worldline.trace import Layer, Model, one_layer, reading, untouched

__all__ = ["Planted", "SelfTest", "plant_and_attack"]

INNER = 0.95  # of ε: where the points of class 0 lie
CLOSE = 0.75  # where the boundary lies between the highest inner score and the planted point's
FOUND, EASY = 0.95, 0.5
AWAKE = 0.25  # of the inner points: where a feature must be above its lowest value to be read
BATCH = 512


@dataclass(frozen=True)
class SelfTest:
    """How the self-test ended, in numbers.

    Attributes:
        samples: how many were tried.
        planted: in how many an adversarial example could be planted.
        found: how many of these the attack found.
        found_at_random: in how many the random points found one.
        trials: random points for each sample.
        layer: whose features the planted readout reads.
    """

    samples: int
    planted: int
    found: int
    found_at_random: int
    trials: int
    layer: str


@dataclass(frozen=True)
class Planted:
    """What the self-test found.

    Attributes:
        found: (N,) whether the attack found an adversarial input; False where none could be
            planted.
        planted: (N,) whether one could be planted.
        random: (N,) whether random points of the ball found one.
        summary: the same in numbers.
        check: ``planted``: the attack's success rate against 95 %.
    """

    found: Tensor
    planted: Tensor
    random: Tensor
    summary: SelfTest
    check: Check


def plant_and_attack(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    attack: Attack,
    epsilon: float,
    norm: NormName = "linf",
    samples: int = 64,
    inner: int = 499,
    trials: int = 200,
    layer: str | nn.Module | None = None,
    settings: Settings = DEFAULT,
) -> Planted:
    """The binarisation test of Zimmermann et al. (2022): an adversarial example surely exists.

    For each sample: ``inner`` random points within 0.95 ε are class 0, one random point on the
    surface of the ball (for L∞ a corner) is class 1, and a logistic readout of the frozen model's
    features tells them apart; features that are asleep at three quarters of the inner points are
    not read, as no gradient leads to what only the planted point wakes. The decision boundary lies
    three quarters of the way from the highest inner point to the planted one (nearer is harder).
    The sample is class 0, and within ε is a point of class 1. An attack that works finds one.
    Hardness is controlled by points drawn at random from the ball: if they find one too, the test
    is too easy.

    Args:
        model: its features stay as they are; only the readout is new.
        x: (N, …) inputs inside the bounds.
        attack: any ``attack(model, x, y)``; it is given the readout as a model with two classes,
            one sample at a time.
        epsilon, norm: the threat model that the attack was made for, inside ``settings.bounds``.
        samples: use at most so many.
        inner: points of class 0 for each sample; more make the test harder.
        trials: random points that control the hardness.
        layer: whose features are read; default: the embedding, which the classifier reads.
        settings: bounds, progress, and the seed of all points.

    Returns:
        A :class:`Planted`. Its check passes from a success rate of 95 %; below, the attack misses
        what is there, whatever it says about the model. It does not apply where in under half of
        the samples an example could be planted, or where random points succeed in over half.

    Raises:
        UsageError: no samples or points, an impossible threat model. LayerError: no such layer.

    Cost: for each sample a forward pass of ``inner`` + ``trials`` points, a logistic regression and
        an attack on a batch of one. The model is left as it was.

    >>> import torch, worldline as wl
    >>> body = torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)
    >>> model, attack = torch.nn.Sequential(*body), wl.attacks.PGD(epsilon=0.3)
    >>> found = wl.checks.plant_and_attack(
    ...     model, torch.rand(4, 8), attack=attack, epsilon=0.3, inner=49
    ... )
    >>> found.summary.samples, found.found.shape
    (4, torch.Size([4]))
    """
    if min(samples, inner, trials, len(x)) < 1:
        raise UsageError(
            f"samples, inner and trials must be at least 1; got {samples}, {inner}, {trials}."
        )
    check_settings(settings)
    threat = Threat(epsilon, norm, settings.bounds)
    check_inputs(x, settings.bounds)
    x = x[:samples]
    chosen = one_layer(model, x, layer)
    draw = _Ball(threat, torch.Generator().manual_seed(settings.seed))
    results = []
    with untouched(model):  # also from what an import on the way draws
        for number in range(len(x)):
            settings.progress("Planting adversarial examples", number, len(x))
            results.append(_one(model, chosen, x[number : number + 1], attack, draw, inner, trials))
    settings.progress("Planting adversarial examples", len(x), len(x))
    planted, found, lucky = (torch.tensor(column) for column in zip(*results, strict=True))
    there, hit, luck = (int(column.sum()) for column in (planted, found, lucky))
    summary = SelfTest(len(x), there, hit, luck, trials, chosen.name)
    check = attempt("attack", Look("planted", ZIMMERMANN, lambda: _verdict(summary)))
    return Planted(found, planted, lucky, summary, check)


@dataclass(frozen=True)
class _Ball:
    threat: Threat
    generator: torch.Generator

    def within(self, x: Tensor, count: int, share: float) -> Tensor:
        many = x.expand(count, *x.shape[1:])
        norm, radius = named_norm(self.threat.norm), share * self.threat.epsilon
        return (many + norm.random(many, radius, self.generator)).clamp(*self.threat.bounds)

    def surface(self, x: Tensor) -> Tensor:
        """As far out as it can lie: for L∞ a corner of the ball."""
        if self.threat.norm == "linf":
            unit = torch.randint(0, 2, x.shape, generator=self.generator).to(x) * 2 - 1
        else:
            normal = torch.randn(x.shape, generator=self.generator).to(x)
            unit = named_norm(self.threat.norm).direction(normal)
        return (x + self.threat.epsilon * unit).clamp(*self.threat.bounds)


def _one(
    model: Model, layer: Layer, x: Tensor, attack: Attack, draw: _Ball, inner: int, trials: int
) -> tuple[bool, bool, bool]:
    """Whether an example could be planted, the attack found one, and random points did."""
    points = torch.cat(
        [x, draw.within(x, inner, INNER), draw.surface(x), draw.within(x, trials, 1.0)]
    )
    features = _features(model, layer, points)
    readout = _fit(features[: inner + 2])
    if readout is None:
        return False, False, False
    weight, bias = readout
    lucky = bool((features[inner + 2 :] @ weight + bias > 0).any())
    planted = _Readout(model, layer, weight.to(x), bias.to(x))
    label = torch.zeros(1, dtype=torch.long, device=x.device)
    with told_elsewhere():
        twin = adversarial_twin(attack, planted, x, label)
    with torch.no_grad():
        found = int(planted(twin).argmax(1)) == 1
    inside = draw.threat.largest(x, twin) <= draw.threat.epsilon + slack(draw.threat)
    return True, found and inside, lucky


def _features(model: Model, layer: Layer, x: Tensor) -> Tensor:
    with torch.no_grad(), reading(model, layer) as read:
        return torch.cat([read(batch)[0].double().cpu() for batch in x.split(BATCH)])


def _fit(features: Tensor) -> tuple[Tensor, Tensor] | None:
    """A readout that is positive for the last row alone, and barely; None where there is none."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (a second of import time)

    inside = features[:-1]
    middle, scale = inside.mean(0), inside.std(0)
    # a ReLU that only the planted point wakes has no gradient
    awake = (inside != inside.amin(0)).double().mean(0) > AWAKE
    scale = torch.where(awake & (scale > 1e-9 * scale.max().clamp_min(1e-30)), scale, torch.inf)
    table = ((features - middle) / scale).numpy()
    labels = np.zeros(len(table))
    labels[-1] = 1
    if not np.isfinite(table).all() or not np.ptp(table):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: what counts is whether it separates
        fitted = LogisticRegression(C=1e4, max_iter=200, class_weight="balanced").fit(table, labels)
    scores = table @ fitted.coef_[0]
    inner, planted = scores[:-1].max(), scores[-1]
    if not planted - inner > 1e-6 * np.ptp(scores):
        return None
    weight = torch.from_numpy(fitted.coef_[0]) / scale / (planted - scores[:-1].mean())
    threshold = (inner + CLOSE * (planted - inner)) / (planted - scores[:-1].mean())
    return weight, -(weight @ middle) - threshold


class _Readout(nn.Module):
    """Two logits from one layer's features; the model stays a module, so that it is guarded too."""

    def __init__(self, model: Model, layer: Layer, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.model, self.layer, self.weight, self.bias = model, layer, weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2); class 1 beyond the boundary."""
        with reading(self.model, self.layer) as read:
            score = read(x)[0].to(x.dtype) @ self.weight + self.bias
        return torch.stack([-score, score], dim=1)


def _verdict(it: SelfTest) -> Verdict:
    if 2 * it.planted < it.samples:
        return skip(
            "An adversarial example could be planted in "
            f"{it.planted} of {several(it.samples, 'sample')} only."
        )
    rate, luck = it.found / it.planted, it.found_at_random / it.planted
    points = several(it.trials, "random point")
    if luck > EASY:
        return skip(
            f"The planted examples are too easy: {points} hit one in {luck:.0%} of the samples. "
            "Plant with more points."
        )
    return at_least(
        rate,
        FOUND,
        f"The attack finds {rate:.1%} of {several(it.planted, 'planted adversarial example')}; "
        f"{points} hit {luck:.1%}.",
        f"The attack finds only {rate:.1%} of {several(it.planted, 'adversarial example')} that "
        f"{'is' if it.planted == 1 else 'are'} there by construction ({points} hit {luck:.1%}): "
        "it would miss real ones too. Use more steps, another loss, or attack through the defence.",
    )
