"""Claim: APGD fools as many samples as its authors' code (pyautoattack), within two, and takes at
most 1.1 of its time.

Rival, in the same rounds and from the same starting points: pyautoattack's APGD, 100 steps, one
restart. 256 samples (64 at 3×32×32) that the model gets right; the zoo's CNN at 8×8 and a CNN of
the same make at 3×32×32, trained on coloured, enlarged digits; both norms, both losses.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

import measure
import worldline as wl

CLAIM = (
    "APGD-100 over pyautoattack's: at most 1.1 of its time, and the same robust accuracy "
    "within two samples"
)
STEPS = 100
NORMS = {"linf": "Linf", "l2": "L2"}


def wide_cnn() -> nn.Module:
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
    )


def coloured(x: Tensor, seed: int) -> Tensor:
    """Digits at 3×32×32, each in a random colour."""
    colour = 0.4 + 0.6 * torch.rand(len(x), 3, 1, 1, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(x, (32, 32), mode="bilinear") * colour


def wide_model(x: Tensor, y: Tensor) -> nn.Module:
    torch.manual_seed(0)
    model = wide_cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(4):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    optimizer.zero_grad()
    return model.eval()


def start_of(x: Tensor, epsilon: float, norm: str, seed: int) -> Tensor:
    """Where the rival starts from this seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        noise = 2 * torch.rand(x.shape) - 1 if norm == "linf" else torch.randn(x.shape)
    return x + epsilon * noise / (
        wl.attacks.named_norm(norm).size(noise).reshape(-1, 1, 1, 1) + 1e-12
    )


def compare(
    model: nn.Module, x: Tensor, y: Tensor, epsilon: float, norm: str, loss: str, rounds: int
) -> tuple[dict[str, int], dict[str, Any]]:
    """How many samples each leaves right, and the times of both."""
    from pyautoattack.autopgd_base import APGDAttack

    start = start_of(x, epsilon, norm, seed=0)
    ours = wl.attacks.APGD(epsilon=epsilon, norm=norm, loss=loss, steps=STEPS)
    theirs = APGDAttack(
        model, n_iter=STEPS, norm=NORMS[norm], eps=epsilon, loss=loss, seed=0, device="cpu"
    )
    held = {
        "worldline": int((~ours(model, x, y, start=start).success).sum()),
        "pyautoattack": int((model(theirs.perturb(x, y)).argmax(1) == y).sum()),
    }
    times = measure.side_by_side(
        {
            "pyautoattack": lambda: theirs.perturb(x, y),
            "worldline": lambda: ours(model, x, y, start=start),
        },
        "pyautoattack",
        rounds=rounds,
    )
    return held, times


def main() -> None:
    measure.threads()
    warnings.filterwarnings("ignore")
    data = wl.zoo.digits()
    settings = [
        ("zoo CNN, 1×8×8", wl.zoo.load("cnn"), data.x, {"linf": 0.1, "l2": 0.6}, 256, 3),
        (
            "CNN, 3×32×32",
            wide_model(coloured(data.reference_x, 1), data.reference_y),
            coloured(data.x, 2),
            {"linf": 0.05, "l2": 1.5},
            64,
            2,
        ),
    ]
    tables, left = {}, {}
    for name, model, x, epsilons, samples, rounds in settings:
        right = (wl.attacks.predict(model, x).argmax(1) == data.y).nonzero().flatten()[:samples]
        for norm, epsilon in epsilons.items():
            for loss in ("ce", "dlr"):
                title = f"{name}, {norm} ε = {epsilon}, {loss}"
                held, tables[title] = compare(
                    model, x[right], data.y[right], epsilon, norm, loss, rounds
                )
                left[title] = {"samples": len(right), **held}
    measure.write("apgd", CLAIM, {"tables": tables, "still_right": left})


if __name__ == "__main__":
    main()
