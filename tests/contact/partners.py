"""A second model for each kind of data, to be compared with: one linear layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

FEATURES = {
    "pictures": (768, 4),
    "bytes": (768, 4),
    "bytes_last": (768, 4),
    "grey": (256, 4),
    "pair": (768, 2),
    "three": (768, 3),
    "thousand": (768, 1000),
    "signal": (48, 4),
    "video": (256, 4),
    "embeddings": (60, 4),
    "table": (30, 2),
}


def _maker(features: int, classes: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return nn.Sequential(nn.Flatten(), nn.Linear(features, classes)).eval()

    return make


globals().update({name: _maker(*sizes) for name, sizes in FEATURES.items()})
