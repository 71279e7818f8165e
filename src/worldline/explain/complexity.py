"""How complex a model is, in nats of rapidity: where it drives twins apart and strangers together,
beside the measures people know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldline.attacks import Attack, adversarial_twin, noise_twin, predict
from worldline.errors import ShapeError, UsageError
from worldline.explain.measures import Dimension, LinearLayer, Measure, Spectrum, Use
from worldline.explain.measures.measuring import DEFINITIONS, Measured, Settings, measure
from worldline.explain.sampling import random_pairs
from worldline.explain.untrained import untrained
from worldline.geometry import FrameName, check_frame_name, proper_depth
from worldline.inputs import check_inputs, check_labels, logits_of
from worldline.statistics import Bootstrap, Summary
from worldline.trace import Layer, Model, choose_layers, find_layers, untouched

__all__ = [
    "STRANGERS",
    "Complexity",
    "LayerComplexity",
    "LimitUse",
    "SpectrumSummary",
    "complexity",
]

STRANGERS = 1000
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LayerComplexity:
    """What happens at one layer. Kinds of pairs: ``noise``, ``strangers`` and, where twins were
    given, ``adversarial`` and ``matched_noise`` (the adversarial perturbation permuted, its signs
    redrawn).

    Attributes:
        layer, index: which layer, from 0, the input.
        rapidity: kind → distribution of φ in nats.
        boost: kind → distribution of φ(layer before) − φ(here) in nats; positive: this layer drives
            such pairs apart, negative: together. Empty at the input. The boosts of one pair add up
                to its total.
        excess_boost: boost of the adversarial twin minus that of the matched noise twin, sample by
            sample; positive: this layer drives the adversarial twin away more than noise of the
            same norm (the sign of :class:`LayerStory`'s excess boost is the other way round, as it
            counts φ here − φ before). None without adversarial twins and at the input.
        dimension: effective dimension of the features.
        untrained_rapidity, untrained_boost, untrained_dimension: the same on the untrained network;
            None without it.
    """

    layer: Layer
    index: int
    rapidity: Mapping[str, Summary]
    boost: Mapping[str, Summary]
    excess_boost: Summary | None
    dimension: Dimension
    untrained_rapidity: Mapping[str, Summary] | None
    untrained_boost: Mapping[str, Summary] | None
    untrained_dimension: Dimension | None


@dataclass(frozen=True)
class LimitUse:
    """How much of its speed limit a linear or convolutional layer uses, by kind of pair.

    Attributes:
        layer: which call of which module.
        change: kind → distribution of φ_out − φ_in in nats, seen from the means of the layer's
            inputs and outputs.
        limit: kind → distribution of η = ln(σ₁/σ₂) of the layer on the pair's plane, the most that
            |φ| could change there.
        share: kind → distribution of |φ_out − φ_in|/η in [0, 1].
        untrained_share: the same on the untrained network; None without it.
    """

    layer: LinearLayer
    change: Mapping[str, Summary]
    limit: Mapping[str, Summary]
    share: Mapping[str, Summary]
    untrained_share: Mapping[str, Summary] | None


@dataclass(frozen=True)
class SpectrumSummary:
    """Singular values of the Jacobian of the output at the input, over samples.

    Attributes:
        layer: name of the layer that was differentiated.
        singular_values: i → distribution of σ_i over samples, largest first.
        exponents: i → distribution of ln(σ_i)/depth in nats a layer.
        norm: distribution of the Frobenius norm; a lower bound where ``complete`` is false.
        depth, complete, samples: layers that the exponents are divided by; whether all singular
            values are there; how many samples.
        status: ``measured``, or why not.
    """

    layer: str
    singular_values: tuple[Summary, ...]
    exponents: tuple[Summary, ...]
    norm: Summary
    depth: int
    complete: bool
    samples: int
    status: str


@dataclass(frozen=True)
class Complexity:
    """How complex a model is on these samples.

    Attributes:
        layers: one :class:`LayerComplexity` a layer.
        limits: one :class:`LimitUse` for each call of a linear or convolutional layer; empty where
            there is none, and a note says so.
        total_boost: kind → distribution of φ(input) − φ(output) in nats: how far the whole network
            drives such pairs apart.
        untrained_total_boost: the same on the untrained network; None without it.
        proper_depth: kind → distribution of Σ sin θ over the layers, between 0 and the number of
            layers.
        untrained_proper_depth: the same on the untrained network.
        spectrum, untrained_spectrum: of the output's Jacobian.
        known: the field's measures, in the order of the table.
        frame, sigma, noise: where features are seen from; size and kind of the noise twins.
        samples, pairs: how many samples, and kind → how many pairs.
        kept: parametrised modules that the untrained network could not reset.
        notes: what a reader must know before believing it.
    """

    layers: tuple[LayerComplexity, ...]
    limits: tuple[LimitUse, ...]
    total_boost: Mapping[str, Summary]
    untrained_total_boost: Mapping[str, Summary] | None
    proper_depth: Mapping[str, Summary]
    untrained_proper_depth: Mapping[str, Summary] | None
    spectrum: SpectrumSummary
    untrained_spectrum: SpectrumSummary | None
    known: tuple[Measure, ...]
    frame: FrameName
    sigma: float
    noise: str
    samples: int
    pairs: Mapping[str, int]
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def complexity(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    y: Int[Tensor, " N"] | None = None,
    adversarial: Float[Tensor, "N ..."] | None = None,
    attack: Attack | None = None,
    sigma: float = 0.1,
    bounds: tuple[float, float] = (0.0, 1.0),
    frame: FrameName = "centered",
    layers: Sequence[str] | None = None,
    null: bool = True,
    strangers: int = STRANGERS,
    sharpness: bool = True,
    differentiated: int = 64,
    batch_size: int = 256,
    resamples: int = 1000,
    seed: int = 0,
    tick: Tick = lambda _stage, _done, _total: None,
) -> Complexity:
    """Measure how a model boosts noise twins, strangers and adversarial twins, layer by layer, and
    the known measures beside it.

    boost of a pair = φ before − φ after, φ = artanh ρ in nats; proper depth Σ sin θ; use of the
    speed limit |φ_out − φ_in|/ln(σ₁/σ₂) of each linear layer on the pair's plane; singular values
    of the Jacobian; participation ratio and TwoNN; each beside the untrained network of the same
    shape, with a 95 % bootstrap interval over pairs or samples.

    Args:
        model: returns logits (N, K); without labels and attack any floating tensor (N, …).
        x: (N, …) inputs; no labels are needed.
        y: (N,) labels: strangers are then of different labels, and sharpness is of the true loss.
            Default: strangers are any two samples.
        adversarial: (N, …) adversarial twins, from any attack.
        attack: or the attack itself, as ``attack(model, x, y)``; without y it gets the model's own
            predictions.
        sigma: standard deviation of the noise, in the units of the input. Noise twins are x + σ
            N(0, 1), clipped to the bounds.
        bounds: lowest and highest legal value of the inputs.
        frame: ``raw``, ``centered`` (on these samples) or ``whitened``, for the boosts; limits are
            always seen from the means.
        layers: globs; default: the layers whose value the next stage reads.
        null: also measure the untrained network.
        strangers: at most so many pairs of strangers.
        differentiated: samples whose Jacobian is taken.
        sharpness: also measure the sharpness of the loss, which costs more than all the rest.
        batch_size: inputs in one pass.
        resamples, seed: of the bootstrap; the seed also draws noise, strangers, and untrained
            weights.
        tick: called with stage, done, total.

    Returns:
        A :class:`Complexity`. Strangers are random pairs at least as far apart at the input as
        their median. What a model has not got (linear layers, gradients, activations) is a status
        or a note, not an error; +∞ is a value of φ (twins that a layer merges).

    Raises:
        ShapeError, BoundsError, LabelError, ModelError, LayerError, UsageError: what was given does
        not fit; each says what to do.

    Cost: some ten forward passes of the samples, K backward passes of 64 of them, 20 Hessian
        products; twice with the null.
    Source: arXiv:2309.15669 for the words, :mod:`worldline.geometry.spacetime` for the limit.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.explain.complexity(model, data.x[:100])
    >>> [it.layer.name for it in found.limits]
    ['logits']
    >>> found.limits[0].share["noise"].q90 <= 1
    True
    """
    check_frame_name(frame)
    check_inputs(x, bounds)
    if y is not None:
        with untouched(model), torch.no_grad():
            check_labels(y, len(x), classes=logits_of(model, x[:2]).shape[1])
    if not (sigma > 0 and sigma < float("inf")):
        raise UsageError(
            f"sigma must be a positive finite number in the units of the input; got {sigma}."
        )
    if len(x) < 2:
        raise ShapeError("Strangers need at least two samples; got 1.")
    notes: list[str] = []
    generator = torch.Generator().manual_seed(seed)
    twins = {"noise": (x + sigma * torch.randn(x.shape, generator=generator).to(x)).clamp(*bounds)}
    if attack is not None and adversarial is None:
        adversarial = adversarial_twin(
            attack, model, x, predict(model, x).argmax(1) if y is None else y
        )
    if adversarial is not None:
        if adversarial.shape != x.shape:
            raise ShapeError(
                f"Each sample needs one twin: {tuple(x.shape)} inputs, {tuple(adversarial.shape)} "
                f"twins."
            )
        twins["adversarial"] = adversarial
        twins["matched_noise"] = noise_twin(x, adversarial, bounds=bounds, generator=generator)
    pairs = _pairs(x, y, twins, strangers, generator, notes)
    chosen = choose_layers(find_layers(model, x), layers)
    if len(chosen) < 2:
        notes.append(
            "Only one layer is traced: there is no boost, which is a change from one layer to the "
            "next."
        )
    given = Settings(x, y, pairs, chosen, frame, batch_size, seed, sharpness, differentiated, tick)
    trained = measure(model, given, "trained")
    fresh: Measured | None = None
    kept: tuple[str, ...] = ()
    if null and isinstance(model, nn.Module):
        network, kept = untrained(model, seed=seed)
        fresh = measure(network, given, "untrained")
        if kept:
            notes.append(
                f"The untrained null keeps the trained values of {', '.join(kept)}: they have no "
                f"reset_parameters."
            )
    elif null:
        notes.append("There is no untrained null: the model is a plain callable, not an nn.Module.")
    if not trained.linear:
        notes.append(
            "The model has no linear or convolutional module that runs, so there is no speed "
            "limit to use."
        )
    return _tell(trained, fresh, given, _Summaries(resamples, seed), kept, sigma, notes)


def _pairs(
    x: Tensor,
    y: Tensor | None,
    twins: Mapping[str, Tensor],
    most: int,
    generator: torch.Generator,
    notes: list[str],
) -> dict[str, tuple[Tensor, Tensor]]:
    """Kind → the two inputs of each pair. Strangers: random pairs not nearer than the median of
    such pairs.
    """
    if y is not None and len(y.unique()) < 2:
        notes.append(
            "All samples have one label: strangers are any two samples that are far apart."
        )
        y = None
    first, second = random_pairs(len(x), None if y is None else y.cpu(), 2 * most, generator)
    apart = torch.cat(
        [
            torch.linalg.vector_norm((x[a] - x[b]).flatten(1), dim=1)
            for a, b in zip(first.split(256), second.split(256), strict=True)
        ]
    )
    far = (apart >= apart.median()).nonzero().flatten().cpu()[:most]
    strangers = x[first[far]], x[second[far]]
    return {"noise": (x, twins["noise"]), "strangers": strangers} | {
        kind: (x, twin) for kind, twin in twins.items() if kind != "noise"
    }


class _Summaries:
    """One :class:`Bootstrap` for each number of values."""

    def __init__(self, resamples: int, seed: int) -> None:
        self.resamples, self.seed = resamples, seed
        self.made: dict[int, Bootstrap] = {}

    def of(self, values: Tensor) -> Summary:
        """Distribution of (S,) values, those that are NaN counted as undefined."""
        if len(values) not in self.made:
            self.made[len(values)] = Bootstrap(
                len(values), resamples=self.resamples, seed=self.seed
            )
        return self.made[len(values)].summary(values.cpu())

    def each(self, values: Mapping[str, Tensor]) -> dict[str, Summary]:
        """By kind."""
        return {kind: self.of(value) for kind, value in values.items()}


def _tell(
    trained: Measured,
    null: Measured | None,
    given: Settings,
    summaries: _Summaries,
    kept: tuple[str, ...],
    sigma: float,
    notes: list[str],
) -> Complexity:
    boosts, fresh = _boosts(trained), _boosts(null) if null else None
    excess = boosts["adversarial"] - boosts["matched_noise"] if "adversarial" in boosts else None

    def column(values: Mapping[str, Tensor], place: int) -> dict[str, Summary]:
        return summaries.each({kind: value[:, place] for kind, value in values.items()})

    layers = tuple(
        LayerComplexity(
            layer=layer,
            index=index,
            rapidity=column(trained.rapidity, index),
            boost=column(boosts, index - 1) if index else {},
            excess_boost=summaries.of(excess[:, index - 1])
            if index and excess is not None
            else None,
            dimension=trained.dimensions[index],
            untrained_rapidity=column(null.rapidity, index) if null else None,
            untrained_boost=(column(fresh, index - 1) if index else {})
            if fresh is not None
            else None,
            untrained_dimension=null.dimensions[index] if null else None,
        )
        for index, layer in enumerate(given.layers)
    )
    return Complexity(
        layers=layers,
        limits=_limits(trained, null, summaries),
        total_boost=summaries.each(_totals(trained)),
        untrained_total_boost=summaries.each(_totals(null)) if null else None,
        proper_depth=summaries.each(_proper_depths(trained)),
        untrained_proper_depth=summaries.each(_proper_depths(null)) if null else None,
        spectrum=_spectrum(trained.spectrum, summaries),
        untrained_spectrum=_spectrum(null.spectrum, summaries) if null else None,
        known=_known(trained, null, summaries),
        frame=given.frame,
        sigma=sigma,
        noise="Gaussian, clipped to the bounds",
        samples=len(given.x),
        pairs={kind: len(first) for kind, (first, _) in given.pairs.items()},
        kept=kept,
        notes=tuple(notes),
    )


def _boosts(measured: Measured) -> dict[str, Tensor]:
    """Kind → (P, L−1) φ before − φ here; two infinities of one sign make no boost, which is NaN."""
    return {kind: value[:, :-1] - value[:, 1:] for kind, value in measured.rapidity.items()}


def _totals(measured: Measured) -> dict[str, Tensor]:
    return {kind: value[:, 0] - value[:, -1] for kind, value in measured.rapidity.items()}


def _proper_depths(measured: Measured) -> dict[str, Tensor]:
    return {kind: proper_depth(value) for kind, value in measured.rapidity.items()}


def _limits(
    trained: Measured, null: Measured | None, summaries: _Summaries
) -> tuple[LimitUse, ...]:
    others = {layer.name: place for place, layer in enumerate(null.linear)} if null else {}

    def each(measured: Measured, place: int, read: Callable[[Use], Tensor]) -> dict[str, Summary]:
        return summaries.each({kind: read(uses[place]) for kind, uses in measured.uses.items()})

    return tuple(
        LimitUse(
            layer=layer,
            change=each(trained, place, lambda use: use.rapidity_out - use.rapidity_in),
            limit=each(trained, place, lambda use: use.limit),
            share=each(trained, place, lambda use: use.share),
            untrained_share=each(null, others[layer.name], lambda use: use.share)
            if null and layer.name in others
            else None,
        )
        for place, layer in enumerate(trained.linear)
    )


def _spectrum(found: Spectrum, summaries: _Summaries) -> SpectrumSummary:
    return SpectrumSummary(
        layer=found.layer.name,
        singular_values=tuple(summaries.of(column) for column in found.singular_values.T),
        exponents=tuple(summaries.of(column) for column in found.exponents.T),
        norm=summaries.of(found.norm),
        depth=found.depth,
        complete=found.complete,
        samples=len(found.singular_values),
        status=found.status,
    )


def _known(trained: Measured, null: Measured | None, summaries: _Summaries) -> tuple[Measure, ...]:
    def value(measured: Measured, name: str) -> tuple[float | None, tuple[float, float] | None]:
        found = measured.known[name][0]
        if not isinstance(found, Tensor):
            return found, None
        summary = summaries.of(found)
        return summary.median, summary.interval

    return tuple(
        Measure(
            name=name,
            value=value(trained, name)[0],
            interval=value(trained, name)[1],
            untrained=value(null, name)[0] if null else None,
            definition=definition,
            status=trained.known[name][1],
        )
        for name, definition in DEFINITIONS.items()
    )
