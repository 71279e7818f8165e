"""Messages carried by noise and recovered, a grey picture and a binary one; and who else reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_count, check_finite
from worldline.encoder.experiments.base import Experiment, affordable, check_dimension
from worldline.encoder.experiments.record import (
    CarryCurves,
    Control,
    Finding,
    Flags,
    Floats,
    Integers,
    Measurement,
    Outcome,
    mean_of,
    verdict_on,
)
from worldline.encoder.experiments.walks import (
    controls_of,
    from_fitted,
    law_walk,
    resolvable,
    resolved,
)
from worldline.encoder.joint import encode_together
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Path
from worldline.encoder.reconcile import Reconciliation, reconcile_bits, reconcile_grey
from worldline.encoder.seeds import make_generator
from worldline.errors import BoundsError, ShapeError, UsageError
from worldline.geometry.bell import sign_correlation

__all__ = ["Image", "Reconcile"]

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


@dataclass(frozen=True, kw_only=True)
class Carry(Experiment):
    """A message with one number for each neuron kept: k is the number of pixels of the picture.

    Attributes:
        candidates: n; 0 (the default) for as many beyond k as published.
        depth: L.
        dimension: D of the features; 0 for as many as pixels.
    """

    needs = "picture"
    table = CarryTable
    beyond: ClassVar[int]  # n − k, as published

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

    def run(self, picture: Float[Tensor, "H W"]) -> Outcome:
        """Carry a picture.

        Args:
            picture: (H, W) floating, in [0, 1], at most 256 pixels a side.

        Raises:
            ShapeError: not grey, or too large. BoundsError: values outside [0, 1]. UsageError:
                fewer candidates than pixels.
        """
        pixels = check_picture(picture).flatten()
        k = len(pixels)
        encoder = Encoder(candidates=self.candidates or k + self.beyond, width=k, depth=self.depth)
        inputs = self.dimension or k
        encoders = affordable(encoder, ENCODERS, inputs=inputs, features=3)
        generator = make_generator(self.seed)
        features = torch.randn(encoders, 3, inputs, dtype=torch.float64, generator=generator)
        path = encode_together(encoder, features, generator=generator)
        # (L + 1, P, 2): the receiver and the eavesdropper
        phi = torch.stack([from_fitted(at) for at in path.directions])
        law = law_walk(encoder.selection, phi[0].flatten(), self.depth, generator)
        layer = resolved(encoder.selection, self.depth, start=2.0)
        receiver, eavesdropper = (
            self._error(path, phi[..., who], law, layer, who + 1) for who in (0, 1)
        )
        # not our seed: it would draw our features again
        seed = int(torch.randint(2**31, (), generator=generator))
        # neurons come sorted by what they read; pixels meet them in any order
        order = torch.randperm(k, generator=generator)
        told = self._carry(encoder, features[0, 0], features[0, 1], pixels[order], seed)
        measurements = (receiver, self._wrong_key(told, k))
        finding = Finding(
            measurements=measurements,
            controls=controls_of(
                encoder,
                inputs,
                generator,
                pairs=encoders,
                ends=(phi[0, :, 0], phi[-1, :, 0]),
                eavesdropper=Control(_overheard(told), eavesdropper),
            ),
            verdict=verdict_on(measurements, _meaning(told, self.depth)),
            replicas=encoders,
            curves=CarryCurves(
                tuple(resolvable(phi).mean((1, 2)).tolist()), tuple(law.abs().mean(1).tolist())
            ),
        )
        row, column = np.indices(picture.shape)
        read = (told.carried, told.received, told.overheard, told.wrong_key)
        table = CarryTable(
            row.ravel(),
            column.ravel(),
            self._message(pixels).numpy(),
            *(it[order.argsort()].numpy() for it in read),
        )
        return Outcome(finding, table)

    def _message(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError

    def _carry(
        self, encoder: Encoder, sender: Tensor, receiver: Tensor, pixels: Tensor, seed: int
    ) -> Reconciliation:
        raise NotImplementedError

    def _error(self, path: Path, phi: Tensor, law: Tensor, layer: int, who: int) -> Measurement:
        raise NotImplementedError

    def _wrong_key(self, told: Reconciliation, k: int) -> Measurement:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Image(Carry):
    """A grey picture added to a strong codeword: published 50×50 pixels, n = k + 1000, L = α = 100.

    Attributes:
        strength: α.

    >>> import torch
    >>> from worldline.encoder.experiments import Image
    >>> picture = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    >>> finding = Image(candidates=400, depth=40).run(picture).finding
    >>> finding.measurements[1].quantity
    'error without the weights (root mean square)'
    """

    name = "image"
    title = "A picture carried by noise"
    claim = (
        "Noise becomes recognisable: a picture hidden in noise is recovered by a receiver whose "
        "own features are unrelated noise."
    )
    law = (
        "y = αu + m is read as m̂ = y ∓ αv; the error has the root mean square α|u ∓ v|/√k = 2α "
        "sin(θ/2)/√k, and falls by e^−r per layer with the angle θ between the codewords u and ±v."
    )
    shown = (
        "Above: the picture, what is sent, and what three readers make of it. Below: rapidity of "
        "the codewords by layer."
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

    def _message(self, pixels: Tensor) -> Tensor:
        return pixels

    def _carry(
        self, encoder: Encoder, sender: Tensor, receiver: Tensor, pixels: Tensor, seed: int
    ) -> Reconciliation:
        return reconcile_grey(encoder, sender, receiver, pixels, strength=self.strength, seed=seed)

    def _error(self, path: Path, phi: Tensor, law: Tensor, layer: int, who: int) -> Measurement:
        u, v = path.directions[layer][:, 0], path.directions[layer][:, who]
        gap = torch.minimum((u - v).norm(dim=-1), (u + v).norm(dim=-1))
        scale = math.log(self.strength / math.sqrt(u.shape[-1]))
        # ln 2 sin(θ/2)
        chord = math.log(2) - 0.5 * torch.nn.functional.softplus(2 * law[layer].abs())
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


@dataclass(frozen=True, kw_only=True)
class Reconcile(Carry):
    """A binary picture carried by sign bits: published 50×50 pixels, n = k + 200, 185 steps.

    >>> import torch
    >>> from worldline.encoder.experiments import Reconcile
    >>> picture = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    >>> Reconcile(candidates=400, depth=60).run(picture).table.received.dtype
    dtype('bool')
    """

    name = "reconcile"
    title = "A binary picture carried by signs"
    claim = (
        "Two parties with different features reconcile them, and carry a message on what they "
        "then share."
    )
    law = (
        "A bit is wrong where the signs of u and ±v differ, in a share (1 − E(θ))/2 of the bits, "
        "θ the angle before the last layer and E the mean product of signs after selection (θ/π "
        "without it)."
    )
    shown = (
        "Above: the picture, what is sent, and what three readers make of it. Below: rapidity of "
        "the codewords by layer."
    )
    beyond = 200

    depth: int = 185

    def _message(self, pixels: Tensor) -> Tensor:
        return pixels > pixels.median()

    def _carry(
        self, encoder: Encoder, sender: Tensor, receiver: Tensor, pixels: Tensor, seed: int
    ) -> Reconciliation:
        return reconcile_bits(encoder, sender, receiver, self._message(pixels), seed=seed)

    def _error(self, path: Path, phi: Tensor, law: Tensor, layer: int, who: int) -> Measurement:
        """At half of the depth, where bits are still wrong to be counted."""
        half = max(1, path.layers[-1] // 2)
        u, v = path.directions[half][:, 0], path.directions[half][:, who]
        wrong = (u.sign() != v.sign() * phi[half].sign()[:, None]).double().mean(-1)
        k = u.shape[-1]
        angle = 2 * torch.atan(torch.exp(-law[half - 1].abs()))
        kept = sign_correlation(angle, k / (self.candidates or k + self.beyond))
        return mean_of(
            f"wrong bits after layer {half} of {path.layers[-1]}", wrong, (1 - kept) / 2, "share"
        )

    def _wrong_key(self, told: Reconciliation, k: int) -> Measurement:
        return Measurement(
            "wrong bits without the weights", told.wrong_key_error, 0.5, 0.5 / math.sqrt(k), "share"
        )


def _overheard(told: Reconciliation) -> str:
    reads = "reads the message as well" if told.overheard_error < READ else "does not read it yet"
    return (
        f"Somebody with the public weights and an unrelated vector of their own {reads}: error "
        f"{told.overheard_error:.2g}, the receiver's {told.received_error:.2g}. It is not a secret."
    )


def _meaning(told: Reconciliation, depth: int) -> str:
    if told.received_error >= READ:
        return (
            f"After layer {depth} the receiver does not read the message yet (error "
            f"{told.received_error:.2g}). Once it is read, anybody with the public weights reads "
            "it too: no secret."
        )
    return (
        "The receiver holds a feature that has nothing to do with the sender's, and reads the "
        "message all the same. So does anybody with the public weights: it is transmission that "
        "tolerates noise, and not a secret."
    )


def check_picture(picture: Tensor) -> Tensor:
    """(H, W) float64 in [0, 1], or say what came."""
    if (
        not isinstance(picture, Tensor)
        or not picture.is_floating_point()
        or picture.ndim != 2
        or picture.numel() < 2
    ):
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
