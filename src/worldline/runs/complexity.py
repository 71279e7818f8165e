"""The run behind ``worldline complexity``: measure one model after the other, rank them, store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from worldline import explain
from worldline.attacks import adversarial_twin
from worldline.loading import check_model_name
from worldline.runs import complexity_document as document
from worldline.runs.config import ComplexityConfig, ExploreConfig
from worldline.runs.setup import (
    make_attack,
    open_data,
    open_device,
    open_model,
    prepare_inputs,
    stem_of,
    versions,
)
from worldline.runs.store import RunFolder, open_run

__all__ = ["complexity", "measure_model"]

Tick = Callable[[str, int, int], None]
FEWEST_TO_AIM = 20


def complexity(
    config: ComplexityConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> RunFolder:
    """Measure how complex and how fragile models are, without attacking them unless asked, and
    store what was found.

    Args:
        config: the whole configuration.
        out: the run's folder; default: the first free ``runs/complexity-<data>-<number>``.
        resume: return a finished run of the same configuration as it is, or run it again where it
            was stopped.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``layers.parquet``, ``limits.parquet``, ``samples.parquet``
        and ``summary.json``.

    Raises:
        UsageError, InputError: what was given cannot be used; nothing that existed is overwritten.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.ComplexityConfig(models=("linear",), samples=60)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = wl.runs.complexity(config, Path(folder) / "run").read_json("summary.json")
    >>> [limit["name"] for limit in summary["models"][0]["limits"]]
    ['logits']
    """
    device = open_device(config.device)
    for spec in config.models:
        check_model_name(spec)
    data = open_data(config)
    run = open_run(out, config.to_toml(), stem=f"complexity-{stem_of(config.data)}", resume=resume)
    if run.finished:
        return run
    found = []
    for spec in config.models:
        model = open_model(spec, config, device, tick)
        x, y, _ = prepare_inputs(model, data, config.samples, device)
        twins = _attack(config, model, x, y) if config.eps else None
        stage = partial(_under, spec, tick)
        found.append(
            measure_model(
                spec, model, x, y, twins, config=config, sigma=config.noise_size, tick=stage
            )
        )
    summary = document.summary_document(config, data, found, versions(device))
    run.write_table(
        "layers.parquet", document.layer_columns(summary["models"]), schema=document.SCHEMA
    )
    run.write_table(
        "limits.parquet", document.limit_columns(summary["models"]), schema=document.SCHEMA
    )
    run.write_table("samples.parquet", document.sample_columns(found), schema=document.SCHEMA)
    run.write_json("summary.json", summary)
    return run


def measure_model(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    adversarial: Tensor | None,
    *,
    config: ComplexityConfig | ExploreConfig,
    sigma: float,
    brief: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> document.ModelFound:
    """Complexity and both estimates of fragility of one model, on these samples; ``brief``: without
    what costs most.
    """
    found = explain.complexity(
        model,
        x,
        y=y,
        adversarial=adversarial,
        sigma=sigma,
        bounds=config.bounds,
        frame=config.frame,
        layers=config.layers or None,
        strangers=len(x) if brief else explain.STRANGERS,
        sharpness=not brief,
        differentiated=16 if brief else 64,
        batch_size=config.batch_size,
        seed=config.seed,
        tick=tick,
    )
    ask = partial(
        explain.fragility,
        model,
        x,
        bounds=config.bounds,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    noise = ask(probe="noise")
    aimed = ask(probe="aimed") if len(x) >= FEWEST_TO_AIM else noise
    right = float((aimed.prediction == y.cpu()).double().mean())
    return document.ModelFound(name, found, noise, aimed, right)


def _attack(config: ComplexityConfig, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    attack, size = make_attack(config), config.batch_size
    batches = zip(x.split(size), y.split(size), strict=True)
    return torch.cat(
        [adversarial_twin(attack, model, inputs, labels) for inputs, labels in batches]
    )


def _under(name: str, tick: Tick, stage: str, done: int, total: int) -> None:
    tick(f"{name}: {stage}", done, total)
