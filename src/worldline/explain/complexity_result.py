"""What :func:`worldline.explain.complexity` finds: frozen, without tensors, fit to be a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worldline.explain.measures import Dimension, Measure
from worldline.settings import FrameName
from worldline.statistics import Summary

NATS = {"unit": "nats"}

__all__ = ["ByKind", "Complexity", "LayerComplexity", "LimitUse", "SpectrumSummary"]

ByKind = Mapping[str, Summary]
"""Kind of pairs → distribution.

Kinds: ``noise``, ``strangers`` and, where twins were given, ``adversarial`` and ``matched_noise``
(the adversarial perturbation permuted, its signs redrawn).
"""


@dataclass(frozen=True)
class LayerComplexity:
    """What happens at one layer.

    Attributes:
        index, name, kind, width: which layer, from 0, the input.
        rapidity: φ in nats.
        boost: φ(layer before) − φ(here) in nats; positive: this layer drives such pairs apart,
            negative: together. Empty at the input. The boosts of one pair add up to its total.
        excess_boost: boost of the attacked twin minus that of its noise twin, sample by sample;
            positive: this layer drives the attacked twin away more than noise of the same norm.
            None without adversarial twins and at the input.
        dimension: effective dimension of the features.
        untrained_rapidity, untrained_boost, untrained_dimension: the same on the untrained network;
            None without it.
        predicted_rapidity: φ that random weights of infinite width would give such pairs here, in
            the raw frame, by :func:`worldline.nullmodel.predict`; None where no prediction exists.
        untrained_raw_rapidity: φ on the untrained network in the raw frame, to compare the
            prediction with; None where no prediction exists.
    """

    index: int
    name: str
    kind: str
    width: int
    rapidity: ByKind = field(metadata=NATS)
    boost: ByKind = field(metadata=NATS)
    excess_boost: Summary | None = field(metadata=NATS)
    dimension: Dimension
    untrained_rapidity: ByKind | None = field(metadata=NATS)
    untrained_boost: ByKind | None = field(metadata=NATS)
    untrained_dimension: Dimension | None
    predicted_rapidity: ByKind | None = field(metadata=NATS)
    untrained_raw_rapidity: ByKind | None = field(metadata=NATS)


@dataclass(frozen=True)
class LimitUse:
    """How much of its speed limit a linear or convolutional layer uses, by kind of pairs.

    Attributes:
        name, kind, inputs, outputs: which call of which module, and its widths.
        limit: ln κ(W), the most nats of rapidity that the layer can add to any pair or take; ∞
            where it has a null space.
        status: ``measured``, or what to know about the limit.
        change: φ_out − φ_in in nats, seen from the means of the layer's inputs and outputs.
        share: |φ_out − φ_in| / ln κ(W) in [0, 1]; 0 where the limit is ∞.
        plane_limit: η = ln(σ₁/σ₂) of the layer on the pair's own plane, the most that its φ could
            change there.
        plane_share: |φ_out − φ_in| / η in [0, 1].
        untrained_share, untrained_plane_share: on the untrained network; None without it.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    limit: float = field(metadata=NATS)
    status: str
    change: ByKind = field(metadata=NATS)
    share: ByKind = field(metadata={"unit": "share"})
    plane_limit: ByKind = field(metadata=NATS)
    plane_share: ByKind = field(metadata={"unit": "share"})
    untrained_share: ByKind | None = field(metadata={"unit": "share"})
    untrained_plane_share: ByKind | None = field(metadata={"unit": "share"})


@dataclass(frozen=True)
class SpectrumSummary:
    """Singular values of the Jacobian of the output at the input, over samples.

    Attributes:
        layer: name of the layer that was differentiated.
        singular_values: i → distribution of σ_i over samples, largest first.
        exponents: i → distribution of ln(σ_i)/depth in nats a layer.
        norm: of the Frobenius norm; a lower bound where ``complete`` is false.
        depth, complete, samples: layers that the exponents are divided by; whether all singular
            values are there; how many samples.
        status: ``measured``, or why not.
    """

    layer: str
    singular_values: tuple[Summary, ...]
    exponents: tuple[Summary, ...] = field(metadata={"unit": "nats a layer"})
    norm: Summary
    depth: int
    complete: bool
    samples: int
    status: str


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """How complex a model is on these samples.

    Attributes:
        layers: one :class:`LayerComplexity` a layer.
        limits: one :class:`LimitUse` for each call of a linear or convolutional layer; empty where
            there is none, and a note says so.
        total_boost: φ(input) − φ(output) in nats: how far the whole network drives pairs apart.
        untrained_total_boost: the same on the untrained network; None without it.
        proper_depth: Σ sin θ over the layers, between 0 and the number of layers.
        untrained_proper_depth: the same on the untrained network.
        spectrum, untrained_spectrum: of the output's Jacobian.
        known: the field's measures, in the order of the table.
        frame, sigma, noise: where features are seen from; size and kind of the noise twins.
        samples, undefined: samples measured, and samples left out as a layer was not finite there.
        pairs: kind → how many pairs.
        kept: parametrised modules that the untrained network could not reset.
        prediction: ``predicted``, or why there is no predicted rapidity.
        notes: what a reader must know before believing it.
    """

    layers: tuple[LayerComplexity, ...]
    limits: tuple[LimitUse, ...]
    total_boost: ByKind = field(metadata=NATS)
    untrained_total_boost: ByKind | None = field(metadata=NATS)
    proper_depth: ByKind = field(metadata={"unit": "layers"})
    untrained_proper_depth: ByKind | None = field(metadata={"unit": "layers"})
    spectrum: SpectrumSummary
    untrained_spectrum: SpectrumSummary | None
    known: tuple[Measure, ...]
    frame: FrameName
    sigma: float = field(metadata={"unit": "input"})
    noise: str
    samples: int
    undefined: int
    pairs: Mapping[str, int]
    kept: tuple[str, ...]
    prediction: str
    notes: tuple[str, ...]
