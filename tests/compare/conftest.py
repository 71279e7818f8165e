"""Tiny models on eight features and three classes, trained in milliseconds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

CENTRES = torch.tensor(
    [
        [0.3, 0.7, 0.4, 0.6, 0.5, 0.5, 0.3, 0.5],
        [0.7, 0.3, 0.6, 0.4, 0.5, 0.5, 0.5, 0.3],
        [0.5, 0.5, 0.3, 0.3, 0.7, 0.3, 0.7, 0.7],
    ]
)


def draw(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % 3
    x = (CENTRES[y] + 0.08 * torch.randn(samples, 8, generator=generator)).clamp(0, 1)
    return x, y


def trained(width: int, act: type[nn.Module], seed: int, keep: slice = slice(None)) -> nn.Module:
    """An MLP that reads the features in ``keep`` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(8, width), act(), nn.Linear(width, 3))
        x, y = draw(120, seed=100)
        mask = torch.zeros(8)
        mask[keep] = 1
        model[0].weight.data *= mask
        model[0].weight.register_hook(lambda gradient: gradient * mask)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def data() -> tuple[Tensor, Tensor]:
    return draw(60, seed=1)


@pytest.fixture(scope="session")
def models() -> dict[str, nn.Module]:
    """Three that read the first half of the features, three that read the second half."""
    half = {"first": slice(0, 4), "second": slice(4, 8)}
    return {
        f"{name}-{seed}": trained(12 + 4 * seed, (nn.ReLU, nn.Tanh, nn.GELU)[seed], seed, keep)
        for name, keep in half.items()
        for seed in range(3)
    }
