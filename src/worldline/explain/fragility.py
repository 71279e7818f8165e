"""How fragile a model is, and which of its samples are, from two forward passes a sample: no
attack, no gradient, no label.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.attacks import NormName, named_norm, predict
from worldline.errors import ShapeError, UndefinedPairWarning, UsageError
from worldline.explain.measures.surrogate import aim
from worldline.geometry import rapidity
from worldline.inputs import check_inputs
from worldline.statistics import Bootstrap, Share, Summary
from worldline.trace import Model

__all__ = ["NOT_A_BOUND", "Calibration", "Fragility", "Probe", "calibrate", "fragility"]

Probe = Literal["noise", "aimed"]
SIGMA: dict[str, float] = {"noise": 0.25, "aimed": 0.08}
"""Default size of the twin, as a share of the width of the bounds; chosen on the benchmark's
development half.
"""
TAIL = 0.1
FLOOR = 0.1
"""A sample's drop of margin counts as at least this share of the mean drop: a chance standstill is
no infinite radius.
"""
PULL = 0.01
Array = npt.NDArray[np.float64]
NOT_A_BOUND = (
    "An estimate from two forward passes a sample, not a bound: a model can be built that it "
    "calls robust and an attack breaks, and "
    "accuracy under attack has to be measured where it matters."
)


@dataclass(frozen=True)
class Fragility:
    """How fragile a model is on these samples. An estimate, not a bound (:data:`NOT_A_BOUND`).

    Attributes:
        probe, sigma: which twins were asked about, and their size in the units of the input.
        changed: share of samples whose two answers differ, with its interval: the model's score. 0:
            no twin changes the answer (or sigma is too small); towards 1 − 1/K: the answers are
            unrelated.
        rapidity: distribution over samples of φ between the two outputs, seen from their mean, in
            nats.
        tail: the lower tenth of φ, with its interval: the score of few but far-driven twins; None
            where no sample has a φ.
        radius: norm → (N,) how far, in the units of the input, the answer is estimated to hold; the
            samples' score, small is fragile. It ranks the samples of one model, and is larger than
            what an attack needs. Invariant to a shift and to a scale of all logits.
        prediction: (N,) the model's class (``noise``: of the mean of both outputs).
        notes: what a reader must know before believing it.
    """

    probe: Probe
    sigma: float
    changed: Share
    rapidity: Summary
    tail: tuple[float, tuple[float, float]] | None
    radius: dict[NormName, Tensor]
    prediction: Tensor
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """What a share of changed answers is worth in accuracy under one attack, learnt from models
    that were attacked.

    logit(accuracy) = intercept + slope · logit(1 − changed), the logits of shares pulled in by
    0.01.

    Attributes:
        epsilon, norm: of the attack.
        probe: of the fragilities.
        intercept, slope: of the line.
        spread: root mean square of measured minus predicted accuracy, each model by a line through
            the others.
        models: how many.
    """

    epsilon: float
    norm: NormName
    probe: Probe
    intercept: float
    slope: float
    spread: float
    models: int

    def predict(self, found: Fragility, *, resamples: int = 1000, seed: int = 0) -> Share:
        """Predicted accuracy under that attack, with a 95 % interval over samples, widened by the
        spread over models.

        Assumes a model like those that the line was learnt from, of the same data; labels of this
        model's samples are not used.

        Raises:
            UsageError: the fragility is of another probe.
        """
        if found.probe != self.probe:
            raise UsageError(
                f"The calibration is for probe {self.probe!r}; the fragility is of {found.probe!r}."
            )
        value = float(self._line(np.array([1 - (found.changed.value or 0.0)]))[0])
        kept = 1 - _resampled(found.changed.value or 0.0, found.changed.count, resamples, seed)
        drawn = self._line(kept) + np.random.default_rng(seed + 1).normal(
            0.0, self.spread, resamples
        )
        low, high = np.quantile(drawn, (0.025, 0.975)).clip(0, 1)
        return Share(value, (float(low), float(high)), found.changed.count)

    def _line(self, kept: Array) -> Array:
        return _share_of(self.intercept + self.slope * _logit(kept))


def fragility(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    probe: Probe = "noise",
    sigma: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    batch_size: int = 256,
    resamples: int = 1000,
    seed: int = 0,
) -> Fragility:
    """Estimate how fragile a model and its samples are, from two forward passes a sample and
    nothing else.

    ``noise``: the two passes are at x + σδ and x − σδ, δ ~ N(0, 1), not clipped, as the two must
        stay opposite; the model's score is
    the share of samples on which they disagree. Best for ranking *models*.

    ``aimed``: one pass at x, and one at a point as far away as noise of σ (σ√D in L2), in the
        direction in which a kernel regression of the
    first pass's answers falls fastest (:mod:`worldline.explain.measures.surrogate`); a sample's
    radius is then |step| m/(m − m'), with m and m' the margins. Best for ranking *samples*: in D
    dimensions one random direction hardly sees the gradient, so isotropic noise says little of a
    single sample. The aimed step is what an attacker without gradients would try first, tried once
    and not repeated; the noise probe aims at nothing.

    Args:
        model: returns logits (N, K).
        x: (N, …) inputs; at least 20 for ``aimed``, whose aim gets better with more.
        probe: ``noise`` or ``aimed``.
        sigma: size of the twins in the units of the input; default 0.25 (noise) or 0.08 (aimed) of
            the width of the bounds.
        bounds: lowest and highest legal value; aimed twins are clipped to it.
        batch_size: inputs in one pass.
        resamples, seed: of the bootstrap; the seed also draws the noise.

    Returns:
        A :class:`Fragility`.

    Raises:
        ShapeError, BoundsError, ModelError, UsageError: what was given does not fit; each says what
            to do.

    Cost: 2N forward passes; ``aimed`` solves one linear system of min(N, 1000) unknowns beside.
        Memory: 2N outputs.

    >>> import worldline as wl
    >>> data = wl.zoo.digits()
    >>> plain = wl.explain.fragility(wl.zoo.load("mlp"), data.x)
    >>> hardened = wl.explain.fragility(wl.zoo.load("mlp-adv"), data.x)
    >>> plain.changed.value > hardened.changed.value
    True
    """
    if probe not in get_args(Probe):
        raise UsageError(f"Unknown probe {probe!r}; choose one of {', '.join(get_args(Probe))}.")
    check_inputs(x, bounds)
    size = SIGMA[probe] * (bounds[1] - bounds[0]) if sigma is None else sigma
    if not (size > 0 and math.isfinite(size)):
        raise UsageError(
            f"sigma must be a positive finite number in the units of the input; got {sigma}."
        )
    if probe == "aimed" and len(x) < 20:
        raise ShapeError(
            f"The aimed probe learns its directions from the samples and needs at least 20; got "
            f"{len(x)}. Use probe='noise'."
        )
    first, second, radius, prediction = (
        _noise(model, x, size, batch_size, seed)
        if probe == "noise"
        else _aimed(model, x, size, bounds, batch_size)
    )
    changed = first.argmax(1) != second.argmax(1)
    values = _outputs_rapidity(first, second)
    return Fragility(
        probe=probe,
        sigma=size,
        changed=_share(changed, resamples, seed),
        rapidity=Bootstrap(len(x), resamples=resamples, seed=seed).summary(values),
        tail=_tail(values, resamples, seed),
        radius=radius,
        prediction=prediction,
        notes=tuple(_notes(first, second, changed, prediction, size)),
    )


Answers = tuple[Tensor, Tensor, dict[NormName, Tensor], Tensor]


def _noise(model: Model, x: Tensor, sigma: float, batch_size: int, seed: int) -> Answers:
    """Both outputs, radii from the margin of their mean over the mean slope that noise sees, and
    predictions.
    """
    delta = sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    both = predict(model, torch.cat((x + delta, x - delta)), batch_size=min(batch_size, len(x)))
    first, second = both.cpu().double().chunk(2)
    middle = (first + second) / 2
    prediction = middle.argmax(1)
    moved = (first - second) / 2
    gaps = moved.gather(1, prediction[:, None]) - moved  # own class: zero
    slope = (
        (gaps**2).mean(0).sum() / (gaps.shape[1] - 1)
    ).sqrt() / sigma  # |∇| of a gap, root mean square over the samples
    radius = _margin(middle, prediction) / slope
    width = x[0].numel()
    return (
        first,
        second,
        {"l2": radius, "linf": radius / math.sqrt(2 * width / math.pi)},
        prediction,
    )


def _aimed(
    model: Model, x: Tensor, sigma: float, bounds: tuple[float, float], batch_size: int
) -> Answers:
    """Both outputs, radii by the secant through the two margins, and predictions."""
    clean = predict(model, x, batch_size=batch_size)
    direction = aim(x.flatten(1), clean.to(x.device))
    twin = (x + sigma * math.sqrt(direction.shape[1]) * direction.view_as(x)).clamp(*bounds)
    first, second = clean.cpu().double(), predict(model, twin, batch_size=batch_size).cpu().double()
    prediction = first.argmax(1)
    margin = _margin(first, prediction)
    step = (twin - x).flatten(1).double().cpu()
    length = torch.linalg.vector_norm(step, dim=1).clamp(min=1e-300)
    slope = (margin - _margin(second, prediction)) / length
    floor = FLOOR * slope.abs().mean()
    radius = margin / (slope.clamp(min=0) + floor)
    spread = step.abs().sum(1) / length  # |u|₁/|u|₂: how much longer a step is in L2 than in L∞
    return first, second, {"l2": radius, "linf": radius / spread.clamp(min=1)}, prediction


def _margin(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None])[:, 0] - logits.scatter(
        1, label[:, None], -torch.inf
    ).amax(1)


def _outputs_rapidity(first: Tensor, second: Tensor) -> Tensor:
    origin = (first + second).mean(0) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedPairWarning)
        return rapidity(first - origin, second - origin)


def _share(flags: Tensor, resamples: int, seed: int) -> Share:
    value = float(flags.double().mean())
    low, high = np.quantile(_resampled(value, len(flags), resamples, seed), (0.025, 0.975))
    return Share(value, (float(low), float(high)), len(flags))


def _resampled(value: float, count: int, resamples: int, seed: int) -> Array:
    """Bootstrapped shares: the number of true flags in a resample is binomial."""
    drawn: Array = np.random.default_rng(seed).binomial(count, value, resamples) / count
    return drawn


def _tail(values: Tensor, resamples: int, seed: int) -> tuple[float, tuple[float, float]] | None:
    """Lower tenth of φ with its bootstrap interval; ±∞ are values, as order statistics are used."""
    known = values[~values.isnan()].sort().values.numpy()
    if len(known) == 0:
        return None
    place = math.ceil(TAIL * len(known)) - 1
    # the k-th of N resampled rows is ⌊N u⌋ with u the k-th of N uniforms, which is Beta(k, N − k +
    # 1)
    rows = np.random.default_rng(seed).beta(place + 1, len(known) - place, resamples) * len(known)
    low, high = np.quantile(known[rows.astype(np.int64)], (0.025, 0.975), method="inverted_cdf")
    return float(known[place]), (float(low), float(high))


def _notes(
    first: Tensor, second: Tensor, changed: Tensor, prediction: Tensor, sigma: float
) -> list[str]:
    notes = [NOT_A_BOUND]
    still = int((first == second).all(1).sum())
    share = float(changed.double().mean())
    if still:
        notes.append(
            f"{still} of {len(first)} outputs did not move at all: they saturate, or sigma = "
            f"{sigma:g} is too small. Pass "
            "logits rather than probabilities, or a larger sigma."
        )
    elif share == 0:
        notes.append(
            f"No answer changed at sigma = {sigma:g}, so models cannot be told apart: pass a "
            f"larger sigma."
        )
    if share > 0.9:
        notes.append(
            f"{share:.0%} of the answers changed at sigma = {sigma:g}: pass a smaller sigma."
        )
    if len(prediction.unique()) == 1:
        notes.append(
            f"All samples are predicted as class {int(prediction[0])}: there is little to be "
            f"fragile about."
        )
    bad = int((~torch.isfinite(first).all(1) | ~torch.isfinite(second).all(1)).sum())
    if bad:
        notes.append(f"{bad} outputs are not finite; those samples have no rapidity and no radius.")
    return notes


def calibrate(
    found: Sequence[Fragility], accuracy: Sequence[float], epsilon: float, norm: NormName = "linf"
) -> Calibration:
    """Learn from models that were attacked what accuracy under that attack a share of changed
    answers means.

    Least squares of logit(accuracy) on logit(1 − changed), two numbers for all models.

    Args:
        found: the :class:`Fragility` of each attacked model, by one probe at one sigma, on the same
            data.
        accuracy: of each, measured under one attack, in [0, 1].
        epsilon, norm: of that attack.

    Returns:
        A :class:`Calibration`. Its honesty ends at models unlike these and at other attacks.

    Raises:
        UsageError: fewer than four models, not one accuracy for each, or several probes or sigmas.

    >>> import worldline as wl
    >>> data, names = wl.zoo.digits(), ("cnn", "linear", "mlp", "mlp-adv")
    >>> models = [wl.zoo.load(name) for name in names]
    >>> found = [wl.explain.fragility(model, data.x) for model in models]
    >>> attack = wl.attacks.PGD(epsilon=0.05)
    >>> measured = [1 - float(attack(model, data.x, data.y).success.float().mean()) for model in models]
    >>> learnt = wl.explain.calibrate(found, measured, 0.05)
    >>> learnt.slope > 0
    True
    """
    named_norm(norm)
    if len(found) < 4 or len(found) != len(accuracy):
        raise UsageError(
            f"A calibration needs at least four attacked models and one accuracy for each; got "
            f"{len(found)} and {len(accuracy)}."
        )
    kinds = {(it.probe, it.sigma) for it in found}
    if len(kinds) > 1:
        raise UsageError(
            f"A calibration needs one probe at one sigma for all models; got {sorted(kinds)}."
        )
    kept = _logit(np.array([1 - (it.changed.value or 0.0) for it in found]))
    measured = np.array(accuracy, dtype=np.float64)
    slope, intercept = _fit(kept, measured)
    left = []
    for place in range(len(found)):
        others = np.arange(len(found)) != place
        own_slope, own_intercept = _fit(kept[others], measured[others])
        left.append(float((measured - _share_of(own_intercept + own_slope * kept))[place]))
    spread = float(np.sqrt(np.mean(np.square(left))))
    return Calibration(epsilon, norm, found[0].probe, intercept, slope, spread, len(found))


def _fit(kept: Array, measured: Array) -> tuple[float, float]:
    """Slope and intercept; a flat line where the scores do not vary."""
    target = _logit(measured)
    spread = kept - kept.mean()
    slope = float((spread * target).sum() / (spread**2).sum()) if (spread**2).sum() > 0 else 0.0
    return slope, float(target.mean() - slope * kept.mean())


def _logit(share: Array) -> Array:
    pulled: Array = np.log((share + PULL) / (1 - share + PULL))
    return pulled


def _share_of(logit: Array) -> Array:
    share: Array = ((1 + 2 * PULL) / (1 + np.exp(-logit)) - PULL).clip(0, 1)
    return share
