"""Two feature matrices on the same samples: canonical correlations, their information, and CKA.

Rows are samples, so N is the sample count and the widths are P and Q. Everything is invariant to an
offset, a rotation and a common scale of either side; canonical correlations also to any invertible
map, up to the shrinkage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import ShapeError, UsageError
from worldline.geometry.frames import Moments

__all__ = [
    "CKA",
    "PermutationNull",
    "canonical_correlations",
    "cka",
    "entanglement_spectrum",
    "gaussian_information",
    "independent_information",
    "permutation_null",
    "whiten",
]


def whiten(features: Float[Tensor, "N D"], *, shrink: bool = True) -> Float[Tensor, "N D"]:
    """Features with mean zero and, as far as shrinkage lets them, unit covariance.

    (a − mean) (Σ + λI)^(−1/2) / √N, so that the product of two whitened matrices is their
    cross-correlation. Whiten each matrix once, then every pair costs one product and one singular
    value decomposition.

    Args:
        features: (N, D), any floating dtype; computed in float64 on the CPU.
        shrink: λ = s times the mean variance, s the shrinkage of Chen et al. (2010) as in the
            ``whitened`` frame; as nothing is taken from Σ, no correlation passes 1. Without it λ =
            0, and directions without variance are dropped.

    Returns:
        (N, D) float64. A constant feature set gives zeros.

    Raises:
        ShapeError: not a finite floating (N, D) with N ≥ 2.

    Cost: O(N D² + D³).

    >>> import torch
    >>> from worldline.geometry.population import whiten
    >>> unit = whiten(torch.tensor([[0.0], [2.0]]), shrink=False)
    >>> (unit.T @ unit).round(decimals=6)
    tensor([[1.]], dtype=torch.float64)
    """
    _check_features(features)
    wide = features.detach().to("cpu", torch.float64)
    centred = wide - wide.mean(0)
    if shrink:
        moments = Moments(wide.shape[1], scatter=True)
        moments.update(wide)
        covariance = moments.covariance()
        ridge = moments.shrinkage() * float(covariance.trace()) / len(covariance)
        values, vectors = torch.linalg.eigh(covariance)
        values = (values + ridge).clamp(
            min=float(values[-1]) * len(values) * torch.finfo(torch.float64).eps
        )
        whitened: Tensor = centred @ (vectors * values.clamp(min=1e-300).rsqrt()) @ vectors.T
        return whitened / math.sqrt(len(wide))
    left, size, right = torch.linalg.svd(centred, full_matrices=False)
    kept = size > size[:1] * max(centred.shape) * torch.finfo(torch.float64).eps
    flat: Tensor = (left * kept) @ right
    return flat


def canonical_correlations(
    a: Float[Tensor, "N P"], b: Float[Tensor, "N Q"], *, shrink: bool = True
) -> Float[Tensor, " R"]:
    """Canonical correlations of two feature matrices, largest first.

    ρ₁ ≥ … ≥ ρ_R, the singular values of (Σ_aa + λI)^(−1/2) Σ_ab (Σ_bb + λ'I)^(−1/2), R = min(P, Q).

    Args:
        a, b: (N, P) and (N, Q) on the same samples in the same order.
        shrink: see :func:`whiten`. Shrunk correlations are biased downwards, unshrunk ones upwards;
            only the unshrunk ones have the exact null of :func:`independent_information`, and they
            need N > P + Q.

    Returns:
        (R,) float64 in [0, 1]. 1: a direction of one is a linear function of the other; 0: no
        linear relation.

    Raises:
        ShapeError: not two matrices on the same samples.

    Cost: whitening each once, one (P, N) × (N, Q) product, one SVD. Source: Hotelling, Biometrika
    28:321 (1936).

    >>> import torch
    >>> from worldline.geometry.population import canonical_correlations
    >>> a = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> canonical_correlations(a, a @ torch.tensor([[2.0, 1.0], [0.0, 3.0]]), shrink=False)
    tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    _check_pair(a, b)
    product = whiten(a, shrink=shrink).T @ whiten(b, shrink=shrink)
    values: Tensor = torch.linalg.svdvals(product)
    return values.clamp(max=1.0)


def entanglement_spectrum(
    a: Float[Tensor, "N P"], b: Float[Tensor, "N Q"], *, shrink: bool = True
) -> Float[Tensor, " R"]:
    """Rapidities of the canonical correlations: φ_i = artanh ρ_i, in nats.

    Args:
        a, b, shrink: as :func:`canonical_correlations`.

    Returns:
        (R,) in [0, ∞], largest first. ∞: an exact linear relation; 0: none.

    Raises:
        ShapeError: not two matrices on the same samples.

    Cost: as :func:`canonical_correlations`.

    >>> import torch
    >>> from worldline.geometry.population import entanglement_spectrum
    >>> a = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    >>> b = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])  # ρ = 1/√2
    >>> entanglement_spectrum(a, b, shrink=False)
    tensor([0.8814], dtype=torch.float64)
    """
    return torch.atanh(canonical_correlations(a, b, shrink=shrink))


def gaussian_information(correlations: Float[Tensor, " R"]) -> float:
    """Mutual information, in nats, of two Gaussian vectors with these canonical correlations.

    Σ_i ln cosh φ_i = −½ Σ_i ln(1 − ρ_i²).

    Args:
        correlations: (R,) in [−1, 1].

    Returns:
        nats in [0, ∞]. 0: independent; ∞: one direction is determined by the other side.

    >>> import torch
    >>> from worldline.geometry.population import gaussian_information
    >>> round(gaussian_information(torch.tensor([0.6, 0.0])), 4)  # ln 1.25
    0.2231
    """
    return float(-0.5 * torch.log1p(-(correlations.double() ** 2)).sum())


def independent_information(samples: int, p: int, q: int) -> float:
    """Information that independent Gaussian data show by chance, unshrunk: the exact null.

    ½ Σ_{i=1…p} [ψ((n−i)/2) − ψ((n−q−i)/2)], n the sample count, ψ the digamma function. One degree
    of freedom goes to the mean; Wilks' Λ = Π(1 − ρ_i²) is then a product of independent
    Beta((n−q−i)/2, q/2) variables.

    Args:
        samples: n, more than p + q.
        p, q: the two widths (ranks, where a matrix has less than full rank).

    Returns:
        nats ≥ 0; about pq/(2n) for many samples. Subtract it from :func:`gaussian_information`.

    Raises:
        UsageError: n ≤ p + q: some correlation is 1 by counting alone, and the information
            infinite.

    Source: Anderson, *An Introduction to Multivariate Statistical Analysis*, 8.4.

    >>> from worldline.geometry.population import independent_information
    >>> round(independent_information(2000, 64, 64), 2)
    1.06
    """
    if min(p, q) < 1 or samples <= p + q:
        raise UsageError(
            "The information of independent data is finite only for more samples than features: "
            f"{samples} samples, widths {p} and {q}. Use more samples, or shrink=True with "
            "permutation_null."
        )
    i = torch.arange(1, p + 1, dtype=torch.float64)
    return float(
        0.5 * (torch.digamma((samples - i) / 2) - torch.digamma((samples - q - i) / 2)).sum()
    )


@dataclass(frozen=True)
class PermutationNull:
    """The information of two matrices beside the same with the samples of one shuffled.

    Attributes:
        information: nats, of the data.
        null_mean, null_sd: over the shuffles.
        p: share of shuffles, the data counted among them, with at least the data's information.
        shuffles: how many.
    """

    information: float
    null_mean: float
    null_sd: float
    p: float
    shuffles: int


def permutation_null(
    a: Float[Tensor, "N P"],
    b: Float[Tensor, "N Q"],
    *,
    shuffles: int = 200,
    shrink: bool = True,
    generator: torch.Generator | None = None,
) -> PermutationNull:
    """Information against a null without a distribution: the samples of one side in random order.

    Args:
        a, b, shrink: as :func:`canonical_correlations`.
        shuffles: at least 1.
        generator: on the CPU; default: seed 0.

    Returns:
        :class:`PermutationNull`. p near 1/(shuffles + 1): more than chance; p near 1: nothing.

    Raises:
        ShapeError: not two matrices on the same samples. UsageError: no shuffle.

    Cost: whitening once (it does not depend on the order), then one product and one SVD for each
    shuffle.

    >>> import torch
    >>> from worldline.geometry.population import permutation_null
    >>> a = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    >>> permutation_null(a, a, shuffles=19).p
    0.05
    """
    _check_pair(a, b)
    if shuffles < 1:
        raise UsageError(f"shuffles must be at least 1; got {shuffles}.")
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    one, two = whiten(a, shrink=shrink).T, whiten(b, shrink=shrink)

    def information(other: Tensor) -> float:
        return gaussian_information(torch.linalg.svdvals(one @ other).clamp(max=1.0))

    data = information(two)
    null = [
        information(two[torch.randperm(len(two), generator=generator)]) for _ in range(shuffles)
    ]
    values = torch.tensor(null, dtype=torch.float64)
    above = int((values >= data).sum())
    sd = float(values.std()) if shuffles > 1 else 0.0
    return PermutationNull(data, float(values.mean()), sd, (above + 1) / (shuffles + 1), shuffles)


def cka(a: Float[Tensor, "N P"], b: Float[Tensor, "N Q"], *, unbiased: bool = True) -> float:
    """Linear centred kernel alignment of two feature matrices.

    HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) with K = AAᵀ, L = BBᵀ; unbiased: the U-statistic of Song
    et al. (2012).

    Args:
        a, b: (N, P) and (N, Q) on the same samples.
        unbiased: the biased value rises towards 1 as the widths pass the sample count; the unbiased
            one does not.

    Returns:
        Biased in [0, 1], unbiased about 0 for unrelated features (it may be negative) and 1 for the
        same up to rotation, offset and scale. NaN if one side is constant.

    Raises:
        ShapeError: not two matrices on the same samples; fewer than 4 samples.

    Cost: two (N, N) Gram matrices; for many samples or layers, :class:`CKA` streams. Source:
    Kornblith et al., arXiv:1905.00414; Song et al., JMLR 13:1393 (2012).

    >>> import torch
    >>> from worldline.geometry.population import cka
    >>> a = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    >>> round(cka(a, 2 * a.flip(1) + 1), 6)
    1.0
    """
    _check_pair(a, b)
    sums = CKA(unbiased=unbiased)
    sums.update([a, b])
    return float(sums.matrix()[0, 1])


class CKA:
    """All-pairs linear CKA of L feature matrices that stream by in minibatches of b samples.

    Each batch gives one Gram matrix a layer, made ready so that a plain inner product is its HSIC;
    the L × b² matrix of these times its own transpose is the batch's L × L of HSICs, one GEMM
    whatever the widths. HSICs are averaged over batches and divided at the end (Nguyen et al.,
    arXiv:2010.15327).

    Ready means: with K̃ the Gram matrix without its diagonal and s = K̃1/(b−2), the off-diagonal
    matrix K° = K̃ − s1ᵀ − 1sᵀ + 1ᵀs/(b−1) is the U-centred one (Székely and Rizzo 2014), and HSIC =
    ⟨K°, L°⟩/(b(b−3)). The batch's mean feature is removed first: it changes nothing in exact
    arithmetic, and in float32 takes the error from 1e-2 to 1e-6.

    Memory: L Gram matrices b × b. Batches under 4 samples are refused when unbiased.

    >>> import torch
    >>> from worldline.geometry.population import CKA
    >>> sums = CKA()
    >>> for part in torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).split(32):
    ...     sums.update([part, -part])
    >>> sums.matrix().round(decimals=4)
    tensor([[1., 1.],
            [1., 1.]], dtype=torch.float64)
    """

    def __init__(self, *, unbiased: bool = True) -> None:
        self.unbiased = unbiased
        self.total: Tensor | None = None

    def update(self, layers: Sequence[Tensor]) -> None:
        """Take in one batch: L tensors (b, …) on the same samples; wider ones are flattened."""
        samples = {len(layer) for layer in layers}
        if len(samples) != 1:
            raise ShapeError(
                f"Every layer must show the same samples; got batches of {sorted(samples)}."
            )
        size = min(samples)
        ready = torch.empty(
            len(layers), size * size, device=layers[0].device, dtype=_work_dtype(layers[0])
        )
        for row, layer in zip(ready, layers, strict=True):
            row.copy_(self.gram(layer.to(ready)))
        self.add(ready)

    def gram(self, layer: Tensor) -> Tensor:
        """One layer's batch (b, …) made ready, (b²): for layers that do not come together."""
        size = len(layer)
        if self.unbiased and size < 4:
            raise ShapeError(f"Unbiased CKA needs at least 4 samples in a batch; got {size}.")
        features = layer.detach().flatten(1)
        centred = features - features.mean(0)
        gram = centred @ centred.T  # the features are centred, so the Gram matrix is
        if self.unbiased:
            gram.fill_diagonal_(0)
            share = gram.sum(1) / (size - 2)
            gram += share.sum() / (size - 1) - share[:, None] - share[None, :]
            gram.fill_diagonal_(0)
        return gram.flatten()

    def add(self, ready: Tensor) -> None:
        """Take in one batch of all layers made ready, (L, b²)."""
        if self.total is not None and len(self.total) != len(ready):
            raise ShapeError(
                f"Earlier batches had {len(self.total)} layers, this one has {len(ready)}."
            )
        size = math.isqrt(ready.shape[1])
        weight = size * (size - 3) if self.unbiased else (size - 1) ** 2
        hsic = (ready @ ready.T).to("cpu", torch.float64) / weight
        self.total = hsic if self.total is None else self.total + hsic

    def matrix(self) -> Float[Tensor, "L L"]:
        """CKA of every pair; NaN for a constant layer."""
        if self.total is None:
            raise UsageError("CKA has seen no batch yet; call update first.")
        size = self.total.diagonal().clamp(min=0).sqrt()
        return self.total / torch.outer(size, size).masked_fill(
            torch.outer(size, size) == 0, torch.nan
        )


def _work_dtype(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def _check_features(features: Tensor) -> None:
    if (
        features.ndim != 2
        or not features.is_floating_point()
        or len(features) < 2
        or features.shape[1] == 0
    ):
        raise ShapeError(
            "Features must be a floating tensor (N, D) with at least two samples; got "
            f"{tuple(features.shape)} {features.dtype}. Flatten with x.flatten(1)."
        )
    if not bool(torch.isfinite(features).all()):
        rows = (~torch.isfinite(features).all(1)).nonzero().flatten().tolist()
        raise ShapeError(
            f"Features must be finite; {len(rows)} samples hold NaN or infinity, first sample "
            f"{rows[0]}."
        )


def _check_pair(a: Tensor, b: Tensor) -> None:
    for features in (a, b):
        _check_features(features)
    if len(a) != len(b):
        raise ShapeError(
            f"Both matrices must show the same samples in the same order; got {len(a)} and "
            f"{len(b)} rows."
        )
