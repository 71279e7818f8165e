"""One step of gradient descent on one digit, and what it does to the answers on all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.encoder.descent import descend
from worldline.encoder.experiments.base import FLIPPING, Experiment
from worldline.encoder.experiments.digits import Digits, check_digits
from worldline.encoder.experiments.record import (
    Control,
    Controls,
    Floats,
    Integers,
    Measurement,
    Outcome,
    percent,
)
from worldline.encoder.experiments.walks import NOBODY_LISTENS
from worldline.encoder.seeds import make_generator
from worldline.errors import UsageError

__all__ = ["OneStep", "flip_rates"]

EXAMPLES = 20
RIDGE = 1.0
PARTS = (1.0, 0.1, 0.01)  # of the rate that are measured; the first is the headline
CURVE = tuple(10.0**power for power in np.arange(-4, 1.01, 0.25))


@dataclass(frozen=True)
class OneStepTable:
    """A row for each rate: shares of test pictures that get the wrong label of the example."""

    rate: Floats
    flipped: Floats
    flipped_law: Floats
    flipped_centred: Floats
    flipped_random: Floats
    examples: Integers


@dataclass(frozen=True, kw_only=True)
class OneStep(Experiment):
    """A linear map trained on digits takes one step towards a wrong label of one digit.

    Attributes:
        rate: η of the step; a tenth and a hundredth of it are measured too.

    >>> import torch
    >>> from worldline.encoder.experiments import OneStep
    >>> x, y = torch.rand(80, 16, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 4
    >>> OneStep().run(x, y, x, y).finding.measurements[0].measured
    1.0
    """

    table = OneStepTable

    name = "onestep"
    group = FLIPPING
    title = "One step on one digit"
    claim = (
        "One step of gradient descent on a single digit changes the answer to every other digit."
    )
    law = (
        "The step adds 2η(x·x′)(t − W₀x) to the outputs z of x′. Class j wins once η > max over i "
        "of (z_i − z_j)/(2 x·x′ (d_j − d_i)), d = t − W₀x: always at last, if x·x′ > 0, as it is "
        "for pictures without negative pixels."
    )
    shown = (
        "Share of test digits that are given the wrong label of the one example after one step, by "
        "the size η of the step: measured, by the law, and with the two controls."
    )
    needs = "digits"

    replicate = "example"

    rate: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a rate that is no step."""
        if not 0 < self.rate <= 1e6:
            raise UsageError(f"--rate must be positive and at most 1e6; got {self.rate}.")

    def run(self, x: Tensor, y: Tensor, reference_x: Tensor, reference_y: Tensor) -> Outcome:
        """Train on the reference, step on some of x, and ask all of x.

        Args:
            x, y: (N, …) pictures without negative pixels, and their labels from 0.
            reference_x, reference_y: those that the linear map is trained on.

        Raises:
            ShapeError, BoundsError: pictures and labels that do not fit.
        """
        data, reference = check_digits(x, y), check_digits(reference_x, reference_y)
        middle = reference.x.mean(0)
        plain = Steps.of(data, reference)
        centred = Steps.of(
            Digits(data.x - middle, data.y), Digits(reference.x - middle, reference.y)
        )
        generator = make_generator(self.seed)
        random = [plain.random(self.rate * part, generator) for part in PARTS]
        rates = np.array(CURVE)
        law = plain.thresholds()
        table = OneStepTable(
            rates,
            np.array([plain.flipped(rate) for rate in CURVE]),
            np.array([float((law < rate).double().mean()) for rate in CURVE]),
            np.array([centred.flipped(rate) for rate in CURVE]),
            np.array([plain.random(rate, generator) for rate in CURVE]),
            np.full(len(CURVE), len(plain.examples)),
        )
        measured = tuple(
            Measurement(
                f"test digits that get the example's wrong label, η = {rate:g}",
                plain.flipped(rate),
                float((law < rate).double().mean()),
                0.0,
                "share",
            )
            for rate in (self.rate * part for part in PARTS)
        )
        unsigned = Measurement(
            "the same of centred pictures", centred.flipped(self.rate), None, 0.0, "share"
        )
        positive = float((centred.products() > 0).double().mean())
        return Outcome.of(
            table,
            measured,
            Controls(
                no_selection=Control(
                    "Nothing is selected here. A step of the same length with its entries "
                    f"permuted gives {percent(random[0])} of the test digits that label.",
                    Measurement("the same with a permuted step", random[0], None, 0.0, "share"),
                ),
                rank_one=Control(
                    "The step is a matrix of rank one, exactly: all that it asks of another digit "
                    "is x·x′."
                ),
                sign_kept=Control(
                    f"Of centred pictures, for which x·x′ has both signs ({percent(positive)} are "
                    f"positive), {percent(unsigned.measured)} get the label: the sign of x·x′ "
                    "decides.",
                    unsigned,
                ),
                eavesdropper=NOBODY_LISTENS,
            ),
            f"Before the step the linear map is right on {percent(plain.accuracy)} of the test "
            f"digits. A step with η = {self.rate:g} gives {percent(measured[0].measured)} of them "
            "the label that the one example was pushed to, because pictures with pixels ≥ 0 all "
            "have x·x′ > 0. It is the scale of the step that does it, η|x|² ≫ 1, where descent "
            "diverges: no adversarial example, and no training that anybody would do.",
            replicas=len(plain.examples),
        )


@dataclass(frozen=True)
class Steps:
    """A trained linear map, and steps from it on single pictures towards wrong labels.

    Attributes:
        data: all test pictures.
        weights: (K, D) before the step.
        examples: (E,) rows of the pictures that are stepped on.
    """

    data: Digits
    weights: Tensor
    examples: Tensor

    @classmethod
    def of(cls, data: Digits, reference: Digits) -> Steps:
        """Ridge regression on one-hot labels, and the first pictures."""
        labels = torch.nn.functional.one_hot(reference.y, data.classes).double()
        x = reference.x
        square = x.mT @ x + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(square, x.mT @ labels).mT
        return cls(data, weights, torch.arange(min(EXAMPLES, len(data.x))))

    @property
    def accuracy(self) -> float:
        """Before any step."""
        answers = (self.data.x @ self.weights.mT).argmax(1)
        return float((answers == self.data.y).double().mean())

    def products(self) -> Tensor:
        """(E, N) x·x′ of the examples and all pictures."""
        return self.data.x[self.examples] @ self.data.x.mT

    def flipped(self, rate: float) -> float:
        """Mean share of all pictures that get the label of the example after the step, measured."""
        shares = []
        for x, wrong, target in self._tasks():
            stepped = descend(self.weights, x, target, rate=rate, steps=1)
            shares.append(self._answered(stepped, wrong))
        return sum(shares) / len(shares)

    def random(self, rate: float, generator: torch.Generator) -> float:
        """The same with the entries of each step permuted."""
        shares = []
        for x, wrong, target in self._tasks():
            step = descend(self.weights, x, target, rate=rate, steps=1) - self.weights
            order = torch.randperm(step.numel(), generator=generator)
            moved = self.weights + step.flatten()[order].view_as(step)
            shares.append(self._answered(moved, wrong))
        return sum(shares) / len(shares)

    def thresholds(self) -> Tensor:
        """(E, N) the rate from which on each picture gets the label, by the law."""
        outputs = self.data.x @ self.weights.mT  # (N, K)
        return torch.stack(
            [
                flip_rates(outputs, self.data.x @ x, target - self.weights @ x, wrong)
                for x, wrong, target in self._tasks()
            ]
        )

    def _tasks(self) -> list[tuple[Tensor, int, Tensor]]:
        """Each example, the wrong label that it is pushed to, and its one-hot target."""
        classes = self.data.classes
        tasks = []
        for row in self.examples.tolist():
            wrong = (int(self.data.y[row]) + 1) % classes
            target = torch.zeros(classes, dtype=torch.float64)
            target[wrong] = 1
            tasks.append((self.data.x[row], wrong, target))
        return tasks

    def _answered(self, weights: Tensor, wrong: int) -> float:
        return float(((self.data.x @ weights.mT).argmax(1) == wrong).double().mean())


def flip_rates(outputs: Tensor, product: Tensor, error: Tensor, wrong: int) -> Tensor:
    """(N,) the step size η from which on each picture is given the label j; ∞: never.

    z_j + 2η(x·x′)d_j > z_i + 2η(x·x′)d_i for every other class i, so η > max (z_i − z_j)/(2 x·x′
    (d_j − d_i)) if x·x′(d_j − d_i) > 0 for all of them. Right for pictures that do not have the
    label already; those that have it keep it where d_j is the largest, and have a rate below zero.

    Args:
        outputs: (N, K) z before the step.
        product: (N,) x·x′.
        error: (K,) d = t − W₀x.
        wrong: j.

    >>> import torch
    >>> from worldline.encoder.experiments.onestep import flip_rates
    >>> z = torch.tensor([[1.0, 0.0]])
    >>> flip_rates(z, torch.tensor([2.0]), torch.tensor([0.0, 1.0]), 1)  # 1/(2·2·1)
    tensor([0.2500])
    """
    others = torch.arange(len(error)) != wrong
    gain = 2 * product[:, None] * (error[wrong] - error[others])  # (N, K − 1)
    needed = (outputs[:, others] - outputs[:, [wrong]]) / gain
    return torch.where(gain > 0, needed, torch.inf).amax(1)
