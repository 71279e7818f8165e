"""Spacetime: the layer number as a coordinate of time, beside features with and without length."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worldline.encoder.crossing import Crossing, crossing_layer, measured_crossing
from worldline.encoder.experiments.base import MERGING
from worldline.encoder.experiments.merging import Merge
from worldline.encoder.experiments.record import (
    AheadCurves,
    Control,
    Floats,
    Integers,
    Measurement,
    Outcome,
    mean_of,
)
from worldline.encoder.experiments.walks import Trial
from worldline.encoder.laws import pair_walk
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Path, from_fitted
from worldline.encoder.reading import reading_length
from worldline.encoder.seeds import make_generator
from worldline.errors import UsageError

__all__ = ["Spacetime"]

ENCODERS, UNSEEN_EACH = 500, 10  # 5,000 unseen vectors, as published
SHOWN = 30
FURTHER = ((10, 30, 1000.0), (5000, 10, 10_000.0))  # n, L, c, published beside (100, 12, 100)


@dataclass(frozen=True)
class DistanceTable:
    """A row for each setting, layer and unseen vector: |â−b̂|²/4 of the spacetime points."""

    candidates: Integers
    layer: Integers
    vector: Integers
    squared_distance: Floats


@dataclass(frozen=True, kw_only=True)
class Spacetime(Merge):
    """Spacetime as published: time cℓ beside the feature with its length, 5,000 unseen vectors.

    Published (n, k, L, c): (100, 2, 12, 100), and beside it (10, 2, 30, 1000) and (5000, 2, 10,
    10000), which are measured too.

    >>> from worldline.encoder.experiments import Spacetime
    >>> Spacetime(candidates=50, depth=14).run().finding.measurements[0].agrees
    True
    """

    table = DistanceTable
    drawn = 2  # and time

    name = "spacetime"
    group = MERGING
    title = "The spacetime path"
    claim = (
        "In a spacetime diagram all features begin together and then separate into two worlds, "
        "perfectly correlated and perfectly anti-correlated."
    )
    law = (
        "The time coordinate cℓ grows evenly and the length |x_ℓ| by the factor e^λ a layer, λ = E "
        "ln|y|: the feature overtakes time at the t with λt = ln t + ln(c/|x₀|), with the spread "
        "√(vt)/(λ − 1/t), v = Var ln|y|. Before it all points lie near the time axis; after it a "
        "pair is what it is without time, ρ = ±1."
    )
    shown = (
        "Squared distance of the spacetime points of unseen vectors from the fitted one's, at "
        "three published settings. Dashed: the layer where the length overtakes time, by the law."
    )

    candidates: int = 100
    depth: int = 12
    speed: float = 100.0

    def __post_init__(self) -> None:
        """Refuse a speed that leaves no path."""
        super().__post_init__()
        if not 0 < self.speed < math.inf:
            raise UsageError(f"--speed (c) must be positive and finite; got {self.speed}.")

    def run(self) -> Outcome:
        """Send unseen vectors through encoders, and ask when their lengths overtake time."""
        settings = ((self.candidates, self.depth, self.speed), *FURTHER)
        generator = make_generator(self.seed)
        flights = [
            Flight.of(replace(self, candidates=n, depth=depth, speed=c).encoder, c, self, generator)
            for n, depth, c in settings
        ]
        first = flights[0]
        crossed = [it.crossing() for it in flights]
        reached = crossed[0].predicted or self.depth
        near = min(max(1, round(reached)), self.depth)
        found = first.trial.controls(
            first.rapidity, pairs=ENCODERS, time_alone=first.time_alone(generator)
        )
        return Outcome.of(
            DistanceTable(*(np.concatenate(it) for it in zip(*map(_rows, flights), strict=True))),
            (*crossed, *first.growth(), *(first.distance(at) for at in _layers(near, self.depth))),
            replace(found, no_selection=self._without(found.no_selection)),
            "All pairs begin together because c is large beside the features, whatever they are; "
            "they part at the layer where e^λ has outgrown c, which moves by 1/λ for every "
            "e-fold of c. What is left then are the two ends ρ = ±1 that the features have "
            "without any time. The diagram shows the constant c, and no law links it to them.",
            replicas=first.rapidity.shape[1],
            curves=AheadCurves(
                tuple(it.encoder.candidates for it in flights),
                tuple(it.speed for it in flights),
                tuple(float(it.law.mean.mean()) for it in flights),
            ),
        )

    def _without(self, control: Control) -> Control:
        plain = replace(self.encoder, candidates=self.width, rule="none")
        rate = reading_length(plain.selection).log_mean
        behind = math.log(self.speed * self.depth) - rate * self.depth
        told = (
            f" Lengths grow by {rate:.3g} nats a layer there, and are on average still "
            f"e^{behind:.2g} times too short for time after layer {self.depth}."
        )
        return replace(control, sentence=control.sentence + told) if behind > 0 else control


@dataclass(frozen=True)
class Flight:
    """Unseen vectors through independent encoders of one setting, with their lengths.

    Attributes:
        trial, speed: whose they are, and c.
        path: the features, fitted one first.
        rapidity: (L + 1, P, M) from the fitted one.
        law: of the crossing of each fitted feature.
    """

    trial: Trial
    speed: float
    path: Path
    rapidity: Tensor
    law: Crossing

    @classmethod
    def of(
        cls, encoder: Encoder, speed: float, it: Spacetime, generator: torch.Generator
    ) -> Flight:
        """Send them."""
        trial = Trial(encoder, it.dimension, generator)
        encoders = trial.affordable(ENCODERS, features=UNSEEN_EACH + 1, least=30)
        path = trial.send(trial.normals(encoders, UNSEEN_EACH + 1))
        phi = torch.stack([from_fitted(at) for at in path.directions])
        law = crossing_layer(path.log_norms[0, :, 0], encoder.selection, speed=speed)
        return cls(trial, speed, path, phi, law)

    @property
    def encoder(self) -> Encoder:
        """Their setting."""
        return self.trial.encoder

    def crossing(self) -> Measurement:
        """Where the fitted features overtake time; no law where the depth ends before some do."""
        n, depth = self.encoder.candidates, self.encoder.depth
        found = measured_crossing(self.path.log_norms[:, :, 0], speed=self.speed)
        name = f"layer where |x| overtakes cℓ, n = {n:,}, c = {self.speed:g}"
        if bool((self.law.mean + 4 * self.law.spread > depth).any()):
            late = found.clamp_max(depth)
            return Measurement(
                f"{name} (or the last)", float(late.mean()), None, _error(late), "layers"
            )
        gap = found - self.law.mean
        return Measurement(
            name, float(found.mean()), float(self.law.mean.mean()), _error(gap), "layers"
        )

    def growth(self) -> tuple[Measurement, ...]:
        """Mean and variance of the nats of length that a layer adds."""
        law, depth = reading_length(self.encoder.selection), self.encoder.depth
        total = self.path.log_norms[-1, :, 0] - self.path.log_norms[0, :, 0]
        off = (total - law.log_mean * depth).square() / depth
        return (
            mean_of("growth of ln|x| per layer", total / depth, law.log_mean, "nats"),
            mean_of("variance of ln|x| per layer", off, law.log_variance, "nats²"),
        )

    def distances(self) -> Tensor:
        """(L + 1, P, M) of unseen vectors' spacetime points from the fitted one's."""
        return _squared_distance(
            self.rapidity, self.path.log_norms[..., :1], self.path.log_norms[..., 1:], self.speed
        )

    def distance(self, layer: int) -> Measurement:
        """Mean squared distance after a layer, beside the exact walk from the same starts."""
        start, lengths = self.rapidity[0], self.path.log_norms[0]
        walk = pair_walk(
            start.flatten(), self.encoder.selection, layer, generator=self.trial.generator
        )
        fitted = lengths[:, :1].expand_as(start).flatten() + walk.log_fitted
        other = lengths[:, 1:].flatten() + walk.log_other
        law = _squared_distance(walk.rapidity, fitted, other, self.speed)[-1].view(start.shape)
        name = f"mean |â−b̂|²/4 of spacetime points after layer {layer}"
        return mean_of(name, self.distances()[layer].mean(1), law.mean(1))

    def time_alone(self, generator: torch.Generator) -> Control:
        """Unseen vectors beside the fitted feature of another encoder."""
        order = torch.arange(len(self.rapidity[0])).roll(1)
        ends = torch.cat((self.path.directions[1][order, :1], self.path.directions[1][:, 1:]), 1)
        lengths = self.path.log_norms[1]
        apart = _squared_distance(
            from_fitted(ends), lengths[order, :1], lengths[:, 1:], self.speed, first=1
        )
        evidence = mean_of("mean |â−b̂|²/4 of unrelated points after layer 1", apart.mean(1), None)
        return Control(
            "Features of different encoders, which have nothing to do with each other, begin "
            f"together as well: |â−b̂|²/4 = {evidence.measured:.2g} after layer 1, by the time "
            "coordinate alone.",
            evidence,
        )


def _squared_distance(
    phi: Tensor, log_fitted: Tensor, log_other: Tensor, speed: float, *, first: int = 0
) -> Tensor:
    """|â−b̂|²/4 of [cℓ ; x] and [cℓ ; x'], layers first from a number on, at any length.

    With α = arctan(|x|/cℓ) the tilt of each from the time axis, the cosine is cos α cos α' + ρ sin
    α sin α'.
    """
    layers = torch.arange(first, first + (len(phi) if first == 0 else 1), dtype=torch.float64)
    clock = (speed * layers).log().view(-1, *(1,) * (phi.ndim - 1))
    if first:
        clock = clock.view(())
    tilts = [torch.atan(torch.exp(length - clock)) for length in (log_fitted, log_other)]
    along = [it.cos() for it in tilts]
    cosine = along[0] * along[1] + phi.tanh() * tilts[0].sin() * tilts[1].sin()
    return (1 - cosine) / 2


def _layers(near: int, depth: int) -> tuple[int, ...]:
    return tuple(sorted({1, near, depth}))


def _error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))


def _rows(it: Flight) -> tuple[Integers, Integers, Integers, Floats]:
    shown = it.distances()[:, :SHOWN, 0]  # (L + 1, V), of different encoders
    layer, vector = np.indices(shown.shape)
    n = np.full(layer.size, it.encoder.candidates)
    return n, layer.ravel(), vector.ravel(), shown.flatten().numpy()
