"""The page of a comparison, and its figures: a tree of the models, and heat maps of their pairs."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.compare.record import MATRICES, Comparison
from worldline.commands.compare.words import alike, ensembles, judged, stand_ins
from worldline.errors import UsageError
from worldline.plot.axes import figure_of
from worldline.report.drawn import draw
from worldline.report.figures import Tree
from worldline.report.heat import HeatMap, widest
from worldline.report.numbers import count, norm_sign

__all__ = ["context", "figures", "transfer"]


def context(result: Result[Comparison], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    return {
        "norm": norm_sign(record.norm),
        "names": record.ordered,
        "labels": MATRICES,
        "alike": alike(record),
        "heats": _heats(record),
        "tree": _tree(record),
        "judged": judged(record),
        "stand_ins": stand_ins(record),
        "ensembles": ensembles(record),
        "resamples": count(record.judge.resamples, "time") if record.judge else "",
    }


def figures(result: Result[Comparison]) -> dict[str, Figure]:
    """Figures for papers by name: the tree, and every matrix that there is."""
    there = [name for name in MATRICES if result.record.matrix(name) is not None]
    drawn = {"tree": draw(_tree(result.record))}
    drawn |= {name: transfer(result, which=name) for name in there}
    return {name: figure_of(ax) for name, ax in drawn.items()}


def transfer(
    result: Result[Comparison], *, which: str = "predicted", ax: Axes | None = None
) -> Axes:
    """A matrix of model pairs as a heat map: sources down, targets across, as in the tree.

    Args:
        result: of ``compare``.
        which: ``predicted``, ``similarity``, or, where it was measured, ``measured``,
            ``noise_rate``, ``same_mistake``.
        ax: where to draw.

    Raises:
        UsageError: there is no such matrix.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from worldline import commands
    >>> from worldline.commands.compare.page import transfer
    >>> config = commands.config_of("compare")(models=("linear", "mlp"), probed_samples=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     transfer(commands.load("compare")(config, Path(folder) / "run")).get_xlabel()
    'target'
    """
    maps = _heats(result.record)
    there = [name for name in MATRICES if name in maps]
    if which not in there:
        raise UsageError(
            f"There is no matrix {which!r} in this comparison: name one of {', '.join(there)}."
        )
    return draw(maps[which], ax, title=MATRICES[which])


def _tree(record: Comparison) -> Tree:
    label = f"1 − mean cosine of {alike(record)}"
    return Tree(leaves=record.ordered, joins=record.tree, order=record.order, label=label)


def _heats(record: Comparison) -> dict[str, HeatMap]:
    """Every matrix that there is; expected rates are as dark as the largest asks for."""
    heat = partial(HeatMap, record.ordered, down="source", across="target")
    found = {name: table for name in MATRICES if (table := record.matrix(name)) is not None}
    spans = {"similarity": (-0.2, 1.0)}
    if "measured" not in found:
        known = [value for row in found["predicted"] for value in row if value is not None]
        spans["predicted"] = (0.0, max([*known, 0.01]))
    maps = {name: heat(table, spans.get(name, (0.0, 1.0))) for name, table in found.items()}
    if "measured" in found:
        gap = np.array(found["measured"], float) - np.array(found["predicted"], float)
        np.fill_diagonal(gap, np.nan)  # many steps on a model itself find more than one
        maps["difference"] = heat(gap.tolist(), widest([gap.tolist()], 0.1), diverging=True)
    return maps
