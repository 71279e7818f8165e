"""The run behind ``worldline carriers``: attack, find what carries it, keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldline.attacks import Attack, choices, noise_twin, predict
from worldline.commands.carriers.config import CarriersConfig
from worldline.commands.carriers.measuring import Asked, Measured, asked_of, measure, measure_pairs
from worldline.commands.carriers.record import (
    SAMPLES,
    SHOWN,
    UNITS,
    CarriersReport,
    ModelCarriers,
    SampleColumns,
    UnitColumns,
)
from worldline.errors import ModelError, UsageError
from worldline.explain import Carriers, ClassPairs
from worldline.files import shorten
from worldline.inputs import logits_of
from worldline.runs.attacking import attack_in_shards, forget_shards, gives_no_gradient
from worldline.runs.budgets import settled
from worldline.runs.codec import schema_of
from worldline.runs.opening import Opened, make_attack, open_one, versions
from worldline.runs.store import RunFolder
from worldline.settings import Progress
from worldline.statistics import proportion
from worldline.trace import untouched

__all__ = ["Asked", "Given", "Measured", "asked_of", "measure", "prepare", "run"]


@dataclass(frozen=True)
class Given:
    """What a run works with."""

    opened: Opened
    attack: Attack
    asked: tuple[Asked, ...]
    pairs: tuple[tuple[int, int], ...]
    blind: bool  # no gradient comes


def prepare(config: CarriersConfig, progress: Progress) -> Given:
    """Open and check all that the configuration names, before any folder is made.

    Raises:
        UsageError, InputError: what was given cannot be used.
    """
    opened = open_one(config, progress)
    asked = asked_of(opened.model, opened.x, config.layers, config.by)
    attack = make_attack(config, budget=opened.budget)
    who = f"{config.attack} cannot attack {config.model}"
    problem = gives_no_gradient(opened, attack, who)
    if problem and not config.exact:
        raise ModelError(
            f"Effects along a path need gradients, and {config.model} gives none: {problem}. With "
            "--exact each part is exchanged alone, which needs forward passes only."
        )
    return Given(opened, attack, asked, _named_pairs(config, opened), bool(problem))


def _named_pairs(config: CarriersConfig, opened: Opened) -> tuple[tuple[int, int], ...]:
    """The pairs of classes that the configuration names, as labels."""
    names = opened.data.class_names or ()
    with untouched(opened.model), torch.no_grad():
        classes = logits_of(opened.model, opened.x[:2]).shape[1]

    def label(name: str) -> int:
        if name in names:
            return names.index(name)
        if name.isdecimal() and int(name) < classes:
            return int(name)
        called = f", or by name: {shorten(', '.join(names))}" if names else ""
        raise UsageError(
            f"--pair: there is no class {shorten(name)!r}; they are 0 to {classes - 1}{called}."
        )

    pairs = tuple((label(true), label(wrong)) for true, wrong in config.pairs)
    same = [text for text, (true, wrong) in zip(config.pair, pairs, strict=True) if true == wrong]
    if same:
        raise UsageError(f"--pair is of two classes; {shorten(same[0])!r} is one and the same.")
    return pairs


def run(
    config: CarriersConfig, given: Given, folder: RunFolder, progress: Progress
) -> CarriersReport:
    """Attack the model, find what carries the attack, and keep what was found."""
    opened, budget = given.opened, given.opened.budget
    config = settled(config, opened.data)
    settings = config.settings(progress)
    model, x, y = opened.model, opened.x, opened.y
    adversarial = attack_in_shards(config, opened, given.attack, folder, progress)
    generator = torch.Generator().manual_seed(config.seed)
    noise = noise_twin(x, adversarial, bounds=config.bounds, generator=generator, budget=budget)
    rows = opened.data.rows[: len(y)]
    try:
        measured = measure(
            model,
            (x, adversarial, noise),
            y,
            asked=given.asked,
            exact=config.exact,
            path=config.exact and not given.blind,
            direction=config.direction,
            points=config.points,
            rows=rows,
            features=opened.data.feature_names,
            memory=config.bytes_of_memory,
            settings=settings,
        )
    except ModelError:
        forget_shards(folder)  # nothing is fooled: nothing to go on with
        raise
    pairs, notes = measure_pairs(model, (x, adversarial), measured, given.pairs, settings)
    record = _record(config, opened, adversarial, measured.found, pairs, notes)
    folder.write_tensors(SHOWN, measured.tensors)
    folder.write_rows("layers.parquet", _layer_rows(measured), schema=schema_of(CarriersReport))
    folder.write_columns(UNITS, _units(measured))
    if pairs is not None:
        rows_of = [{"layer": pairs.layer, "by": pairs.by, **vars(it)} for it in pairs.pairs]
        folder.write_rows("pairs.parquet", rows_of, schema=schema_of(CarriersReport))
    folder.write_columns(SAMPLES, _samples(measured.carriers[0], rows))
    forget_shards(folder)
    return record


def _record(
    config: CarriersConfig,
    opened: Opened,
    adversarial: Tensor,
    found: ModelCarriers,
    pairs: ClassPairs | None,
    notes: tuple[str, ...],
) -> CarriersReport:
    data, y = opened.data, opened.y.cpu()
    right = [
        int((choices(predict(opened.model, it, batch_size=config.batch_size)) == y).sum())
        for it in (opened.x, adversarial)
    ]
    return CarriersReport(
        model=config.model,
        data=data.name,
        data_split=data.split,
        bounds=data.bounds,
        epsilon=config.epsilon,
        epsilon_text=config.eps,
        norm=config.norm,
        attack=config.attack,
        steps=config.steps if config.attack == "pgd" else None,
        seed=config.seed,
        clean_accuracy=proportion(right[0], len(y)),
        adversarial_accuracy=proportion(right[1], len(y)),
        found=found,
        pairs=pairs,
        class_names=tuple(data.class_names) if data.class_names else None,
        notes=(*data.notes, *notes),
        versions=versions(opened.device),
    )


def _layer_rows(measured: Measured) -> list[dict[str, object]]:
    """A row for each layer and number of exchanged parts, what each order does in columns."""
    return [
        {
            "layer": layer.name,
            "index": layer.index,
            "by": layer.by,
            "units": layer.units,
            "exchanged": count,
            **{curve.order: curve.repaired[place] for curve in layer.curves},
            "fewest": layer.concentration.units,
            "concentration": layer.concentration.share,
            "concentration_interval": layer.concentration.interval,
            "completeness": layer.completeness and layer.completeness.median,
            "all_together": layer.cut and layer.cut.repaired.value,
            "trust": layer.trust,
        }
        for layer in measured.found.layers
        for place, count in enumerate(layer.counts)
    ]


def _units(measured: Measured) -> UnitColumns:
    layers = [layer for it in measured.carriers for layer in it.layers]
    effects = [it.effect for it in layers]
    return UnitColumns(
        layer=np.concatenate([np.repeat(it.name, it.units) for it in layers]),
        by=np.concatenate([np.repeat(it.by, it.units) for it in layers]),
        number=np.concatenate([np.arange(it.units) for it in layers]),
        effect=np.concatenate([it.mean(0).numpy() for it in effects]),
        effect_size=np.concatenate([it.abs().mean(0).numpy() for it in effects]),
        change=np.concatenate([it.size.mean(0).numpy() for it in layers]),
        first=np.concatenate(
            [
                torch.bincount(it.argmax(1), minlength=it.shape[1]).numpy() / len(it)
                for it in effects
            ]
        ),
    )


def _samples(found: Carriers, rows: Tensor) -> SampleColumns:
    return SampleColumns(
        sample=rows[found.rows].numpy(),
        label=found.true.numpy(),
        wrong=found.wrong.numpy(),
        margin_clean=found.margin_clean.numpy(),
        margin_adversarial=found.margin_adversarial.numpy(),
    )
