"""Squashed readouts of the last layer: what ReLU, softmax and a clock leave of a pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from worldline.encoder.experiments.base import UNSEEN, Layered
from worldline.encoder.experiments.reads import Sent
from worldline.encoder.experiments.record import (
    Control,
    Flags,
    Floats,
    Integers,
    Measurement,
    Outcome,
    mean_of,
    percent,
)

__all__ = ["Leading", "Squash"]

ENCODERS, UNSEEN_EACH = 200, 25  # 5,000 unseen vectors
RATE_PAIRS = 200
RANGE = 6000.0  # inputs are uniform on ±6000, as published
SHOWN = 10  # encoders


@dataclass(frozen=True, kw_only=True)
class Readout(Layered):
    """Vectors uniform on ±6000 through encoders, and what is read after the layers.

    Attributes:
        dimension: D of the vectors.
    """

    features = "Features uniform on ±6000"

    dimension: int = 100

    def _send(self, *, plain: bool = False) -> Sent:
        """5,000 unseen vectors, with the selection or without."""
        trial = self.trial(self.dimension)
        if plain:
            without = replace(self.encoder, candidates=self.width, rule="none")
            trial = replace(trial, encoder=without)
        encoders = trial.affordable(ENCODERS, features=UNSEEN_EACH + 1, least=30)
        shape = (encoders, UNSEEN_EACH + 1, trial.inputs)
        noise = torch.rand(shape, dtype=torch.float64, generator=trial.generator)
        return Sent.of(trial, RANGE * (2 * noise - 1))

    @property
    def _layers(self) -> tuple[int, ...]:
        """Three: the first, one where pairs are still on their way, the last."""
        return tuple(sorted({1, max(1, self.depth // 5), self.depth}))


@dataclass(frozen=True)
class SquashTable:
    """A row for each layer and unseen vector of some encoders."""

    layer: Integers
    vector: Integers
    correlation: Floats
    relu_correlation: Floats
    same_class: Flags
    confidence: Floats


@dataclass(frozen=True, kw_only=True)
class Squash(Readout):
    """ReLU and softmax of the last layer: published k = 100, n = 5,000, L = 15, U(±6000).

    >>> from worldline.encoder.experiments import Squash
    >>> Squash(candidates=200, width=10, depth=6, dimension=10).run().finding.agrees
    True
    """

    table = SquashTable

    name = "squash"
    group = UNSEEN
    title = "Squashed readouts: ReLU and softmax"
    claim = (
        "The collapse stays when the last layer is followed by ReLU or softmax: random inputs are "
        "given a class with certainty."
    )
    law = (
        "After the last layer the outputs are |x|ŷ and ±|x′|ŷ. ReLU keeps the cosine 1 of equal "
        "ones and makes opposite ones orthogonal: ±1 becomes 1 or 0. Softmax is one-hot, as "
        "lengths grow by e^λ a layer: equal ones share the class argmax ŷ, opposite ones have "
        "argmin ŷ. On the way both follow from the k readings y and y tanh φ + h/cosh φ."
    )
    shown = (
        "Left: the cosine of unseen vectors with the fitted one before and after ReLU, last "
        "layer. Right: share of them with the fitted one's class, by layer."
    )
    quick: ClassVar = {"candidates": 500, "width": 20, "depth": 10, "dimension": 20}

    candidates: int = 5000
    width: int = 100
    depth: int = 15

    def run(self) -> Outcome:
        """Read the layers of unseen vectors."""
        sent, plain = self._send(), self._send(plain=True)
        found = sent.trial.controls(sent.rapidity, pairs=RATE_PAIRS)
        without = plain.reads[-1]
        alone = mean_of("unseen vectors of the same class", without.same_class().mean(1), None)
        cosine = float(without.rectified().mean())
        told = (
            f" After {self.depth} such layers {percent(alone.measured)} of the vectors share the "
            f"class of the first, and the mean cosine after ReLU is {cosine:.2f}."
        )
        no_selection = replace(found.no_selection, sentence=found.no_selection.sentence + told)
        last = sent.reads[-1]
        certain = last.softmax()[1].amax(-1)
        law = sent.law(self.depth)
        return Outcome.of(
            _squashed(sent),
            (
                *(it for at in self._layers for it in _of_layer(sent, at)),
                mean_of(
                    "mean largest entry of the softmax of unseen vectors",
                    certain.mean(1),
                    law.softmax()[1].amax(-1),
                ),
            ),
            replace(found, no_selection=no_selection),
            f"Softmax is certain ({float(certain.mean()):.3f} on average) of inputs that are pure "
            "noise, because numbers of thousands, whose lengths grow exponentially, saturate any "
            "softmax, and not because anything was recognised: there are two answers, argmax ŷ and "
            "argmin ŷ, and half of the noise gets each. A ReLU only turns “opposite” into "
            "“orthogonal”.",
            replicas=sent.rapidity.shape[1],
        )


def _of_layer(sent: Sent, layer: int) -> tuple[Measurement, ...]:
    read, law = sent.reads[layer - 1], sent.law(layer)
    return (
        mean_of(
            f"mean cosine after ReLU, layer {layer}", read.rectified().mean(1), law.rectified()
        ),
        mean_of(
            f"unseen vectors of the fitted one's class, layer {layer}",
            read.same_class().mean(1),
            law.same_class(),
            "share",
        ),
    )


def _squashed(sent: Sent) -> SquashTable:
    layer, vector = np.indices((len(sent.reads), SHOWN * UNSEEN_EACH))
    columns = (
        [sent.rapidity[at + 1, :SHOWN].tanh() for at in range(len(sent.reads))],
        [it.rectified()[:SHOWN] for it in sent.reads],
        [it.same_class()[:SHOWN] == 1 for it in sent.reads],
        [it.softmax()[1].amax(-1)[:SHOWN] for it in sent.reads],
    )
    rows = (torch.stack(it).flatten().numpy() for it in columns)
    return SquashTable(layer.ravel() + 1, vector.ravel(), *rows)


@dataclass(frozen=True)
class LeadingTable:
    """A row for each layer and unseen vector of some encoders: |â−b̂|²/4 beside the clock."""

    layer: Integers
    vector: Integers
    softmax_distance: Floats
    relu_distance: Floats


@dataclass(frozen=True, kw_only=True)
class Leading(Readout):
    """The layer number as leading coordinate of a squashed readout: published k = 3, n = 100.

    >>> from worldline.encoder.experiments import Leading
    >>> Leading(depth=6).run().finding.agrees
    True
    """

    table = LeadingTable

    name = "leading"
    group = UNSEEN
    title = "The layer number as leading coordinate"
    claim = "With the layer number ahead of its outputs, every feature travels the same path."
    law = (
        "[ℓ ; s(x_ℓ)] with s = softmax, of length at most 1, has |â−b̂|²/4 ≤ 1/(2(ℓ² + 1)) "
        "whatever x is: time leads for good. With s = ReLU the lengths overtake time, and "
        "opposite features end orthogonal, |â−b̂|²/4 = ½."
    )
    shown = (
        "Mean squared distance |â−b̂|²/4 of unseen vectors' points from the fitted one's, by "
        "layer, with softmax and with ReLU, and the bound 1/(2(ℓ² + 1))."
    )

    candidates: int = 100
    width: int = 3
    depth: int = 15
    dimension: int = 3

    def run(self) -> Outcome:
        """Read the layers of unseen vectors beside the clock."""
        sent = self._send()
        distances = {
            kind: torch.stack(
                [it.beside_time(at, squashed=kind) for at, it in enumerate(sent.reads, 1)]
            )
            for kind in (True, False)
        }
        layer, vector = np.indices((self.depth, SHOWN * UNSEEN_EACH))
        columns = (distances[kind][:, :SHOWN].flatten().numpy() for kind in (True, False))
        measured = []
        for at in self._layers:
            law = sent.law(at)
            for kind, said in ((True, "softmax"), (False, "ReLU")):
                measured.append(
                    mean_of(
                        f"mean |â−b̂|²/4 of [ℓ ; {said}], layer {at}",
                        distances[kind][at - 1].mean(1),
                        law.beside_time(at, squashed=kind),
                    )
                )
        # any two one-hot vectors, whatever the encoder: two thirds of them differ
        blind = (1 - 1 / self.width) / (2 * (self.depth**2 + 1))
        return Outcome.of(
            LeadingTable(layer.ravel() + 1, vector.ravel(), *columns),
            tuple(measured),
            sent.trial.controls(
                sent.rapidity,
                pairs=RATE_PAIRS,
                time_alone=Control(
                    f"Two one-hot vectors chosen by throwing dice have |â−b̂|²/4 = {blind:.2g} "
                    f"beside the same clock after layer {self.depth}: that the points meet needs "
                    "no encoder."
                ),
            ),
            "Beside a squashed readout the layer number always wins, and all features “travel "
            "together” because they are drawn at the same time; without the squashing the lengths "
            "win, and the pair is back at its one bit.",
            replicas=sent.rapidity.shape[1],
        )
