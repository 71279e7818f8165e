"""Complexity and fragility as plain data: a model's document, the summary of several, their
tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from worldline.explain import (
    NOT_A_BOUND,
    Complexity,
    Dimension,
    Fragility,
    LayerComplexity,
    LimitUse,
    SpectrumSummary,
)
from worldline.inputs import Data
from worldline.runs.config import ComplexityConfig
from worldline.runs.values import columns_of, finite, share_part, summary_part
from worldline.statistics import Summary

__all__ = [
    "SCHEMA",
    "ModelFound",
    "layer_columns",
    "limit_columns",
    "model_document",
    "sample_columns",
    "summary_document",
]

SCHEMA = "worldline.complexity/1"


@dataclass(frozen=True)
class ModelFound:
    """What was found of one model.

    ``noise`` says which model is fragile, ``aimed`` which of its samples (it is ``noise`` again
    where there are too few samples).
    """

    name: str
    complexity: Complexity
    noise: Fragility
    aimed: Fragility
    clean_accuracy: float


def summary_document(
    config: ComplexityConfig, data: Data, found: Sequence[ModelFound], made_with: dict[str, str]
) -> dict[str, Any]:
    """The content of ``summary.json``; models are in the order in which they were given,
    ``ranking`` has the most fragile first.
    """
    changed = [it.noise.changed.value or 0.0 for it in found]
    return {
        "schema": SCHEMA,
        "data": data.name,
        "data_split": data.split,
        "bounds": list(data.bounds),
        "epsilon_text": config.eps or None,
        "norm": config.norm,
        "steps": config.steps if config.eps else None,
        "seed": config.seed,
        "models": [model_document(it) for it in found],
        "ranking": [
            int(place) for place in np.argsort([-share for share in changed], kind="stable")
        ],
        "versions": made_with,
        "report": "report.html",
    }


def model_document(found: ModelFound) -> dict[str, Any]:
    """One model: layers, limits, spectrum, known measures, fragility; infinite quantiles are null
    with a ``status``.
    """
    it = found.complexity
    return {
        "model": found.name,
        "samples": it.samples,
        "pairs": dict(it.pairs),
        "frame": it.frame,
        "sigma": it.sigma,
        "noise": it.noise,
        "layers": [_layer(layer) for layer in it.layers],
        "limits": [_limit(limit) for limit in it.limits],
        "total_boost": _parts(it.total_boost),
        "untrained_total_boost": _parts(it.untrained_total_boost),
        "proper_depth": _parts(it.proper_depth),
        "untrained_proper_depth": _parts(it.untrained_proper_depth),
        "spectrum": _spectrum(it.spectrum),
        "untrained_spectrum": None
        if it.untrained_spectrum is None
        else _spectrum(it.untrained_spectrum),
        "known": [
            {
                **asdict(measure),
                "value": finite(measure.value),
                "untrained": finite(measure.untrained),
                "interval": _interval(measure.interval),
            }
            for measure in it.known
        ],
        "clean_accuracy": found.clean_accuracy,
        "fragility": _fragility(found.noise, found.aimed),
        "notes": [*it.notes, *(note for note in found.noise.notes if note != NOT_A_BOUND)],
    }


def layer_columns(documents: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """One row for each model and layer."""
    return columns_of(
        [{"model": it["model"], **layer} for it in documents for layer in it["layers"]]
    )


def limit_columns(documents: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """One row for each model and linear layer; no row at all where there is none."""
    return columns_of(
        [{"model": it["model"], **limit} for it in documents for limit in it["limits"]]
    )


def sample_columns(found: Sequence[ModelFound]) -> dict[str, Any]:
    """One row for each model and sample: predicted class and estimated radius; the smallest are the
    most fragile.
    """
    columns: dict[str, list[Any]] = {
        "model": [],
        "sample": [],
        "prediction": [],
        "radius_linf": [],
        "radius_l2": [],
    }
    for it in found:
        count = len(it.aimed.prediction)
        columns["model"] += [it.name] * count
        columns["sample"] += range(count)
        columns["prediction"] += it.aimed.prediction.tolist()
        columns["radius_linf"] += _numbers(it.aimed.radius["linf"])
        columns["radius_l2"] += _numbers(it.aimed.radius["l2"])
    return columns


def _layer(layer: LayerComplexity) -> dict[str, Any]:
    return {
        "index": layer.index,
        "name": layer.layer.name,
        "kind": layer.layer.kind,
        "width": layer.layer.width,
        "rapidity": _parts(layer.rapidity),
        "boost": _parts(layer.boost),
        "excess_boost": None if layer.excess_boost is None else summary_part(layer.excess_boost),
        "dimension": _dimension(layer.dimension),
        "untrained_rapidity": _parts(layer.untrained_rapidity),
        "untrained_boost": _parts(layer.untrained_boost),
        "untrained_dimension": None
        if layer.untrained_dimension is None
        else _dimension(layer.untrained_dimension),
    }


def _limit(limit: LimitUse) -> dict[str, Any]:
    return {
        "name": limit.layer.name,
        "kind": limit.layer.kind,
        "inputs": limit.layer.inputs,
        "outputs": limit.layer.outputs,
        "change": _parts(limit.change),
        "limit": _parts(limit.limit),
        "share": _parts(limit.share),
        "untrained_share": _parts(limit.untrained_share),
    }


def _dimension(dimension: Dimension) -> dict[str, Any]:
    return {
        "participation": finite(dimension.participation),
        "participation_interval": _interval(dimension.participation_interval),
        "two_nn": finite(dimension.two_nn),
        "two_nn_interval": _interval(dimension.two_nn_interval),
        "samples": dimension.samples,
        "status": dimension.status,
    }


def _spectrum(spectrum: SpectrumSummary) -> dict[str, Any]:
    return {
        "layer": spectrum.layer,
        "singular_values": [summary_part(value) for value in spectrum.singular_values],
        "exponents": [summary_part(value) for value in spectrum.exponents],
        "norm": summary_part(spectrum.norm),
        "depth": spectrum.depth,
        "complete": spectrum.complete,
        "samples": spectrum.samples,
        "status": spectrum.status,
    }


def _fragility(noise: Fragility, aimed: Fragility) -> dict[str, Any]:
    radius = aimed.radius["linf"]
    known = radius[~radius.isnan()]
    return {
        "sigma": noise.sigma,
        "changed": share_part(noise.changed),
        "rapidity": summary_part(noise.rapidity),
        "tail": None if noise.tail is None else finite(noise.tail[0]),
        "tail_interval": None if noise.tail is None else _interval(noise.tail[1]),
        "radius_probe": aimed.probe,
        "radius_linf": [finite(float(known.quantile(q))) for q in (0.1, 0.5, 0.9)]
        if len(known)
        else None,
        "most_fragile": _smallest(radius),
    }


def _smallest(radius: Tensor) -> list[int]:
    """The ten samples of the smallest radius."""
    order = radius.nan_to_num(nan=float("inf")).argsort(stable=True)
    return [int(row) for row in order[:10]]


def _parts(values: Mapping[str, Summary] | None) -> dict[str, Any] | None:
    return None if values is None else {kind: summary_part(value) for kind, value in values.items()}


def _interval(interval: tuple[float, float] | None) -> list[float | None] | None:
    return None if interval is None else [finite(interval[0]), finite(interval[1])]


def _numbers(values: Tensor) -> list[float | None]:
    return [finite(value) for value in values.tolist()]
