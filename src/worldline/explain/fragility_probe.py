"""How fragile a model is, and which of its samples are, from two forward passes a sample.

No attack, no gradient, no label.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.attacks import named_norm, predict
from worldline.errors import ShapeError, UndefinedPairWarning, UsageError
from worldline.explain.measures.surrogate import aim
from worldline.geometry import rapidity
from worldline.inputs import check_inputs, logits_of
from worldline.settings import DEFAULT, NormName, Settings
from worldline.statistics import Bootstrap, Share, Summary, proportion
from worldline.trace import Model, untouched

__all__ = [
    "FEWEST_TO_AIM",
    "NOT_A_BOUND",
    "Calibration",
    "Fragility",
    "Probe",
    "SampleFragility",
    "calibrate",
    "fragility",
]

Probe = Literal["noise", "aimed"]
SIGMA: dict[str, float] = {"noise": 0.25, "aimed": 0.08}
"""Default size of the twin, as a share of the width of the bounds.

Chosen on the benchmark's development half.
"""
TAIL = 0.1
FLOOR = 0.1
"""A sample's drop of margin counts as at least this share of the mean drop.

So a chance standstill is no infinite radius.
"""
PULL = 0.01
FEWEST_TO_AIM = 20
Array = npt.NDArray[np.float64]
NOT_A_BOUND = (
    "An estimate from two forward passes a sample, not a bound: a model can be built that it "
    "calls robust and an attack breaks, and accuracy under attack has to be measured where it "
    "matters."
)


@dataclass(frozen=True)
class Fragility:
    """How fragile a model is on these samples. An estimate, not a bound (:data:`NOT_A_BOUND`).

    Attributes:
        probe, sigma: which twins were asked about, and their size in the units of the input.
        changed: share of samples whose two answers differ: the model's score. 0: no twin changes
            the answer (or sigma is too small); towards 1 − 1/K: the answers are unrelated. Samples
            with an output that is not finite have no answer: they are its ``undefined``.
        rapidity: distribution over samples of φ between the two outputs in nats, seen from the
            outputs' mean.
        tail, tail_interval: the lower tenth of φ: the score of few but far-driven twins; None where
            no sample has a φ.
        radius_linf: distribution over samples of the radius in L∞ (:class:`SampleFragility`).
        most_fragile: rows of the ten samples of the smallest radius.
        notes: what a reader must know before believing it.
    """

    probe: Probe
    sigma: float = field(metadata={"unit": "input"})
    changed: Share
    rapidity: Summary = field(metadata={"unit": "nats"})
    tail: float | None = field(metadata={"unit": "nats"})
    tail_interval: tuple[float, float] | None
    radius_linf: Summary = field(metadata={"unit": "input"})
    most_fragile: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SampleFragility(Fragility):
    """The fragility of a model, and of each of its samples.

    Attributes:
        radius: norm → (N,) how far, in the units of the input, the answer is estimated to hold; the
            samples' score, small is fragile. It ranks the samples of one model, and is larger than
            what an attack needs. Invariant to a shift and to a scale of all logits. NaN where an
            output is not finite.
        prediction: (N,) the model's class (``noise``: of the mean of both outputs); −1 where an
            output is not finite.
        linearised: norm → (N,) the linearised margin, how far the boundary is by the gradient
            there; None unless gradients were asked for and came back.
    """

    radius: dict[NormName, Tensor]
    prediction: Tensor
    linearised: dict[NormName, Tensor] | None = None

    @property
    def summary(self) -> Fragility:
        """The model's part alone, without tensors."""
        return Fragility(**{it.name: getattr(self, it.name) for it in fields(Fragility)})


@dataclass(frozen=True)
class Calibration:
    """What a share of changed answers is worth in accuracy under one attack.

    Learnt from models that were attacked:
    logit(accuracy) = intercept + slope · logit(1 − changed), the logits of shares pulled in by
    0.01.

    Attributes:
        epsilon, norm: of the attack.
        probe, sigma: of the fragilities.
        intercept, slope: of the line.
        spread: root mean square of measured minus predicted accuracy, each model by a line through
            the others.
        models: how many.
    """

    epsilon: float
    norm: NormName
    probe: Probe
    sigma: float
    intercept: float
    slope: float
    spread: float
    models: int

    def predict(self, found: Fragility, *, resamples: int = 1000, seed: int = 0) -> Share:
        """Predicted accuracy under that attack, with a 95 % interval.

        The interval is over samples, widened by the spread over models. Assumes a model like those
        that the line was learnt from, of the same data; labels of these samples are not used.

        Raises:
            UsageError: the fragility is of another probe or of twins of another size.
        """
        if found.probe != self.probe or not math.isclose(found.sigma, self.sigma, rel_tol=1e-6):
            raise UsageError(
                f"The calibration is for probe {self.probe!r} at sigma = {self.sigma:g}; the "
                f"fragility is of {found.probe!r} at sigma = {found.sigma:g}. Ask again with "
                f"probe={self.probe!r}, sigma={self.sigma:g}."
            )
        changed = found.changed
        if changed.value is None:
            return changed
        value = float(self._line(np.array([1 - changed.value]))[0])
        generator = np.random.default_rng(seed)
        kept = 1 - generator.binomial(changed.count, changed.value, resamples) / changed.count
        drawn = self._line(kept) + generator.normal(0.0, self.spread, resamples)
        low, high = np.quantile(drawn, (0.025, 0.975)).clip(0, 1)
        return Share(value, (float(low), float(high)), changed.count, changed.undefined)

    def _line(self, kept: Array) -> Array:
        return _share_of(self.intercept + self.slope * _logit(kept))


def fragility(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    probe: Probe = "noise",
    sigma: float | None = None,
    gradients: bool = False,
    resamples: int = 1000,
    settings: Settings = DEFAULT,
) -> SampleFragility:
    """Estimate how fragile a model and its samples are, from two forward passes a sample.

    ``noise``: the two passes are at x + σδ and x − σδ, δ ~ N(0, 1), not clipped, as the two must
    stay opposite; the model's score is the share of samples on which they disagree. Best for
    ranking *models*.

    ``aimed``: one pass at x, and one at a point as far away as noise of σ (σ√D in L2), in the
    direction in which a kernel regression of the first pass's answers falls fastest
    (:mod:`worldline.explain.measures.surrogate`); a sample's radius is then |step| m/(m − m'), with
    m and m' the margins. Best for ranking *samples*: in D dimensions one random direction hardly
    sees the gradient, so isotropic noise says little of a single sample. The aimed step is what an
    attacker without gradients would try first, tried once and not repeated; the noise probe aims at
    nothing.

    Args:
        model: returns logits (N, K). Samples with an output that is not finite are counted as
            undefined, and nothing else is made of them.
        x: (N, …) inputs; at least 20 for ``aimed``, whose aim gets better with more.
        probe: ``noise`` or ``aimed``.
        sigma: size of the twins in the units of the input; default 0.25 (noise) or 0.08 (aimed) of
            the width of the bounds.
        gradients: whether the linearised margin is found beside, m/|∇m|₁ (L∞) and m/|∇m| (L2). Its
            median ranks models in one world and not in another (docs/complexity.md), so the share
            of changed answers stays the model's score.
        resamples: of the bootstrap.
        settings: bounds (aimed twins are clipped to them), batch size, and the seed, which draws
            noise and resamples.

    Returns:
        A :class:`SampleFragility`.

    Raises:
        ShapeError, BoundsError, ModelError, UsageError: what was given does not fit; each says what
        to do.

    Cost: 2N forward passes, with gradients one more and a backward one; ``aimed`` solves one linear
        system of min(N, 1000) unknowns beside. Memory: 2N outputs.

    >>> import worldline as wl
    >>> data = wl.zoo.digits()
    >>> plain = wl.explain.fragility(wl.zoo.load("mlp"), data.x)
    >>> hardened = wl.explain.fragility(wl.zoo.load("mlp-adv"), data.x)
    >>> plain.changed.value > hardened.changed.value
    True
    """
    if probe not in get_args(Probe):
        raise UsageError(f"Unknown probe {probe!r}; choose one of {', '.join(get_args(Probe))}.")
    check_inputs(x, settings.bounds)
    width = settings.bounds[1] - settings.bounds[0]
    size = SIGMA[probe] * width if sigma is None else sigma
    if not 0 < size < math.inf:
        raise UsageError(
            f"sigma must be a positive finite number in the units of the input; got {sigma}."
        )
    if probe == "aimed" and len(x) < FEWEST_TO_AIM:
        raise ShapeError(
            "The aimed probe learns its directions from the samples and needs at least "
            f"{FEWEST_TO_AIM}; got {len(x)}. Use probe='noise'."
        )
    ask = _noise if probe == "noise" else _aimed
    found = ask(model, x, size, settings)
    changed = found.first.argmax(1) != found.second.argmax(1)
    hits, count = int(changed[found.finite].sum()), int(found.finite.sum())
    bootstrap = Bootstrap(len(x), resamples=resamples, seed=settings.seed)
    values = _outputs_rapidity(found)
    tail, tail_interval = _tail(values, resamples, settings.seed)
    return SampleFragility(
        probe=probe,
        sigma=size,
        changed=replace(proportion(hits, count), undefined=len(x) - count),
        rapidity=bootstrap.summary(values),
        tail=tail,
        tail_interval=tail_interval,
        radius_linf=bootstrap.summary(found.radius["linf"]),
        most_fragile=_smallest(found.radius["linf"]),
        notes=tuple(_notes(found, hits, count, size)),
        radius=found.radius,
        prediction=found.prediction,
        linearised=_linearised(model, x, settings.batch_size) if gradients else None,
    )


def _linearised(model: Model, x: Tensor, batch_size: int) -> dict[NormName, Tensor] | None:
    """Margin over the dual norm of its gradient; None where no gradient comes back."""
    found: dict[NormName, list[Tensor]] = {"linf": [], "l2": []}
    with untouched(model), torch.enable_grad():
        for batch in x.split(batch_size):
            point = batch.detach().clone().requires_grad_()
            logits = logits_of(model, point)
            if not logits.requires_grad:
                return None
            margin = _margin(logits, logits.argmax(1))
            slope = torch.autograd.grad(margin.sum(), point)[0].flatten(1).double().cpu()
            distance = margin.detach().double().cpu()
            found["linf"].append(distance / slope.abs().sum(1))
            found["l2"].append(distance / slope.norm(dim=1))
    return {norm: torch.cat(parts) for norm, parts in found.items()}


@dataclass(frozen=True)
class _Answers:
    """Both outputs (N, K), on which rows both are finite, radii by norm, and predictions."""

    first: Tensor
    second: Tensor
    finite: Tensor
    radius: dict[NormName, Tensor]
    prediction: Tensor


def _noise(model: Model, x: Tensor, sigma: float, settings: Settings) -> _Answers:
    """Radii from the margin of the mean output over the mean slope that noise sees."""
    generator = torch.Generator().manual_seed(settings.seed)
    delta = sigma * torch.randn(x.shape, generator=generator).to(x)
    batch_size = min(settings.batch_size, len(x))
    both = predict(model, torch.cat((x + delta, x - delta)), batch_size=batch_size)
    first, second = both.cpu().double().chunk(2)
    finite = _finite(first, second)
    middle = (first + second) / 2
    prediction = middle.argmax(1)
    moved = (first - second) / 2
    gaps = moved.gather(1, prediction[:, None]) - moved  # own class: zero
    # |∇| of a gap, root mean square over the samples
    slope = ((gaps[finite] ** 2).mean(0).sum() / (gaps.shape[1] - 1)).sqrt() / sigma
    radius = _margin(middle, prediction) / slope
    longer = math.sqrt(2 * x[0].numel() / math.pi)
    return _answers(first, second, finite, radius, radius / longer, prediction)


def _aimed(model: Model, x: Tensor, sigma: float, settings: Settings) -> _Answers:
    """Radii by the secant through the two margins."""
    clean = predict(model, x, batch_size=settings.batch_size)
    known = torch.isfinite(clean).all(1)
    twin = x.clone()
    if known.any():
        rows = known.to(x.device)
        direction = aim(x[rows].flatten(1), clean[known].to(x.device))
        step = sigma * math.sqrt(direction.shape[1]) * direction.view_as(x[rows])
        twin[rows] = (x[rows] + step).clamp(*settings.bounds)
    second = predict(model, twin, batch_size=settings.batch_size).cpu().double()
    first = clean.cpu().double()
    finite = _finite(first, second)
    prediction = first.argmax(1)
    margin = _margin(first, prediction)
    step = (twin - x).flatten(1).double().cpu()
    length = torch.linalg.vector_norm(step, dim=1).clamp(min=1e-300)
    slope = (margin - _margin(second, prediction)) / length
    floor = FLOOR * slope[finite].abs().mean()
    radius = margin / (slope.clamp(min=0) + floor)
    spread = step.abs().sum(1) / length  # |u|₁/|u|₂: how much longer a step is in L2 than in L∞
    return _answers(first, second, finite, radius, radius / spread.clamp(min=1), prediction)


def _finite(first: Tensor, second: Tensor) -> Tensor:
    return torch.isfinite(first).all(1) & torch.isfinite(second).all(1)


def _answers(
    first: Tensor, second: Tensor, finite: Tensor, l2: Tensor, linf: Tensor, prediction: Tensor
) -> _Answers:
    """What is said of rows that are not finite is nothing."""
    radius: dict[NormName, Tensor] = {"l2": l2, "linf": linf}
    known = {norm: value.masked_fill(~finite, torch.nan) for norm, value in radius.items()}
    return _Answers(first, second, finite, known, prediction.masked_fill(~finite, -1))


def _smallest(radius: Tensor) -> tuple[int, ...]:
    """Rows of the ten smallest that are known."""
    order = radius.nan_to_num(nan=torch.inf).argsort(stable=True)
    return tuple(int(row) for row in order[:10] if not radius[row].isnan())


def _margin(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None])[:, 0] - logits.scatter(
        1, label[:, None], -torch.inf
    ).amax(1)


def _outputs_rapidity(found: _Answers) -> Tensor:
    """(N,) φ between the two outputs, seen from the mean of the finite ones; NaN for others."""
    values = torch.full((len(found.first),), torch.nan, dtype=torch.float64)
    first, second = found.first[found.finite], found.second[found.finite]
    if len(first):
        origin = (first + second).mean(0) / 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedPairWarning)
            values[found.finite] = rapidity(first - origin, second - origin)
    return values


def _tail(
    values: Tensor, resamples: int, seed: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Lower tenth of φ with its bootstrap interval; ±∞ are values, as order statistics are used."""
    known = values[~values.isnan()].sort().values.numpy()
    if len(known) == 0:
        return None, None
    place = math.ceil(TAIL * len(known)) - 1
    # the k-th of N resampled rows is ⌊N u⌋, u the k-th of N uniforms, which is Beta(k, N − k + 1)
    rows = np.random.default_rng(seed).beta(place + 1, len(known) - place, resamples) * len(known)
    low, high = np.quantile(known[rows.astype(np.int64)], (0.025, 0.975), method="inverted_cdf")
    return float(known[place]), (float(low), float(high))


def _notes(found: _Answers, hits: int, count: int, sigma: float) -> list[str]:
    notes = [NOT_A_BOUND]
    samples = len(found.first)
    if count < samples:
        notes.append(
            f"{samples - count} of {samples} samples have an output that is not finite: they have "
            "no answer, no rapidity and no radius, and are left out of every number."
        )
    if not count:
        return notes
    same = (found.first == found.second).all(1)
    still = int(same[found.finite].sum())
    if still:
        notes.append(
            f"{still} of {count} outputs did not move at all: they saturate, or sigma = {sigma:g} "
            "is too small. Pass logits rather than probabilities, or a larger sigma."
        )
    elif hits == 0:
        notes.append(
            f"No answer changed at sigma = {sigma:g}, so models cannot be told apart: pass a "
            "larger sigma."
        )
    if hits > 0.9 * count:
        notes.append(
            f"{hits / count:.0%} of the answers changed at sigma = {sigma:g}: pass a smaller sigma."
        )
    classes = found.prediction[found.finite].unique()
    if len(classes) == 1:
        notes.append(
            f"All samples are predicted as class {int(classes[0])}: there is little to be fragile "
            "about."
        )
    return notes


def calibrate(
    found: Sequence[Fragility], accuracy: Sequence[float], epsilon: float, norm: NormName = "linf"
) -> Calibration:
    """Learn from attacked models what accuracy a share of changed answers means.

    Least squares of logit(accuracy) on logit(1 − changed), two numbers for all models.

    Args:
        found: the :class:`Fragility` of each attacked model, by one probe at one sigma, on the same
            data; each with a share of changed answers.
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
    >>> fooled = [attack(model, data.x, data.y).success for model in models]
    >>> measured = [1 - float(success.float().mean()) for success in fooled]
    >>> learnt = wl.explain.calibrate(found, measured, 0.05)
    >>> learnt.slope > 0
    True
    """
    named_norm(norm)
    if len(found) < 4 or len(found) != len(accuracy):
        raise UsageError(
            "A calibration needs at least four attacked models and one accuracy for each; got "
            f"{len(found)} and {len(accuracy)}."
        )
    if any(it.changed.value is None for it in found):
        raise UsageError(
            "A calibration needs the share of changed answers of every model; one has none, as no "
            "output was finite."
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
    probe, sigma = found[0].probe, found[0].sigma
    return Calibration(epsilon, norm, probe, sigma, intercept, slope, spread, len(found))


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
