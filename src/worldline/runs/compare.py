"""The run behind ``worldline compare``: load one at a time, predict, measure if asked, judge,
store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from worldline import __version__
from worldline import compare as comparing
from worldline.loading import check_model_name
from worldline.runs import compare_document as document
from worldline.runs.config import CompareConfig
from worldline.runs.setup import make_attack, open_data, open_device, open_model, stem_of, versions
from worldline.runs.store import RunFolder, open_run

__all__ = ["compare"]

Tick = Callable[[str, int, int], None]
FEWEST_TO_JUDGE = 4


def compare(
    config: CompareConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> RunFolder:
    """Predict which attacks carry over between models, measure it if asked, and store what was
    found.

    Args:
        config: the whole configuration.
        out: the run's folder; default: the first free ``runs/compare-<data>-<number>``.
        resume: continue a killed run of the same configuration after its last attacked model.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``pairs.parquet``, ``summary.json`` and, if measured,
        ``samples.safetensors``.

    Raises:
        UsageError, InputError: what was given cannot be used; nothing that existed is overwritten.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.CompareConfig(models=("linear", "mlp"), probed_samples=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wl.runs.compare(config, Path(folder) / "run").read_json("summary.json")["models"]
    ['linear', 'mlp']
    """
    device = open_device(config.device)
    for spec in config.models:
        check_model_name(spec)
    data = open_data(config)
    x, y = data.x[: config.samples].to(device), data.y[: config.samples].to(device)
    models = {
        spec: comparing.Loader(partial(open_model, spec, config, device, tick))
        for spec in config.models
    }
    run = open_run(out, config.to_toml(), stem=f"compare-{stem_of(config.data)}", resume=resume)
    if run.finished:
        return run
    predicted = comparing.predict(
        models,
        x,
        epsilon=config.epsilon,
        norm=config.norm,
        bounds=config.bounds,
        samples=config.probed_samples,
        probes=config.probes,
        batch_size=config.batch_size,
        seed=config.seed,
        tick=tick,
    )
    left = {name: models[name] for name in predicted.names}
    measured = _measure(run, left, x, y, config, tick) if config.measure else None
    rivals = (
        comparing.baselines(left, x, y, bounds=config.bounds, tick=tick)
        if measured is not None
        else None
    )
    summary = document.summary_document(config, data, predicted, measured, rivals, versions(device))
    if measured is not None:
        run.write_tensors("samples.safetensors", document.sample_tensors(measured))
    run.remove("sources/*")
    run.write_table("pairs.parquet", document.pair_columns(summary), schema=document.SCHEMA)
    run.write_json("summary.json", summary)
    return run


def _measure(
    run: RunFolder,
    models: comparing.Models,
    x: Tensor,
    y: Tensor,
    config: CompareConfig,
    tick: Tick,
) -> comparing.Measured:
    """Attack every model; each finished one is a file, from which a killed run goes on."""
    names = list(models)
    digest = hashlib.sha256(
        json.dumps([__version__, torch.__version__, config.to_toml(), names]).encode()
    )
    for tensor in (x, y):
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    key = digest.hexdigest()[:16]
    done = {}
    for number, name in enumerate(names):
        stored = run.read_tensors(f"sources/{key}-{number:04d}.safetensors")
        if stored is not None:
            targets = tuple(names[place] for place in stored["targets"].tolist())
            done[name] = comparing.SourceResult(
                name, targets, stored["adversarial"], stored["noise"]
            )

    def keep(found: comparing.SourceResult) -> None:
        targets = torch.tensor([names.index(target) for target in found.targets])
        tensors = {"targets": targets, "adversarial": found.adversarial, "noise": found.noise}
        run.write_tensors(f"sources/{key}-{names.index(found.source):04d}.safetensors", tensors)

    return comparing.measure(
        models,
        x,
        y,
        make_attack(config),
        bounds=config.bounds,
        done=done,
        on_source=keep,
        batch_size=config.batch_size,
        seed=config.seed,
        tick=tick,
    )
