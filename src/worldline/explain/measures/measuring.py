"""One network measured: what :func:`worldline.explain.complexity` does to the trained and to the
untrained one alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.explain.measures.dimension import Dimension, dimension
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
from worldline.explain.measures.spectrum import Spectrum, jacobian_spectrum
from worldline.geometry import FrameName
from worldline.trace import Layer, Model, fit_frames, trace_pairs, tracing

__all__ = ["DEFINITIONS", "Measured", "Settings", "measure"]

DIMENSION_SAMPLES = 512
SEGMENTS = 100
HELD = 2**27
"""Numbers that may be held for the effective dimensions."""

Tick = Callable[[str, int, int], None]

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
    "left out: it needs some twenty passes forward and backward (sharpness=True; worldline "
    "complexity has it)",
)


@dataclass(frozen=True)
class Settings:
    """What is measured on: samples, pairs of inputs by kind, layers, and options."""

    x: Tensor
    y: Tensor | None
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    layers: tuple[Layer, ...]
    frame: FrameName
    batch_size: int
    seed: int
    sharpness: bool
    differentiated: int
    tick: Tick


@dataclass(frozen=True)
class Measured:
    """One network: kind → φ (P, L); linear layers with kind → what they do; dimensions; spectrum;
    known measures by name.

    ``known`` holds a value with its status, or (by segment or sample) a tensor with its status.
    """

    rapidity: Mapping[str, Tensor]
    linear: tuple[LinearLayer, ...]
    uses: Mapping[str, tuple[Use, ...]]
    dimensions: tuple[Dimension, ...]
    spectrum: Spectrum
    known: Mapping[str, Found | tuple[Tensor | None, str]]


def measure(model: Model, given: Settings, stage: str) -> Measured:
    """Everything about one network, in five stages that are ticked off."""
    stages = iter(range(1, 6))

    def done() -> None:
        given.tick(f"Measuring, {stage}", next(stages), 5)

    rapidity = _rapidities(model, given)
    done()
    linear = find_linear(model, given.x)
    origins = linear_origins(model, given.x, linear, batch_size=given.batch_size)
    uses = {
        kind: limit_use(model, first, second, linear, origins, batch_size=given.batch_size)
        for kind, (first, second) in given.pairs.items()
    }
    done()
    dimensions = _dimensions(model, given)
    done()
    spectrum = jacobian_spectrum(model, given.x[: given.differentiated], seed=given.seed)
    done()
    known = _known(model, given, linear, spectrum)
    done()
    return Measured(rapidity, linear, uses, dimensions, spectrum, known)


def _rapidities(model: Model, given: Settings) -> dict[str, Tensor]:
    frames = fit_frames(model, given.x, given.layers, given.frame, batch_size=given.batch_size)
    found = {}
    for kind, (first, second) in given.pairs.items():
        rows = torch.arange(len(first))
        both = torch.cat((first, second))
        found[kind] = trace_pairs(
            model, both, rows, rows + len(first), frames, given.layers, batch_size=given.batch_size
        )
    return found


def _dimensions(model: Model, given: Settings) -> tuple[Dimension, ...]:
    """Of as many samples as may be held at all layers together."""
    width = sum(layer.width for layer in given.layers)
    x = given.x[: max(2, min(DIMENSION_SAMPLES, HELD // width))]
    kept: list[list[Tensor]] = [[] for _ in given.layers]
    with tracing(model, given.layers) as run:
        for batch in x.split(given.batch_size):
            run(batch, lambda position, features: kept[position].append(features.cpu().clone()))
    found = []
    for parts in kept:
        found.append(dimension(torch.cat(parts), seed=given.seed))
        parts.clear()
    return tuple(found)


def _known(
    model: Model, given: Settings, linear: tuple[LinearLayer, ...], spectrum: Spectrum
) -> dict[str, Found | tuple[Tensor | None, str]]:
    first, second = (part[:SEGMENTS] for part in given.pairs["strangers"])
    norm = spectrum.norm if spectrum.status == "measured" else None
    status = spectrum.status
    if norm is not None and not spectrum.complete:
        status = (
            f"measured on the largest {spectrum.singular_values.shape[1]} singular values: a "
            f"lower bound"
        )
    return {
        "parameters": parameters(model),
        "spectral norms": spectral_norms(model, linear),
        "path norm": path_norm(model, given.x),
        "Jacobian norm": (norm, status),
        "sharpness": sharpness(model, given.x, given.y, seed=given.seed)
        if given.sharpness
        else LEFT_OUT,
        "activation flips": activation_flips(model, first, second, batch_size=given.batch_size),
    }
