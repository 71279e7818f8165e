"""What is told about distant pairs: the results of :func:`worldline.explain.distant`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from worldline.geometry import FrameName
from worldline.notebook import as_html
from worldline.trace import Layer

__all__ = ["ClassMap", "Counts", "DistantPairs", "DistantStory", "UntrainedNull"]


@dataclass(frozen=True)
class DistantPairs:
    """Pairs of strangers of one sign, the most entangled first.

    Attributes:
        sign: +1 merged (φ → +∞), −1 opposed (φ → −∞).
        first, second: (P,) int64 rows of the given samples, first < second.
        rapidity: (P,) float64 φ at the searched layer in nats, signed.
        worldline: (P, L) φ at every layer; at the searched one the same number as ``rapidity``.
        untrained_worldline: (P, L) of the same pairs in the first untrained network; None without
            it.
        meets: (P,) index of the first layer from which the pair is, for good until the searched
            layer, beyond the outer hundredth of equally eligible random pairs (``far`` of the
            story); −1: never.
        input_distance: (P,) Euclidean.
        input_quantile: (P,) share of eligible random pairs that are no further apart at the input.
        matched_p: (P,) share of random pairs at about the same input distance that are at least as
            entangled, counting the pair itself: what is *unusual for that distance*. It does not
                allow for the search.
        family_p: (P,) (1 + number of untrained networks whose best pair is at least as entangled) /
            (1 + networks): it allows for the search, over the very same pairs, but cannot fall
            under 1/(1 + networks). None without them.
        untrained_rank: (P,) share of random far pairs that the first untrained network entangles at
            least as much as it does this one: small means that the architecture alone brings the
                two together. None without it.
        beyond: how many of the pairs are more entangled than the best pair of every untrained
            network; None without them.
    """

    sign: int
    first: Tensor
    second: Tensor
    rapidity: Tensor
    worldline: Tensor
    untrained_worldline: Tensor | None
    meets: Tensor
    input_distance: Tensor
    input_quantile: Tensor
    matched_p: Tensor
    family_p: Tensor | None
    untrained_rank: Tensor | None
    beyond: int | None

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class UntrainedNull:
    """The same search, over the same pairs, in untrained networks.

    Attributes:
        merged, opposed: (R,) float64 φ of the best pair in each of the R networks; 0 where there is
            none of that sign.
        merged_kth, opposed_kth: (R,) φ of the last of its k pairs.
        kept: parametrised modules that could not be reset.
    """

    merged: Tensor
    opposed: Tensor
    merged_kth: Tensor
    opposed_kth: Tensor
    kept: tuple[str, ...]


@dataclass(frozen=True)
class ClassMap:
    """Rapidities between classes by layer, over random pairs.

    Attributes:
        classes: (K,) labels, ascending.
        count: (K, K) pairs behind each cell; symmetric.
        mean, median, q10, q90: (K, K, L) float64 φ in nats, symmetric, NaN in a cell without a
            pair. The mean may be ±∞.
    """

    classes: Tensor
    count: Tensor
    mean: Tensor
    median: Tensor
    q10: Tensor
    q90: Tensor


@dataclass(frozen=True)
class Counts:
    """What was searched, and what was left out.

    Attributes:
        samples, pairs: N, and the pairs that the label condition leaves.
        pool: random eligible pairs behind quantiles and p-values; every one of them where there are
            few.
        copies: pairs of identical inputs, no discovery and never counted; ``copies_disagree``:
            those of different labels.
        undirected: samples without a direction at the layer.
        dead, constant: features of the layer that are zero for all samples, or another constant.
    """

    samples: int
    pairs: int
    pool: int
    copies: int
    copies_disagree: int
    undirected: int
    dead: int
    constant: int


@dataclass(frozen=True)
class DistantStory:
    """Far-apart inputs that a model has merged, or made opposites.

    Attributes:
        layer, layers: the searched layer, and the L layers of the worldlines (the searched one
            among them).
        index: place of the searched layer in them.
        frame: the frame that all rapidities are seen from.
        merged, opposed: the pairs.
        far: (3, L) 1 %, 50 % and 99 % quantiles of φ of random eligible pairs that are as far apart
            at the input as was asked.
        same_class: (L,) median φ of random pairs of one class; NaN without such.
        null: the untrained networks; None without them.
        classes: rapidities between classes; None with more than 100 classes.
        labels, predictions: (N,) of the given samples.
        least_distance, input_quantile: the condition at the input: the distance, and the quantile
            that was asked.
        narrow: the layer has fewer features than the input has entries, so it must merge some
            inputs, trained or not.
        counts: what was searched.
        notes: what a reader must know before believing it.
    """

    layer: Layer
    layers: tuple[Layer, ...]
    index: int
    frame: FrameName
    merged: DistantPairs
    opposed: DistantPairs
    far: Tensor
    same_class: Tensor
    null: UntrainedNull | None
    classes: ClassMap | None
    labels: Tensor
    predictions: Tensor
    least_distance: float
    input_quantile: float
    narrow: bool
    counts: Counts
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        sentence = (
            f"Of {self.counts.pairs:,} far pairs at {self.layer.name}: {len(self.merged)} "
            f"merged, {len(self.opposed)} opposed."
        )
        rows = [
            (name, f"{first} and {second}", phi, distance, p)
            for name, side in (("merged", self.merged), ("opposed", self.opposed))
            for first, second, phi, distance, p in zip(
                *(
                    it.tolist()
                    for it in (
                        side.first,
                        side.second,
                        side.rapidity,
                        side.input_distance,
                        side.matched_p,
                    )
                ),
                strict=True,
            )
        ]
        return as_html(
            sentence, ("pair", "samples", "φ", "distance at the input", "p at that distance"), rows
        )
