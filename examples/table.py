"""A table, where each column may move by its own amount and some not at all.

Mean radius and mean area of a tumour cannot be chosen freely; here the first ten columns stay as
they are, and every other one may move by a fifth of its standard deviation.
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import worldline as wl


def trained(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """A network that standardises inside, so that inputs and budgets are in the table's units."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(body.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(body(x), y).backward()
        optimizer.step()
    return body.eval()


def main() -> None:
    """Attack within the budget, and count."""
    table = load_breast_cancer()
    x, y = torch.tensor(table.data, dtype=torch.float32), torch.tensor(table.target)
    model = trained(x[:300], y[:300])
    x, y, seen = x[300:], y[300:], x[:300]

    sizes = 0.2 * seen.std(0)  # (30,) one for each column
    may_change = torch.arange(30) >= 10
    bounds = (x.amin(0), x.amax(0))
    attack = wl.attacks.PGD(epsilon=sizes, mask=may_change, bounds=bounds, steps=20)
    attacked = attack(model, x, y).x

    right = model(x).argmax(1) == y
    fooled = right & (model(attacked).argmax(1) != y)
    print(f"right: {int(right.sum())} of {len(x)}; fooled: {int(fooled.sum())}")
    moved = ((attacked - x)[fooled].abs() / sizes).mean(0)
    for column in moved.argsort(descending=True)[:3].tolist():
        print(f"  {table.feature_names[column]}: moves by {moved[column]:.0%} of its budget")
    if not torch.equal(attacked[:, ~may_change], x[:, ~may_change]):
        raise RuntimeError("a column that may not change did")


if __name__ == "__main__":
    main()
