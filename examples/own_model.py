"""Your own PyTorch model and tensors.

Any ``nn.Module`` from inputs to logits, normalisation inside; any tensors or arrays. The model is
left as it was: mode, parameters, gradients, hooks and random state.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import worldline as wl


def trained() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small network and what it has not seen: put yours here."""
    found = load_digits()
    x = torch.tensor(found.images[:, None] / 16, dtype=torch.float32)  # (N, 1, 8, 8) in 0…1
    y = torch.tensor(found.target)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[:800]), y[:800]).backward()
        optimizer.step()
    return model, x[800:1200], y[800:1200]


def main() -> None:
    """Explore, and say what was found."""
    model, x, y = trained()
    result = wl.explore(model, x, y, eps=0.1, samples=60, steps=10)

    found = result.record
    print(f"right: {found.clean_accuracy:.0%}; attacked: {found.adversarial_accuracy:.0%}; "
          f"with noise of that size: {found.noise_accuracy:.0%}")  # fmt: skip
    print("changes sides at:", found.swap_layer.name if found.swap_layer else "no layer for sure")
    for layer in found.layers:
        print(f"  {layer.name:10} moved by the attack: {layer.moved_share.value:.0%}")


if __name__ == "__main__":
    main()
