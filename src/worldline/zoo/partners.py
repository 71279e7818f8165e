"""Embeddings of the digits, each with a partner of its class and one of another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.settings import Progress, silent
from worldline.trace import collect, one_layer
from worldline.zoo.digit_data import digits
from worldline.zoo.training import load

__all__ = ["PartnerEmbeddings", "embeddings"]


@dataclass(frozen=True)
class PartnerEmbeddings:
    """(N, D) embeddings, a partner of each that belongs to it and one that does not.

    ``origin`` says what they are.
    """

    embeddings: Tensor
    matched: Tensor
    unmatched: Tensor
    origin: str


def embeddings(
    model: str = "cnn", *, seed: int = 0, progress: Progress = silent
) -> PartnerEmbeddings:
    """Features of the test digits before the logits, seen from the training digits' mean.

    Args:
        model: a name of the zoo.
        seed: of the partners: another test digit of the same class, and one of another class.
        progress: as in :func:`load`.

    >>> import worldline as wl
    >>> wl.zoo.embeddings().matched.shape
    torch.Size([600, 128])
    """
    data, network = digits(), load(model, progress=progress)
    layer = one_layer(network, data.x).name
    features, reference = (collect(network, x, [layer])[layer] for x in (data.x, data.reference_x))
    features = features - reference.mean(0)
    generator = torch.Generator().manual_seed(seed)
    score = torch.rand(len(data.y), len(data.y), generator=generator)
    same = data.y[:, None] == data.y
    itself = torch.eye(len(data.y), dtype=torch.bool)
    matched = score.masked_fill(~same | itself, -1).argmax(1)
    unmatched = score.masked_fill(same, -1).argmax(1)
    return PartnerEmbeddings(
        features,
        features[matched],
        features[unmatched],
        f"{len(features)} test digits at {layer} of {model}, seen from the mean of the training "
        "digits; matched: another of its class",
    )
