"""Sides: which of the two ends a pair goes to, and how far its sign codes have come."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from worldline.encoder.controls import sign_kept_large_width, sign_kept_probability
from worldline.encoder.experiments.base import MERGING, Layered
from worldline.encoder.experiments.record import (
    Control,
    Floats,
    Integers,
    Measurement,
    Outcome,
    mean_of,
)
from worldline.encoder.experiments.walks import WIDE, Trial
from worldline.encoder.joint import encode_together
from worldline.encoder.machine import Encoder
from worldline.encoder.path import from_fitted
from worldline.errors import UsageError
from worldline.geometry.bell import sign_correlation

__all__ = ["Hamming", "Margin"]

MARGINS = (0.3, 0.6, 1.2, 2.4, 4.8)  # degrees from a right angle
SHARES = (0.6, 0.8, 1.0)  # of n: 6,000, 8,000 and 10,000, as published
ENCODERS = 200
LENGTHS = 100  # draws of the lengths for the law, beside which they hardly vary at these widths
RATE_PAIRS = 60


@dataclass(frozen=True)
class MarginTable:
    """A row for each n and margin: the share of pairs that crossed, its law and its error."""

    candidates: Integers
    degrees: Floats
    crossed: Floats
    law: Floats
    standard_error: Floats


@dataclass(frozen=True, kw_only=True)
class Margin(Layered):
    """Pairs just short of 90°, and who crosses: published k = 512, n = 6,000 … 10,000, 50 layers.

    Attributes:
        candidates: the largest n; 0.8 and 0.6 of it are measured too.
        margin: degrees from 90°; 0 for several.
        dimension: D of the features.

    >>> from worldline.encoder.experiments import Margin
    >>> Margin(candidates=200, width=10, depth=8).run().finding.agrees
    True
    """

    table = MarginTable

    name = "margin"
    group = MERGING
    title = "The marginal error"
    claim = (
        "Pairs on one side of a right angle become perfectly correlated and those on the other "
        "perfectly anti-correlated, but for a marginal error close to 90°."
    )
    law = (
        "A pair at 90° − δ crosses to the other side with the probability 1 − E Φ(tan δ/√V), V → "
        "(1/k) Σ m₂^−ℓ: the margin is √V radians wide, narrower for larger k and stronger "
        "selection, and does not close with depth."
    )
    shown = (
        "Share of pairs that end on the other side, by their distance to 90° at the input, with "
        "the law, for three n."
    )
    quick: ClassVar = {"candidates": 600, "width": 30, "depth": 8}

    candidates: int = 10_000
    width: int = 512
    depth: int = 50
    dimension: int = 512
    margin: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a margin that is none."""
        super().__post_init__()
        if not 0 <= self.margin < 90:
            raise UsageError(
                "--margin must be degrees from a right angle, below 90, or 0 for several; got "
                f"{self.margin}."
            )

    def run(self) -> Outcome:
        """Send pairs at each distance to a right angle through encoders of three n."""
        degrees = torch.tensor([self.margin] if self.margin else MARGINS, dtype=torch.float64)
        trial = self.trial(self.dimension)
        encoders = [
            replace(self.encoder, candidates=max(self.width, round(self.candidates * share)))
            for share in SHARES
        ]
        start = torch.asinh(torch.tan(degrees.deg2rad()))  # φ: sinh φ = cot(90° − δ)
        ends = [self._ends(replace(trial, encoder=it), start) for it in encoders]
        laws = [1 - self._kept(it, start) for it in encoders]
        shape = (len(encoders), len(degrees))
        crossed = torch.stack([(end < 0).double().mean(0) for end in ends])  # (n, δ)
        law = torch.stack(laws)
        # a count moves by whole pairs: half of one is as near as rare crossings can come
        error = (law * (1 - law) / ENCODERS + (0.5 / ENCODERS) ** 2).sqrt()
        several = np.repeat([it.candidates for it in encoders], len(degrees))
        measured = tuple(
            Measurement(
                f"crossed from {90 - float(degrees[at]):g}°, n = {encoders[n].candidates:,}",
                float(crossed[n, at]),
                float(law[n, at]),
                float(error[n, at]),
                "share",
            )
            for n, at in np.ndindex(shape)
        )
        plain = replace(self.encoder, candidates=self.width, rule="none")
        without = 1 - self._kept(plain, start)
        found = trial.controls(
            torch.stack((start.expand(ENCODERS, -1), ends[-1])), pairs=RATE_PAIRS
        )
        return Outcome.of(
            MarginTable(
                several,
                np.tile(degrees.numpy(), len(encoders)),
                *(it.flatten().numpy() for it in (crossed, law, error)),
            ),
            measured,
            replace(found, no_selection=_wider(found.no_selection, without, degrees)),
            "The error at the margin is the law's: every pair keeps one bit, the sign of sinh φ₀ + "
            f"Z, and Z is noise of the layers, {math.degrees(self._width(encoders[0])):.2g}° wide "
            f"at n = {encoders[0].candidates:,} and {math.degrees(self._width(encoders[-1])):.2g}° "
            f"at n = {encoders[-1].candidates:,}. It is decided in the first layers and never "
            "corrected: more depth does not narrow it.",
            replicas=ENCODERS,
        )

    def _ends(self, trial: Trial, start: Tensor) -> Tensor:
        """(P, M) rapidities after the last layer; only one layer's features are held at a time."""
        x = normalize(trial.normals(ENCODERS), dim=-1)
        across = trial.normals(ENCODERS, len(start))
        across = across - (across @ x[..., None]) * x[:, None]
        across = normalize(across, dim=-1)
        others = start.tanh()[:, None] * x[:, None] + across / start.cosh()[:, None]
        features = torch.cat((x[:, None], others), 1)
        single = replace(trial.encoder, depth=1)
        for _ in range(self.depth):
            path = encode_together(single, features, generator=trial.generator)
            features = path.directions[-1]
        return from_fitted(features)

    def _kept(self, encoder: Encoder, start: Tensor) -> Tensor:
        if encoder.width >= WIDE and self.depth > 1 and encoder.rule == "largest":
            return sign_kept_large_width(start, encoder.selection, self.depth)
        return sign_kept_probability(
            start, encoder.selection, self.depth, samples=LENGTHS if self.width > 100 else 2000
        ).value

    def _width(self, encoder: Encoder) -> float:
        """√V in radians, from the law's own value at a small angle."""
        small = torch.tensor([0.01 / math.sqrt(self.width)], dtype=torch.float64)
        kept = self._kept(encoder, small)
        return float(small / torch.special.ndtri(kept))


def _wider(control: Control, without: Tensor, degrees: Tensor) -> Control:
    shares = ", ".join(
        f"{share:.0%} from {90 - at:g}°" for share, at in zip(without, degrees, strict=True)
    )
    told = f" Without selection the margin is wider: by the law {shares} cross."
    return replace(control, sentence=control.sentence + told)


@dataclass(frozen=True)
class HammingTable:
    """A row for each layer: mean share of signs that differ from the fitted one's or its opposite.

    Beside it the law after selection and that without it, θ/π.
    """

    layer: Integers
    differing: Floats
    law: Floats
    angle_law: Floats


@dataclass(frozen=True, kw_only=True)
class Hamming(Layered):
    """Hamming distance of sign codes by layer: published k = 512, n = 1,000, 50 layers.

    Attributes:
        dimension: D of the features.

    >>> from worldline.encoder.experiments import Hamming
    >>> Hamming(candidates=100, width=40, depth=8, dimension=20).run().finding.agrees
    True
    """

    table = HammingTable

    name = "hamming"
    group = MERGING
    title = "Hamming distances converge"
    claim = (
        "The binary codes of two features, the signs of their outputs, become equal or opposite."
    )
    law = (
        "The share of signs that differ from those of the fitted feature, or of its opposite if "
        "that was nearer, is (1 − E(θ))/2, θ the angle before the layer and E the mean product of "
        "signs after selection. Without selection it is θ/π (Charikar's SimHash)."
    )
    shown = (
        "Mean share of differing signs by layer, measured, by the law after selection, and by θ/π."
    )
    quick: ClassVar = {"candidates": 200, "width": 100, "depth": 20, "dimension": 100}

    candidates: int = 1000
    width: int = 512
    depth: int = 50
    dimension: int = 512

    def run(self) -> Outcome:
        """Send pairs through encoders, and compare signs layer by layer."""
        trial = self.trial(self.dimension)
        pairs = trial.affordable(ENCODERS, least=30)
        path = trial.send(trial.normals(pairs, 2))
        phi = torch.stack([from_fitted(at)[:, 0] for at in path.directions])  # (L + 1, P)
        signs = torch.stack([at.sign() for at in path.directions[1:]])  # (L, P, 2, k)
        equal = (signs[:, :, 0] * signs[:, :, 1]).mean(-1)  # (L, P)
        # from the end that is nearer before the layer: after it the signs themselves have a say
        differing = (1 - phi[:-1].sign() * equal) / 2
        angle = 2 * torch.atan(torch.exp(-phi[:-1].abs()))
        product = sign_correlation(angle.flatten(), self.encoder.selection.share)
        law = (1 - product.view_as(angle)) / 2
        shown = [round(self.depth * part) for part in (0.06, 0.12, 0.24)]
        layers = sorted({max(1, min(self.depth, at)) for at in (1, *shown)})
        measured = tuple(
            Measurement(
                f"signs that differ after layer {at}",
                float(differing[at - 1].mean()),
                float(law[at - 1].mean()),
                float((differing[at - 1] - law[at - 1]).std()) / math.sqrt(pairs),
                "share",
            )
            for at in layers
        )
        together = mean_of(
            "codes that end equal rather than opposite", (phi[-1] > 0).double(), 0.5, "share"
        )
        simhash = (angle / math.pi).mean(1)
        found = trial.controls(phi, pairs=min(pairs, RATE_PAIRS))
        last = layers[-1] - 1
        return Outcome.of(
            HammingTable(
                np.arange(1, self.depth + 1),
                differing.mean(1).numpy(),
                law.mean(1).numpy(),
                simhash.numpy(),
            ),
            (*measured, together),
            replace(
                found,
                plain_angle=Control(
                    f"θ/π, the law for codes without selection, gives {float(simhash[last]):.2g} "
                    f"after layer {last + 1}, where {float(differing[last].mean()):.2g} is "
                    "measured: kept readings are far from zero, and turn more rarely."
                ),
            ),
            "The codes become equal or opposite, faster than the angle closes, because the kept "
            "readings have no small ones among them. Which of the two is one bit, and the code of "
            "every other feature is then the same code: it identifies nothing.",
            replicas=pairs,
        )
