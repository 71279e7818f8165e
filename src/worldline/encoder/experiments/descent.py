"""Gradient descent beside the encoder: steps of rank one reach the same collapse, or diverge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.encoder import descent as laws
from worldline.encoder.checking import check_count
from worldline.encoder.experiments.base import UNSEEN, Experiment
from worldline.encoder.experiments.record import (
    Control,
    Controls,
    Floats,
    Integers,
    Measurement,
    Outcome,
    StepCurves,
    mean_of,
    percent,
)
from worldline.encoder.experiments.walks import NOBODY_LISTENS, RESOLVED, resolvable
from worldline.encoder.seeds import make_generator
from worldline.errors import UsageError
from worldline.geometry.pair import rapidity

__all__ = ["Descent"]

SHOWN = 50
EXAMPLE, BESIDE = (0.1, 0.1), (0.11, 0.1)
BESIDE_RATE, BESIDE_TARGET = 1000.0, 1.0
LARGEST = 1e12
LEAST, MOST_STEPS = 30, 50
OUTWEIGHS = 30.0  # |p| against the entries of W_0, from where on the law holds to 1/|p|


@dataclass(frozen=True)
class StepTable:
    """A row for each setting (its η), step and shown pair: the rapidity after it."""

    rate: Floats
    step: Integers
    pair: Integers
    rapidity: Floats


@dataclass(frozen=True, kw_only=True)
class Descent(Experiment):
    """Descent of a 2×2 map on one example, and unseen pairs: published η = .01, t = 10⁴, 5 steps.

    Beside it the other published setting, η = 1000, t = 1, x = (.11, .1), which diverges.

    Attributes:
        rate: η.
        target: t = (target, target).
        steps: of descent.
        vectors: unseen pairs, each with a W_0 of its own.

    >>> from worldline.encoder.experiments import Descent
    >>> Descent(vectors=500).run().finding.agrees
    True
    """

    table = StepTable

    name = "descent"
    group = UNSEEN
    title = "Gradient descent collapses too"
    claim = (
        "A network trained by gradient descent on one sample shows the same perfect correlation or "
        "anti-correlation of pairs that it never saw."
    )
    law = (
        "W_s = W₀ + (1 − βˢ)(t − W₀x)xᵀ/|x|², β = 1 − 2η|x|²: every step has rank one. Where the "
        "sum outweighs W₀ every z goes to ±(t − W₀x), and E ln|sinh φ| = E ln|p| − E ln χ₂, |p| ≈ "
        "|1 − βˢ||t|/|x|. For |β| > 1 the loss grows by β² a step."
    )
    shown = (
        "Left: squared distance |â−b̂|²/4 of unseen pairs by step, first setting. Right: mean "
        "ln|sinh φ| of unseen pairs by step at both settings, with the law."
    )

    features = "Gaussian starts and pairs"
    replicate = "independent start"

    rate: float = 0.01
    target: float = 1e4
    steps: int = 5
    vectors: int = 5000

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to measure."""
        check_count("steps", self.steps)
        check_count("vectors", self.vectors)
        for name in ("rate", "target"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise UsageError(
                    f"--{name} must be positive and at most {LARGEST:g}; got {getattr(self, name)}."
                )
        if self.vectors < LEAST or self.steps > MOST_STEPS:
            raise UsageError(
                f"descent needs at least {LEAST} --vectors, for a standard error, and at most "
                f"{MOST_STEPS} --steps; got {self.vectors} and {self.steps}."
            )

    def run(self) -> Outcome:
        """Descend from independent starts, and send a pair through each."""
        generator = make_generator(self.seed)
        shape = (2, self.vectors, 2, 2)
        start, pairs = torch.randn(shape, dtype=torch.float64, generator=generator)
        first = Way.of(start, pairs, EXAMPLE, self.target, self.rate, self.steps)
        second = Way.of(start, pairs, BESIDE, BESIDE_TARGET, BESIDE_RATE, self.steps)
        tables = zip(*(it.rows() for it in (first, second)), strict=True)
        plain = mean_of("mean ln|sinh φ| before any step", _log_sinh(first.after(0)), None, "nats")
        loss = first.factor ** (2 * self.steps)
        return Outcome.of(
            StepTable(*(np.concatenate(it) for it in tables)),
            (*first.measurements(), *second.measurements()),
            Controls(
                no_selection=Control(
                    "Nothing is selected here: before the first step the same pairs leave W₀ with "
                    f"mean ln|sinh φ| {plain.measured:.2f}. What merges them is one matrix of rank "
                    "one, as in the encoder.",
                    plain,
                ),
                rank_one=first.rank(),
                sign_kept=first.sign_kept(),
                eavesdropper=NOBODY_LISTENS,
            ),
            "Descent reaches the collapse because its steps have rank one, and before anything is "
            f"learned: with η = {self.rate:g} the loss after {self.steps} steps is "
            f"{percent(loss) if loss <= 1 else f'{loss:.3g} times'} of what it was. With η = "
            f"{BESIDE_RATE:g} the factor β is −{-second.factor:.1f}: the loss grows "
            f"{second.factor**2:.0f}-fold a step, it diverges, and the pairs merge all the more. "
            "Merging is no sign of learning.",
            replicas=self.vectors,
            curves=StepCurves(
                rate=(self.rate, BESIDE_RATE),
                log_sinh=(first.curve(), second.curve()),
                log_sinh_law=(first.law_curve(), second.law_curve()),
            ),
        )


@dataclass(frozen=True)
class Way:
    """Descent at one setting from P starts, a pair sent through each.

    Attributes:
        x, target, rate: of the example and its descent.
        weights: (s + 1, P, 2, 2), before the first step and after each.
        pairs: (P, 2, 2), rows z and z'.
    """

    x: Tensor
    target: Tensor
    rate: float
    weights: Tensor
    pairs: Tensor

    @classmethod
    def of(
        cls,
        start: Tensor,
        pairs: Tensor,
        example: tuple[float, float],
        size: float,
        rate: float,
        steps: int,
    ) -> Way:
        """Descend from every start, by autograd."""
        x, target = torch.tensor(example).double(), torch.full((2,), size, dtype=torch.float64)
        weights = [start]
        for _ in range(steps):
            weights.append(laws.descend(weights[-1], x, target, rate=rate, steps=1))
        return cls(x, target, rate, torch.stack(weights), pairs)

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.weights) - 1

    @property
    def factor(self) -> float:
        """β."""
        return 1 - 2 * self.rate * float(self.x @ self.x)

    def after(self, step: int) -> Tensor:
        """(P,) rapidities of the pairs after a step."""
        return rapidity(*(self.pairs @ self.weights[step].mT).unbind(1))

    def curve(self) -> tuple[float, ...]:
        """Mean ln|sinh φ| by step."""
        several = (resolvable(self.after(step)) for step in range(self.steps + 1))
        return tuple(float(_log_sinh(phi).mean()) for phi in several)

    def law_curve(self) -> tuple[float, ...]:
        """The same by the law, from step 1."""
        return tuple(self._law(step).log_sinh for step in range(1, self.steps + 1))

    def measurements(self) -> tuple[Measurement, ...]:
        """Pairs after the last step that float64 resolves, weights and loss after the last."""
        steps = [step for step in range(1, self.steps + 1) if self._law(step).log_gap < RESOLVED]
        at = max(steps, default=1)
        law, phi, said = self._law(at), self.after(at), f"η = {self.rate:g}, {at} steps"
        values = torch.linalg.svdvals(self.weights[at])
        held = RESOLVED > law.log_gap > math.log(OUTWEIGHS) - laws.NORMAL_LOG
        end = self.weights[-1]
        gap = (end - self._closed()).abs().amax() / end.abs().amax()
        error = (end @ self.x - self.target).norm(dim=-1)
        before = (self.weights[0] @ self.x - self.target).norm(dim=-1)
        loss = f"η = {self.rate:g}, {self.steps} steps"
        return (
            mean_of(
                f"mean ln|sinh φ| of unseen pairs, {said}",
                _log_sinh(resolvable(phi)),
                law.log_sinh if held else None,
                "nats",
            ),
            mean_of(
                f"mean ln(σ₁/σ₂) of the weights, {said}",
                (values[:, 0] / values[:, 1]).log(),
                law.log_gap if held else None,
                "nats",
            ),
            Measurement(
                f"pairs that end together, {said}",
                float((phi > 0).double().mean()),
                0.5,
                0.5 / math.sqrt(len(phi)),
                "share",
            ),
            Measurement(f"largest deviation from W_s, {loss}", float(gap), 0.0, 0.0),
            Measurement(
                f"|Wx − t| against the start, {loss}",
                float((error / before).mean()),
                abs(self.factor) ** self.steps,
                0.0,
            ),
        )

    def rank(self) -> Control:
        """How near to rank one the weights are after the last step."""
        squares = torch.linalg.svdvals(self.weights[-1]).square()
        found = mean_of("σ₁²/Σσ² of the weights", squares[:, 0] / squares.sum(1), None, "share")
        return Control(
            f"After {self.steps} steps σ₁²/Σσ² is {found.measured:.5f}: every unseen vector comes "
            "out as ±u₁, and one bit of it is left, the sign of x·z.",
            found,
        )

    def sign_kept(self) -> Control:
        """How often a pair ends on the side on which it began."""
        kept = (rapidity(*self.pairs.unbind(1)).sign() == self.after(self.steps).sign()).double()
        # two normals in the plane end on one side if x does not part them: 1 − θ/π of them
        found = mean_of("pairs that end with the sign they began with", kept, 0.75, "share")
        return Control(
            f"{percent(found.measured)} of the pairs end with the sign that they began with (law "
            "75%, the mean of 1 − θ/π over near pairs and of θ/π over opposite ones): the line "
            "across x parts them, and nothing else of them counts.",
            found,
        )

    def rows(self) -> tuple[Floats, Integers, Integers, Floats]:
        """For the table."""
        phi = torch.stack([self.after(step)[:SHOWN] for step in range(self.steps + 1)])
        step, pair = np.indices(phi.shape)
        return np.full(phi.numel(), self.rate), step.ravel(), pair.ravel(), phi.flatten().numpy()

    def _law(self, steps: int) -> laws.Descent:
        return laws.descent_law(self.x, self.target, rate=self.rate, steps=steps)

    def _closed(self) -> Tensor:
        return laws.descended(
            self.weights[0], self.x, self.target, rate=self.rate, steps=self.steps
        )


def _log_sinh(phi: Tensor) -> Tensor:
    """ln|sinh φ|, at any φ."""
    size = phi.abs()
    return size + torch.log(-torch.expm1(-2 * size)) - math.log(2)
