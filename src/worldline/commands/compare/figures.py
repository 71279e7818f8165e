"""Figures of a comparison for papers, as Matplotlib axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.compare.record import MATRICES, Comparison
from worldline.errors import UsageError
from worldline.plot.axes import new_axes, plain, short
from worldline.report.numbers import number

__all__ = ["figures", "transfer"]

MOST_WITH_NUMBERS = 16


def figures(result: Result[Comparison]) -> dict[str, Figure]:
    """Every matrix that there is, by name."""
    drawn = {
        name: transfer(result, which=name).get_figure()
        for name in MATRICES
        if result.record.matrix(name) is not None
    }
    return {name: figure for name, figure in drawn.items() if isinstance(figure, Figure)}


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
    >>> from worldline.commands.compare.figures import transfer
    >>> config = commands.config_of("compare")(models=("linear", "mlp"), probed_samples=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     transfer(commands.load("compare")(config, Path(folder) / "run")).get_xlabel()
    'target'
    """
    record = result.record
    table = record.matrix(which) if which in MATRICES else None
    if table is None:
        there = ", ".join(name for name in MATRICES if record.matrix(name) is not None)
        raise UsageError(f"There is no matrix {which!r} in this comparison: name one of {there}.")
    values = np.array(table, dtype=float)
    ax = new_axes(ax)
    drawn = ax.imshow(values, cmap="cividis")
    names = short(list(record.ordered))
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="target", ylabel="source", title=MATRICES[which])
    if len(names) <= MOST_WITH_NUMBERS:
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "black" if value > middle else "white"
                text = number(float(value))
                ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(drawn, ax=ax)
    return plain(ax)
