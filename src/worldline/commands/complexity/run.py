"""The run behind ``worldline complexity``: one model after the other, then their ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from worldline import explain
from worldline.attacks import Attack, adversarial_twin, predict
from worldline.commands.complexity.config import ComplexityConfig
from worldline.commands.complexity.record import (
    SAMPLES,
    ComplexityReport,
    ModelComplexity,
    SampleColumns,
)
from worldline.explain import FEWEST_TO_AIM, NOT_A_BOUND, SampleFragility
from worldline.inputs import Data
from worldline.runs.budgets import settled
from worldline.runs.codec import schema_of
from worldline.runs.opening import (
    fitted,
    make_attack,
    open_data,
    open_device,
    open_model,
    prepare_inputs,
)
from worldline.runs.opening import versions as versions_of
from worldline.runs.store import RunFolder
from worldline.settings import DEFAULT, Progress, Settings
from worldline.statistics import Share, proportion
from worldline.trace import pick_layers

__all__ = ["Given", "measure", "prepare", "run"]


@dataclass(frozen=True)
class Subject:
    """A model with the inputs and labels in its own type, on its device."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Given:
    """What a run works with."""

    device: torch.device
    data: Data
    subjects: tuple[Subject, ...]
    attack: Attack | None


def prepare(config: ComplexityConfig, progress: Progress) -> Given:
    """Open and check all that the configuration names, before any folder is made.

    Raises:
        UsageError, InputError: what was given cannot be used.
    """
    device = open_device(config.device)
    data = open_data(config)
    subjects = []
    for name in config.models:
        model = open_model(name, config, device, progress, data)
        data = fitted(model, data)
        x, y, _ = prepare_inputs(model, data, config.samples, device)
        pick_layers(model, x, config.layers or None)
        subjects.append(Subject(name, model, x, y))
    attack = make_attack(settled(config, data)) if config.eps else None
    return Given(device, data, tuple(subjects), attack)


def run(
    config: ComplexityConfig, given: Given, folder: RunFolder, progress: Progress
) -> ComplexityReport:
    """Measure each model, without attacking it unless asked, and keep what was found."""
    config = settled(config, given.data)
    found: list[tuple[ModelComplexity, SampleFragility]] = []
    for it in given.subjects:
        settings = config.settings(partial(_under, it.name, progress))
        twins = None if given.attack is None else _attacked(it, given.attack, settings)
        measured = partial(measure, sigma=config.noise_size, layers=config.layers)
        found.append(measured(it.name, it.model, it.x, it.y, twins, settings=settings))
    models = tuple(model for model, _ in found)
    for name in ("layers", "limits"):
        rows = [{"model": it.model, **vars(row)} for it in models for row in getattr(it, name)]
        folder.write_rows(f"{name}.parquet", rows, schema=schema_of(ComplexityReport))
    folder.write_columns(SAMPLES, _samples(found, given.data.rows.numpy()))
    attacked = given.attack is not None
    return ComplexityReport(
        data=given.data.name,
        data_split=given.data.split,
        bounds=given.data.bounds,
        epsilon_text=config.eps if attacked else None,
        attack=config.attack if attacked else None,
        norm=config.norm if attacked else None,
        steps=config.steps if attacked and config.attack == "pgd" else None,
        seed=config.seed,
        models=models,
        ranking=_ranking(models),
        notes=given.data.notes,
        versions=versions_of(given.device),
    )


def measure(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    adversarial: Tensor | None = None,
    *,
    sigma: float,
    layers: Sequence[str] = (),
    brief: bool = False,
    settings: Settings = DEFAULT,
) -> tuple[ModelComplexity, SampleFragility]:
    """Complexity of one model on these samples, and how many of its answers noise changes.

    Args:
        name: what the model is called.
        model: the model; x (N, …) inputs, y (N,) labels, on its device.
        adversarial: (N, …) attacked twins, if there are any.
        sigma: of the noise twins, in the units of the input.
        layers: globs; empty for the default layers.
        brief: leave out what costs most: sharpness, most Jacobians, most pairs of strangers.
        settings: bounds, frame, batch size, seed, progress.

    Returns:
        Both, and how fragile each sample is.
    """
    found = explain.complexity(
        model,
        x,
        y=y,
        adversarial=adversarial,
        sigma=sigma,
        layers=layers or None,
        strangers=len(x) if brief else explain.STRANGERS,
        thorough=not brief,
        differentiated=16 if brief else 64,
        settings=settings,
    )
    noise = explain.fragility(model, x, settings=settings)
    aimed = attacked = None
    if len(x) >= FEWEST_TO_AIM:
        aimed = explain.fragility(model, x, probe="aimed", settings=settings)
    if adversarial is not None:
        attacked = _accuracy(model, adversarial, y, settings)
    said = [*found.notes, *(note for note in noise.notes if note != NOT_A_BOUND)]
    record = ModelComplexity(
        **{**vars(found), "notes": tuple(said)},
        model=name,
        clean_accuracy=_accuracy(model, x, y, settings),
        adversarial_accuracy=attacked,
        fragility=noise.summary,
        aimed=aimed and aimed.summary,
    )
    return record, aimed or noise


def _accuracy(model: nn.Module, x: Tensor, y: Tensor, settings: Settings) -> Share:
    """Share of right answers; an output that is not finite is no answer."""
    logits = predict(model, x, batch_size=settings.batch_size)
    known = torch.isfinite(logits).all(1)
    right = (logits.argmax(1) == y.cpu())[known]
    return replace(proportion(int(right.sum()), len(right)), undefined=int((~known).sum()))


def _attacked(it: Subject, attack: Attack, settings: Settings) -> Tensor:
    found = []
    size = settings.batch_size
    for place, (x, y) in enumerate(zip(it.x.split(size), it.y.split(size), strict=True)):
        settings.progress("Attacking", place * size, len(it.x))
        found.append(adversarial_twin(attack, it.model, x, y))
    settings.progress("Attacking", len(it.x), len(it.x))
    return torch.cat(found)


def _ranking(models: Sequence[ModelComplexity]) -> tuple[int, ...]:
    """Places by the share of answers that noise changes; models without a share come last."""
    shares = [it.fragility.changed.value for it in models]
    order = np.argsort([1.0 if it is None else -it for it in shares], kind="stable")
    return tuple(int(place) for place in order)


def _samples(
    found: Sequence[tuple[ModelComplexity, SampleFragility]], rows: npt.NDArray[np.int64]
) -> SampleColumns:
    fragile = [it for _, it in found]
    return SampleColumns(
        model=np.concatenate([np.repeat(one.model, len(it.prediction)) for one, it in found]),
        sample=np.concatenate([rows[: len(it.prediction)] for it in fragile]),
        prediction=np.concatenate([it.prediction.numpy() for it in fragile]),
        radius_linf=np.concatenate([it.radius["linf"].numpy() for it in fragile]),
        radius_l2=np.concatenate([it.radius["l2"].numpy() for it in fragile]),
    )


def _under(name: str, progress: Progress, stage: str, done: int, total: int) -> None:
    progress(f"{name}: {stage}", done, total)
