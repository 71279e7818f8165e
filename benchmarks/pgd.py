"""Claim: L∞ PGD-20 costs at most 1.05 of its floor, 20 forward and backward passes of its iterates
for the input alone.

Rivals, in the same rounds: a plain loop without any of our guards, Foolbox 3.3 and ART 1.20. Batch
256; the zoo's CNN at 8×8 and a CNN of the same make at 3×32×32.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

import measure
import worldline as wl

CLAIM = "PGD-20 over 20 forward and backward passes on the input: at most 1.05"
EPSILON, STEPS, SIZE = 0.1, 20, 0.0125


def wide_cnn() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    ).eval()


def contestants(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict:
    import foolbox
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    points: list[
        torch.Tensor
    ] = []  # the floor sees the same inputs: pooling and ReLU cost what the data makes them cost
    record = wl.attacks.PGD(
        epsilon=EPSILON,
        steps=STEPS,
        step_size=SIZE,
        callback=lambda iterate: points.append(iterate.x.clone()),
    )
    record(model, x, y)

    def floor() -> None:
        for start in points[:STEPS]:
            point = start.detach().requires_grad_(True)
            loss = nn.functional.cross_entropy(model(point), y, reduction="sum")
            torch.autograd.grad(loss, point)

    def plain_loop() -> torch.Tensor:
        point = (x + torch.empty_like(x).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
        for _ in range(STEPS):
            point.requires_grad_(True)
            loss = nn.functional.cross_entropy(model(point), y, reduction="sum")
            gradient = torch.autograd.grad(loss, point)[0]
            point = point.detach() + SIZE * gradient.sign()
            point = (x + (point - x).clamp(-EPSILON, EPSILON)).clamp(0, 1)
        return point

    attack = wl.attacks.PGD(epsilon=EPSILON, steps=STEPS, step_size=SIZE)
    last = wl.attacks.PGD(epsilon=EPSILON, steps=STEPS, step_size=SIZE, keep="last")
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    foolbox_attack = foolbox.attacks.LinfPGD(abs_stepsize=SIZE, steps=STEPS, random_start=True)
    classifier = PyTorchClassifier(
        model,
        nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu",
    )
    art_attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm="inf",
        eps=EPSILON,
        eps_step=SIZE,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=256,
        verbose=False,
    )
    images, labels = x.numpy(), y.numpy()
    return {
        "floor": floor,
        "worldline": lambda: attack(model, x, y),
        "worldline, last iterate": lambda: last(model, x, y),
        "plain loop": plain_loop,
        "foolbox": lambda: foolbox_attack(wrapped, x, y, epsilons=EPSILON),
        "art": lambda: art_attack.generate(images, labels),
    }


def main() -> None:
    measure.threads()
    warnings.filterwarnings("ignore")
    data = wl.zoo.digits()
    generator = torch.Generator().manual_seed(0)
    wide = (
        torch.rand(256, 3, 32, 32, generator=generator),
        torch.randint(10, (256,), generator=generator),
    )
    small = contestants(wl.zoo.load("cnn"), data.x[:256], data.y[:256])
    tables = {
        "zoo CNN, 1×8×8": measure.side_by_side(small, "floor", rounds=11),
        "CNN, 3×32×32": measure.side_by_side(contestants(wide_cnn(), *wide), "floor", rounds=4),
    }
    measure.write("pgd", CLAIM, {"tables": tables})


if __name__ == "__main__":
    main()
