"""The run behind ``worldline compare``: open models in turn, predict, measure if asked, judge."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor, nn

from worldline import compare
from worldline.attacks import Attack
from worldline.commands.compare.config import CompareConfig
from worldline.commands.compare.record import RIVALS, Comparison, Intervals, Matrix, PairRow
from worldline.compare import Baselines, Judgement, Measured, Predicted, SourceResult
from worldline.compare.models import Answers, opened
from worldline.errors import InputError
from worldline.files import shorten
from worldline.inputs import Data
from worldline.loading import check_model_name
from worldline.runs.budgets import settled
from worldline.runs.codec import schema_of
from worldline.runs.keys import content_key
from worldline.runs.opening import (
    channels_last,
    fitted,
    make_attack,
    note_of,
    open_data,
    open_device,
    open_model,
    refuse_probability,
    versions,
)
from worldline.runs.store import RunFolder
from worldline.settings import Progress, Settings
from worldline.trace import Model

__all__ = ["Given", "prepare", "run"]

FEWEST_TO_JUDGE = 4
ENSEMBLES = (2, 3, 4)
WITHOUT_CHANNEL = 3
"""Dimensions of pictures (N, H, W)."""


@dataclass(frozen=True)
class Given:
    """What a run works with; models are opened when their turn comes."""

    data: Data
    x: Tensor
    y: Tensor
    models: dict[str, compare.Loader]
    attack: Attack
    said: dict[str, str]  # of a model by name, once it was opened


def prepare(config: CompareConfig, progress: Progress) -> Given:
    """Open and check the data, and the names of the models.

    Raises:
        UsageError, InputError: what was given cannot be used.
    """
    device = open_device(config.device)
    for spec in config.models:
        if spec not in config.handed.models:
            check_model_name(spec)
    data = open_data(config)
    config = settled(config, data)
    if channels_last(data.x) or data.x.ndim == WITHOUT_CHANNEL:
        data = fitted(open_model(config.models[0], config, device, progress, data), data)
    x, y = data.x[: config.samples].to(device), data.y[: config.samples].to(device)
    compare.check_samples(x, config.bounds)
    said: dict[str, str] = {}

    def load(name: str) -> nn.Module:
        model = open_model(name, config, device, progress, data)
        said[name] = note_of(model)
        refuse_probability(model, x[:2])
        return model

    models = {name: compare.Loader(partial(load, name)) for name in config.models}
    return Given(data, x, y, models, make_attack(config), said)


def run(config: CompareConfig, given: Given, folder: RunFolder, progress: Progress) -> Comparison:
    """Predict which attacks carry over, measure it if asked, and keep what was found."""
    config = settled(config, given.data)
    settings = config.settings(progress)
    predicted = compare.predict(
        given.models,
        given.x,
        given.y,
        epsilon=config.epsilon,
        norm=config.norm,
        samples=config.probed_samples,
        probes=config.probes,
        settings=settings,
    )
    given = replace(given, models={name: given.models[name] for name in predicted.names})
    measured = rivals = None
    if config.measure:
        measured = _measure(config, given, folder, settings)
        rivals = compare.baselines(given.models, given.x, given.y, settings=settings)
        kept = {"fooled": measured.fooled, "noise_fooled": measured.noise_fooled}
        folder.write_tensors("samples.safetensors", {**kept, "right": measured.right})
    record = _record(config, given, predicted, measured, rivals)
    folder.remove("sources/*")
    folder.write_rows("pairs.parquet", _pairs(record), schema=schema_of(Comparison))
    return record


def _measure(
    config: CompareConfig, given: Given, folder: RunFolder, settings: Settings
) -> Measured:
    """Attack every model; each finished one is a file, by the content that decided it."""
    x, y, names = given.x, given.y, list(given.models)
    keys = [_content(name, it, x, settings.batch_size) for name, it in given.models.items()]
    own = content_key(config.to_toml(), x, y, *keys)

    def place(name: str) -> str:
        return f"sources/{own}-{names.index(name):04d}.safetensors"

    def keep(found: SourceResult) -> None:
        targets = torch.tensor([names.index(target) for target in found.targets])
        kept = {"targets": targets, "adversarial": found.adversarial, "noise": found.noise}
        folder.write_tensors(place(found.source), kept)

    done = {}
    for name in names:
        stored = folder.kept_tensors(place(name))
        if stored is not None and {"targets", "adversarial", "noise"} <= set(stored):
            targets = tuple(names[number] for number in stored["targets"].tolist())
            done[name] = SourceResult(name, targets, stored["adversarial"], stored["noise"])
    return compare.measure(
        given.models, x, y, given.attack, done=done, on_source=keep, settings=settings
    )


def _content(name: str, loader: compare.Loader, x: Tensor, batch_size: int) -> str:
    """What a model is: its structure, all that its state holds, and what its code answers."""
    try:
        with opened(name, loader) as model:
            return content_key(name, model, _answers(name, model, x, batch_size))
    except InputError as error:  # measuring says so, and leaves it out
        return content_key(name, str(error))


def _answers(name: str, model: Model, x: Tensor, batch_size: int) -> Tensor | str:
    try:
        return Answers(name, model)(x, batch_size).argmax(1)
    except InputError as error:
        return str(error)


def _record(
    config: CompareConfig,
    given: Given,
    predicted: Predicted,
    measured: Measured | None,
    rivals: Baselines | None,
) -> Comparison:
    names = [it for it in predicted.names if measured is None or it in measured.names]
    places = [predicted.names.index(name) for name in names]
    rate, alike = _pick(predicted.rate, places), _pick(predicted.similarity, places)
    tree = compare.cluster(alike)
    failures = (*predicted.failures, *(measured.failures if measured else ()))
    record = Comparison(
        models=tuple(names),
        kinds=tuple(predicted.kinds[place] for place in places),
        sights=tuple(predicted.sights[place] for place in places),
        data=given.data.name,
        data_split=given.data.split,
        samples=len(given.x),
        bounds=given.data.bounds,
        epsilon=config.epsilon,
        epsilon_text=config.eps,
        norm=config.norm,
        seed=config.seed,
        probed_samples=len(predicted.rows),
        probes=config.probes,
        predicted=_matrix(rate),
        predicted_interval=_intervals(_pick(predicted.interval, places)),
        similarity=_matrix(alike),
        similarity_interval=_intervals(_pick(predicted.similarity_interval, places)),
        order=tree.order,
        tree=tree.merges,
        surrogates={
            name: tuple(it for it in compare.rank_surrogates(predicted, name) if it.name in names)
            for name in names
        },
        ensembles=tuple(
            compare.diverse(predicted, size, among=names) for size in ENSEMBLES if size < len(names)
        ),
        failures=tuple({it.model: it for it in failures}.values()),
        notes=tuple(dict.fromkeys((*given.data.notes, *_said(given), *predicted.notes))),
        versions=versions(given.x.device),
    )
    if measured is None:
        return record
    measured = measured.only(names)
    return replace(
        record,
        attack=config.attack,
        steps=config.steps if config.attack == "pgd" else None,
        measured=_matrix(measured.rate),
        measured_interval=_intervals(measured.interval),
        noise_rate=_matrix(measured.noise_rate),
        same_mistake=_matrix(measured.same_mistake),
        accuracy=_row(measured.accuracy),
        judge=_judged(rate, measured.rate, rivals, names),
    )


def _said(given: Given) -> list[str]:
    """What must be said of the models, by name where it is of one of several."""
    named = ((shorten(name, 60), note) for name, note in given.said.items() if note)
    return [note if name in note else f"{name}: {note}" for name, note in named]


def _pairs(record: Comparison) -> list[PairRow]:
    """One row for each ordered pair of models, the diagonal too."""
    places = range(len(record.models))
    tables = {
        it.name: table
        for it in fields(PairRow)
        if (table := getattr(record, it.name, None)) is not None
    }
    return [
        PairRow(
            source=record.models[source],
            target=record.models[target],
            **{name: table[source][target] for name, table in tables.items()},
        )
        for source in places
        for target in places
    ]


def _judged(
    expected: Tensor, rate: Tensor, rivals: Baselines | None, names: list[str]
) -> Judgement | None:
    """None with fewer than four models, or where a rate is unknown."""
    off = ~torch.eye(len(names), dtype=torch.bool)
    known = bool(rate[off].isfinite().all() and expected[off].isfinite().all())
    if len(names) < FEWEST_TO_JUDGE or not known:
        return None
    found: dict[str, Tensor] = {}
    if rivals is not None and set(names) <= set(rivals.names):
        places = [rivals.names.index(name) for name in names]
        there = {key: table for key in RIVALS if (table := getattr(rivals, key)) is not None}
        found = {key: _pick(table, places) for key, table in there.items()}
    finite = {key: table for key, table in found.items() if bool(table[off].isfinite().all())}
    return compare.judge(expected, rate, names=names, baselines=finite)


def _pick(table: Tensor, places: list[int]) -> Tensor:
    return table[places][:, places]


def _row(values: Tensor) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in values.tolist())


def _matrix(table: Tensor) -> Matrix:
    return tuple(map(_row, table))


def _intervals(table: Tensor) -> Intervals:
    """(M, M, 2) as pairs; None where an end is unknown."""
    return tuple(
        tuple(None if math.isnan(low + high) else (low, high) for low, high in row.tolist())
        for row in table
    )
