"""From a configuration to what its attack may do: bounds, sizes and masks, from files and data."""

from __future__ import annotations

import io
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
from worldline.runs.config import AUTO, BudgetConfig, parse_number

__all__ = ["open_budget", "settled", "with_own_bounds"]

LARGEST = 2**30
Settled = TypeVar("Settled", bound=BudgetConfig)
TABLE = 2
"""Dimensions of (N, D)."""


def with_own_bounds(data: Data) -> Data:
    """The data with the bounds that its values have, and what was taken in its notes.

    >>> from worldline import zoo
    >>> with_own_bounds(zoo.digits()).conversions
    ('The bounds were taken from the data: one range for all entries, from 0 to 1.',)
    """
    low, high = (float(end) for end in (_low_high(data)[0].min(), _low_high(data)[1].max()))
    if not low < high:
        raise BoundsError(
            f"--bounds auto: all values of {data.name} are {low:g}; give two numbers."
        )
    what = f"one range for all entries, from {low:.6g} to {high:.6g}"
    if data.x.ndim == TABLE:
        what = (
            f"of each of {data.x.shape[1]:,} columns its lowest and highest value (over all, from "
            f"{low:.6g} to {high:.6g})"
        )
    said = f"The bounds were taken from the data: {what}."
    return replace(data, bounds=(low, high), conversions=(*data.conversions, said))


def open_budget(config: BudgetConfig, data: Data, x: Tensor) -> tuple[Budget, tuple[str, ...]]:
    """What the attack may do to inputs x of the data, and what must be said of it."""
    notes: list[str] = []
    sizes: float | Tensor = config.epsilon
    if config.eps.endswith("sd"):
        sizes = parse_number(config.eps.removesuffix("sd"), "--eps") * _deviations(data).to(x)
        notes.append(
            f"ε = {config.eps} is by feature: from {float(sizes.min()):.3g} to "
            f"{float(sizes.max()):.3g} in the inputs' units, by the standard deviations in the "
            "reference."
        )
    elif config.eps.endswith(".npy"):
        sizes = _by_feature("--eps", config.eps, x).to(x)
        notes.append(
            f"ε is by feature, from {config.eps}: from {float(sizes.min()):.3g} to "
            f"{float(sizes.max()):.3g} in the inputs' units."
        )
    if isinstance(sizes, Tensor):
        notes.append("In the curve and the checks, ε = 1 stands for these sizes.")
    bounds: Box = data.bounds
    if config.bounds == AUTO and x.ndim == TABLE:
        low, high = _low_high(data)
        bounds = low[None].to(x), high[None].to(x)
    mask = _mask(config, data, x)
    if mask is not None:
        fixed = int((~mask.expand(1, *x.shape[1:])).sum())
        notes.append(f"{fixed:,} of {x[0].numel():,} entries of an input may not change.")
    return Budget(sizes, config.norm, bounds, mask), tuple(notes)


def settled(config: Settled, data: Data) -> Settled:
    """The configuration with the bounds that the data got, where they were to be found."""
    return replace(config, bounds=data.bounds) if config.bounds == AUTO else config


def _low_high(data: Data) -> tuple[Tensor, Tensor]:
    """By column of a table; else of all."""
    both = torch.cat([data.x, data.reference_x])
    if both.ndim == TABLE:
        return both.amin(0), both.amax(0)
    return both.min(), both.max()


def _deviations(data: Data) -> Tensor:
    """(1, D) of the reference; 0 for a column that is constant."""
    if data.x.ndim != TABLE:
        raise UsageError(
            "--eps in sd is for tables (N, D); these inputs are "
            f"{tuple(data.x.shape)}. Give a number, or FILE.npy with the shape of one input."
        )
    return data.reference_x.double().std(0, unbiased=False)[None]


def _mask(config: BudgetConfig, data: Data, x: Tensor) -> Tensor | None:
    """(1, …) where the inputs may change; None for everywhere."""
    free = torch.ones(1, *x.shape[1:], dtype=torch.bool, device=x.device)
    if config.mask:
        given = _by_feature("--mask", config.mask, x).to(x.device)
        if not bool(((given == 0) | (given == 1)).all()):
            raise UsageError("--mask must hold true where an input may change, else false.")
        free = free & (given == 1)
    if config.immutable:
        free[:, _columns(config.immutable, data, x)] = False
    if bool(free.all()):
        return None
    if not bool(free.any()):
        raise UsageError("--mask and --immutable leave nothing that may change.")
    return free


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


def _by_feature(flag: str, path: str, x: Tensor) -> Tensor:
    """(1, …) the numbers of an .npy file with the shape of one input, or one that broadcasts."""
    content = read_bytes(path, f"array of {flag}", UsageError, limit=LARGEST)
    shown = repr(shorten(Path(path).name))
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
        value = torch.from_numpy(np.array(array, dtype=np.float64))
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise UsageError(f"{flag}: {shown} holds no array of numbers as numpy.save writes.") from (
            error
        )
    try:
        return value.broadcast_to(x.shape[1:])[None]
    except RuntimeError:
        raise UsageError(
            f"{flag}: {shown} has shape {tuple(value.shape)}; expected that of one input, "
            f"{tuple(x.shape[1:])}."
        ) from None
