"""Axes of figures for papers: plain, with short names, intervals, and gaps for what is infinite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from worldline.plot.colours import LOOKS

__all__ = ["by_layer", "figure_of", "finite", "new_axes", "plain", "short", "with_intervals"]

LONGEST_LABEL = 20
MOST_NAMED = 16
Ends = tuple[float, float]


def new_axes(ax: Axes | None = None) -> Axes:
    """The given axes, or those of a new figure that belongs to no window.

    >>> from worldline.plot import new_axes
    >>> ax = new_axes()
    >>> new_axes(ax) is ax
    True
    """
    return Figure(figsize=(7, 4.2), dpi=150, layout="constrained").subplots() if ax is None else ax


def figure_of(ax: Axes) -> Figure:
    """The figure that some axes stand in."""
    figure = ax.get_figure()
    assert isinstance(figure, Figure)  # of axes that new_axes or a caller made: never a subfigure
    return figure


def plain(ax: Axes) -> Axes:
    """No box, and no mathematics read into names."""
    ax.spines[["top", "right"]].set_visible(False)
    figure = ax.get_figure()
    for text in figure.findobj(Text) if figure else ():
        text.set_parse_math(False)
    return ax


def by_layer(ax: Axes, names: Sequence[str]) -> Axes:
    """Layers along the axis, by name where there is room, by number elsewhere."""
    told = short(names)
    ax.set_xlabel("layer")
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    if len(told) <= MOST_NAMED:
        ax.set_xticks(range(len(told)), told)
        if sum(map(len, told)) > 60:
            ax.tick_params("x", rotation=30)
    ax.legend(frameon=False)
    return plain(ax)


def with_intervals(
    ax: Axes,
    at: Iterable[float],
    values: Sequence[float | None],
    ends: Sequence[Ends | None],
    role: str,
    label: str,
    *,
    line: bool = True,
) -> None:
    """Values with their intervals in the look of a role; those without a value are left out."""
    known = [
        (place, value, pair or (value, value))
        for place, value, pair in zip(at, values, ends, strict=True)
        if value is not None and np.isfinite(value)
    ]
    if not known:
        return
    places, middle, pairs = map(np.array, zip(*known, strict=True))
    low, high = finite(pairs).T
    ax.errorbar(
        places,
        middle,
        np.maximum(0.0, (middle - low, high - middle)),
        color=LOOKS[role].paper,
        marker=LOOKS[role].marker,
        linestyle="-" if line else "none",
        label=label,
    )


def finite(values: npt.ArrayLike | Sequence[float | None]) -> npt.NDArray[np.float64]:
    """Numbers with gaps where they are infinite, NaN or None."""
    known = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(known), known, np.nan)


def short(names: Sequence[str]) -> list[str]:
    """Names that leave room for the figure; those with dots keep the end, where they differ."""

    def one(name: str) -> str:
        if len(name) <= LONGEST_LABEL:
            return name
        return f"…{name[1 - LONGEST_LABEL :]}" if "." in name else f"{name[: LONGEST_LABEL - 1]}…"

    return [one(name) for name in names]
