"""The run behind ``worldline explore``: load, attack in shards, check, explain, store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from worldline import __version__, explain
from worldline.attacks import Attack, adversarial_twin, check_evaluation, noise_twin
from worldline.loading import load_data, load_model
from worldline.runs import explore_document as document
from worldline.runs.complexity import measure_model
from worldline.runs.config import ExploreConfig
from worldline.runs.setup import make_attack, open_device, prepare_inputs, versions
from worldline.runs.store import RunFolder, open_run
from worldline.trace import choose_layers, find_layers

__all__ = ["explore"]

Tick = Callable[[str, int, int], None]
MEASURED = 128  # samples of the section on complexity; worldline complexity takes all
SIGMA = 0.1  # of its noise twins, as a share of the width of the bounds


def explore(
    config: ExploreConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> RunFolder:
    """Attack a model, follow the twins through its layers, and store what was found.

    Args:
        config: the whole configuration.
        out: the run's folder; default: the first free ``runs/<model>-<data>-<number>``.
        resume: continue a killed run of the same configuration, from the last finished shard of the attack; a finished
            run is returned as it is.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``twins.safetensors``, ``layers.parquet``, ``samples.parquet``,
        ``pairs.parquet`` and ``summary.json``.

    Raises:
        UsageError, InputError: what was given cannot be used; nothing that existed is overwritten.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.ExploreConfig(model="linear", samples=50, steps=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(config, Path(folder) / "run")
    ...     run.read_json("summary.json")["samples"]
    50
    """
    device = open_device(config.device)
    data = load_data(config.data, bounds=config.bounds)
    model = load_model(config.model, config.weights or None, tick=lambda *at: tick("Training the zoo model", *at))
    model = model.to(device)
    x, y, reference = prepare_inputs(model, data, config.samples, device)
    attack = make_attack(config)
    explain_layers = config.layers or None
    _check_layers(model, x, explain_layers)
    stem = f"{Path(config.model.split(':')[0]).stem}-{Path(config.data).stem}"
    run = open_run(out, config.to_toml(), stem=stem, resume=resume)
    if run.finished:
        return run
    adversarial = _attack_in_shards(run, attack, model, x, y, config, tick)
    noise = noise_twin(x, adversarial, bounds=config.bounds, generator=torch.Generator().manual_seed(config.seed))
    tick("Checking the evaluation", 0, 1)
    checks = check_evaluation(
        model,
        x,
        noise,
        adversarial,
        y,
        attack=attack,
        epsilon=config.epsilon,
        norm=config.norm,
        bounds=config.bounds,
    )
    tick("Checking the evaluation", 1, 1)
    story = explain.twins(
        model,
        x,
        adversarial,
        y,
        reference=reference,
        noise=noise,
        bounds=config.bounds,
        frame=config.frame,
        layers=explain_layers,
        batch_size=config.batch_size,
        seed=config.seed,
        tick=tick,
    )
    rows = slice(0, MEASURED)
    measured = measure_model(
        config.model,
        model,
        x[rows],
        y[rows],
        adversarial[rows],
        config=config,
        sigma=SIGMA * (config.bounds[1] - config.bounds[0]),
        sharpness=False,
        tick=tick,
    )
    summary = document.summary_document(config, data, story, checks, measured, y, versions(device))
    run.write_tensors("twins.safetensors", {"clean": x, "noise": noise, "adversarial": adversarial})
    run.remove("shards/*")
    run.write_table("layers.parquet", document.layer_columns(summary), schema=document.SCHEMA)
    run.write_table("samples.parquet", document.sample_columns(story, y, adversarial, x), schema=document.SCHEMA)
    run.write_table("pairs.parquet", document.pair_columns(story), schema=document.SCHEMA)
    run.write_json("summary.json", summary)
    return run


def _check_layers(model: nn.Module, x: Tensor, patterns: tuple[str, ...] | None) -> None:
    choose_layers(find_layers(model, x), patterns)


def _attack_in_shards(
    run: RunFolder, attack: Attack, model: nn.Module, x: Tensor, y: Tensor, config: ExploreConfig, tick: Tick
) -> Tensor:
    """Adversarial twins, one file for each batch, named by the content that decides it."""
    key = _content_key(config, model, x, y)
    parts = []
    for start in range(0, len(x), config.batch_size):
        rows = slice(start, start + config.batch_size)
        tick("Attacking", start, len(x))
        name = f"shards/{key}-{start:09d}.safetensors"
        stored = run.read_tensors(name)
        if stored is None:
            stored = {"adversarial": adversarial_twin(attack, model, x[rows], y[rows])}
            run.write_tensors(name, stored)
        parts.append(stored["adversarial"].to(x))
    tick("Attacking", len(x), len(x))
    return torch.cat(parts)


def _content_key(config: ExploreConfig, model: nn.Module, x: Tensor, y: Tensor) -> str:
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {config.to_toml()}".encode())
    for tensor in (x, y, *model.state_dict().values()):
        if isinstance(tensor, Tensor):
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
