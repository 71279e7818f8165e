"""The run behind ``worldline explore``: load, attack in shards, check, explain, store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from worldline import __version__, explain
from worldline.attacks import PGD, Attack, adversarial_twin, noise_twin
from worldline.checks import accuracy_curve, check_evaluation
from worldline.errors import InputError
from worldline.runs import explore_document as document
from worldline.runs.complexity import measure_model
from worldline.runs.complexity_document import ModelFound
from worldline.runs.config import ExploreConfig
from worldline.runs.setup import make_attack, open_one, stem_of, versions
from worldline.runs.store import RunFolder, open_run
from worldline.trace import pick_layers

__all__ = ["explore"]

Tick = Callable[[str, int, int], None]
CURVE_SAMPLES, CURVE_STEPS = 256, 10
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
        resume: continue a killed run of the same configuration, from the last finished shard of the
            attack; a finished run is returned as it is.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``twins.safetensors``, ``layers.parquet``,
        ``samples.parquet``, ``pairs.parquet`` and ``summary.json``.

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
    given = open_one(config, tick)
    model, x, y = given.model, given.x, given.y
    attack = make_attack(config)
    explain_layers = config.layers or None
    pick_layers(model, x, explain_layers, tokens=config.tokens)
    stem = f"{stem_of(config.model)}-{stem_of(config.data)}"
    run = open_run(out, config.to_toml(), stem=stem, resume=resume)
    if run.finished:
        return run
    adversarial = _attack_in_shards(run, attack, model, x, y, config, tick)
    noise = noise_twin(
        x, adversarial, bounds=config.bounds, generator=torch.Generator().manual_seed(config.seed)
    )
    tick("Checking the evaluation", 0, 1)
    few = slice(0, CURVE_SAMPLES)
    cheap = PGD(
        epsilon=config.epsilon,
        norm=config.norm,
        steps=CURVE_STEPS,
        bounds=config.bounds,
        seed=config.seed,
    )
    curve = accuracy_curve(
        model, x[few], y[few], attack=cheap, batch_size=config.batch_size, seed=config.seed
    )
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
        curve=curve,
    )
    tick("Checking the evaluation", 1, 1)
    story = explain.twins(
        model,
        x,
        adversarial,
        y,
        reference=given.reference,
        noise=noise,
        bounds=config.bounds,
        frame=config.frame,
        layers=explain_layers,
        tokens=config.tokens,
        batch_size=config.batch_size,
        memory=config.bytes_of_memory,
        seed=config.seed,
        tick=tick,
    )
    measured = _measure(model, x, y, adversarial, config, tick)
    summary = document.summary_document(
        config, given.data, story, checks, curve, measured, y, versions(given.device)
    )
    run.write_tensors("twins.safetensors", {"clean": x, "noise": noise, "adversarial": adversarial})
    run.remove("shards/*")
    run.write_table("layers.parquet", document.layer_columns(summary), schema=document.SCHEMA)
    run.write_table(
        "samples.parquet", document.sample_columns(story, y, adversarial, x), schema=document.SCHEMA
    )
    run.write_table("pairs.parquet", document.pair_columns(story), schema=document.SCHEMA)
    run.write_json("summary.json", summary)
    return run


def _measure(
    model: nn.Module, x: Tensor, y: Tensor, adversarial: Tensor, config: ExploreConfig, tick: Tick
) -> ModelFound | str:
    """The section on complexity, or why there is none."""
    if config.memory:
        return (
            "Complexity was left out, as it keeps no limit of memory: worldline complexity "
            "measures it."
        )
    rows = slice(0, MEASURED)
    sigma = SIGMA * (config.bounds[1] - config.bounds[0])
    try:
        return measure_model(
            config.model,
            model,
            x[rows],
            y[rows],
            adversarial[rows],
            config=config,
            sigma=sigma,
            brief=True,
            tick=tick,
        )
    except InputError as error:
        return f"Complexity was left out: {error}"


def _attack_in_shards(
    run: RunFolder,
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    config: ExploreConfig,
    tick: Tick,
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
