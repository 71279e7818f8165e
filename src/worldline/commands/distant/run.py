"""The run behind ``worldline distant``: search, make a pair if asked, keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from worldline import explain
from worldline.attacks import Collided, entangle
from worldline.commands.distant.config import DistantConfig
from worldline.commands.distant.record import INPUTS, DistantPairs, MadePair
from worldline.errors import UsageError
from worldline.explain import ClassMap, DistantStory
from worldline.inputs import Data
from worldline.runs.budgets import settled
from worldline.runs.codec import schema_of
from worldline.runs.opening import Opened, open_one, versions
from worldline.runs.store import RunFolder
from worldline.settings import Progress
from worldline.trace import one_layer

__all__ = ["Given", "prepare", "run"]

SHOWN_STEPS = 9
NUMBERS = (
    "rapidity",
    "meets",
    "input_distance",
    "input_quantile",
    "matched_p",
    "family_p",
    "untrained_rank",
)
Columns = Mapping[str, Sequence[float | None]]
"""A table; ±∞ is a value, None is none."""


@dataclass(frozen=True)
class Given:
    """What a run works with: ``make`` holds places in x."""

    opened: Opened
    layer: str
    make: tuple[int, int] | None


def prepare(config: DistantConfig, progress: Progress) -> Given:
    """Open and check all that the configuration names, before any folder is made.

    Raises:
        UsageError, InputError: what was given cannot be used.
    """
    if config.search == "approximate":
        explain.load_faiss()
    opened = open_one(config, progress)
    make = None
    if config.make is not None:
        first, second = (_place(opened.data, row, len(opened.x)) for row in config.make)
        make = first, second
    return Given(opened, one_layer(opened.model, opened.x, config.layer or None).name, make)


def _place(data: Data, row: int, samples: int) -> int:
    """Where in x the sample of a row is; only the first ones are used."""
    place = data.place(row)
    if place >= samples:
        raise UsageError(
            f"Row {row} is beyond the first {samples:,} samples, which end at row "
            f"{int(data.rows[samples - 1])}; give more --samples."
        )
    return place


def run(config: DistantConfig, given: Given, folder: RunFolder, progress: Progress) -> DistantPairs:
    """Search the model, make a pair if asked, and keep what was found."""
    opened = given.opened
    config = settled(config, opened.data)
    settings = config.settings(progress)
    rows = opened.data.rows[: len(opened.x)]
    story = explain.distant(
        opened.model,
        opened.x,
        opened.y,
        layer=given.layer,
        k=config.pairs,
        input_quantile=config.input_quantile,
        search=config.search,
        reference=opened.reference[0],
        rows=rows,
        nulls=config.nulls,
        settings=settings,
    )
    tensors = _inputs(story, opened)
    made = None
    if given.make is not None:
        one, other = (slice(place, place + 1) for place in given.make)
        assert opened.budget is not None
        plain = opened.budget.plain
        moved = entangle(
            opened.model,
            opened.x[one],
            opened.x[other],
            given.layer,
            reference=opened.reference,
            epsilon=config.epsilon if plain else None,
            sign=-1 if config.opposite else 1,
            norm=config.norm,
            budget=None if plain else opened.budget,
            steps=config.steps,
            keep_path=True,
            settings=settings,
        )
        made = _made(config, moved, opened, given.make)
        assert moved.path is not None
        shown = moved.path[list(made.shown_steps), 0]
        tensors |= {"made": moved.x, "stranger": opened.x[other], "path": shown}
    folder.write_tensors(INPUTS, tensors)
    for name, columns in (
        ("pairs", _pairs(story)),
        ("worldlines", _worldlines(story)),
        ("classes", _classes(story.classes)),
    ):
        if columns:
            folder.write_table(f"{name}.parquet", columns, schema=schema_of(DistantPairs))
    return DistantPairs(
        model=config.model,
        data=opened.data.name,
        data_split=opened.data.split,
        bounds=opened.data.bounds,
        class_names=opened.data.class_names,
        seed=config.seed,
        made=made,
        versions=versions(opened.device),
        **{**vars(story), "notes": (*opened.data.notes, *_said(config, given), *story.notes)},
    )


def _said(config: DistantConfig, given: Given) -> tuple[str, ...]:
    budget = given.opened.budget
    if given.make is None or config.epsilon is not None or budget is None or budget.plain:
        return ()
    return ("The move of the made pair is measured in parts of the whole range of each entry.",)


def _inputs(story: DistantStory, opened: Opened) -> dict[str, Tensor]:
    """Both inputs of every found pair, in the order of the table."""
    pairs = [pair.samples for pair in (*story.merged, *story.opposed)]
    first, second = ([opened.data.place(pair[it]) for pair in pairs] for it in (0, 1))
    return {"first": opened.x[first], "second": opened.x[second]}


def _made(
    config: DistantConfig, moved: Collided, opened: Opened, make: tuple[int, int]
) -> MadePair:
    assert config.make is not None
    before, after, stranger = (
        _class(it) for it in (moved.prediction_before, moved.prediction, moved.stranger_prediction)
    )
    last, parts = int(moved.best_step[0]), range(SHOWN_STEPS)
    low, middle, high = (float(moved.scale.same_class.quantile(q)) for q in (0.1, 0.5, 0.9))
    return MadePair(
        samples=config.make,
        labels=(int(opened.y[make[0]]), int(opened.y[make[1]])),
        sign=moved.sign,
        epsilon=config.epsilon,
        epsilon_text=config.eps or None,
        norm=config.norm,
        success=bool(moved.success[0]),
        rapidity_before=_known(float(moved.rapidity_before[0])),
        rapidity=_known(float(moved.rapidity[0])),
        distance_before=float(moved.distance_before[0]),
        distance=float(moved.distance[0]),
        same_class_closer=float(moved.same_class_closer[0]),
        random_closer=float(moved.random_closer[0]),
        input_distance=float(moved.input_distance[0]),
        input_closer=float(moved.input_closer[0]),
        change=float(moved.change[0]),
        nearest_data=float(moved.nearest_data[0]),
        usual_nearest=moved.usual_nearest,
        predictions=(before, after, stranger),
        best_step=last,
        path_rapidity=tuple(map(_known, moved.path_rapidity[:, 0].tolist())),
        path_distance=tuple(moved.path_distance[:, 0].tolist()),
        same_class_distance=(low, middle, high),
        shown_steps=tuple(sorted({round(last * part / (SHOWN_STEPS - 1)) for part in parts})),
    )


def _class(prediction: Tensor) -> int | None:
    return int(prediction[0]) if int(prediction[0]) >= 0 else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pairs(story: DistantStory) -> Columns:
    """One row for each found pair: those brought together (sign 1), then the opposites (−1)."""
    pairs = (*story.merged, *story.opposed)
    both = (("samples", ""), ("labels", "_label"), ("predictions", "_prediction"))
    return {
        "sign": [1] * len(story.merged) + [-1] * len(story.opposed),
        **{
            f"{side}{end}": [getattr(pair, name)[place] for pair in pairs]
            for name, end in both
            for place, side in enumerate(("first", "second"))
        },
        **{name: [getattr(pair, name) for pair in pairs] for name in NUMBERS},
    }


def _worldlines(story: DistantStory) -> Columns:
    """One row for each found pair and layer, pair by pair."""
    pairs, layers = (*story.merged, *story.opposed), len(story.layers)
    none = (None,) * layers
    return {
        "pair": [place for place in range(len(pairs)) for _ in range(layers)],
        "layer": [*range(layers)] * len(pairs),
        "rapidity": [value for pair in pairs for value in pair.worldline],
        "untrained_rapidity": [
            value for pair in pairs for value in pair.untrained_worldline or none
        ],
    }


def _classes(classes: ClassMap | None) -> Columns:
    """One row for each two classes and layer; nothing without a class map."""
    if classes is None:
        return {}
    layers, size = range(len(classes.median[0][0])), range(len(classes.labels))
    rows = [(a, b, layer) for a in size for b in size for layer in layers]
    return {
        "first": [classes.labels[a] for a, _, _ in rows],
        "second": [classes.labels[b] for _, b, _ in rows],
        "layer": [layer for _, _, layer in rows],
        "count": [classes.count[a][b] for a, b, _ in rows],
        **{
            name: [getattr(classes, name)[a][b][layer] for a, b, layer in rows]
            for name in ("mean", "median", "q10", "q90")
        },
    }
