"""The label flip on digits: x against −x, and how far apart their scores are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from worldline.encoder.experiments.base import FLIPPING, Layered
from worldline.encoder.experiments.digits import check_digits
from worldline.encoder.experiments.record import (
    Control,
    Floats,
    Integers,
    Measurement,
    Names,
    Outcome,
    percent,
)
from worldline.encoder.experiments.walks import Trial
from worldline.encoder.laws import last_readings, rapidity_walk
from worldline.encoder.path import from_fitted
from worldline.encoder.selection import Selection
from worldline.errors import ShapeError

__all__ = ["Labels", "decidability"]

LABEL = 0
ENCODERS, DIGITS_EACH, OTHERS_EACH = 100, 20, 5
GROUPS = 100  # of the jackknife of what is drawn from the law
RATE_PAIRS = 100
PLAIN = "untrained"


@dataclass(frozen=True)
class ScoreTable:
    """A row for each score of a digit x; −x has its negative. ``layers`` 0: an untrained map."""

    layers: Integers
    map: Names
    score: Floats


@dataclass(frozen=True, kw_only=True)
class Labels(Layered):
    """Scores of the digits of one class and of their negatives: published n = 8,000, L = 1 … 4.

    >>> import torch
    >>> from worldline.encoder.experiments import Labels
    >>> x = torch.rand(60, 16, generator=torch.Generator().manual_seed(0))
    >>> Labels(candidates=400, width=40).run(x, torch.zeros(60).long()).finding.agrees
    True
    """

    table = ScoreTable

    name = "labels"
    group = FLIPPING
    title = "Labels of digits: x against −x"
    claim = (
        "Without training, the encoder separates the digits of a class from their negatives, "
        "better with every layer."
    )
    law = (
        "The layers are linear, so −x has the score of x with the opposite sign and d′ = 2|μ|/σ. A "
        "digit at the rapidity φ before the last layer has the readings y tanh φ + h/cosh φ, y "
        "one-sided: as φ grows by r a layer its score goes to that of the fitted digit, and σ to "
        "what the fitted score itself varies by."
    )
    shown = (
        "Scores (cosine of the outputs with (1, …, 1)) of digits x of one class and of their "
        "negatives, by the number of layers, and of an untrained linear map."
    )
    needs = "digits"
    rule = "most_negative"
    quick: ClassVar = {"candidates": 1000, "width": 98}

    candidates: int = 8000
    width: int = 784
    depth: int = 4

    def run(self, x: Tensor, y: Tensor, *_: Tensor) -> Outcome:
        """Fit encoders to digits of one class and score the others.

        Args:
            x, y: (N, …) pictures with their labels; those labelled 0 are used.

        Raises:
            ShapeError, BoundsError: pictures that do not fit, or too few of that class.
        """
        data = check_digits(x, y)
        pictures, others = data.of(LABEL), data.x[data.y != LABEL]
        if len(pictures) < 3:
            raise ShapeError(
                f"At least 3 pictures labelled {LABEL} are needed; got {len(pictures)}."
            )
        trial = self.trial(pictures.shape[1])
        features, own = _gather(pictures, others, trial)
        path = trial.send(features)
        phi = torch.stack([from_fitted(at) for at in path.directions])[..., : own - 1]
        scores = [_score(at[:, 1:own]) for at in path.directions[1:]]
        single = replace(self.encoder, candidates=self.width, rule="none", depth=1)
        plain = _score(replace(trial, encoder=single).send(features).directions[-1])
        aligned = plain[:, 1:own] * -plain[:, :1].sign()
        starts = phi[0].flatten()
        selection, generator = self.encoder.selection, trial.generator
        walk = [starts]
        if self.depth > 1:
            walk = list(rapidity_walk(starts, selection, self.depth - 1, generator=generator))
        measured = [
            _beside(f"d′ of x against −x, L = {at}", score, _drawn(before, selection, trial))
            for at, (score, before) in enumerate(zip(scores, walk, strict=True), 1)
        ]
        untrained = _beside(
            "d′ of an untrained linear map, its sign as for x",
            aligned,
            _drawn(starts, single.selection, trial),
        )
        foreign = float((_score(path.directions[-1][:, own:]) < 0).double().mean())
        bright = decidability(_score(features[:, 1:own]))[0]
        found = trial.controls(phi, pairs=RATE_PAIRS)
        return Outcome.of(
            _rows(scores, aligned),
            tuple(measured),
            replace(
                found,
                no_selection=Control(
                    f"An untrained linear map of {self.width} outputs already has d′ = "
                    f"{untrained.measured:.2g}, up to its sign, since x and −x are opposite "
                    "before any layer.",
                    untrained,
                ),
                input_alone=Control(
                    "Before any layer the mean brightness alone, the same score of the pixels, "
                    f"has d′ = {bright:.3g}."
                ),
            ),
            f"d′ goes from {measured[0].measured:.3g} after one layer to "
            f"{measured[-1].measured:.3g} after {self.depth}, and was {bright:.3g} for the pixels "
            "themselves: what is told apart are pictures from their negatives, which no classifier "
            "has to learn. "
            f"{percent(foreign) if len(others) else 'None'} of the digits of other classes get the "
            "same label, as they are near the fitted one too.",
            replicas=len(features),
        )


def _drawn(phi: Tensor, selection: Selection, trial: Trial) -> Tensor:
    """Scores by the exact law after one layer, aligned as the fitted one's, in any order."""
    y, other = last_readings(phi, selection, generator=trial.generator)
    sign = -y.sum(-1).sign() if selection.rule == "none" else 1.0
    scores = _score(other) * sign
    return scores[torch.randperm(len(scores), generator=trial.generator)]


def decidability(scores: Tensor) -> tuple[float, float]:
    """d′ = 2|μ|/σ of scores against their negatives, and its standard error, groups left out.

    Daugman's index (μ₁ − μ₂)/√(½(σ₁² + σ₂²)) for two distributions that mirror each other.

    Args:
        scores: (G, M) of G independent groups.

    >>> import torch
    >>> from worldline.encoder.experiments.labels import decidability
    >>> round(decidability(torch.tensor([[1.0, 3.0], [1.0, 3.0]]))[0], 2)  # 2·2/1.15
    3.46
    """
    groups, each = scores.shape
    total, square = scores.sum(1), scores.square().sum(1)

    def index(one: Tensor, two: Tensor, count: int) -> Tensor:
        mean = one / count
        return 2 * mean.abs() / ((two - count * mean.square()) / (count - 1)).sqrt()

    left = index(total.sum() - total, square.sum() - square, (groups - 1) * each)
    error = math.sqrt((groups - 1) / groups * float((left - left.mean()).square().sum()))
    return float(index(total.sum(), square.sum(), groups * each)), error


def _beside(name: str, measured: Tensor, law: Tensor) -> Measurement:
    value, error = decidability(measured)
    groups = law[: len(law) // GROUPS * GROUPS].view(GROUPS, -1)
    predicted, law_error = decidability(groups)
    return Measurement(name, value, predicted, math.hypot(error, law_error))


def _gather(pictures: Tensor, others: Tensor, trial: Trial) -> tuple[Tensor, int]:
    """(P, M, D): for each encoder a picture of the class, others of it, and of other classes.

    With how many of them are of the class.
    """
    each, foreign = min(DIGITS_EACH, len(pictures) - 1), min(OTHERS_EACH, len(others))
    rows = []
    for encoder in range(trial.affordable(ENCODERS, features=each + foreign + 1, least=30)):
        own = encoder % len(pictures)
        order = torch.randperm(len(pictures) - 1, generator=trial.generator)[:each]
        chosen = torch.cat((torch.tensor([own]), order + (order >= own)))
        stranger = torch.randperm(len(others), generator=trial.generator)[:foreign]
        rows.append(torch.cat((pictures[chosen], others[stranger])))
    return torch.stack(rows), each + 1


def _score(outputs: Tensor) -> Tensor:
    """Cosine of outputs (…, k) with (1, …, 1): its sign is the label."""
    score: Tensor = outputs.sum(-1) / (outputs.norm(dim=-1) * math.sqrt(outputs.shape[-1]))
    return score


def _rows(scores: list[Tensor], plain: Tensor) -> ScoreTable:
    values = [plain, *scores]
    layer = np.arange(len(values)).repeat(plain.numel())
    kinds = np.array((PLAIN, "encoder"))[(layer > 0).astype(int)]
    return ScoreTable(layer, kinds, torch.stack(values).flatten().numpy())
