"""A stand-in for a model: small, undefended, and honest with its gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldline.attacks import predict
from worldline.trace import Model

__all__ = ["fit_standin"]

WIDTH, MOST_STEPS, BATCH = 128, 600, 64


def fit_standin(model: Model, x: Tensor, *, seed: int = 0) -> nn.Module:
    """A perceptron with one hidden layer that imitates the model's answers, in seconds.

    As Papernot et al. (2017) do.

    Args:
        model: only asked for its predictions.
        x: (N, …) inputs to ask it about; no attacked input should be among them.
        seed: of weights and order.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(2, 2), torch.rand(200, 2)
    >>> copy = wl.checks.fit_standin(model, x)
    >>> float((copy(x).argmax(1) == model(x).argmax(1)).float().mean()) > 0.9
    True
    """
    said = predict(model, x)
    classes, y = said.shape[1], said.argmax(1).to(x.device)
    inputs = x.detach().flatten(1).float()
    middle, scale = inputs.mean(0), inputs.std().clamp_min(1e-6)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        body = nn.Sequential(
            nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes)
        ).to(x.device)
        optimizer = torch.optim.Adam(body.parameters(), lr=2e-3)
        for _ in range(MOST_STEPS):
            rows = torch.randint(len(x), (BATCH,)).to(x.device)
            loss = nn.functional.cross_entropy(body((inputs[rows] - middle) / scale), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return _StandIn(body, middle, scale).requires_grad_(False).eval()


class _StandIn(nn.Module):
    middle: Tensor
    scale: Tensor

    def __init__(self, body: nn.Module, middle: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("middle", middle)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        out: Tensor = self.body((x.flatten(1).float() - self.middle) / self.scale)
        return out
