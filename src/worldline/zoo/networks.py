"""Small architectures for 8×8 grey images and ten classes."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS"]


def _named(**modules: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(modules))


def linear() -> nn.Module:
    """Multinomial logistic regression."""
    return _named(flatten=nn.Flatten(), logits=nn.Linear(64, 10))


def mlp() -> nn.Module:
    """Three layers of perceptrons."""
    return _named(
        flatten=nn.Flatten(),
        hidden1=nn.Linear(64, 128),
        relu1=nn.ReLU(),
        hidden2=nn.Linear(128, 128),
        relu2=nn.ReLU(),
        logits=nn.Linear(128, 10),
    )


class CNN(nn.Module):
    """Two convolutions, one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.hidden = nn.Linear(1024, 128)
        self.relu3 = nn.ReLU()
        self.logits = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 8, 8)."""
        x = self.relu1(self.conv1(x))
        x = self.pool(self.relu2(self.conv2(x)))
        x = self.relu3(self.hidden(x.flatten(1)))
        logits: Tensor = self.logits(x)
        return logits


class ResidualBlock(nn.Module):
    """x + MLP(LayerNorm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.act = nn.GELU()
        self.shrink = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (…, width)."""
        change: Tensor = self.shrink(self.act(self.expand(self.norm(x))))
        return x + change


class Attention(nn.Module):
    """x + multi-head self-attention of LayerNorm(x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (N, tokens, width)."""
        samples, tokens, width = x.shape
        qkv = self.qkv(self.norm(x)).view(samples, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (N, heads, tokens, width / heads)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        change: Tensor = self.project(mixed.transpose(1, 2).reshape(samples, tokens, width))
        return x + change


class ViT(nn.Module):
    """Vision transformer: 16 patches of 2×2, three blocks, the mean of the tokens classified."""

    def __init__(self, width: int = 64, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.positions = nn.Parameter(torch.empty(1, 16, width))
        blocks = [
            nn.Sequential(Attention(width, heads), ResidualBlock(width)) for _ in range(depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, 10)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the position embedding again; submodules have their own."""
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 8, 8)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.logits(self.norm(self.blocks(tokens)).mean(1))
        return logits


def resnet() -> nn.Module:
    """Residual perceptron with LayerNorm, three blocks of width 128."""
    blocks = {f"block{number}": ResidualBlock(128) for number in (1, 2, 3)}
    stem = {"flatten": nn.Flatten(), "stem": nn.Linear(64, 128)}
    return _named(**stem, **blocks, norm=nn.LayerNorm(128), logits=nn.Linear(128, 10))


NETWORKS = {"linear": linear, "mlp": mlp, "cnn": CNN, "resnet": resnet, "vit": ViT}
