"""How far one model's attack moves another model's margin, before anybody attacks.

With ŷ the label of a sample, f a model's logits and

    m = f_ŷ − max_{k≠ŷ} f_k              its margin, below 0 where the label is lost
    L = ln Σ_{k≠ŷ} e^{f_k} − f_ŷ         its log-odds against the label: the cross-entropy is
                                          ln(1 + e^L), so an attack goes where ∇L goes, however
                                          saturated the model is
    v = ε direction(∇L), kept in bounds  the step that an attack on it would take

target B is moved by source A's attack by

    s = −⟨∇m_B, v_A⟩                     both give gradients (white)
    s = m_B(x) − m_B(x + v_A)            the source does (grey): one forward pass, nothing linear
    s = c_AB · ε |∇L_B|*                 the source does not (black): c the mean cosine of both
                                          models' answers to the same small displacements, |·|* the
                                          dual norm (L1 for L∞, L2 for L2) of B's own gradient

and loses the label to the attack, beyond what is as good as lost without one, with probability
p = σ((κ s − m_B)/τ_B) − σ(−m_B/τ_B), τ_B = β · median |m_B|: κ stands for what curvature makes of a
straight step, β for how far a margin tells when the label is lost. The expected rate is
1 − (1 − p̄)^ν, p̄ the mean over samples that B has right: ν for how many such chances the many steps
of an attack are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.attacks import named_norm
from worldline.settings import Bounds, NormName

__all__ = [
    "Threat",
    "against",
    "cosines",
    "dual_length",
    "losses",
    "margin",
    "probed_length",
    "step",
    "white_shifts",
]

BLOCK = 2**22
"""Numbers in one block of a reduction: 16 MiB."""


@dataclass(frozen=True)
class Threat:
    """The size and norm of the attacks, and the bounds that they keep."""

    epsilon: float
    norm: NormName
    bounds: Bounds


def against(logits: Tensor, labels: Tensor) -> Tensor:
    """L, the log-odds against the label: (…, K) and (…,) → (…,), below 0 where it wins."""
    place = labels[..., None]
    others = logits.scatter(-1, place, -torch.inf).logsumexp(-1)
    odds: Tensor = others - logits.gather(-1, place).squeeze(-1)
    return odds


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """m, the label's logit less its strongest rival's: (…, K) and (…,) → (…,)."""
    place = labels[..., None]
    rival = logits.scatter(-1, place, -torch.inf).amax(-1)
    gap: Tensor = logits.gather(-1, place).squeeze(-1) - rival
    return gap


def step(gradient: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """v, the move of an attack of size ε: (n, D) gradients and inputs → (n, D).

    Entries that the bounds hold back take no part: a length is not spent on them.
    """
    low, high = threat.bounds
    stuck = ((x <= low) & (gradient < 0)) | ((x >= high) & (gradient > 0))
    move = named_norm(threat.norm).direction(gradient.masked_fill(stuck, 0.0))
    return (x + threat.epsilon * move).clamp(low, high) - x


def white_shifts(
    ascents: Sequence[Tensor], slopes: Sequence[Tensor], x: Tensor, threat: Threat
) -> Tensor:
    """−⟨∇m_B, v_A⟩ of all pairs: twice M of (n, D), and (n, D) → (M, M, n), rows sources."""
    models, (samples, width) = len(slopes), x.shape
    out = torch.empty(models, models, samples)
    for rows in torch.arange(samples).split(max(1, BLOCK // (models * width))):
        steep = torch.stack([it[rows] for it in slopes], 1).float()  # (b, M, D)
        moves = [step(it[rows].float(), x[rows], threat) for it in ascents]
        out[:, :, rows] = (torch.stack(moves, 1) @ steep.mT).permute(1, 2, 0)
    return out


def cosines(vectors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean cosines of all pairs, and their standard errors over samples: M of (n, P, D) → (M, M).

    Means over P first; a zero vector has no direction and does not count. 0 where nothing does.
    """
    models, (samples, pairs, width) = len(vectors), vectors[0].shape
    total, squares, count = torch.zeros(3, models, models, dtype=torch.float64)
    for rows in torch.arange(samples).split(max(1, BLOCK // (models * pairs * width))):
        block = torch.stack([it[rows] for it in vectors], 1).float()  # (b, M, P, D)
        size = block.norm(dim=-1, keepdim=True)
        unit = (block / size.clamp(min=1e-30)).flatten(2)
        there = (size[..., 0] > 0).float()  # (b, M, P)
        found = unit @ unit.mT / (there @ there.mT)  # (b, M, M)
        count += found.isfinite().sum(0)
        found = found.nan_to_num(0.0).double()
        total += found.sum(0)
        squares += found.square().sum(0)
    count.clamp_(min=1)
    mean = total / count
    return mean, ((squares / count - mean.square()).clamp(min=0) / count).sqrt()


def dual_length(gradient: Tensor, norm: NormName) -> Tensor:
    """|∇m|*, what the best step of length 1 gains: (n, D) → (n,)."""
    return gradient.abs().sum(1) if norm == "linf" else gradient.norm(dim=1)


def probed_length(
    answers: Tensor, labels: Tensor, size: float, width: int, norm: NormName
) -> float:
    """The same of L, from x ± δ alone, pooled over the samples: (n, P, 2, K) → a number.

    A random sign of size h in each entry moves L by h|∇L| in the root mean square; |∇L|₁ is that of
    Gaussian entries, √(2D/π) |∇L|.
    """
    odds = against(answers, labels[:, None, None].expand(answers.shape[:-1]))
    moved = (odds[..., 0] - odds[..., 1]) / 2
    length = float(moved.square().mean().sqrt()) / size
    return length * math.sqrt(2 * width / math.pi) if norm == "linf" else length


def losses(shifts: Tensor, margins: Tensor, factor: Tensor, spread: Tensor) -> Tensor:
    """p of one target, σ((κ s − m)/τ) − σ(−m/τ): (M, n), (n,), and κ and β (M, 1) → (M, n)."""
    unit = spread * margins.abs().median().clamp(min=1e-6)
    return ((factor * shifts - margins) / unit).sigmoid() - (-margins / unit).sigmoid()
