"""A story as plain data: the summary document and the tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldline.attacks import named_norm
from worldline.checks import Check, Curve
from worldline.explain import TwinStory
from worldline.geometry import proper_depth
from worldline.inputs import Data
from worldline.runs.complexity_document import ModelFound, model_document
from worldline.runs.config import ExploreConfig
from worldline.runs.values import check_parts, columns_of, curve_part, share_part, summary_part
from worldline.trace import COMPARISONS

__all__ = [
    "SCHEMA",
    "layer_columns",
    "layer_documents",
    "pair_columns",
    "sample_columns",
    "summary_document",
]

SCHEMA = "worldline.explore/1"
TOLD = ("adversarial_clean", "noise_clean", "adversarial_true", "adversarial_wrong")


def summary_document(
    config: ExploreConfig,
    data: Data,
    story: TwinStory,
    checks: tuple[Check, ...],
    curve: Curve,
    measured: ModelFound | str,
    y: Tensor,
    made_with: dict[str, str],
) -> dict[str, Any]:
    """The content of ``summary.json``: no NaN and no infinity; a quantile that is infinite is null
    with a ``status``.
    """
    y = y.cpu()
    right = {
        name: float((said == y).double().mean()) for name, said in story.trace.predictions.items()
    }
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
        "tokens": config.tokens,
        "memory": config.memory or None,
        "batch_size": story.plan.batch_size,
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
        "proper_depth": {name: summary_part(value) for name, value in story.proper_depth.items()},
        "untrained_proper_depth": {
            name: summary_part(value) for name, value in story.untrained_proper_depth.items()
        }
        if story.untrained_proper_depth
        else None,
        "curve": curve_part(curve),
        "checks": check_parts(checks),
        "trustworthy": all(check.status != "warned" for check in checks),
        "complexity": None if isinstance(measured, str) else model_document(measured),
        "notes": [*story.notes, *([measured] if isinstance(measured, str) else [])],
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
            "tokens": layer.layer.reduction,
            "projected_to": layer.projected_to,
            "projection_standard_error": layer.standard_error,
            "swapped_share": layer.swapped.value,
            "swapped": share_part(layer.swapped),
            "noise_swapped": share_part(layer.noise_swapped),
            "misclassified_swapped": share_part(layer.misclassified_swapped),
            "rapidity": {name: summary_part(layer.rapidity[name]) for name in TOLD},
            "untrained_rapidity": {name: summary_part(layer.untrained[name]) for name in TOLD}
            if layer.untrained
            else None,
            "excess_boost": summary_part(layer.excess_boost) if layer.excess_boost else None,
        }
        for layer in story.layers
    ]


def layer_columns(document: dict[str, Any]) -> dict[str, list[Any]]:
    """One row a layer: every quantity of the summary's layers, flattened to ``name_part``
    columns.
    """
    return columns_of(document["layers"])


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
        columns[f"proper_depth_{name}"] = proper_depth(story.trace.rapidity[name]).numpy()
    return columns


def pair_columns(story: TwinStory) -> dict[str, Any]:
    """One row for each sample and layer: the rapidity of every comparison, trained and untrained;
    ±∞ is a value.
    """
    samples, layers = story.trace.rapidity["adversarial_clean"].shape
    columns: dict[str, Any] = {
        "sample": torch.arange(samples).repeat_interleave(layers).numpy(),
        "layer": torch.arange(layers).repeat(samples).numpy(),
    }
    for prefix, trace in (("", story.trace), ("untrained_", story.untrained_trace)):
        if trace is not None:
            columns |= {
                f"{prefix}{name}": trace.rapidity[name].flatten().numpy() for name in COMPARISONS
            }
    return columns
