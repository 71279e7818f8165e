"""What probing leaves of a model, and the (M, M) reductions over what was left.

With f the centred logits, δ_p the probes of a sample and ŷ its consensus label:

    d_p = f(x+δ_p) − mean_q f(x+δ_q)      (n, P, K)   how the logits answer
    r_p = L(x+δ_p) − mean_q L(x+δ_q)      (n, P)      how the loss L = ln Σ_{k≠ŷ} e^{f_k} − f_ŷ does
    ĝ   = Σ_p r_p sign(δ_p)               (n, D)      a gradient that nobody had to differentiate
    u   = sign ĝ (L∞)  or  ĝ/|ĝ| (L2)     (n, D)      where an attack would go
    c_p = √(D/P) ⟨u, sign(δ_p)⟩/P         (n, P)      the same, written in the probes

so that target B, pushed along source A's attack of size ε, answers Σ_p c_p^A d_p^B · ε/size. It is
made of answers that are there already: no pair of models needs a pass of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.compare.probes import Probes
from worldline.settings import NormName

__all__ = ["Response", "loss", "margin", "predicted_flips", "respond", "similarity"]

BLOCK = 2**21
"""Numbers in one block of a reduction: 8 MiB."""

FAINT = 1e-4
"""Share of the largest entry of ĝ under which one is rounding: what no model reads has no sign."""

POOLED = 1000
"""Probe answers that the pooled alignment is worth against a sample's own; chosen on development
models."""


@dataclass(frozen=True)
class Response:
    """One model's answers to the probes.

    Attributes:
        logits: (n, K) centred, of the undisplaced samples.
        displacement: (n, P, K) d.
        coefficient: (n, P) c.
        density: |ĝ|₁/(√D |ĝ|₂), mean over samples: 1 where all entries count alike, 1/√D where one
            does (L∞); 1 (L2).
        margin: median |L| over the samples, the model's own unit of loss.
    """

    logits: Tensor
    displacement: Tensor
    coefficient: Tensor
    density: float
    margin: float


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """ln Σ_{k≠ŷ} e^{f_k} − f_ŷ: (n, …, K) and (n,) → (n, …), below 0 where the label wins."""
    own = torch.nn.functional.one_hot(labels, logits.shape[-1]).bool()
    own = own.view(len(labels), *(1,) * (logits.ndim - 2), -1).expand(logits.shape)
    others = logits.masked_fill(own, -torch.inf).logsumexp(-1)
    mine: Tensor = logits.masked_fill(~own, 0.0).sum(-1)
    change: Tensor = others - mine
    return change


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{k≠ŷ} f_k − f_ŷ: (n, …, K) and (n,) → (n, …), below 0 where the label wins."""
    place = labels.view(-1, *(1,) * (logits.ndim - 1)).expand(*logits.shape[:-1], 1)
    return logits.scatter(-1, place, -torch.inf).amax(-1) - logits.gather(-1, place).squeeze(-1)


def respond(logits: Tensor, probed: Tensor, probes: Probes, norm: NormName) -> Response:
    """Reduce a model's answers, (n, K) clean and (n·P, K) probed."""
    samples, count, width = probes.signs.shape
    answers = probed.view(samples, count, -1)
    displacement = answers - answers.mean(1, keepdim=True)
    losses = loss(answers, probes.labels)
    change = losses - losses.mean(1, keepdim=True)
    coefficient, density = torch.empty(samples, count), 0.0
    step = max(1, BLOCK // (count * width))
    for rows in torch.arange(samples).split(step):
        signs = probes.signs[rows].float()
        gradient = torch.einsum("np,npd->nd", change[rows], signs)
        gradient[gradient.abs() < FAINT * gradient.abs().amax(1, keepdim=True)] = 0.0
        length = gradient.norm(dim=1, keepdim=True).clamp(min=1e-30)
        direction = gradient.sign() if norm == "linf" else gradient / length
        coefficient[rows] = torch.einsum("nd,npd->np", direction, signs)
        density += float((gradient.abs().sum(1, keepdim=True) / length).sum())
    coefficient *= (width / count) ** 0.5 / count
    return Response(
        logits=logits.clone(),  # not a view: the probed answers can go
        displacement=displacement,
        coefficient=coefficient,
        density=density / samples / width**0.5 if norm == "linf" else 1.0,
        margin=max(float(loss(logits, probes.labels).abs().median()), 1e-6),
    )


def similarity(displacements: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over samples, and mean over probes, of cos(d_A, d_B).

    (M, n, P, K) and (W, n) → (W, M, M). The rows of the weights sum to one; a zero displacement has
    cosine zero.
    """
    models, samples = displacements.shape[:2]
    total = torch.zeros(len(weights), models * models)
    step = max(1, BLOCK // models**2)
    for rows in torch.arange(samples).split(step):
        d = displacements[:, rows].transpose(0, 1)  # (n, M, P, K)
        unit = (d / d.norm(dim=-1, keepdim=True).clamp(min=1e-30)).flatten(2)
        cosine = unit @ unit.transpose(1, 2) / d.shape[2]
        total.addmm_(weights[:, rows], (cosine + cosine.transpose(1, 2)).flatten(1) / 2)
    return total.view(-1, models, models)


def predicted_flips(
    logits: Tensor,
    displacements: Tensor,
    coefficients: Tensor,
    labels: Tensor,
    *,
    reach: float,
    alignment: Tensor,
    margins: Tensor,
    weights: Tensor,
) -> Tensor:
    """Weighted means over samples of the predicted loss of the label, (W, M, M), rows sources.

    σ(m/margin_B), m = max_{k≠ŷ} z_k − z_ŷ at z = f_B(x) + reach · [λ Σ_p c_p^A d_p^B + (1−λ) a_AB
    Σ_p c_p^B d_p^B]: the answer along A's own attack, and B's answer along B's attack scaled by the
    alignment of the two, which is pooled over all probes and so less noisy. λ = nP/(nP + 1000).

    Args:
        logits, displacements, coefficients: (M, n, K), (M, n, P, K), (M, n, P) of all models.
        labels: (n,) consensus labels.
        reach: attack size over probe size.
        alignment: (M, M) a, rows sources.
        margins: (M,).
        weights: (W, n), rows summing to one.
    """
    models, samples, probes, classes = displacements.shape
    own_weight = samples * probes / (samples * probes + POOLED)
    total = torch.zeros(len(weights), models * models)
    step = max(1, BLOCK // (models * models * classes))
    for rows in torch.arange(samples).split(step):
        d = displacements[:, rows].permute(1, 0, 2, 3)  # (n, T, P, K)
        c = coefficients[:, rows].permute(1, 0, 2)[:, None]  # (n, 1, S, P)
        crossed = c @ d  # (n, T, S, K)
        own = crossed.diagonal(dim1=1, dim2=2).permute(0, 2, 1)  # (n, T, K)
        moved = (
            own_weight * crossed
            + (1 - own_weight) * own[:, :, None] * alignment.T[None, :, :, None]
        )
        z = moved.mul_(reach).add_(logits[:, rows].permute(1, 0, 2)[:, :, None])
        lost = torch.sigmoid(margin(z, labels[rows]) / margins[None, :, None])  # (n, T, S)
        total.addmm_(weights[:, rows], lost.transpose(1, 2).flatten(1))
    return total.view(-1, models, models)
