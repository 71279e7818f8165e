"""What all messages have in common that are carried by a codeword; and who else reads them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_count, check_finite
from worldline.encoder.experiments.base import CARRYING, Experiment, check_dimension
from worldline.encoder.experiments.record import (
    CarryCurves,
    Control,
    Flags,
    Floats,
    Integers,
    Measurement,
    Outcome,
    mean_of,
)
from worldline.encoder.experiments.walks import Trial, Walk, resolvable
from worldline.encoder.machine import Encoder
from worldline.encoder.reconcile import Reconciliation, reconcile_grey
from worldline.encoder.seeds import make_generator
from worldline.errors import BoundsError, ShapeError, UsageError

__all__ = [
    "LARGEST_SIDE",
    "Carry",
    "CarryTable",
    "Grey",
    "HeldTable",
    "OnePicture",
    "check_picture",
]

LARGEST_SIDE = 256
STRONGEST = 1e12
ENCODERS = 16
READ = 0.1  # a picture of [0, 1] with this error, or a tenth of the bits wrong, can still be read


@dataclass(frozen=True)
class CarryTable:
    """A row for each pixel: its place, the message, what is sent, and what three readers read."""

    row: Integers
    column: Integers
    message: Floats | Flags
    carried: Floats | Flags
    received: Floats | Flags
    overheard: Floats | Flags
    wrong_key: Floats | Flags


@dataclass(frozen=True)
class HeldTable(CarryTable):
    """With the receiver's own picture, its largest pixel 1."""

    held: Floats


@dataclass(frozen=True, kw_only=True)
class Carry(Experiment):
    """A message with one number for each neuron kept: k is the number of pixels of the picture.

    Attributes:
        candidates: n; 0 (the default) for as many beyond k as published.
        depth: L.
        dimension: D of the features; 0 for as many as pixels.
    """

    table: ClassVar[type] = CarryTable
    group = CARRYING
    shown = (
        "Above: the picture, what is sent, and what three readers make of it. Below: rapidity of "
        "the codewords by layer."
    )
    beyond: ClassVar[int]  # n − k, as published
    holds: ClassVar[str] = (
        "The receiver holds a feature that has nothing to do with the sender's, and reads the "
        "message all the same."
    )
    apart: ClassVar[bool] = False  # whether the readers begin at different distances
    listens: ClassVar[str] = "an unrelated vector of their own"  # the eavesdropper

    candidates: int = 0
    depth: int = 100
    dimension: int = 0

    def __post_init__(self) -> None:
        """What can be checked before the picture is known."""
        check_count("depth (number of layers)", self.depth)
        for name in ("candidates", "dimension"):
            if getattr(self, name) != 0:
                check_count(name, getattr(self, name))
        check_dimension(self.dimension)

    def _carry(self, picture: Tensor, *given: Tensor) -> Outcome:
        """Carry a checked picture, with what :meth:`_features` is given."""
        pixels = picture.flatten()
        message = self._message(pixels)
        k = len(pixels)
        encoder = Encoder(candidates=self.candidates or k + self.beyond, width=k, depth=self.depth)
        trial = Trial(encoder, self.dimension or k, make_generator(self.seed))
        encoders = trial.affordable(ENCODERS, features=3)
        features = self._features(trial, encoders, *given)
        walk = trial.follow(features, apart=self.apart)
        layers = self._layers(walk)
        received = tuple(self._error(walk, 1, layer) for layer in layers)
        overheard = self._error(walk, 2, layers[-1])
        # not our seed: it would draw our features again
        seed = int(torch.randint(2**31, (), generator=trial.generator))
        # neurons come sorted by what they read; pixels meet them in any order
        order = torch.randperm(k, generator=trial.generator)
        told = self._reconcile(
            encoder, *features[0, :2], message[order], eavesdropper=features[0, 2], seed=seed
        )
        row, column = np.indices(picture.shape)
        read = (told.carried, told.received, told.overheard, told.wrong_key)
        values = (it.numpy() for it in (message, *(it[order.argsort()] for it in read)))
        return Outcome.of(
            self.table(row.ravel(), column.ravel(), *values, *self._shown(features[0, 1])),
            (*received, self._wrong_key(told, k)),
            trial.controls(
                walk.rapidity[..., 0],
                pairs=encoders,
                eavesdropper=Control(_overheard(told, self.listens), overheard),
            ),
            _meaning(told, self.depth, self.holds),
            replicas=encoders,
            curves=CarryCurves(
                tuple(resolvable(walk.rapidity).mean((1, 2)).tolist()),
                tuple(walk.law.abs().flatten(1).mean(1).tolist()),
            ),
        )

    def _features(self, trial: Trial, encoders: int, *given: Tensor) -> Tensor:
        """(P, 3, D): the features of sender, receiver and eavesdropper."""
        return trial.normals(encoders, 3)

    def _shown(self, receiver: Tensor) -> tuple[Floats, ...]:
        """Further columns of the table, from the receiver's feature."""
        return ()

    def _layers(self, walk: Walk) -> tuple[int, ...]:
        """After which the receiver's error is measured; the last is the eavesdropper's."""
        return (walk.resolved,)

    def _message(self, pixels: Tensor) -> Tensor:
        return pixels

    @property
    def _reconcile(self) -> Callable[..., Reconciliation]:
        raise NotImplementedError

    def _error(self, walk: Walk, reader: int, layer: int) -> Measurement:
        raise NotImplementedError

    def _wrong_key(self, told: Reconciliation, k: int) -> Measurement:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OnePicture(Carry):
    """A message that is one picture."""

    needs = "picture"

    def run(self, picture: Float[Tensor, "H W"]) -> Outcome:
        """Carry a picture.

        Args:
            picture: (H, W) floating, in [0, 1], at most 256 pixels a side.

        Raises:
            ShapeError: not grey, or too large. BoundsError: values outside [0, 1]. UsageError:
                fewer candidates than pixels.
        """
        return self._carry(check_picture(picture))


@dataclass(frozen=True, kw_only=True)
class Grey(Carry):
    """A grey message added to a strong codeword.

    Attributes:
        strength: α.
    """

    law = (
        "y = αu + m is read as m̂ = y ∓ αv; the error has the root mean square α|u ∓ v|/√k = 2α "
        "sin(θ/2)/√k, and falls by e^−r per layer with the angle θ between the codewords u and ±v."
    )
    beyond = 1000

    strength: float = 100.0

    def __post_init__(self) -> None:
        """Refuse a strength that carries nothing."""
        super().__post_init__()
        if not 0 < self.strength <= STRONGEST:
            raise UsageError(
                f"--strength (α) must be positive and at most {STRONGEST:g}, beside which float64 "
                f"still holds a picture; got {self.strength}."
            )

    @property
    def _reconcile(self) -> Callable[..., Reconciliation]:
        return partial(reconcile_grey, strength=self.strength)

    def _error(self, walk: Walk, reader: int, layer: int) -> Measurement:
        u, v = walk.path.directions[layer][:, [0, reader]].unbind(1)
        gap = torch.minimum((u - v).norm(dim=-1), (u + v).norm(dim=-1))
        scale = math.log(self.strength / math.sqrt(walk.trial.encoder.width))
        law = walk.law[layer] if walk.law.ndim == 2 else walk.law[layer, :, reader - 1]
        # ln 2 sin(θ/2)
        chord = math.log(2) - 0.5 * torch.nn.functional.softplus(2 * law.abs())
        return mean_of(
            f"ln of the error (root mean square) after layer {layer}",
            gap.log() + scale,
            chord + scale,
            "nats",
        )

    def _wrong_key(self, told: Reconciliation, k: int) -> Measurement:
        """|u − w|² = 2 − 2|ρ| with E|ρ| = √(2/πk), for the better of the two signs."""
        law = self.strength * math.sqrt((2 - 2 * math.sqrt(2 / (math.pi * k))) / k)
        name = "error without the weights (root mean square)"
        return Measurement(name, told.wrong_key_error, law, law / math.sqrt(k))


def _overheard(told: Reconciliation, listens: str) -> str:
    reads = "reads the message as well" if told.overheard_error < READ else "does not read it yet"
    return (
        f"Somebody with the public weights and {listens} {reads}: error "
        f"{told.overheard_error:.2g}, the receiver's {told.received_error:.2g}. It is not a secret."
    )


def _meaning(told: Reconciliation, depth: int, holds: str) -> str:
    if told.received_error >= READ:
        return (
            f"After layer {depth} the receiver does not read the message yet (error "
            f"{told.received_error:.2g}). Once it is read, anybody with the public weights reads "
            "it too: no secret."
        )
    return (
        f"{holds} So does anybody with the public weights: it is transmission that "
        "tolerates noise, and not a secret."
    )


def check_picture(picture: Tensor) -> Tensor:
    """(H, W) float64 in [0, 1], or say what came."""
    grey = isinstance(picture, Tensor) and picture.is_floating_point() and picture.ndim == 2
    if not grey or picture.numel() < 2:
        raise ShapeError(
            f"A picture must be grey: a floating tensor (H, W) in [0, 1]; got {came(picture)}."
        )
    if max(picture.shape) > LARGEST_SIDE:
        raise ShapeError(
            f"A picture may have at most {LARGEST_SIDE}×{LARGEST_SIDE} pixels, one neuron each; "
            f"got {picture.shape[0]}×{picture.shape[1]}. Make it smaller."
        )
    check_finite("the picture", picture)
    low, high = float(picture.min()), float(picture.max())
    if low < 0 or high > 1:
        raise BoundsError(
            f"A picture's values must lie in [0, 1]; got [{low:g}, {high:g}]. Divide by its "
            "largest value."
        )
    return picture.double()
