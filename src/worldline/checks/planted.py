"""Plant an adversarial example by construction, and see whether an attack finds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.attacks import Attack, NormName, adversarial_twin, named_norm
from worldline.checks.check import Check, judge, skip
from worldline.errors import UsageError
from worldline.trace import Layer, Model, one_layer, reading, untouched

__all__ = ["Planted", "plant_and_attack"]

SOURCE = "Zimmermann et al. 2022"
NAME = "planted"
INNER = 0.95  # of ε: where the points of class 0 lie
CLOSE = 0.75  # how far from the inner points' highest score towards the planted point's the boundary lies
FOUND, EASY = 0.95, 0.5
AWAKE = 0.25  # of the inner points: where a feature must be above its lowest value to be read
BATCH = 512


@dataclass(frozen=True)
class Planted:
    """What the self-test found.

    Attributes:
        found: (N,) whether the attack found an adversarial input; False where none could be
            planted.
        planted: (N,) whether one could be planted.
        random: (N,) whether random points of the ball, ``trials`` of them, found one.
        trials: random points tried for each sample.
        layer: whose features the planted readout reads.
        check: ``planted``: the attack's success rate against 95 %.
    """

    found: Tensor
    planted: Tensor
    random: Tensor
    trials: int
    layer: str
    check: Check


def plant_and_attack(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    attack: Attack,
    epsilon: float,
    norm: NormName = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    samples: int = 64,
    inner: int = 499,
    trials: int = 200,
    layer: str | None = None,
    seed: int = 0,
    tick: Callable[[int, int], None] = lambda _done, _total: None,
) -> Planted:
    """The binarisation test of Zimmermann et al. (2022): a problem in which an adversarial example
    surely exists.

    For each sample: ``inner`` random points within 0.95 ε are class 0, one random point on the
        surface of the ball (for
    L∞ a corner) is class 1, and a logistic readout of the frozen model's features tells them apart;
    features that are asleep at three quarters of the inner points are not read, as no gradient
    leads to what only the planted point wakes. The decision boundary lies three quarters of the way
    from the highest inner point to the planted one (nearer is harder). The sample is class 0, and
    within ε is a point of class 1. An attack that works finds one. Hardness is
    controlled by points drawn at random from the ball: if they find one too, the test is too easy.

    Args:
        model: its features stay as they are; only the readout is new.
        x: (N, …) inputs inside the bounds.
        attack: any ``attack(model, x, y)``; it is given the readout as a model with two classes,
            one sample at a time.
        epsilon, norm, bounds: the threat model that the attack was made for.
        samples: use at most so many.
        inner: points of class 0 for each sample; more make the test harder.
        trials: random points that control the hardness.
        layer: whose features are read; default: the last before the output.
        seed: of all points.
        tick: called with samples done and in all.

    Returns:
        A :class:`Planted`. Its check passes from a success rate of 95 %; below, the attack misses
        what is there, whatever it says about the model. It does not apply where in under half of
        the samples an example could be planted, or where random points succeed in over half.

    Raises:
        UsageError: no samples or points. LayerError: no such layer.

    Cost: for each sample a forward pass of ``inner`` + ``trials`` points, a logistic regression and
        an attack on a batch
    of one. The model is left as it was.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)), torch.rand(4, 8)
    >>> found = wl.checks.plant_and_attack(model, x, attack=wl.attacks.PGD(epsilon=0.3), epsilon=0.3, inner=49)
    >>> found.found.shape
    torch.Size([4])
    """
    if min(samples, inner, trials, len(x)) < 1:
        raise UsageError(
            f"samples, inner and trials must be at least 1; got {samples}, {inner}, {trials}."
        )
    x = x[:samples]
    generator = torch.Generator().manual_seed(seed)
    chosen = one_layer(model, x, layer)
    draw = _Ball(epsilon, norm, bounds, generator)
    results = []
    with untouched(model):  # also from what an import on the way draws
        for number in range(len(x)):
            tick(number, len(x))
            results.append(_one(model, chosen, x[number : number + 1], attack, draw, inner, trials))
    tick(len(x), len(x))
    planted, found, lucky = (torch.tensor(column) for column in zip(*results, strict=True))
    return Planted(
        found, planted, lucky, trials, chosen.name, _verdict(planted, found, lucky, trials, len(x))
    )


@dataclass(frozen=True)
class _Ball:
    epsilon: float
    norm: NormName
    bounds: tuple[float, float]
    generator: torch.Generator

    def within(self, x: Tensor, count: int, share: float) -> Tensor:
        many = x.expand(count, *x.shape[1:])
        return (
            many + named_norm(self.norm).random(many, share * self.epsilon, self.generator)
        ).clamp(*self.bounds)

    def surface(self, x: Tensor) -> Tensor:
        """For L∞ a corner of the ball inside the bounds, so that the planted point lies as far out
        as it can.
        """
        if self.norm == "linf":
            side = torch.randint(0, 2, x.shape, generator=self.generator).to(x) * 2 - 1
            return (x + self.epsilon * side).clamp(*self.bounds)
        normal = torch.randn(x.shape, generator=self.generator).to(x)
        return (x + self.epsilon * named_norm(self.norm).direction(normal)).clamp(*self.bounds)


def _one(
    model: Model, layer: Layer, x: Tensor, attack: Attack, draw: _Ball, inner: int, trials: int
) -> tuple[bool, bool, bool]:
    """Whether an example could be planted, whether the attack found one, whether random points
    did.
    """
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
    twin = adversarial_twin(attack, planted, x, label)
    with torch.no_grad():
        found = int(planted(twin).argmax(1)) == 1
    inside = float(named_norm(draw.norm).size(twin - x)) <= draw.epsilon + 1e-5 * (
        draw.bounds[1] - draw.bounds[0]
    )
    return True, found and inside, lucky


def _features(model: Model, layer: Layer, x: Tensor) -> Tensor:
    with torch.no_grad(), reading(model, layer) as read:
        return torch.cat([read(batch)[0].double().cpu() for batch in x.split(BATCH)])


def _fit(features: Tensor) -> tuple[Tensor, Tensor] | None:
    """A readout that is positive for the last row alone, as little as can be; None where none is
    found.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (a second of import time)

    inside = features[:-1]
    middle, scale = inside.mean(0), inside.std(0)
    awake = (inside != inside.amin(0)).double().mean(
        0
    ) > AWAKE  # a ReLU that only the planted point wakes has no gradient
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
    """Two logits from the features of one layer; the model underneath stays a module, so that it is
    guarded too.
    """

    def __init__(self, model: Model, layer: Layer, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.model, self.layer, self.weight, self.bias = model, layer, weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2); class 1 beyond the boundary."""
        with reading(self.model, self.layer) as read:
            score = read(x)[0].to(x.dtype) @ self.weight + self.bias
        return torch.stack([-score, score], dim=1)


def _verdict(planted: Tensor, found: Tensor, lucky: Tensor, trials: int, samples: int) -> Check:
    count = int(planted.sum())
    if 2 * count < samples:
        return skip(
            NAME,
            f"An adversarial example could be planted in {count} of {samples} samples only.",
            SOURCE,
        )
    rate, luck = int(found.sum()) / count, int(lucky.sum()) / count
    if luck > EASY:
        why = (
            f"The planted examples are too easy: {trials} random points find one in {luck:.0%} "
            f"of the samples. Plant with more points."
        )
        return skip(NAME, why, SOURCE)
    words = (
        f"The attack finds {rate:.1%} of {count} planted adversarial examples; {trials} random "
        f"points find {luck:.1%}.",
        f"The attack finds only {rate:.1%} of {count} adversarial examples that are there by "
        f"construction ({trials} random points "
        f"find {luck:.1%}): it would miss real ones too. Use more steps, another loss, or attack "
        f"through the defence.",
    )
    return judge(NAME, rate, FOUND, passed=rate >= FOUND, words=words, source=SOURCE)
