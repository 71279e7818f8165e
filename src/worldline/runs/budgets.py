"""From a configuration to what its attack may do: bounds, sizes and masks, from files and data."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from worldline.attacks import Box, Budget
from worldline.errors import BoundsError, UsageError
from worldline.files import read_bytes, shorten
from worldline.inputs import Data
from worldline.runs.config import AUTO, GIVEN, AttackConfig, DataConfig, ReachConfig, parse_number

__all__ = ["open_budget", "settled", "with_own_bounds"]

LARGEST = 2**30
SHOWN = 12  # names of columns in a sentence
Settled = TypeVar("Settled", bound=DataConfig)
TABLE = 2
"""Dimensions of (N, D)."""


def with_own_bounds(data: Data, *, by_column: bool = True) -> Data:
    """The data with the bounds that its values have, and what was taken in its notes.

    Of a table each column has its own, unless one range must do for all.

    >>> from worldline import zoo
    >>> with_own_bounds(zoo.digits()).conversions
    ('The bounds were taken from the data: one range for all entries, from 0 to 1.',)
    """
    both, box = torch.cat([data.x, data.reference_x]), None
    low, high = float(both.min()), float(both.max())
    if not low < high:
        raise BoundsError(
            f"--bounds auto: all values of {data.name} are {low:g}; give two numbers."
        )
    what = f"one range for all entries, from {low:.6g} to {high:.6g}"
    if data.x.ndim == TABLE and by_column:
        box = both.amin(0), both.amax(0)
        what = (
            f"of each of {data.x.shape[1]:,} columns its lowest and highest value (over all, from "
            f"{low:.6g} to {high:.6g})"
        )
    said = f"The bounds were taken from the data: {what}."
    return replace(data, bounds=(low, high), box=box, conversions=(*data.conversions, said))


def open_budget(config: ReachConfig, data: Data, x: Tensor) -> tuple[Budget, tuple[str, ...]]:
    """What may be done to inputs x of the data, and what must be said of it.

    Where no ε was given, anything inside the bounds.
    """
    bounds: Box = data.bounds
    if data.box is not None:
        low, high = data.box
        bounds = low[None].to(x), high[None].to(x)
    mask, notes = _mask(config, data, x)
    sizes, said = _sizes(config, data, x, bounds, plain=mask is None)
    return Budget(sizes, config.norm, bounds, mask), (*said, *notes)


def _sizes(
    config: ReachConfig, data: Data, x: Tensor, bounds: Box, *, plain: bool
) -> tuple[float | Tensor, list[str]]:
    """ε, or sizes by feature, and what must be said of them."""
    notes: list[str] = []
    if config.epsilon is None:
        return _everywhere(config, x, bounds, plain=plain), notes
    sizes: float | Tensor = config.epsilon
    if config.eps.endswith("sd"):
        sizes = parse_number(config.eps.removesuffix("sd"), "--eps") * _deviations(data).to(x)
        notes.append(
            f"ε = {config.eps} is by feature: from {float(sizes.min()):.3g} to "
            f"{float(sizes.max()):.3g} in the inputs' units, by the standard deviations in the "
            "reference."
        )
    elif config.eps == GIVEN or config.eps.endswith(".npy"):
        sizes = _by_feature("eps", config, x).to(x)
        origin = "" if config.eps == GIVEN else f", from {config.eps}"
        notes.append(
            f"ε is by feature{origin}: from {float(sizes.min()):.3g} to "
            f"{float(sizes.max()):.3g} in the inputs' units."
        )
    if isinstance(sizes, Tensor) and isinstance(config, AttackConfig):
        notes.append("In the curve and the checks, ε = 1 stands for these sizes.")
    return sizes, notes


def _everywhere(config: ReachConfig, x: Tensor, bounds: Box, *, plain: bool) -> float | Tensor:
    """A ball that holds all legal inputs, by feature where bounds are, or some may not change."""
    width = torch.as_tensor(bounds[1] - bounds[0], dtype=x.dtype, device=x.device)
    whole = math.sqrt(x[0].numel()) if config.norm == "l2" else 1.0
    by_feature = width.ndim > 0 or not plain
    return whole * width.expand(1, *x.shape[1:]) if by_feature else whole * float(width)


def settled(config: Settled, data: Data) -> Settled:
    """The configuration with the bounds that the data got, where they were to be found."""
    return replace(config, bounds=data.bounds) if config.bounds == AUTO else config


def _deviations(data: Data) -> Tensor:
    """(1, D) of the reference; 0 for a column that is constant."""
    if data.x.ndim != TABLE:
        raise UsageError(
            "--eps in sd is for tables (N, D); these inputs are "
            f"{tuple(data.x.shape)}. Give a number, or FILE.npy with the shape of one input."
        )
    return data.reference_x.double().std(0, unbiased=False)[None]


def _mask(config: ReachConfig, data: Data, x: Tensor) -> tuple[Tensor | None, list[str]]:
    """(1, …) where the inputs may change, None for everywhere; and what must be said of it."""
    free = torch.ones(1, *x.shape[1:], dtype=torch.bool, device=x.device)
    if config.mask:
        given = _by_feature("mask", config, x).to(x.device)
        if not bool(((given == 0) | (given == 1)).all()):
            raise UsageError("--mask must hold true where an input may change, else false.")
        free = free & (given == 1)
    if config.immutable:
        free[:, _columns(config.immutable, data, x)] = False
    if bool(free.all()):
        return None, []
    if not bool(free.any()):
        raise UsageError("--mask and --immutable leave nothing that may change.")
    fixed = (~free).flatten().nonzero().flatten().tolist()
    names = [shorten(data.feature_names[it], 40) for it in fixed] if data.feature_names else []
    shown = f" ({', '.join(names[:SHOWN])}{', …' * (len(names) > SHOWN)})" if names else ""
    said = f"{len(fixed):,} of {x[0].numel():,} entries of an input may not change{shown}."
    return free, [said]


def _columns(text: str, data: Data, x: Tensor) -> list[int]:
    names, found = data.feature_names or (), []
    if x.ndim != TABLE:
        raise UsageError(
            f"--immutable names columns of a table (N, D); these inputs are {tuple(x.shape)}. Use "
            "--mask FILE.npy."
        )
    for part in (it.strip() for it in text.split(",")):
        if part in names:
            found.append(names.index(part))
        elif part.isdecimal() and int(part) < x.shape[1]:
            found.append(int(part))
        else:
            called = f", or a name: {shorten(', '.join(names))}" if names else ""
            raise UsageError(
                f"--immutable: {shorten(part)!r} is no column; they are 0 to {x.shape[1] - 1}"
                f"{called}."
            )
    return found


def _by_feature(name: str, config: ReachConfig, x: Tensor) -> Tensor:
    """(1, …) an array that was handed over, or of an .npy file, with the shape of one input."""
    handed = config.handed.arrays.get(name)
    value, told = (handed, name) if handed is not None else _read(name, getattr(config, name))
    try:
        return value.broadcast_to(x.shape[1:])[None]
    except RuntimeError:
        raise UsageError(
            f"{told} has shape {tuple(value.shape)}; expected that of one input, "
            f"{tuple(x.shape[1:])}, or one that broadcasts to it."
        ) from None


def _read(name: str, path: str) -> tuple[Tensor, str]:
    """The numbers of an .npy file, and what messages call them."""
    content = read_bytes(path, f"array of --{name}", UsageError, limit=LARGEST)
    told = f"--{name}: {shorten(Path(path).name)!r}"
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
        return torch.from_numpy(np.array(array, dtype=np.float64)), told
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise UsageError(f"{told} holds no array of numbers as numpy.save writes.") from error
