"""The run: experiments of the encoder, each kept when it is done."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from worldline import zoo
from worldline.commands.encode.config import ALL, EncodeConfig, Name
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.encoder.experiments import EXPERIMENTS, Experiment, Needs
from worldline.errors import RunError, UsageError
from worldline.loading import load_embeddings, load_picture
from worldline.runs.codec import schema_of
from worldline.runs.keys import content_key
from worldline.runs.opening import versions
from worldline.runs.store import RunFolder
from worldline.settings import Progress
from worldline.zoo.photograph import Subject

__all__ = ["Task", "prepare", "run"]

INPUTS: dict[Needs, tuple[str, ...]] = {
    "": (),
    "digits": (),
    "embeddings": ("data",),
    "picture": ("image",),
    "two pictures": ("image", "receiver"),
}
PUBLISHED_SIDE, QUICK_SIDE = 50, 20  # pixels of the embedded pictures


@dataclass(frozen=True)
class Task:
    """An experiment, what it is given, and in words what that is."""

    experiment: Experiment
    given: tuple[Tensor, ...]
    origin: str


def prepare(config: EncodeConfig, progress: Progress) -> tuple[Task, ...]:
    """The experiments with their inputs, their settings checked.

    Raises:
        UsageError: a setting that the experiment does not have or cannot have. InputError: a
            picture or embeddings that cannot be used.
    """
    return tuple(
        Task(experiment, *_given(experiment, config, progress))
        for experiment in _experiments(config)
    )


def run(
    config: EncodeConfig, given: tuple[Task, ...], folder: RunFolder, progress: Progress
) -> EncoderReport:
    """Run what is not done yet, and tell of all."""
    reports = []
    for number, task in enumerate(given):
        progress("Running experiments", number, len(given))
        reports.append(_done(task, folder) or _do(task, config, folder))
    progress("Running experiments", len(given), len(given))
    agreeing = sum(it.finding.agrees for it in reports)
    only = reports[0].finding if config.name != ALL else None
    verdict = f"{agreeing} of {len(reports)} experiments as the exact law says."
    return EncoderReport(
        experiment=config.name,
        headline=only.measurements[0] if only else None,
        agrees=agreeing == len(reports),
        verdict=only.verdict if only else verdict,
        experiments=tuple(reports),
        versions=versions(torch.device("cpu")),
    )


def _experiments(config: EncodeConfig) -> tuple[Experiment, ...]:
    kinds = list(EXPERIMENTS.values()) if config.name == ALL else [EXPERIMENTS[config.name]]
    known = {"seed", "setting"}
    if config.name != ALL:
        known |= {it.name for it in fields(kinds[0])} | {*INPUTS[kinds[0].needs]}
    if unknown := {*config.chosen, *config.files} - known:
        raise UsageError(f"{config.name} has no {_flags(unknown)}; it has {_flags(known)}.")
    quick = config.setting == "quick"
    return tuple(
        kind(seed=config.seed, **{**(kind.quick if quick else {}), **config.chosen})
        for kind in kinds
    )


def _given(
    experiment: Experiment, config: EncodeConfig, progress: Progress
) -> tuple[tuple[Tensor, ...], str]:
    """What an experiment needs to be given, and what it is."""
    if experiment.needs == "picture":
        return _pictures(config, "temple")
    if experiment.needs == "two pictures":
        return _pictures(config, "temple", "flower")
    if experiment.needs == "embeddings":
        if config.handed.data is not None:
            found = config.handed.data
        elif config.data:
            found = load_embeddings(Path(config.data), seed=config.seed)
        else:
            found = zoo.embeddings(seed=config.seed, progress=progress)
        return (found.embeddings, found.matched, found.unmatched), found.origin
    if experiment.needs == "digits":
        data = zoo.digits()
        return (data.x, data.y, data.reference_x, data.reference_y), "the embedded digits"
    return (), experiment.features


def _pictures(config: EncodeConfig, *subjects: Subject) -> tuple[tuple[Tensor, ...], str]:
    """The message, and the receiver's picture if one is needed: named, handed over, embedded."""
    side = QUICK_SIDE if config.setting == "quick" else PUBLISHED_SIDE
    found, origin = [], []
    for option, subject in zip(("image", "receiver"), subjects, strict=False):
        handed, named = getattr(config.handed, option), getattr(config, option)
        if handed is not None:
            found.append(handed)
            origin.append("the given picture")
        elif named:
            found.append(load_picture(Path(named)))
            origin.append(Path(named).name)
        else:
            found.append(zoo.picture(side, subject))
            origin.append(f"the embedded photograph of a {subject}")
    return tuple(found), " and ".join(origin)


def _done(task: Task, folder: RunFolder) -> ExperimentReport | None:
    """What an earlier start found of the very same experiment, if its table is there too."""
    kept = f"{task.experiment.name}.json"
    if not folder.holds(kept):
        return None
    try:
        report = folder.read_record(ExperimentReport, kept)
        folder.read_columns(task.experiment.table, report.table)
    except RunError:  # damaged: it is made again
        return None
    return report if report.key == _key(task) else None


def _do(task: Task, config: EncodeConfig, folder: RunFolder) -> ExperimentReport:
    it = task.experiment
    with _one_thread():
        outcome = it.run(*task.given)
    settings: dict[str, object] = {**it.settings(), **config.files}
    if config.setting != "published":
        settings["setting"] = config.setting
    told = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in settings.items())
    report = ExperimentReport(
        experiment=cast(Name, it.name),  # of which a test holds that both lists are one
        title=it.title,
        group=it.group,
        claim=it.claim,
        law=it.law,
        shown=it.shown,
        command=f"worldline encode {it.name} {told}",
        settings=it.settings(),
        input=task.origin,
        replicate=it.replicate,
        finding=outcome.finding,
        key=_key(task),
    )
    folder.write_table(report.table, vars(outcome.table), schema=schema_of(EncoderReport))
    folder.write_record(report, f"{it.name}.json")
    return report


def _key(task: Task) -> str:
    return content_key(task.experiment, *task.given)


def _flags(names: set[str]) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of small tensors: one thread is faster than several that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
