"""One network measured: what :func:`worldline.explain.complexity` does to trained and untrained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.explain.measures.dimensions import Dimension, dimension
from worldline.explain.measures.known import (
    Found,
    activation_flips,
    parameters,
    path_norm,
    sharpness,
    spectral_norms,
)
from worldline.explain.measures.limits import (
    LinearLayer,
    Use,
    find_linear,
    limit_use,
    linear_origins,
)
from worldline.explain.measures.operators import Stretch, stretch
from worldline.explain.measures.spectrum import Spectrum, jacobian_spectrum
from worldline.settings import FrameName, Settings
from worldline.trace import Layer, Model, fit_frames, trace_pairs, tracing

__all__ = ["DEFINITIONS", "Given", "Measured", "measure", "pair_rapidities"]

DIMENSION_SAMPLES = 512
SEGMENTS, FEW_SEGMENTS, FEW_PAIRS = 100, 16, 32
"""Segments between strangers; segments, and pairs of a kind for the limits, not ``thorough``."""
HELD = 2**27
"""Numbers that may be held for the effective dimensions."""

DEFINITIONS = {
    "parameters": "number of parameters",
    "spectral norms": "ln of the product of the spectral norms of linear layers, convolutions (as "
    "operators) and batch normalisations",
    "path norm": "ln of the sum over all paths from inputs and biases to outputs of the product "
    "of |weights| (Neyshabur 2015)",
    "Jacobian norm": "Frobenius norm of the logits' Jacobian at the input, median over samples",
    "sharpness": "largest eigenvalue of the loss's Hessian in the weights",
    "activation flips": "sign changes of a unit's input along the segment between two strangers, "
    "per unit, median over segments",
}


LEFT_OUT: Found = (
    None,
    "left out: it needs some twenty passes forward and backward (thorough=True; worldline "
    "complexity has it)",
)


@dataclass(frozen=True)
class Given:
    """What is measured on: samples, pairs of inputs by kind, layers, and options."""

    x: Tensor
    y: Tensor | None
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    layers: tuple[Layer, ...]
    thorough: bool
    differentiated: int
    settings: Settings


@dataclass(frozen=True)
class Measured:
    """One network, by kind of pairs, by layer, and as a whole.

    Attributes:
        rapidity: kind → φ (P, L).
        linear: its linear layers.
        stretches: how far each of them stretches.
        uses: kind → what each of them does to the pairs.
        dimensions, spectrum: of the layers' features; of the Jacobian.
        known: name → a value, or (by segment or sample) a tensor, with its status.
    """

    rapidity: Mapping[str, Tensor]
    linear: tuple[LinearLayer, ...]
    stretches: tuple[Stretch, ...]
    uses: Mapping[str, tuple[Use, ...]]
    dimensions: tuple[Dimension, ...]
    spectrum: Spectrum
    known: Mapping[str, Found | tuple[Tensor | None, str]]


def measure(model: Model, given: Given, stage: str) -> Measured:
    """Everything about one network, in six stages that progress hears of."""
    stages = iter(range(1, 7))
    batch_size, seed = given.settings.batch_size, given.settings.seed

    def done() -> None:
        given.settings.progress(f"Measuring, {stage}", next(stages), 6)

    rapidity = pair_rapidities(model, given, given.settings.frame)
    done()
    linear = find_linear(model, given.x)
    most = None if given.thorough else FEW_PAIRS
    origins = linear_origins(model, given.x, linear, batch_size=batch_size)
    uses = {
        kind: limit_use(model, first[:most], second[:most], linear, origins, batch_size=batch_size)
        for kind, (first, second) in given.pairs.items()
    }
    done()
    stretches = _stretches(model, linear, given)
    done()
    dimensions = _dimensions(model, given)
    done()
    spectrum = jacobian_spectrum(model, given.x[: given.differentiated], seed=seed)
    done()
    largest = {layer.module: it.largest for layer, it in zip(linear, stretches, strict=True)}
    known = _known(model, given, largest, spectrum)
    done()
    return Measured(rapidity, linear, stretches, uses, dimensions, spectrum, known)


def pair_rapidities(model: Model, given: Given, frame: FrameName) -> dict[str, Tensor]:
    """Kind → φ (P, L) of the pairs at the layers, seen from a frame fitted on the samples."""
    batch_size = given.settings.batch_size
    frames = fit_frames(model, given.x, given.layers, frame, batch_size=batch_size)
    found = {}
    for kind, (first, second) in given.pairs.items():
        rows = torch.arange(len(first))
        both = torch.cat((first, second))
        found[kind] = trace_pairs(
            model, both, rows, rows + len(first), frames, given.layers, batch_size=batch_size
        )
    return found


def _stretches(model: Model, linear: tuple[LinearLayer, ...], given: Given) -> tuple[Stretch, ...]:
    """One for each layer; a module that runs twice on one shape is looked at once."""
    modules = dict(model.named_modules()) if isinstance(model, torch.nn.Module) else {}
    found: dict[tuple[str, tuple[int, ...]], Stretch] = {}
    for layer in linear:
        key = layer.module, layer.shape
        if key not in found:
            module, seed = modules[layer.module], given.settings.seed
            found[key] = stretch(module, layer.shape, seed=seed, thorough=given.thorough)
    return tuple(found[layer.module, layer.shape] for layer in linear)


def _dimensions(model: Model, given: Given) -> tuple[Dimension, ...]:
    """Of as many samples as may be held at all layers together."""
    width = sum(layer.width for layer in given.layers)
    x = given.x[: max(2, min(DIMENSION_SAMPLES, HELD // width))]
    kept: list[list[Tensor]] = [[] for _ in given.layers]
    with tracing(model, given.layers) as run:
        for batch in x.split(given.settings.batch_size):
            run(batch, lambda position, features: kept[position].append(features.cpu().clone()))
    found = []
    for parts in kept:
        found.append(dimension(torch.cat(parts), seed=given.settings.seed))
        parts.clear()
    return tuple(found)


def _known(
    model: Model, given: Given, largest: Mapping[str, float], spectrum: Spectrum
) -> dict[str, Found | tuple[Tensor | None, str]]:
    segments = SEGMENTS if given.thorough else FEW_SEGMENTS
    first, second = (part[:segments] for part in given.pairs["strangers"])
    norm = spectrum.norm if spectrum.status == "measured" else None
    status = spectrum.status
    if norm is not None and not spectrum.complete:
        values = spectrum.singular_values.shape[1]
        status = f"measured on the largest {values} singular values: a lower bound"
    return {
        "parameters": parameters(model),
        "spectral norms": spectral_norms(model, largest),
        "path norm": path_norm(model, given.x),
        "Jacobian norm": (norm, status),
        "sharpness": sharpness(model, given.x, given.y, seed=given.settings.seed)
        if given.thorough
        else LEFT_OUT,
        "activation flips": activation_flips(
            model, first, second, batch_size=given.settings.batch_size
        ),
    }
