"""A search for distant pairs as plain data: the summary document, its tables, the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldline.attacks import Collided
from worldline.explain import ClassMap, DistantPairs, DistantStory
from worldline.inputs import Data
from worldline.runs.config import DistantConfig
from worldline.runs.values import finite

__all__ = [
    "SCHEMA",
    "class_columns",
    "input_tensors",
    "pair_columns",
    "summary_document",
    "worldline_columns",
]

SCHEMA = "worldline.distant/1"
SHOWN_STEPS = 9


def summary_document(
    config: DistantConfig,
    data: Data,
    story: DistantStory,
    made: Collided | None,
    made_with: dict[str, str],
) -> dict[str, Any]:
    """The content of ``summary.json``; a rapidity of ±∞ is null."""
    return {
        "schema": SCHEMA,
        "model": config.model,
        "data": data.name,
        "data_split": data.split,
        "bounds": list(data.bounds),
        "class_names": list(data.class_names) if data.class_names else None,
        "frame": story.frame,
        "seed": config.seed,
        "layer": story.layer.name,
        "layer_index": story.index,
        "layer_width": story.layer.width,
        "narrow": story.narrow,
        "layers": [
            {"index": index, "name": layer.name, "width": layer.width}
            for index, layer in enumerate(story.layers)
        ],
        "input_quantile": story.input_quantile,
        "least_distance": story.least_distance,
        "counts": {name: int(value) for name, value in vars(story.counts).items()},
        "merged": _pairs(story.merged, story),
        "opposed": _pairs(story.opposed, story),
        "merged_beyond_untrained": story.merged.beyond,
        "opposed_beyond_untrained": story.opposed.beyond,
        "untrained": None
        if story.null is None
        else {
            "networks": len(story.null.merged),
            "merged": _row(story.null.merged),
            "opposed": _row(story.null.opposed),
            "kept": list(story.null.kept),
        },
        "far": [_row(row) for row in story.far],
        "same_class": _row(story.same_class),
        "classes": None if story.classes is None else _classes(story.classes),
        "made": None if made is None else _made(made, config),
        "notes": list(story.notes),
        "versions": made_with,
        "report": "report.html",
    }


def pair_columns(story: DistantStory) -> dict[str, Any]:
    """One row for each found pair: those merged, then those opposed; ±∞ is a value."""
    both = (story.merged, story.opposed)
    columns: dict[str, Any] = {
        "sign": np.concatenate([np.full(len(side), side.sign) for side in both]),
        **{
            name: _joined([getattr(side, name) for side in both])
            for name in ("first", "second", "rapidity", "meets")
        },
        **{
            name: _joined([getattr(side, name) for side in both])
            for name in ("input_distance", "input_quantile", "matched_p")
        },
    }
    for name in ("family_p", "untrained_rank"):
        if getattr(story.merged, name) is not None:
            columns[name] = _joined([getattr(side, name) for side in both])
    for name in ("first", "second"):
        columns[f"{name}_label"] = story.labels[columns[name]].numpy()
        columns[f"{name}_prediction"] = story.predictions.cpu()[columns[name]].numpy()
    return columns


def worldline_columns(story: DistantStory) -> dict[str, Any]:
    """One row for each found pair and layer."""
    both = (story.merged, story.opposed)
    pairs, layers = sum(len(side) for side in both), len(story.layers)
    columns: dict[str, Any] = {
        "pair": np.arange(pairs).repeat(layers),
        "layer": np.tile(np.arange(layers), pairs),
        "rapidity": _joined([side.worldline.flatten() for side in both]),
    }
    if (
        story.merged.untrained_worldline is not None
        and story.opposed.untrained_worldline is not None
    ):
        columns["untrained_rapidity"] = _joined(
            [
                side.untrained_worldline.flatten()
                for side in both
                if side.untrained_worldline is not None
            ]
        )
    return columns


def class_columns(story: DistantStory) -> dict[str, Any]:
    """One row for each pair of classes and layer."""
    assert story.classes is not None
    classes, layers = len(story.classes.classes), len(story.layers)
    names = story.classes.classes.numpy()
    return {
        "first": np.repeat(names, classes * layers),
        "second": np.tile(np.repeat(names, layers), classes),
        "layer": np.tile(np.arange(layers), classes * classes),
        "count": np.repeat(story.classes.count.flatten().numpy(), layers),
        **{
            name: getattr(story.classes, name).flatten().numpy()
            for name in ("mean", "median", "q10", "q90")
        },
    }


def input_tensors(
    story: DistantStory, x: Tensor, made: Collided | None, make: tuple[int, ...]
) -> dict[str, Tensor]:
    """Both inputs of every found pair, in the order of the table; and the path of the made one."""
    first = torch.cat((story.merged.first, story.opposed.first)).to(x.device)
    second = torch.cat((story.merged.second, story.opposed.second)).to(x.device)
    tensors = {"first": x[first], "second": x[second]}
    if made is not None and made.path is not None:
        tensors |= {
            "made": made.x,
            "stranger": x[make[1]][None],
            "path": made.path[_steps(len(made.path), made)][:, 0],
        }
    return tensors


def _pairs(side: DistantPairs, story: DistantStory) -> list[dict[str, Any]]:
    rows = []
    for row in range(len(side)):
        first, second = int(side.first[row]), int(side.second[row])
        rows.append(
            {
                "samples": [first, second],
                "labels": [int(story.labels[it]) for it in (first, second)],
                "predictions": [int(story.predictions[it]) for it in (first, second)],
                "rapidity": finite(float(side.rapidity[row])),
                "worldline": _row(side.worldline[row]),
                "untrained_worldline": None
                if side.untrained_worldline is None
                else _row(side.untrained_worldline[row]),
                "meets": int(side.meets[row]) if int(side.meets[row]) >= 0 else None,
                "input_distance": float(side.input_distance[row]),
                "input_quantile": float(side.input_quantile[row]),
                "matched_p": float(side.matched_p[row]),
                "family_p": None if side.family_p is None else float(side.family_p[row]),
            }
        )
    return rows


def _classes(classes: ClassMap) -> dict[str, Any]:
    return {
        "labels": classes.classes.tolist(),
        "count": classes.count.tolist(),
        "median": [[_row(cell) for cell in row] for row in classes.median],
    }


def _made(made: Collided, config: DistantConfig) -> dict[str, Any]:
    return {
        "samples": list(config.make),
        "sign": made.sign,
        "epsilon": config.epsilon,
        "norm": config.norm,
        "success": bool(made.success[0]),
        **{
            name: finite(float(getattr(made, name)[0]))
            for name in (
                "rapidity_before",
                "rapidity",
                "distance_before",
                "distance",
                "same_class_closer",
                "random_closer",
            )
        },
        **{
            name: finite(float(getattr(made, name)[0]))
            for name in ("input_distance", "input_closer", "change", "nearest_data")
        },
        "usual_nearest": made.scale.usual_nearest,
        "predictions": [
            int(made.prediction_before[0]),
            int(made.prediction[0]),
            int(made.stranger_prediction[0]),
        ],
        "best_step": int(made.best_step[0]),
        "path_rapidity": _row(made.path_rapidity[:, 0]),
        "path_distance": _row(made.path_distance[:, 0]),
        "same_class_distance": [float(made.scale.same_class.quantile(q)) for q in (0.1, 0.5, 0.9)],
        "shown_steps": _steps(len(made.path_rapidity), made),
    }


def _steps(steps: int, made: Collided) -> list[int]:
    """Some iterates, evenly spaced, up to the best."""
    last = min(int(made.best_step[0]), steps - 1)
    return sorted({round(last * part / (SHOWN_STEPS - 1)) for part in range(SHOWN_STEPS)})


def _joined(parts: list[Tensor]) -> Any:
    return torch.cat([part.cpu() for part in parts]).numpy()


def _row(values: Tensor) -> list[float | None]:
    return [finite(value) for value in values.tolist()]
