"""A story as plain data: the summary document and the tables."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from worldline.attacks import Check, named_norm
from worldline.explain import Share, Summary, TwinStory
from worldline.inputs import Data
from worldline.runs.config import ExploreConfig
from worldline.trace import COMPARISONS

__all__ = ["SCHEMA", "layer_columns", "layer_documents", "pair_columns", "sample_columns", "summary_document"]

SCHEMA = "worldline.explore/1"
TOLD = ("adversarial_clean", "noise_clean", "adversarial_true", "adversarial_wrong")


def summary_document(
    config: ExploreConfig,
    data: Data,
    story: TwinStory,
    checks: tuple[Check, ...],
    y: Tensor,
    made_with: dict[str, str],
) -> dict[str, Any]:
    """The content of ``summary.json``: no NaN and no infinity; a quantile that is infinite is null with a ``status``."""
    y = y.cpu()
    right = {name: float((said == y).double().mean()) for name, said in story.trace.predictions.items()}
    swap = story.swap_layer
    return {
        "schema": SCHEMA,
        "model": config.model,
        "data": data.name,
        "data_split": data.split,
        "bounds": list(data.bounds),
        "epsilon": config.epsilon,
        "epsilon_text": config.eps,
        "norm": config.norm,
        "attack": config.attack,
        "steps": config.steps if config.attack == "pgd" else None,
        "frame": story.frame,
        "seed": config.seed,
        "samples": len(y),
        "fooled": int(story.fooled.sum()),
        "misclassified": int(story.misclassified.sum()),
        "clean_accuracy": right["clean"],
        "adversarial_accuracy": right["adversarial"],
        "noise_accuracy": right["noise"],
        "swap_layer": None
        if swap is None
        else {"name": swap.name, "index": swap.index, "interval": list(swap.interval)},
        "layers": layer_documents(story),
        "proper_depth": {name: _summary(value) for name, value in story.proper_depth.items()},
        "untrained_proper_depth": {name: _summary(value) for name, value in story.untrained_proper_depth.items()}
        if story.untrained_proper_depth
        else None,
        "checks": [
            {**asdict(check), "value": _finite(check.value), "threshold": _finite(check.threshold)} for check in checks
        ],
        "trustworthy": all(check.status != "warned" for check in checks),
        "notes": list(story.notes),
        "class_names": list(data.class_names) if data.class_names else None,
        "versions": made_with,
        "report": "report.html",
    }


def layer_documents(story: TwinStory) -> list[dict[str, Any]]:
    """What the summary document tells of each layer."""
    return [
        {
            "index": layer.index,
            "name": layer.layer.name,
            "kind": layer.layer.kind,
            "width": layer.layer.width,
            "swapped_share": layer.swapped.value,
            "swapped": _share(layer.swapped),
            "noise_swapped": _share(layer.noise_swapped),
            "misclassified_swapped": _share(layer.misclassified_swapped),
            "rapidity": {name: _summary(layer.rapidity[name]) for name in TOLD},
            "untrained_rapidity": {name: _summary(layer.untrained[name]) for name in TOLD} if layer.untrained else None,
            "excess_boost": _summary(layer.excess_boost) if layer.excess_boost else None,
        }
        for layer in story.layers
    ]


def layer_columns(document: dict[str, Any]) -> dict[str, list[Any]]:
    """One row a layer: every quantity of the summary's layers, flattened to ``name_part`` columns."""
    rows = [_flat(layer) for layer in document["layers"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def sample_columns(story: TwinStory, y: Tensor, adversarial: Tensor, x: Tensor) -> dict[str, Any]:
    """One row a sample: label, predictions, sizes of the changes, swap layer, proper depth."""
    columns: dict[str, Any] = {"sample": torch.arange(len(y)).numpy(), "label": y.cpu().numpy()}
    for name, said in story.trace.predictions.items():
        columns[f"{name}_prediction"] = said.numpy()
    columns["wrong_class"] = story.trace.wrong.numpy()
    columns["fooled"] = story.fooled.numpy()
    for twin, value in (("adversarial", adversarial), ("noise", story.noise)):
        for norm in ("linf", "l2"):
            columns[f"{twin}_{norm}"] = named_norm(norm).size((value - x).cpu()).numpy()
    columns["swap_layer"] = [index if index >= 0 else None for index in story.sample_swap.tolist()]
    for name in ("adversarial_clean", "noise_clean"):
        columns[f"proper_depth_{name}"] = (1 / story.trace.rapidity[name].cosh()).sum(1).numpy()
    return columns


def pair_columns(story: TwinStory) -> dict[str, Any]:
    """One row for each sample and layer: the rapidity of every comparison, trained and untrained; ±∞ is a value."""
    samples, layers = story.trace.rapidity["adversarial_clean"].shape
    columns: dict[str, Any] = {
        "sample": torch.arange(samples).repeat_interleave(layers).numpy(),
        "layer": torch.arange(layers).repeat(samples).numpy(),
    }
    for prefix, trace in (("", story.trace), ("untrained_", story.untrained_trace)):
        if trace is not None:
            columns |= {f"{prefix}{name}": trace.rapidity[name].flatten().numpy() for name in COMPARISONS}
    return columns


def _summary(summary: Summary) -> dict[str, Any]:
    low, high = summary.interval or (None, None)
    values = (summary.median, summary.q10, summary.q90, low, high)
    if summary.count == 0:
        status = "no samples"
    elif any(value is not None and math.isinf(value) for value in values):
        status = "infinite"
    else:
        status = "ok"
    return {
        "median": _finite(summary.median),
        "q10": _finite(summary.q10),
        "q90": _finite(summary.q90),
        "interval": None if summary.interval is None else [_finite(low), _finite(high)],
        "count": summary.count,
        "undefined": summary.undefined,
        "status": status,
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "value": share.value,
        "interval": list(share.interval) if share.interval else None,
        "count": share.count,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            flat |= _flat(part, f"{prefix}{name}_")
        elif name == "interval":
            flat |= {f"{prefix}low": part[0] if part else None, f"{prefix}high": part[1] if part else None}
        else:
            flat[f"{prefix}{name}"] = part
    return flat
