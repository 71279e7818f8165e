"""Defences that are known to be broken: each hides gradients and not the adversarial examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import worldline as wl
from worldline.inputs import Data


class Rounded(nn.Module):
    """Inputs rounded to a few levels (feature squeezing; Xu et al. 2018)."""

    def __init__(self, model: nn.Module, levels: int = 8) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, x: Tensor) -> Tensor:
        return self.model(torch.round(x * self.levels) / self.levels)


class Thermometer(nn.Module):
    """Inputs as thermometer codes (Buckman et al. 2018)."""

    def __init__(self, levels: int = 8) -> None:
        super().__init__()
        self.register_buffer("levels", (torch.arange(levels) + 0.5) / levels)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1)[:, :, None] > self.levels).to(x).flatten(1)


class Scaled(nn.Module):
    """Logits so large that the softmax saturates in float32."""

    def __init__(self, model: nn.Module, factor: float = 1e4) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.model(x)


class Noisy(nn.Module):
    """Noise at test time."""

    def __init__(self, model: nn.Module, sigma: float = 0.1) -> None:
        super().__init__()
        self.model, self.sigma = model, sigma

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + self.sigma * torch.randn_like(x))


class Resized(nn.Module):
    """Inputs shrunk and padded at random (Xie et al. 2018)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        side = int(torch.randint(6, 9, ()))
        small = nn.functional.interpolate(x, (side, side), mode="bilinear", align_corners=False)
        left, top = (int(torch.randint(0, 9 - side, ())) for _ in range(2))
        return self.model(nn.functional.pad(small, (left, 8 - side - left, top, 8 - side - top)))


class Jpeg(nn.Module):
    """Cosine transform, its coefficients rounded, and back (Guo et al. 2018)."""

    def __init__(self, model: nn.Module, step: float = 0.2) -> None:
        super().__init__()
        self.model, self.step = model, step
        place = torch.arange(8.0)
        basis = torch.cos(torch.pi * (place[None] + 0.5) * place[:, None] / 8) / 2
        basis[0] /= 2**0.5
        self.register_buffer("basis", basis)

    def forward(self, x: Tensor) -> Tensor:
        coefficients = torch.round(self.basis @ x @ self.basis.T / self.step) * self.step
        return self.model(self.basis.T @ coefficients @ self.basis)


class Median(nn.Module):
    """The median of each 3×3 neighbourhood, computed outside of autograd (Xu et al. 2018)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        windows = nn.functional.unfold(
            nn.functional.pad(x.detach(), (1, 1, 1, 1), mode="replicate"), 3
        )
        return self.model(windows.median(1).values.view_as(x))


class Steep(nn.Module):
    """Sigmoids that are steep at test time: most have no slope in float32 (Nayebi and Ganguli
    2017).
    """

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.gain * x)


def fitted(
    model: nn.Module, data: Data, *, temperature: float = 1.0, epochs: int = 30, seed: int = 0
) -> nn.Module:
    """Trained on the reference digits in a second or two; the cross-entropy at a temperature, as in
    distillation.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    steep = [module for module in model.modules() if isinstance(module, Steep)]
    for epoch in range(epochs):
        for module in steep:
            module.gain = 1 + 39 * epoch / (epochs - 1)
        for rows in torch.randperm(len(data.reference_x), generator=generator).split(64):
            loss = nn.functional.cross_entropy(
                model(data.reference_x[rows]) / temperature, data.reference_y[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for module in steep:
        module.gain = 2000.0
    optimizer.zero_grad()
    return model.eval()


def perceptron(*front: nn.Module, width: int = 64, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        *front, nn.Linear(width, 64), act(), nn.Linear(64, 64), act(), nn.Linear(64, 10)
    )


def broken(data: Data, seed: int = 0) -> dict[str, nn.Module]:
    """Each defence on a model trained on digits, by name."""
    base = wl.zoo.load("mlp", seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {
            "rounded inputs": Rounded(base),
            "thermometer": fitted(perceptron(Thermometer(), width=512), data, seed=seed),
            "saturated logits": Scaled(base),
            "distilled": fitted(
                perceptron(nn.Flatten()), data, temperature=100.0, epochs=40, seed=seed
            ),
            "noise": Noisy(base),
            "random resizing": Resized(base),
            "jpeg": Jpeg(base),
            "median": Median(base),
            "steep sigmoids": fitted(perceptron(nn.Flatten(), act=Steep), data, seed=seed),
        }
