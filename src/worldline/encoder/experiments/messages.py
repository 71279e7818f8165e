"""Messages carried by noise and recovered: a grey picture, and a binary one by sign bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from worldline.encoder.experiments.carrying import Grey, OnePicture
from worldline.encoder.experiments.record import Measurement, mean_of
from worldline.encoder.experiments.walks import Walk
from worldline.encoder.reconcile import Reconciliation, reconcile_bits
from worldline.geometry.bell import sign_correlation

__all__ = ["Image", "Reconcile"]


@dataclass(frozen=True, kw_only=True)
class Image(Grey, OnePicture):
    """A grey picture added to a strong codeword: published 50×50 pixels, n = k + 1000, L = α = 100.

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
    quick: ClassVar = {"depth": 25}


@dataclass(frozen=True, kw_only=True)
class Reconcile(OnePicture):
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
    quick: ClassVar = {"depth": 50}

    beyond = 200

    depth: int = 185

    def _message(self, pixels: Tensor) -> Tensor:
        return pixels > pixels.median()

    def _layers(self, walk: Walk) -> tuple[int, ...]:
        """Half of the depth, where bits are still wrong to be counted."""
        return (max(1, self.depth // 2),)

    @property
    def _reconcile(self) -> Callable[..., Reconciliation]:
        return reconcile_bits

    def _error(self, walk: Walk, reader: int, layer: int) -> Measurement:
        u, v = walk.path.directions[layer][:, [0, reader]].unbind(1)
        sign = walk.rapidity[layer, :, reader - 1].sign()
        wrong = (u.sign() != v.sign() * sign[:, None]).double().mean(-1)
        angle = 2 * torch.atan(torch.exp(-walk.law[layer - 1].abs()))
        share = walk.trial.encoder.selection.share
        law = (1 - sign_correlation(angle, share)) / 2
        return mean_of(f"wrong bits after layer {layer} of {self.depth}", wrong, law, "share")

    def _wrong_key(self, told: Reconciliation, k: int) -> Measurement:
        return Measurement(
            "wrong bits without the weights", told.wrong_key_error, 0.5, 0.5 / math.sqrt(k), "share"
        )
