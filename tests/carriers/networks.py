"""Small networks for carriers: with planted truths, and with what makes a cut hard."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PLANTED = 5
"""The channel, and the head, that alone matters much."""


class Channels(nn.Module):
    """Two convolutions whose logits are read from one channel; the ReLU is reused, and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12, 4)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.weight[:, PLANTED] = torch.tensor([6.0, -6.0, 2.0, -2.0])
            self.head.bias.copy_(-6 * self.head.weight[:, PLANTED] / 10)
            self.two.weight[PLANTED] = 0
            self.two.weight[PLANTED, PLANTED, 1, 1] = 4

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.relu(self.two(self.relu(self.one(x)))).mean((2, 3)))
        return made


class Residual(nn.Module):
    """A branch with batch normalisation beside a skip connection, added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.branch = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.relu(self.norm(self.stem(x)))
        made = self.branch(skip)
        made += skip
        made = self.relu(made)
        answer: Tensor = self.head(made)
        return answer


class Tokens(nn.Module):
    """A transformer over tokens; of its heads one can be made to matter alone."""

    def __init__(self, *, one_head: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 8, 32, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 3)
        if one_head:
            with torch.no_grad():
                for block in self.blocks.layers:
                    weight = block.self_attn.out_proj.weight
                    scale = torch.full((32,), 0.05)
                    scale[4 * PLANTED : 4 * PLANTED + 4] = 6
                    weight.mul_(scale)
                    block.self_attn.in_proj_weight[64:].mul_(4)
                    block.linear2.weight.mul_(0.05)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.blocks(x).mean(1))
        return made


class Discarding(nn.Module):
    """An in-place module whose answer nobody takes, and an answer in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.relu, self.two = nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x -= 0.5
        made = self.one(x)
        self.relu(made)
        return {"logits": self.two(made), "beside": made.detach().sum(1)}


class Recurrent(nn.Module):
    """A module that returns a tuple whose parts count the samples in different dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(5, 7, num_layers=2), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        made, _ = self.memory(x.transpose(0, 1))
        answer: Tensor = self.head(made[-1])
        return answer


class Shared(nn.Module):
    """A module that runs inside of a block and again behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.block = nn.Sequential(nn.Linear(6, 8), self.relu, nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.relu(self.block(x)))
        return made
