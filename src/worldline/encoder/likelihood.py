"""The likelihood that the authors maximise: what it is a likelihood of, and what it depends on.

Derivation. Write z_i = 1 if row i of n is kept and 0 if not. Take the z for independent draws with
the probability θ. Then ℒ(θ) = θ^k (1 − θ)^{n−k}, which is largest at θ = k/n, where

    −(1/n) log₂ ℒ = −q log₂ q − (1 − q) log₂(1 − q) = H₂(q),   q = k/n, exactly.

The same number counts the ways to choose: by Stirling's formula

    (1/n) log₂ C(n, k) = H₂(q) − (1/2n) log₂(2πn q(1 − q)) + O(1/n²),

the two being linked by C(n, k) ℒ(q) = P(k of n) of a binomial, about 1/√(2πn q(1 − q)). If rows are
kept by a fixed threshold of probability q, k is binomial, and the mean of −(1/n) log₂ ℒ(q) is H₂(q)
exactly, its variance q(1 − q) log₂²((1 − q)/q)/n; at the fitted θ = k/n the mean is lower by
1/(2n ln 2), half of a chi-square.
"""

from __future__ import annotations

import math

from worldline.encoder.selection import Selection

__all__ = ["choice_rate", "likelihood_rate", "likelihood_spread", "share_entropy"]


def share_entropy(share: float) -> float:
    """H₂(q) = −q log₂ q − (1 − q) log₂(1 − q), in bits.

    Args:
        share: q in [0, 1].

    Returns:
        0 at q = 0 and q = 1, where nothing is chosen; 1 at q = ½.

    >>> from worldline.encoder import share_entropy
    >>> share_entropy(0.5), share_entropy(1.0)
    (1.0, 0.0)
    """
    return sum(-p * math.log2(p) for p in (share, 1 - share) if p > 0)


def likelihood_rate(kept: int, candidates: int, *, share: float | None = None) -> float:
    """−(1/n) log₂ ℒ(θ) of k kept rows of n, in bits a row: the authors' negative log-likelihood.

    Args:
        kept, candidates: k and n.
        share: θ; None for the most likely, k/n.

    Returns:
        H₂(k/n) at the most likely θ, more at any other. Neither features nor weights nor labels
        enter: it is a property of the pair (n, k) alone.

    >>> from worldline.encoder import likelihood_rate, share_entropy
    >>> likelihood_rate(256, 16384) == share_entropy(256 / 16384)
    True
    """
    q = kept / candidates
    theta = q if share is None else share
    return sum(-part * math.log2(p) for part, p in ((q, theta), (1 - q, 1 - theta)) if part > 0)


def likelihood_spread(share: float, candidates: int) -> float:
    """Standard deviation of −(1/n) log₂ ℒ(q) where rows pass a threshold of probability q.

    √(q(1 − q)/n) |log₂((1 − q)/q)|: 0 at q = ½, where every outcome is as likely as any other.

    >>> from worldline.encoder import likelihood_spread
    >>> likelihood_spread(0.5, 10)
    0.0
    """
    return math.sqrt(share * (1 - share) / candidates) * abs(math.log2((1 - share) / share))


def choice_rate(selection: Selection) -> float:
    """(1/n) log₂ C(n, k): bits a row to say which k of n rows were kept.

    Args:
        selection: n and k.

    Returns:
        H₂(k/n) less (1/2n) log₂(2πn q(1 − q)) for many rows; 0 where all are kept.

    >>> from worldline.encoder import Selection, choice_rate
    >>> round(choice_rate(Selection(candidates=4, width=2)) * 4, 6)  # log₂ 6
    2.584963
    """
    n, k = selection.candidates, selection.width
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways / math.log(2) / n
