"""The run behind ``worldline encode``: an experiment of the encoder by name, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w
import torch

from worldline import zoo
from worldline.encoder.experiments import (
    CONTROLS,
    EXPERIMENTS,
    Control,
    Experiment,
    Measurement,
    Outcome,
)
from worldline.errors import UsageError
from worldline.loading import load_embeddings, load_picture
from worldline.runs.setup import versions
from worldline.runs.store import RunFolder, open_run
from worldline.runs.values import finite

__all__ = ["EncodeConfig", "encode"]

Tick = Callable[[str, int, int], None]
SCHEMA = "worldline.encode/1"
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """One experiment with its settings, or all with the published ones.

    Attributes:
        name: of an experiment, or ``all``.
        settings: other than published ones, by field name; ``all`` takes ``seed`` alone.
        data: an ``.npz`` with a and b, for ``pairs``; empty for features of the zoo.
        image: a grey picture, for ``image`` and ``reconcile``; empty for the embedded one.

    >>> from worldline.runs import EncodeConfig
    >>> EncodeConfig(name="dilation", settings={"depth": 5}).experiments()[0].depth
    5
    """

    name: str
    settings: dict[str, Any]
    data: str = ""
    image: str = ""

    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments, their settings checked.

        Raises:
            UsageError: no such experiment, or a setting that it does not have or cannot have.
        """
        if self.name == ALL:
            self._refuse(known=("seed",))
            return tuple(experiment(**self.settings) for experiment in EXPERIMENTS.values())
        if self.name not in EXPERIMENTS:
            near = get_close_matches(self.name, [*EXPERIMENTS, ALL], n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"There is no experiment {self.name!r}.{hint} There are {', '.join(EXPERIMENTS)}, "
                f"and {ALL}."
            )
        experiment = EXPERIMENTS[self.name]
        inputs = {"embeddings": ("data",), "picture": ("image",)}.get(experiment.needs, ())
        self._refuse(known=(*(field.name for field in fields(experiment)), *inputs))
        return (experiment(**self.settings),)

    def to_toml(self) -> str:
        """Everything that decides the numbers, every setting written out."""
        settings = {experiment.name: experiment.settings() for experiment in self.experiments()}
        return tomli_w.dumps(
            {"encode": {"name": self.name, "data": self.data, "image": self.image}, **settings}
        )

    def _refuse(self, known: tuple[str, ...]) -> None:
        given = {
            **self.settings,
            **{name: True for name in ("data", "image") if getattr(self, name)},
        }
        if unknown := sorted(set(given) - set(known)):
            raise UsageError(
                f"{self.name} has no {', '.join(map(_option, unknown))}; it has "
                f"{', '.join(map(_option, known))}."
            )


def encode(
    config: EncodeConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> RunFolder:
    """Run one experiment of the encoder, or all, and store what was found.

    Args:
        config: which, with what settings.
        out: the run's folder; default: the first free ``runs/encode-<name>-<number>``.
        resume: continue a killed run of the same configuration after its last finished experiment.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``summary.json``, and for each experiment
        ``<name>.parquet`` and ``<name>.json``.

    Raises:
        UsageError, InputError: what was given cannot be used; nothing that existed is overwritten.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.EncodeConfig(name="dilation", settings={"pairs": 5})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = wl.runs.encode(config, Path(folder) / "run").read_json("summary.json")
    >>> round(summary["predicted"], 3), summary["agrees"]
    (1.468, True)
    """
    experiments = config.experiments()
    picture = load_picture(Path(config.image)) if config.image else None
    partners = load_embeddings(Path(config.data), seed=experiments[0].seed) if config.data else None
    run = open_run(out, config.to_toml(), stem=f"encode-{config.name}", resume=resume)
    if run.finished:
        return run
    documents = []
    for number, experiment in enumerate(experiments):
        tick("Running experiments", number, len(experiments))
        if run.holds(f"{experiment.name}.json"):
            documents.append(run.read_json(f"{experiment.name}.json"))
            continue
        given: tuple[Any, ...] = ()
        origin = "Gaussian features"
        if experiment.needs == "picture":
            given = (zoo.picture() if picture is None else picture,)
            origin = Path(config.image).name or "the embedded photograph"
        elif experiment.needs == "embeddings":
            partners = partners or zoo.embeddings(seed=experiment.seed)
            given, origin = (
                (partners.embeddings, partners.matched, partners.unmatched),
                partners.origin,
            )
        with _one_thread():
            outcome = experiment.run(*given)
        documents.append(_document(experiment, outcome, origin))
        run.write_table(f"{experiment.name}.parquet", _columns(outcome), schema=SCHEMA)
        run.write_json(f"{experiment.name}.json", documents[-1])
    tick("Running experiments", len(experiments), len(experiments))
    run.write_json("summary.json", _summary(config, documents))
    return run


def _summary(config: EncodeConfig, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """One experiment's document, or all of them, under the run's own keys."""
    content = documents[0] if config.name != ALL else {"experiment": ALL, "experiments": documents}
    return {
        "schema": SCHEMA,
        **content,
        "versions": versions(torch.device("cpu")),
        "report": "report.html",
    }


def _document(experiment: Experiment, outcome: Outcome, origin: str) -> dict[str, Any]:
    headline = outcome.measurements[0]
    settings = experiment.settings()
    options = " ".join(
        f"{_option(name)} {value}" for name, value in settings.items() if name != "seed"
    )
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "claim": experiment.claim,
        "law": experiment.law,
        "shown": experiment.shown,
        "command": f"worldline encode {experiment.name} {options} --seed {experiment.seed}",
        "settings": settings,
        "input": origin,
        "replicas": outcome.replicas,
        **_measured(headline),
        "agrees": all(it.agrees for it in outcome.measurements),
        "measurements": [_measured(it) for it in outcome.measurements],
        "controls": {key: _control(key, it) for key, it in outcome.controls.items()},
        "verdict": outcome.verdict,
        "curves": {name: [finite(value) for value in row] for name, row in outcome.curves.items()},
        "table": f"{experiment.name}.parquet",
        "figure": f"{experiment.name}.png",
    }


def _measured(it: Measurement) -> dict[str, Any]:
    return {
        "quantity": it.name,
        "measured": finite(it.measured),
        "predicted": finite(it.predicted),
        "standard_error": finite(it.standard_error),
        "deviation": finite(it.deviation),
        "unit": it.unit,
        "agrees": it.agrees,
    }


def _control(key: str, control: Control) -> dict[str, Any]:
    found = _measured(control.evidence) if control.evidence else {}
    name = CONTROLS.get(key, key.replace("_", " "))
    return {
        "name": name,
        "applies": control.evidence is not None,
        "sentence": control.sentence,
        **found,
    }


def _columns(outcome: Outcome) -> dict[str, Any]:
    return {name: column.numpy() for name, column in outcome.table.items()}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of small tensors: one thread is faster than several that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
