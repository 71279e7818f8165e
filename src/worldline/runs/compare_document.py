"""A comparison as plain data: the summary document, the table of pairs, the samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldline.compare import (
    Agreement,
    Baselines,
    Judgement,
    Measured,
    Predicted,
    Verdict,
    cluster,
    diverse,
    judge,
    rank_surrogates,
)
from worldline.inputs import Data
from worldline.runs.config import CompareConfig
from worldline.runs.values import finite

__all__ = ["SCHEMA", "pair_columns", "sample_tensors", "summary_document"]

SCHEMA = "worldline.compare/1"
FEWEST_TO_JUDGE = 4
RIVALS = {
    "gradient_cosine": "input-gradient cosine",
    "feature_cka": "CKA of features",
    "logit_cka": "CKA of logits",
    "agreement": "agreement of predictions",
}


def summary_document(
    config: CompareConfig,
    data: Data,
    predicted: Predicted,
    measured: Measured | None,
    rivals: Baselines | None,
    made_with: dict[str, str],
) -> dict[str, Any]:
    """The content of ``summary.json``: matrices have a row for each source and a column for each
    target; null is unknown.
    """
    names = [name for name in predicted.names if measured is None or name in measured.names]
    places = [predicted.names.index(name) for name in names]
    tree = cluster(_pick(predicted.similarity, places))
    failed = {
        it.model: it.reason
        for it in (*predicted.failures, *(measured.failures if measured else ()))
    }
    return {
        "schema": SCHEMA,
        "models": names,
        "kinds": [predicted.kinds[place] for place in places],
        "data": data.name,
        "data_split": data.split,
        "samples": min(config.samples, len(data.x)),
        "bounds": list(data.bounds),
        "epsilon": config.epsilon,
        "epsilon_text": config.eps,
        "norm": config.norm,
        "seed": config.seed,
        "probed_samples": int(predicted.settings["samples"]),
        "probes": config.probes,
        "predicted": _matrix(_pick(predicted.score, places)),
        "predicted_interval": _matrix(_pick(predicted.interval, places)),
        "similarity": _matrix(_pick(predicted.similarity, places)),
        "similarity_interval": _matrix(_pick(predicted.similarity_interval, places)),
        "order": list(tree.order),
        "tree": [list(merge) for merge in tree.merges],
        "surrogates": {name: _stand_ins(predicted, name, names) for name in names},
        "ensembles": [_ensemble(predicted, size, names) for size in (2, 3, 4) if size < len(names)],
        "measured": None,
        "judge": None,
        **(_measured(config, measured, predicted, rivals, names) if measured else {}),
        "failures": [{"model": name, "reason": reason} for name, reason in failed.items()],
        "notes": list(predicted.notes),
        "versions": made_with,
        "report": "report.html",
    }


def pair_columns(document: dict[str, Any]) -> dict[str, Any]:
    """One row for each ordered pair of models, the diagonal too."""
    names = document["models"]
    columns: dict[str, Any] = {
        "source": [source for source in names for _ in names],
        "target": [target for _ in names for target in names],
    }
    for key in ("predicted", "similarity", "measured", "noise_rate", "same_mistake", "fitted"):
        if document.get(key) is not None:
            columns[key] = [value for row in document[key] for value in row]
    for key in ("predicted_interval", "similarity_interval", "measured_interval"):
        if document.get(key) is not None:
            for place, end in enumerate(("low", "high")):
                columns[f"{key.removesuffix('_interval')}_{end}"] = [
                    pair[place] for row in document[key] for pair in row
                ]
    return columns


def sample_tensors(measured: Measured) -> dict[str, Tensor]:
    """By source, target and sample: right before and wrong after the attack, and after noise; and
    what was right.
    """
    return {
        "fooled": measured.fooled,
        "noise_fooled": measured.noise_fooled,
        "right": measured.right,
    }


def _measured(
    config: CompareConfig,
    measured: Measured,
    predicted: Predicted,
    rivals: Baselines | None,
    names: list[str],
) -> dict[str, Any]:
    own, other = ([it.names.index(name) for name in names] for it in (measured, predicted))
    rate, score = _pick(measured.rate, own), _pick(predicted.score, other)
    return {
        "attack": config.attack,
        "steps": config.steps if config.attack == "pgd" else None,
        "measured": _matrix(rate),
        "measured_interval": _matrix(_pick(measured.interval, own)),
        "noise_rate": _matrix(_pick(measured.noise_rate, own)),
        "same_mistake": _matrix(_pick(measured.same_mistake, own)),
        "accuracy": [finite(value) for value in measured.accuracy[own].tolist()],
        "fitted": _matrix(_fitted(score, rate)),
        "judge": _judged(score, rate, rivals, names),
    }


def _fitted(score: Tensor, rate: Tensor) -> Tensor:
    """The line through (score, rate) over pairs off the diagonal: the score's order in the units of
    a rate.
    """
    off = ~torch.eye(len(score), dtype=torch.bool) & rate.isfinite()
    if int(off.sum()) < 2 or float(score[off].std()) == 0:
        return torch.full_like(score, math.nan)
    slope, offset = map(float, np.polyfit(score[off].numpy(), rate[off].numpy(), 1))
    return slope * score + offset


def _judged(
    score: Tensor, rate: Tensor, rivals: Baselines | None, names: list[str]
) -> dict[str, Any] | None:
    off = ~torch.eye(len(names), dtype=torch.bool)
    if len(names) < FEWEST_TO_JUDGE or not bool(rate[off].isfinite().all()):
        return None
    tables = {}
    for key in RIVALS:
        table = getattr(rivals, key) if rivals else None
        if table is not None and rivals is not None and set(names) <= set(rivals.names):
            picked = _pick(table, [rivals.names.index(name) for name in names])
            if bool(picked[off].isfinite().all()):
                tables[key] = picked
    found = judge(score, rate, names=names, baselines=tables)
    return {
        **_verdict(found.predicted),
        "rivals": {key: _rival(found, key) for key in tables},
        "resamples": found.resamples,
    }


def _rival(found: Judgement, key: str) -> dict[str, Any]:
    ahead = zip(("within_target", "double_centred"), found.ahead[key], strict=True)
    return {
        "name": RIVALS[key],
        **_verdict(found.rivals[key]),
        "ahead": {name: {"value": it.value, "interval": _pair(it)} for name, it in ahead},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    parts = {
        "within_target": verdict.within_target,
        "double_centred": verdict.double_centred,
        "partial": verdict.partial,
    }
    known = {name: it for name, it in parts.items() if it is not None}
    return {
        **{name: it.value for name, it in known.items()},
        "interval": {name: _pair(it) for name, it in known.items()},
        "p": {name: it.p for name, it in known.items()},
    }


def _pair(agreement: Agreement) -> list[float] | None:
    return list(agreement.interval) if agreement.interval else None


def _stand_ins(predicted: Predicted, target: str, names: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": it.name,
            "share": finite(it.share),
            "score": finite(it.score),
            "interval": [finite(end) for end in it.interval],
            "similarity": finite(it.similarity),
        }
        for it in rank_surrogates(predicted, target)
        if it.name in names
    ]


def _ensemble(predicted: Predicted, size: int, names: list[str]) -> dict[str, Any]:
    found = diverse(predicted, size, among=names)
    return {"models": list(found.names), "shared": found.shared}


def _pick(table: Tensor, places: list[int]) -> Tensor:
    return table[places][:, places]


def _matrix(table: Tensor) -> list[Any]:
    return [_matrix(row) if row.ndim else finite(float(row)) for row in table]
