"""One network measured: what :func:`worldline.explain.complexity` does to trained and untrained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import UndefinedPairWarning
from worldline.explain.measures.dimensions import Dimension, dimension
from worldline.explain.measures.known import (
    Found,
    activation_flips,
    parameters,
    path_norm,
    sharpness,
    spectral_norms,
)
from worldline.explain.measures.limits import LinearLayer, Planes, Use, find_linear, hearing
from worldline.explain.measures.operators import Stretch, stretch
from worldline.explain.measures.spectrum import Spectrum, jacobian_spectrum
from worldline.geometry import Frame, Moments
from worldline.geometry import rapidity as pair_rapidity
from worldline.settings import FrameName, Settings
from worldline.trace import FrameFit, Layer, Model, fit_frames, tracing
from worldline.trace.values import at_least_float32

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
    """Everything about one network, in five stages that progress hears of."""
    stages, seed = iter(range(1, 6)), given.settings.seed

    def done() -> None:
        given.settings.progress(f"Measuring, {stage}", next(stages), 5)

    linear = find_linear(model, given.x)
    frames, origins, dimensions = _over_samples(model, given, linear)
    done()
    rapidity, uses = _over_pairs(model, given, frames, linear, origins)
    done()
    stretches = _stretches(model, linear, given)
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
    return _over_pairs(model, given, frames, (), ())[0]


def _over_samples(
    model: Model, given: Given, linear: tuple[LinearLayer, ...]
) -> tuple[tuple[Frame, ...], tuple[Tensor, ...], tuple[Dimension, ...]]:
    """Frames, mean inputs of linear layers, and dimensions, from one pass.

    The dimensions are of as many samples as may be held at all layers together.
    """
    most = max(2, min(DIMENSION_SAMPLES, HELD // sum(layer.width for layer in given.layers)))
    fit = FrameFit(given.layers, given.settings.frame)
    means = [Moments(layer.inputs) for layer in linear]
    kept: list[list[Tensor]] = [[] for _ in given.layers]
    left = most

    def see(position: int, features: Tensor) -> None:
        fit.add(position, features)
        kept[position].append(features[:left].cpu().clone())

    def hear(position: int, inputs: Tensor) -> None:
        means[position].update(inputs.flatten(1))

    with tracing(model, given.layers) as run, hearing(model, linear, hear):
        for batch in given.x.split(given.settings.batch_size):
            run(batch, see)
            left = max(0, left - len(batch))
    dimensions = []
    for parts in kept:
        dimensions.append(dimension(torch.cat(parts), seed=given.settings.seed))
        parts.clear()
    return fit.frames(), tuple(it.mean for it in means), tuple(dimensions)


def _over_pairs(
    model: Model,
    given: Given,
    frames: Sequence[Frame],
    linear: Sequence[LinearLayer],
    origins: Sequence[Tensor],
) -> tuple[dict[str, Tensor], dict[str, tuple[Use, ...]]]:
    """Kind → φ (P, L), and kind → what each linear layer does, from one pass over the pairs.

    Kinds whose pairs begin with the same inputs run together, so that those run once.
    """
    shared: dict[int, list[str]] = {}
    for kind, (first, _) in given.pairs.items():
        shared.setdefault(id(first), []).append(kind)
    lengths = {kind: len(first) for kind, (first, _) in given.pairs.items()}
    most = {kind: count if given.thorough else FEW_PAIRS for kind, count in lengths.items()}
    rapidity = {
        kind: torch.empty(count, len(given.layers), dtype=torch.float64)
        for kind, count in lengths.items()
    }
    planes = {
        kind: Planes(model, linear, origins, min(most[kind], count))
        for kind, count in lengths.items()
    }
    kinds: list[str] = []
    rows = slice(0, 0)

    def see(position: int, features: Tensor) -> None:
        first, *others = frames[position](at_least_float32(features)).chunk(1 + len(kinds))
        for kind, second in zip(kinds, others, strict=True):
            rapidity[kind][rows, position] = pair_rapidity(first, second).cpu().double()

    def hear(position: int, inputs: Tensor) -> None:
        first, *others = inputs.chunk(1 + len(kinds))
        for kind, second in zip(kinds, others, strict=True):
            if few := max(0, min(rows.stop, most[kind]) - rows.start):
                some = slice(rows.start, rows.start + few)
                planes[kind].add(position, first[:few], second[:few], some)

    with (
        tracing(model, given.layers) as run,
        hearing(model, linear, hear),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UndefinedPairWarning)
        for kinds in shared.values():
            first, seconds = given.pairs[kinds[0]][0], [given.pairs[kind][1] for kind in kinds]
            step = max(1, given.settings.batch_size // (1 + len(kinds)))
            for start in range(0, len(first), step):
                rows = slice(start, min(start + step, len(first)))
                run(torch.cat((first[rows], *(second[rows] for second in seconds))), see)
    return rapidity, {kind: it.uses() for kind, it in planes.items()}


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


def _known(
    model: Model, given: Given, largest: Mapping[str, float], spectrum: Spectrum
) -> dict[str, Found | tuple[Tensor | None, str]]:
    segments = SEGMENTS if given.thorough else FEW_SEGMENTS
    first, second = (part[:segments] for part in given.pairs["strangers"])
    norm = spectrum.norm if spectrum.status == "measured" else None
    status = spectrum.status
    if norm is not None:
        count, values = spectrum.singular_values.shape
        status = f"measured on {count} samples" + (
            "" if spectrum.complete else f", the largest {values} singular values: a lower bound"
        )
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
