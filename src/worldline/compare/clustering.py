"""Which models belong together: a tree over their displacement entanglement."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

__all__ = ["Tree", "cluster"]


@dataclass(frozen=True)
class Tree:
    """An average-linkage tree over M models.

    Attributes:
        order: the models' numbers, so that neighbours share most.
        merges: M − 1 rows (left, right, distance); numbers from M on are earlier merges, in order.
    """

    order: tuple[int, ...]
    merges: tuple[tuple[int, int, float], ...]


def cluster(similarity: Float[Tensor, "M M"]) -> Tree:
    """Cluster models by what they share: average linkage on 1 − similarity, neighbours alike.

    Args:
        similarity: (M, M), M ≥ 2, symmetric, 1 on the diagonal, as :attr:`Predicted.similarity`.

    Returns:
        :class:`Tree`. Distance 0: the same displacements; 1: unrelated; up to 2: opposite ones.

    Cost: O(M³).

    Source: Bar-Joseph, Gifford and Jaakkola, Bioinformatics 17:S22 (2001), for the order of leaves.

    >>> import torch, worldline as wl
    >>> similarity = torch.tensor([[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]])
    >>> sorted(wl.compare.cluster(similarity).merges[0][:2])
    [0, 2]
    """
    distance = (1 - similarity.double()).clamp_min(0)
    distance = (distance + distance.T) / 2
    distance.fill_diagonal_(0)
    flat = squareform(distance.numpy(), checks=False)
    tree = linkage(flat, method="average", optimal_ordering=True)
    return Tree(
        tuple(int(leaf) for leaf in leaves_list(tree)),
        tuple((int(left), int(right), float(height)) for left, right, height, _ in tree),
    )
