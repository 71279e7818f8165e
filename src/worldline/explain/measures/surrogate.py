"""Where to push a sample, from forward passes alone.

The gradient of a kernel ridge regression of the model's own answers.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["aim"]

ANCHORS = 1000
CANDIDATES = 4
RIDGE = 0.1


def aim(x: Tensor, logits: Tensor) -> Tensor:
    """(N, D) unit directions in which a smooth stand-in loses each sample's class soonest.

    Kernel ridge regression f̂ = K (K + 0.1)⁻¹ (z − z̄) of the centred logits z on the inputs, K_ij
    = exp(−|x_i − x_j|²/m) with m the median squared distance. Among the four classes next in rank
    the one of the smallest linearised distance (z_k − z_c)/|∇(f̂_c − f̂_k)| is chosen; the
    direction is that gradient. A row without any gradient is zero.

    Args:
        x: (N, D) inputs.
        logits: (N, K) what the model said of them; finite.

    Cost: with M = min(N, 1000) anchors one M³ solution, C N M² and N M D products; no pass of the
        model.
    """
    anchors, answers = x[:ANCHORS].double(), logits[:ANCHORS].double()
    answers = answers - answers.mean(1, keepdim=True)
    between = _squared(anchors, anchors)
    itself = torch.eye(len(anchors), dtype=torch.bool, device=x.device)
    scale = between[~itself].median().clamp(min=1e-300)
    kernel = torch.exp(-between / scale)
    ridge = RIDGE * torch.eye(len(anchors), dtype=kernel.dtype, device=x.device)
    weights = torch.linalg.solve(kernel + ridge, answers - answers.mean(0))  # (M, K)
    count = min(CANDIDATES + 1, logits.shape[1])
    ranked = logits.double().topk(count, dim=1)
    gaps = ranked.values[:, :1] - ranked.values[:, 1:]  # (N, C)
    found = []
    for rows in torch.arange(len(x), device=x.device).split(
        max(1, 2**23 // (len(anchors) * count))
    ):
        near = _squared(x[rows].double(), anchors)  # (b, M)
        by_class = weights.T[ranked.indices[rows]]  # (b, 1 + C, M)
        pull = torch.exp(-near / scale)[:, None] * (by_class[:, 1:] - by_class[:, :1])  # (b, C, M)
        # |Σ_j p_j (x_j − x_i)|² from squared distances alone
        length = pull.sum(2) * (pull * near[:, None]).sum(2) - ((pull @ between) * pull).sum(2) / 2
        best = (gaps[rows] / length.clamp(min=1e-300).sqrt()).argmin(1)
        chosen = pull[torch.arange(len(rows), device=x.device), best]  # (b, M)
        found.append(chosen @ anchors - chosen.sum(1, keepdim=True) * x[rows].double())
    direction = torch.cat(found)
    size = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    unit: Tensor = direction / size.clamp(min=1e-300)
    return unit.to(x)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    squared: Tensor = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return squared.clamp(min=0)
