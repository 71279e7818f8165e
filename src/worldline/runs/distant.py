"""The run behind ``worldline distant``: search for merged strangers, make a pair if asked,
store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from worldline import attacks, explain
from worldline.errors import UsageError
from worldline.runs import distant_document as document
from worldline.runs.config import DistantConfig
from worldline.runs.setup import open_one, stem_of, versions
from worldline.runs.store import RunFolder, open_run

__all__ = ["distant"]

Tick = Callable[[str, int, int], None]


def distant(
    config: DistantConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tick: Tick = lambda _stage, _done, _total: None,
) -> RunFolder:
    """Search a model for inputs that lie far apart and that it has merged, or made opposites, and
    store what was found.

    Args:
        config: the whole configuration.
        out: the run's folder; default: the first free ``runs/distant-<model>-<data>-<number>``.
        resume: return a finished run of the same configuration as it is, or run it again where it
            was stopped.
        tick: called with stage, done, total.

    Returns:
        The folder with ``config.toml``, ``pairs.parquet``, ``worldlines.parquet``,
        ``classes.parquet``, ``inputs.safetensors`` and ``summary.json``.

    Raises:
        UsageError, InputError: what was given cannot be used; nothing that existed is overwritten.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.DistantConfig(model="linear", pairs=3, nulls=1, samples=200)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = wl.runs.distant(config, Path(folder) / "run").read_json("summary.json")
    >>> len(summary["merged"]), summary["layer"]
    (3, 'input')
    """
    given = open_one(config, tick)
    model, x, y, reference = given.model, given.x, given.y, given.reference
    if config.make and max(config.make) >= len(x):
        raise UsageError(
            f"--make names sample {max(config.make)}; there are {len(x)}, numbered from 0."
        )
    run = open_run(out, config.to_toml(), stem=_stem(config), resume=resume)
    if run.finished:
        return run
    story = explain.distant(
        model,
        x,
        y,
        layer=config.layer or None,
        k=config.pairs,
        frame=config.frame,
        input_quantile=config.input_quantile,
        reference=reference[0],
        nulls=config.nulls,
        batch_size=config.batch_size,
        seed=config.seed,
        tick=tick,
    )
    made = _make(config, model, x, reference, story.layer.name, tick) if config.make else None
    summary = document.summary_document(config, given.data, story, made, versions(given.device))
    run.write_tensors("inputs.safetensors", document.input_tensors(story, x, made, config.make))
    run.write_table("pairs.parquet", document.pair_columns(story), schema=document.SCHEMA)
    run.write_table("worldlines.parquet", document.worldline_columns(story), schema=document.SCHEMA)
    if story.classes is not None:
        run.write_table("classes.parquet", document.class_columns(story), schema=document.SCHEMA)
    run.write_json("summary.json", summary)
    return run


def _stem(config: DistantConfig) -> str:
    return f"distant-{stem_of(config.model)}-{stem_of(config.data)}"


def _make(
    config: DistantConfig,
    model: nn.Module,
    x: torch.Tensor,
    reference: tuple[torch.Tensor, torch.Tensor],
    layer: str,
    tick: Tick,
) -> attacks.Collided:
    first, second = config.make
    return attacks.entangle(
        model,
        x[first : first + 1],
        x[second : second + 1],
        layer,
        reference=reference,
        epsilon=config.epsilon,
        sign=-1 if config.opposite else 1,
        norm=config.norm,
        bounds=config.bounds,
        steps=config.steps,
        frame=config.frame,
        keep_path=True,
        batch_size=config.batch_size,
        seed=config.seed,
        tick=tick,
    )
