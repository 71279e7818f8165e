"""Claim: the encoder adds nothing to a linear readout of digits that a ridge does not add: neither
robustness, nor neural collapse, nor a carried feature.

*Robustness.* A linear readout (ridge regression) of the encoder's outputs is a linear map of the
pixels, so its accuracy under the worst change of size ε in every pixel (L∞) is known exactly, with
no attack: a picture stays right if every margin exceeds ε times the L1 norm of the two rows'
difference. The rival is the same readout of the pixels themselves. Every readout's strength of the
ridge is chosen on a third of the reference by the worst-case accuracy at ε, and judged on the test.

*Neural collapse.* Scatter within classes over scatter between them, and the share of the class
means' variance in one direction (1/9 for the simplex of ten classes, 1 for a line).

*Features.* The receiver's error with a photograph as message, and with its pixels permuted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import measure
import worldline as wl
from worldline.encoder import Encoder, reconcile_grey

CLAIM = (
    "a ridge on pixels is at least as robust as one on the encoder's outputs; deep encoders merge "
    "classes instead of parting them; a message is read as well with its pixels permuted"
)
EPSILON = 0.05
SEEDS = 5
HELD = 400  # of the reference, to choose by
STRENGTHS = tuple(10.0**power for power in range(-6, 3))
ROBUST_DEPTHS, COLLAPSE_DEPTHS = (1, 2, 4, 8, 12), (1, 4, 12)


def row(experiment: str, quantity: str, values: list[float]) -> dict[str, object]:
    found = torch.tensor(values, dtype=torch.float64)
    error = float(found.std()) / math.sqrt(len(found)) if len(found) > 1 else 0.0
    return {
        "experiment": experiment,
        "quantity": quantity,
        "measured": float(found.mean()),
        "predicted": None,
        "standard_error": error,
    }


def readout(outputs: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Ridge regression on one-hot labels: weights (K, k) and offsets (K,)."""
    one_hot = torch.nn.functional.one_hot(labels, 10).double()
    middle, mean = outputs.mean(0), one_hot.mean(0)
    moved = outputs - middle
    scale = strength * float(moved.square().sum(1).mean())
    square = moved.mT @ moved + scale * torch.eye(moved.shape[1], dtype=moved.dtype)
    weights = torch.linalg.solve(square, moved.mT @ (one_hot - mean)).mT
    return weights, mean - weights @ middle


def right(weights: Tensor, offsets: Tensor, x: Tensor, y: Tensor, epsilon: float) -> float:
    """Exact accuracy under the worst L∞ change of size ε of the pixels."""
    outputs = x @ weights.mT + offsets
    margins = outputs.gather(1, y[:, None]) - outputs
    margins = margins - epsilon * (weights[y][:, None] - weights[None]).abs().sum(-1)
    margins.scatter_(1, y[:, None], math.inf)
    return float((margins.amin(1) > 0).double().mean())


def chosen(matrix: Tensor, data: wl.inputs.Data) -> tuple[float, float, float]:
    """Clean and worst-case accuracy on the test, and the strength that the held part chose."""
    x, y = data.reference_x.flatten(1).double(), data.reference_y
    found = []
    for strength in STRENGTHS:
        weights, offsets = readout(x[HELD:] @ matrix.mT, y[HELD:], strength)
        whole = weights @ matrix
        found.append((right(whole, offsets, x[:HELD], y[:HELD], EPSILON), strength, whole, offsets))
    _, strength, whole, offsets = max(found, key=lambda it: it[0])
    test = data.x.flatten(1).double(), data.y
    return right(whole, offsets, *test, 0.0), right(whole, offsets, *test, EPSILON), strength


def robustness(data: wl.inputs.Data) -> list[dict[str, object]]:
    x = data.reference_x.flatten(1).double()
    several = {"pixels": [torch.eye(64, dtype=torch.float64)]}
    for depth in ROBUST_DEPTHS:
        encoder = Encoder(candidates=8000, width=256, depth=depth)
        several[f"encoder, {depth} layers"] = [
            encoder.fit(x[seed] - x.mean(0), seed=seed).compose().matrix for seed in range(SEEDS)
        ]
    rows = []
    for name, matrices in several.items():
        clean, worst, _ = zip(*(chosen(matrix, data) for matrix in matrices), strict=True)
        rows.append(row("robustness", f"accuracy of a readout of {name}", list(clean)))
        rows.append(row("robustness", f"the same, worst change of {EPSILON}", list(worst)))
    return rows


def collapse(data: wl.inputs.Data) -> list[dict[str, object]]:
    x, y = data.reference_x.flatten(1).double(), data.reference_y
    moved = x - x.mean(0)
    rows = []
    for depth in (0, *COLLAPSE_DEPTHS):
        ratios, lines = [], []
        for seed in range(SEEDS if depth else 1):
            outputs = moved
            if depth:
                fitted = Encoder(candidates=8000, width=256, depth=depth).fit(
                    moved[seed], seed=seed
                )
                outputs = fitted.transform(moved, layers=[depth]).features(depth)
            means = torch.stack([outputs[y == label].mean(0) for label in range(10)])
            within = float((outputs - means[y]).square().sum(1).mean())
            centred = means - means.mean(0)
            values = torch.linalg.svdvals(centred).square()
            ratios.append(within / float(centred.square().sum(1).mean()))
            lines.append(float(values[0] / values.sum()))
        name = f"after {depth} layers" if depth else "of the pixels"
        rows.append(row("neural collapse", f"scatter within over between classes, {name}", ratios))
        rows.append(row("neural collapse", f"class means' variance on one line, {name}", lines))
    return rows


def features() -> list[dict[str, object]]:
    picture = wl.zoo.picture(20).flatten()
    permuted = picture[torch.randperm(len(picture), generator=torch.Generator().manual_seed(0))]
    rows = []
    for name, message in (("a photograph", picture), ("its pixels permuted", permuted)):
        errors = []
        for seed in range(SEEDS):
            a, b = torch.randn(
                2, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
            )
            encoder = Encoder(candidates=1400, width=400, depth=20)
            errors.append(reconcile_grey(encoder, a, b, message, seed=seed).received_error)
        rows.append(row("features", f"receiver's error, message {name}", errors))
    return rows


def main() -> None:
    measure.threads()
    data = wl.zoo.digits()
    measure.write("paper", CLAIM, {"measured": [*robustness(data), *collapse(data), *features()]})


if __name__ == "__main__":
    main()
