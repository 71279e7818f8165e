"""The label flip: neurons chosen because they read a feature as negative."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from worldline.encoder.controls import sign_kept_probability
from worldline.encoder.experiments.base import Layered, affordable
from worldline.encoder.experiments.record import Outcome, mean_of, verdict_on
from worldline.encoder.experiments.walks import (
    NOBODY_LISTENS,
    from_fitted,
    no_selection,
    rank,
    sign_kept,
)
from worldline.encoder.joint import encode_together
from worldline.encoder.reading import reading_length
from worldline.encoder.seeds import make_generator

__all__ = ["Flip"]

ENCODERS, VECTORS_EACH = 100, 40
RATE_PAIRS = 500


@dataclass(frozen=True, kw_only=True)
class Flip(Layered):
    """Labels read as the sign of the sum of the outputs, when the most negative readings are kept.

    Attributes:
        dimension: D of the features.

    >>> from worldline.encoder.experiments import Flip
    >>> bool((Flip().run().table["fitted_label"] < 0).all())
    True
    """

    name = "flip"
    title = "The label flip"
    claim = (
        "Without a gradient and without a label, the encoder gives a feature the opposite label, "
        "by keeping the most negative readings."
    )
    law = (
        "A kept reading has the mean −φ(τ)/q for many neurons, P(g < −τ) = q = k/n, so every "
        "layer reads the fitted feature as negative; another feature gets its label if its "
        "correlation with it keeps a positive sign."
    )
    shown = (
        "Left: what the neurons read of the fitted feature. Right: how often another feature gets "
        "its label, by their correlation."
    )
    rule = "most_negative"

    candidates: int = 1000
    width: int = 100
    depth: int = 10
    dimension: int = 100

    def run(self) -> Outcome:
        """Fit encoders to features, and label others with them."""
        generator = make_generator(self.seed)
        encoder = self.encoder
        encoders = affordable(encoder, ENCODERS, inputs=self.dimension, features=VECTORS_EACH + 1)
        features = torch.randn(
            encoders, VECTORS_EACH + 1, self.dimension, dtype=torch.float64, generator=generator
        )
        path = encode_together(encoder, features, generator=generator)
        growth = (
            path.log_norms[1:, :, 0].diff(dim=0, prepend=path.log_norms[:1, :, 0]).exp()
        )  # |y|, (L, P)
        readings = (
            torch.stack([at[:, 0] for at in path.directions[1:]]) * growth[..., None]
        )  # (L, P, k)
        start, end = (from_fitted(path.directions[layer]) for layer in (0, -1))  # (P, M)
        labels = path.directions[-1].sum(-1).sign()  # (P, M + 1)
        same = (labels[:, 1:] == labels[:, :1]).double()
        towards = (start > 0).double()
        grid = start[start > 0].quantile(torch.linspace(0.005, 0.995, 100, dtype=start.dtype))
        kept = float(
            sign_kept_probability(grid, encoder.selection, self.depth, samples=1000).value.mean()
        )
        density, edges = torch.histogram(readings.flatten(), bins=60, density=True)
        measurements = (
            mean_of(
                "mean reading of the fitted feature by a kept neuron",
                readings.mean((0, 2)),
                reading_length(encoder.selection).mean_reading,
            ),
            mean_of(
                "unrelated features that get the fitted feature's label", same.mean(1), 0.5, "share"
            ),
            mean_of(
                "features with ρ > 0 at the input that get its label",
                (same * towards).sum(1) / towards.sum(1),
                kept,
                "share",
            ),
        )
        return Outcome(
            measurements,
            controls={
                "no_selection": no_selection(
                    encoder,
                    affordable(encoder, RATE_PAIRS, inputs=self.dimension),
                    self.dimension,
                    generator,
                ),
                "rank_one": rank(encoder, self.dimension, generator),
                "sign_kept": sign_kept(start, end, encoder.selection, self.depth),
                "eavesdropper": NOBODY_LISTENS,
            },
            verdict=verdict_on(
                measurements,
                "The label flips because the neurons were chosen after looking at the feature, to "
                "read it as negative: the encoder is told the label that it gives. Other features "
                "get it by one bit, the sign of their correlation.",
            ),
            table={
                "encoder": torch.arange(encoders).repeat_interleave(VECTORS_EACH),
                "start_rapidity": start.flatten(),
                "end_rapidity": end.flatten(),
                "fitted_label": labels[:, :1].expand(-1, VECTORS_EACH).flatten(),
                "label": labels[:, 1:].flatten(),
            },
            replicas=encoders,
            curves={
                "reading_edges": tuple(edges.tolist()),
                "reading_density": tuple(density.tolist()),
                "law_rapidity": tuple(grid.tolist()),
                "law_kept": tuple(
                    sign_kept_probability(
                        grid, encoder.selection, self.depth, samples=1000
                    ).value.tolist()
                ),
            },
        )
