"""What is told about distant pairs: the results of :func:`worldline.explain.distant`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worldline.notebook import as_html
from worldline.settings import FrameName

__all__ = [
    "ClassMap",
    "Counts",
    "DistantPair",
    "DistantStory",
    "SearchKind",
    "SeenLayer",
    "UntrainedNull",
]

SearchKind = Literal["exact", "approximate"]
Numbers = tuple[float | None, ...]
"""One number a layer (±∞ is a value); None where there is none."""


@dataclass(frozen=True)
class DistantPair:
    """Two strangers that are entangled at the searched layer.

    Attributes:
        samples: the rows of both, the smaller one first.
        labels: of both.
        predictions: of both; None where the model's output is NaN.
        rapidity: φ at the searched layer in nats: +∞ the same direction, −∞ the opposite one.
        worldline: φ at every layer; at the searched one the same number as ``rapidity``.
        untrained_worldline: of the same pair in the first untrained network; None without it.
        meets: index of the first layer from which the pair is, for good until the searched layer,
            beyond the outer hundredth of equally eligible random pairs (``far`` of the story);
            None: never.
        input_distance: Euclidean.
        input_quantile: share of eligible random pairs that are no further apart at the input.
        matched_p: share of random pairs at about the same input distance that are at least as
            entangled, counting the pair itself: what is *unusual for that distance*. It does not
            allow for the search.
        family_p: (1 + untrained networks whose best pair is as entangled) / (1 + networks): it
            allows for the search, over the very same pairs, but cannot fall under
            1/(1 + networks). None without them.
        untrained_rank: share of random far pairs that the first untrained network entangles at
            least as much as it does this one: small means that the architecture alone brings the
            two together. None without it.
    """

    samples: tuple[int, int]
    labels: tuple[int, int]
    predictions: tuple[int | None, int | None]
    rapidity: float
    worldline: Numbers
    untrained_worldline: Numbers | None
    meets: int | None
    input_distance: float
    input_quantile: float
    matched_p: float
    family_p: float | None
    untrained_rank: float | None

    @property
    def one_prediction(self) -> bool | None:
        """Whether the model takes both for one class; None where an output is NaN."""
        first, second = self.predictions
        return None if first is None or second is None else first == second


@dataclass(frozen=True)
class UntrainedNull:
    """The same search, over the same pairs, in untrained networks.

    Attributes:
        networks: R.
        merged, opposed: (R,) φ of the best pair in each network; 0 where there is none of that
            sign.
        merged_kth, opposed_kth: (R,) φ of the last of its k pairs.
        kept: parametrised modules that could not be reset.
    """

    networks: int
    merged: tuple[float, ...]
    opposed: tuple[float, ...]
    merged_kth: tuple[float, ...]
    opposed_kth: tuple[float, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class ClassMap:
    """Rapidities between classes by layer, over random pairs.

    Attributes:
        labels: K of them, ascending.
        count: (K, K) pairs behind each cell; symmetric.
        mean, median, q10, q90: (K, K, L) φ in nats, symmetric, ±∞ included; None in a cell without
            a pair.
    """

    labels: tuple[int, ...]
    count: tuple[tuple[int, ...], ...]
    mean: tuple[tuple[Numbers, ...], ...]
    median: tuple[tuple[Numbers, ...], ...]
    q10: tuple[tuple[Numbers, ...], ...]
    q90: tuple[tuple[Numbers, ...], ...]


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
        unpredicted: samples whose output is NaN.
        dead, constant: features of the layer that are zero for all samples, or another constant.
    """

    samples: int
    pairs: int
    pool: int
    copies: int
    copies_disagree: int
    undirected: int
    unpredicted: int
    dead: int
    constant: int


@dataclass(frozen=True)
class SeenLayer:
    """A layer of the worldlines."""

    index: int
    name: str
    width: int


@dataclass(frozen=True, kw_only=True)
class DistantStory:
    """Far-apart inputs that a model has brought together, or made opposites.

    Attributes:
        layer, layer_index, layer_width: the searched layer, and its place in ``layers``.
        narrow: it has fewer features than the input has entries, so it must merge some inputs,
            trained or not.
        layers: the L layers of the worldlines, the searched one among them.
        frame: that all rapidities are seen from.
        search: ``exact``, or ``approximate`` (FAISS), then with its ``recall``: the share of the
            exact nearest neighbours that it returned.
        input_quantile, least_distance: the condition at the input: the quantile that was asked,
            and the distance that it is.
        counts: what was searched.
        merged: pairs brought together (φ → +∞), the most entangled first. A model may still tell
            them apart at its output: see ``one_prediction``.
        opposed: pairs made opposites (φ → −∞).
        merged_beyond_untrained, opposed_beyond_untrained: how many of them are more entangled than
            the best pair of every untrained network; None without them.
        untrained: those networks; None without them.
        far: (3, L) 1 %, 50 % and 99 % quantiles of φ of random eligible pairs that are as far apart
            at the input as was asked.
        same_class: (L,) median φ of random pairs of one class.
        classes: rapidities between classes; None with more than 100 classes.
        notes: what a reader must know before believing it.
    """

    layer: str
    layer_index: int
    layer_width: int
    narrow: bool
    layers: tuple[SeenLayer, ...]
    frame: FrameName
    search: SearchKind
    recall: float | None
    input_quantile: float
    least_distance: float
    counts: Counts
    merged: tuple[DistantPair, ...]
    opposed: tuple[DistantPair, ...]
    merged_beyond_untrained: int | None
    opposed_beyond_untrained: int | None
    untrained: UntrainedNull | None
    far: tuple[Numbers, Numbers, Numbers]
    same_class: Numbers
    classes: ClassMap | None
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        sentence = (
            f"Of {self.counts.pairs:,} pairs at {self.layer}: {len(self.merged)} brought together, "
            f"{len(self.opposed)} made opposites."
        )
        rows = [
            (
                name,
                f"{it.samples[0]} and {it.samples[1]}",
                it.rapidity,
                it.input_distance,
                it.matched_p,
            )
            for name, side in (("together", self.merged), ("opposite", self.opposed))
            for it in side
        ]
        heads = ("pair", "samples", "φ", "distance at the input", "p at that distance")
        return as_html(sentence, heads, rows)
