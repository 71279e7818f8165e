"""How complex a model is, in nats of rapidity, beside the measures that people know.

Where it drives twins apart and strangers together, layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldline.attacks import Attack, adversarial_twin, noise_twin, predict
from worldline.errors import ModelError, ShapeError, UsageError
from worldline.explain.boosts import boost, excess_boost
from worldline.explain.complexity_result import (
    ByKind,
    Complexity,
    LayerComplexity,
    LimitUse,
    SpectrumSummary,
)
from worldline.explain.measures import Measure, Spectrum, Use
from worldline.explain.measures.measuring import (
    DEFINITIONS,
    Given,
    Measured,
    measure,
    pair_rapidities,
)
from worldline.explain.sampling import random_pairs
from worldline.explain.untrained_network import untrained_or_note
from worldline.geometry import check_frame_name, proper_depth
from worldline.geometry.spacetime import limit_share
from worldline.inputs import check_inputs, in_dtype_of, labels_of, logits_of
from worldline.nullmodel import Prediction
from worldline.nullmodel import predict as predict_untrained
from worldline.settings import DEFAULT, Settings
from worldline.statistics import Bootstraps, Summary
from worldline.trace import Layer, LayerChoice, Model, pick_layers, tracing, untouched
from worldline.trace.opening import open_model

__all__ = ["STRANGERS", "complexity"]

STRANGERS = 1000
PREDICTED = 100
"""Pairs of a kind whose rapidity the null model predicts."""


def complexity(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    y: Int[Tensor, " N"] | None = None,
    adversarial: Float[Tensor, "N ..."] | None = None,
    attack: Attack | None = None,
    sigma: float = 0.1,
    layers: LayerChoice | None = None,
    null: bool = True,
    strangers: int = STRANGERS,
    thorough: bool = True,
    differentiated: int = 64,
    resamples: int = 1000,
    settings: Settings = DEFAULT,
) -> Complexity:
    """Measure how a model boosts noise twins, strangers and attacked twins, layer by layer.

    boost of a pair = φ before − φ after, φ = artanh ρ in nats; proper depth Σ sin θ; use of the
    speed limit |φ_out − φ_in|/ln κ(W) of each linear layer; singular values of the Jacobian;
    participation ratio and TwoNN; each beside the untrained network of the same shape, with a 95 %
    bootstrap interval over pairs or samples. The measures that people know stand beside them.

    Args:
        model: returns logits (N, K); without labels and attack any floating tensor (N, …).
        x: (N, …) inputs; no labels are needed. Samples on which a layer is not finite are left out.
        y: (N,) labels: strangers are then of different labels, and sharpness is of the true loss.
            Default: strangers are any two samples.
        adversarial: (N, …) adversarial twins, from any attack.
        attack: or the attack itself, as ``attack(model, x, y)``; without y it gets the model's own
            predictions.
        sigma: standard deviation of the noise, in the units of the input. Noise twins are x + σ
            N(0, 1), clipped to the bounds.
        layers: names, globs, modules of the model, or one of these; default: at most 20, by stage
            (:func:`worldline.trace.find_layers`).
        null: also measure the untrained network, and predict it where the theory of random weights
            follows the architecture.
        strangers: at most so many pairs of strangers.
        thorough: also measure the sharpness of the loss, and let the speed limits of wide layers
            settle, which costs more than all the rest. If not, the limits' use is of 32 pairs of
            each kind, and the activation flips of 16 segments; intervals and counts say so.
        differentiated: samples whose Jacobian is taken.
        resamples: of the bootstrap.
        settings: bounds, batch size, progress, and the frame of the boosts (limits are always seen
            from the means). Its seed draws noise, strangers, untrained weights and resamples.

    Returns:
        A :class:`Complexity`. Strangers are random pairs at least as far apart at the input as
        their median. What a model has not got (linear layers, gradients, activations, a copy) is a
        status or a note, not an error; +∞ is a value of φ (twins that a layer merges).

    Raises:
        ShapeError, BoundsError, LabelError, ModelError, LayerError, UsageError: what was given does
        not fit; each says what to do.

    Cost: some ten forward passes of the samples, K backward passes of 64 of them, 20 Hessian
        products, singular values of each linear layer; twice with the null.
    Source: arXiv:2309.15669 for the words, :mod:`worldline.geometry.spacetime` for the limit.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.explain.complexity(model, data.x[:100])
    >>> [it.name for it in found.limits]
    ['logits']
    >>> found.limits[0].plane_share["noise"].q90 <= 1
    True
    """
    check_frame_name(settings.frame)
    check_inputs(x, settings.bounds)
    if not 0 < sigma < math.inf:
        raise UsageError(
            f"sigma must be a positive finite number in the units of the input; got {sigma}."
        )
    x = in_dtype_of(model, x)
    adversarial = adversarial if adversarial is None else adversarial.to(x)
    model = open_model(model).call  # type: ignore[assignment]
    if y is not None:
        with untouched(model), torch.no_grad():
            y = labels_of(y, len(x), classes=logits_of(model, x[:2]).shape[1])
    if adversarial is not None and adversarial.shape != x.shape:
        raise ShapeError(
            f"Each sample needs one twin: {tuple(x.shape)} inputs, "
            f"{tuple(adversarial.shape)} twins."
        )
    if len(x) < 2:
        raise ShapeError("Strangers need at least two samples; got 1.")
    notes: list[str] = []
    chosen = pick_layers(model, x, layers)
    if len(chosen) < 2:
        notes.append(
            "Only one layer is traced: there is no boost, which is a change from one layer to the "
            "next."
        )
    finite = _finite(model, x, chosen, settings.batch_size)
    undefined = len(x) - len(finite)
    if undefined:
        notes.append(f"{undefined} of {len(x)} samples are left out: a layer is not finite there.")
        x = x[finite.to(x.device)]
        y, adversarial = (it if it is None else it[finite.to(it.device)] for it in (y, adversarial))
    generator = torch.Generator().manual_seed(settings.seed)
    noisy = (x + sigma * torch.randn(x.shape, generator=generator).to(x)).clamp(*settings.bounds)
    if attack is not None and adversarial is None:
        labels = predict(model, x).argmax(1) if y is None else y
        adversarial = adversarial_twin(attack, model, x, labels)
    pairs = {"noise": (x, noisy), "strangers": (x, x)}
    if adversarial is not None:
        noise = noise_twin(x, adversarial, bounds=settings.bounds, generator=generator)
        pairs |= {"adversarial": (x, adversarial), "matched_noise": (x, noise)}
    pairs["strangers"] = _strangers(x, y, strangers, generator, notes)
    given = Given(x, y, pairs, chosen, thorough, differentiated, settings)
    trained = measure(model, given, "trained")
    fresh, kept = untrained_or_note(model, settings.seed, notes) if null else (None, ())
    drawn = measure(fresh, given, "untrained") if fresh is not None else None
    few = replace(given, pairs={kind: _first(*pairs[kind]) for kind in ("noise", "strangers")})
    predicted, status = _predictions(fresh, few)
    if not trained.linear:
        notes.append(
            "The model has no linear or convolutional module that runs, so there is no speed "
            "limit to use."
        )
    summaries = _Summaries(resamples, settings.seed)
    raw = pair_rapidities(fresh, few, "raw") if fresh is not None and predicted else {}
    return Complexity(
        layers=_layers(trained, drawn, predicted, raw, given, summaries),
        limits=_limits(trained, drawn, summaries),
        total_boost=summaries.each(_totals(trained)),
        untrained_total_boost=summaries.each(_totals(drawn)) if drawn else None,
        proper_depth=summaries.each(_depths(trained)),
        untrained_proper_depth=summaries.each(_depths(drawn)) if drawn else None,
        spectrum=_spectrum(trained.spectrum, summaries),
        untrained_spectrum=_spectrum(drawn.spectrum, summaries) if drawn else None,
        known=_known(trained, drawn, summaries),
        frame=settings.frame,
        sigma=sigma,
        noise="Gaussian, clipped to the bounds",
        samples=len(x),
        undefined=undefined,
        pairs={kind: len(first) for kind, (first, _) in pairs.items()},
        kept=kept,
        prediction=status,
        notes=tuple(notes),
    )


def _finite(model: Model, x: Tensor, layers: tuple[Layer, ...], batch_size: int) -> Tensor:
    """Rows on which every layer is finite."""
    good = torch.ones(len(x), dtype=torch.bool)
    with tracing(model, layers) as run:
        for rows in torch.arange(len(x)).split(batch_size):

            def look(_position: int, features: Tensor, rows: Tensor = rows) -> None:
                good[rows] &= torch.isfinite(features).all(1).cpu()

            run(x[rows.to(x.device)], look)
    if int(good.sum()) < 2:
        raise ModelError(
            f"A layer is not finite on {len(x) - int(good.sum())} of {len(x)} samples, and at "
            "least two finite samples are needed: look for NaN in the weights, or an overflow."
        )
    return good.nonzero().flatten()


def _strangers(
    x: Tensor, y: Tensor | None, most: int, generator: torch.Generator, notes: list[str]
) -> tuple[Tensor, Tensor]:
    """Random pairs not nearer than the median of such pairs, of different labels if there are."""
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
    return x[first[far]], x[second[far]]


def _first(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    return one[:PREDICTED], other[:PREDICTED]


def _predictions(fresh: nn.Module | None, given: Given) -> tuple[dict[str, Prediction], str]:
    """Kind → what the theory of random weights predicts, and a status where it cannot."""
    if fresh is None:
        return {}, "There is no untrained network to predict."
    try:
        found = {kind: predict_untrained(fresh, *pair) for kind, pair in given.pairs.items()}
        return found, "predicted"
    except (ModelError, ShapeError) as error:
        return {}, f"No prediction. {error}"


class _Summaries:
    """Distributions by kind, all numbers of one count of values drawn together."""

    def __init__(self, resamples: int, seed: int) -> None:
        self.bootstraps = Bootstraps(resamples, seed)

    def of(self, values: Tensor) -> Summary:
        """Distribution of (S,) values, those that are NaN counted as undefined."""
        return self.bootstraps.of(len(values)).summary(values.cpu())

    def columns(self, values: Tensor) -> tuple[Summary, ...]:
        """Of each column of (S, Q) values."""
        return self.bootstraps.of(len(values)).summaries(values.cpu())

    def each(self, values: Mapping[str, Tensor]) -> ByKind:
        """By kind, of (S,) values."""
        return {kind: self.of(value) for kind, value in values.items()}

    def layers(self, values: Mapping[str, Tensor]) -> list[ByKind]:
        """By kind, of each layer of (S, L) values."""
        found = {kind: self.columns(value) for kind, value in values.items()}
        several = zip(*found.values(), strict=True)
        return [dict(zip(found, it, strict=True)) for it in several]


def _layers(
    trained: Measured,
    drawn: Measured | None,
    predicted: Mapping[str, Prediction],
    raw: Mapping[str, Tensor],
    given: Given,
    summaries: _Summaries,
) -> tuple[LayerComplexity, ...]:
    count = len(given.layers)
    none: list[ByKind | None] = [None] * count
    excess: list[Summary | None] = [None] * count
    if "adversarial" in trained.rapidity and count > 1:
        both = trained.rapidity["adversarial"], trained.rapidity["matched_noise"]
        excess = [None, *summaries.columns(excess_boost(*both))]
    rapidity = summaries.layers(trained.rapidity)
    boosts = [{}, *summaries.layers(_boosts(trained))]
    fresh = summaries.layers(drawn.rapidity) if drawn else none
    fresh_boosts = [{}, *summaries.layers(_boosts(drawn))] if drawn else none
    raws = summaries.layers(raw) if raw else none
    return tuple(
        LayerComplexity(
            index=index,
            name=layer.name,
            kind=layer.kind,
            width=layer.width,
            rapidity=rapidity[index],
            boost=boosts[index],
            excess_boost=excess[index],
            dimension=trained.dimensions[index],
            untrained_rapidity=fresh[index],
            untrained_boost=fresh_boosts[index],
            untrained_dimension=drawn.dimensions[index] if drawn else None,
            predicted_rapidity=_predicted(layer, predicted, summaries),
            untrained_raw_rapidity=raws[index],
        )
        for index, layer in enumerate(given.layers)
    )


def _predicted(
    layer: Layer, predicted: Mapping[str, Prediction], summaries: _Summaries
) -> ByKind | None:
    """Of one layer; a value that several modules hand on stands under the one that made it."""
    if any(layer.name not in it.layers for it in predicted.values()) or not predicted:
        return None
    return summaries.each(
        {kind: it.rapidity[it.layers.index(layer.name)] for kind, it in predicted.items()}
    )


def _boosts(measured: Measured) -> dict[str, Tensor]:
    """Kind → (P, L−1)."""
    return {kind: boost(value) for kind, value in measured.rapidity.items()}


def _totals(measured: Measured) -> dict[str, Tensor]:
    """Kind → (P,) φ(input) − φ(output), which is the boost of the network as one layer."""
    return {kind: boost(value[:, [0, -1]])[:, 0] for kind, value in measured.rapidity.items()}


def _depths(measured: Measured) -> dict[str, Tensor]:
    return {kind: proper_depth(value) for kind, value in measured.rapidity.items()}


def _limits(
    trained: Measured, drawn: Measured | None, summaries: _Summaries
) -> tuple[LimitUse, ...]:
    uses, limits = _Uses(trained, summaries), [_limit(trained, it) for it in _places(trained)]
    shares = uses.each(lambda use, place: limit_share(use.change, limits[place]))
    found = [
        LimitUse(
            name=layer.name,
            kind=layer.kind,
            inputs=layer.inputs,
            outputs=layer.outputs,
            limit=limits[place],
            status=trained.stretches[place].status,
            change=change,
            share=shares[place],
            plane_limit=plane_limit,
            plane_share=plane_share,
            untrained_share=None,
            untrained_plane_share=None,
        )
        for place, (layer, change, plane_limit, plane_share) in enumerate(
            zip(
                trained.linear,
                uses.each(lambda use, _: use.change),
                uses.each(lambda use, _: use.plane_limit),
                uses.each(lambda use, _: use.plane_share),
                strict=True,
            )
        )
    ]
    return tuple(found) if drawn is None else _beside(found, drawn, summaries)


def _beside(
    found: Sequence[LimitUse], drawn: Measured, summaries: _Summaries
) -> tuple[LimitUse, ...]:
    """With what the untrained network makes of the layers that it has as well."""
    places = {layer.name: place for place, layer in enumerate(drawn.linear)}
    uses, limits = _Uses(drawn, summaries), [_limit(drawn, it) for it in _places(drawn)]
    shares = uses.each(lambda use, place: limit_share(use.change, limits[place]))
    plane_shares = uses.each(lambda use, _: use.plane_share)
    return tuple(
        it
        if (place := places.get(it.name)) is None
        else replace(it, untrained_share=shares[place], untrained_plane_share=plane_shares[place])
        for it in found
    )


def _places(measured: Measured) -> range:
    return range(len(measured.linear))


@dataclass(frozen=True)
class _Uses:
    """What linear layers do to pairs, summarised for all of them at once."""

    measured: Measured
    summaries: _Summaries

    def each(self, read: Callable[[Use, int], Tensor]) -> list[ByKind]:
        """By layer and kind."""
        if not self.measured.linear:
            return []
        return self.summaries.layers(
            {
                kind: torch.stack([read(use, place) for place, use in enumerate(uses)], 1)
                for kind, uses in self.measured.uses.items()
            }
        )


def _limit(measured: Measured, place: int) -> float:
    """ln κ of a layer; where that is a lower bound, not less than any pair's plane shows."""
    seen = torch.cat([uses[place].plane_limit for uses in measured.uses.values()])
    known = seen[torch.isfinite(seen)]
    highest = float(known.max()) if len(known) else 0.0
    return max(measured.stretches[place].limit, highest)


def _spectrum(found: Spectrum, summaries: _Summaries) -> SpectrumSummary:
    return SpectrumSummary(
        layer=found.layer.name,
        singular_values=summaries.columns(found.singular_values),
        exponents=summaries.columns(found.exponents),
        norm=summaries.of(found.norm),
        depth=found.depth,
        complete=found.complete,
        samples=len(found.singular_values),
        status=found.status,
    )


def _known(trained: Measured, drawn: Measured | None, summaries: _Summaries) -> tuple[Measure, ...]:
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
            untrained=value(drawn, name)[0] if drawn else None,
            definition=definition,
            status=trained.known[name][1],
        )
        for name, definition in DEFINITIONS.items()
    )
