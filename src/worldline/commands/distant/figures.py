"""Figures of distant pairs for papers."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.distant.record import DistantPairs
from worldline.plot.axes import by_layer, figure_of, finite, new_axes
from worldline.plot.colours import LOOKS

__all__ = ["figures", "pair_worldlines"]


def figures(result: Result[DistantPairs]) -> dict[str, Figure]:
    """By name."""
    return {"pairs": figure_of(pair_worldlines(result.record))}


def pair_worldlines(record: DistantPairs, *, ax: Axes | None = None) -> Axes:
    """Rapidity by layer of the found pairs, over the middle 98 % of pairs as far apart.

    Args:
        record: what ``distant`` found.
        ax: where to draw; a pair's curve has a gap where its rapidity is infinite.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from worldline import commands
    >>> from worldline.commands.distant.figures import pair_worldlines
    >>> config = commands.config_of("distant")(model="linear", samples=60, nulls=0, pairs=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = commands.load("distant")(config, Path(folder) / "run")
    >>> pair_worldlines(found.record).get_xlabel()
    'layer'
    """
    ax, at = new_axes(ax), range(len(record.layers))
    low, _, high = (finite(_floats(row)) for row in record.far)
    usual = "middle 98% of far pairs"
    ax.fill_between(at, low, high, color=LOOKS["other"].paper, alpha=0.2, label=usual)
    sides = (("together", record.merged, "adversarial"), ("opposites", record.opposed, "noise"))
    for name, side, role in sides:
        for place, pair in enumerate(side):
            ax.plot(
                at,
                finite(_floats(pair.worldline)),
                color=LOOKS[role].paper,
                marker=LOOKS[role].marker,
                markersize=3,
                linewidth=1,
                label=name if place == 0 else None,
            )
    ax.set_ylabel("rapidity φ (Fisher's z), nats")
    return by_layer(ax, [layer.name for layer in record.layers])


def _floats(values: tuple[float | None, ...]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
