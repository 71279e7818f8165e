"""Figures of the shared kinds for papers: what a page's script draws, drawn by Matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from worldline.plot.axes import by_layer, figure_of, finite, new_axes, plain, short
from worldline.plot.colours import LOOKS, heat_colours
from worldline.report.figures import Bars, Lines, Role, Series, Tree, Waterfall
from worldline.report.heat import HeatMap
from worldline.report.numbers import number, signed
from worldline.report.page import HEAT_STEPS

__all__ = ["draw"]

MOST_WITH_NUMBERS = 16
MOST_MARKERS = 40
Floats = npt.NDArray[np.float64]


def draw(
    figure: Bars | Waterfall | Tree | Lines | HeatMap, ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """A declared figure on axes: the numbers, colours and words of the page.

    Lines break, and bars end, where a value is infinite or none.

    Args:
        figure: as a page declares it.
        ax: where to draw; default: new axes.
        title: above it.

    >>> from worldline.report.drawn import draw
    >>> from worldline.report.figures import Lines, Series
    >>> draw(Lines((0.0, 1.0), (Series("one", "noise", (0.5, None)),), label="step")).get_xlabel()
    'step'
    """
    given, ax = ax, new_axes(ax)
    if given is None and isinstance(figure, Bars):
        figure_of(ax).set_figheight(max(4.2, 0.25 * len(figure.bars) + 1))
    DRAWN[type(figure)](ax, figure)
    ax.set_title(title)
    return plain(ax)


def _bars(ax: Axes, it: Bars) -> None:
    reached = [end for bar in it.bars for end in (bar.value, bar.null, *(bar.interval or ())[1:])]
    most = max([0.01, *_known(reached)]) if it.most is None else it.most
    at = list(accumulate(1.0 if bar.name else 0.8 for bar in it.bars))
    for place, bar in zip(at, it.bars, strict=True):
        if bar.value is not None:
            ax.barh(place, np.clip(bar.value, 0, most), 0.7, color=LOOKS[bar.role].paper)
        if bar.interval is not None:
            ax.hlines(place, *np.clip(bar.interval, 0, most), color="black")
        if bar.null is not None:
            ends = (place - 0.42, place + 0.42)
            ax.plot(np.clip([bar.null] * 2, 0, most), ends, color="black", linestyle=":")
        ax.text(1.01, place, bar.said, va="center", transform=ax.get_yaxis_transform())
    named = [(place, bar.name) for place, bar in zip(at, it.bars, strict=True) if bar.name]
    ax.set_yticks([place for place, _ in named], short([name for _, name in named]))
    ax.set(xlabel=it.label, xlim=(0, most * 1.02))
    ax.invert_yaxis()
    if it.share:
        ax.xaxis.set_major_formatter(_percent)
    nulls = any(bar.null is not None for bar in it.bars)
    untrained = ax.plot([], [], color="black", linestyle=":", label="untrained") if nulls else []
    if it.legend or nulls:
        ax.legend(handles=[*_patches(it.legend), *untrained], frameon=False)


def _waterfall(ax: Axes, it: Waterfall) -> None:
    """From level to level until one is not finite; the last stands once more as the output."""
    whole, names = it.whole, list(it.names)
    ends = whole[-1:] if len(whole) == len(it.levels) else ()
    if ends:
        names.append("output")
    columns: list[tuple[float, float, Role]] = [(0.0, level, "other") for level in whole[:1]]
    columns += [(a, b, "adversarial" if b < a else "noise") for a, b in pairwise(whole)]
    columns += [(0.0, level, "other") for level in ends]
    for place, (start, stop, role) in enumerate(columns):
        ax.bar(place, stop - start, bottom=start, color=LOOKS[role].paper)
        if len(names) <= MOST_WITH_NUMBERS:
            said = number(stop) if role == "other" else signed(stop - start)
            ax.text(place, max(start, stop), said, ha="center", va="bottom", fontsize=8)
    null = finite(it.null)
    line = ax.plot(null, color=LOOKS["other"].paper, linestyle="--", label="untrained")
    ax.use_sticky_edges = False  # leaves room for the numbers
    ax.margins(y=0.08)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(names)), short(names), rotation=30, ha="right")
    ax.set_ylabel(it.label)
    handles = _patches((("adversarial", "driven apart"), ("noise", "together")))
    ax.legend(handles=[*handles, *line[: len(it.null)]], frameon=False)


def _tree(ax: Axes, it: Tree) -> None:
    """Leaves on the right, from top to bottom; what joins far to the left shares little."""
    places = {leaf: (0.0, float(row)) for row, leaf in enumerate(it.order)}
    for join, (one, other, height) in enumerate(it.joins, len(it.leaves)):
        (x1, y1), (x2, y2) = places[one], places[other]
        ax.plot((x1, height, height, x2), (y1, y1, y2, y2), color=LOOKS["noise"].paper)
        places[join] = height, (y1 + y2) / 2
    ax.set_yticks(range(len(it.leaves)), short(it.leaves))
    ax.yaxis.tick_right()
    ax.set(xlabel=it.label, xlim=(max([1e-9, *(height for *_, height in it.joins)]) * 1.05, 0))
    ax.set_ylim(len(it.leaves) - 0.5, -0.5)


def _lines(ax: Axes, it: Lines) -> None:
    named = tuple(name for name in it.x if isinstance(name, str))
    at = np.arange(len(named), dtype=float) if named else np.array(it.x, dtype=float)
    low, high = (0.0, 1.0) if it.share else _reach(it)
    room = 0.05 * (high - low or 1.0)
    ax.set_ylim(low - room, high + room)
    for series in it.series:
        _series(ax, at, series, ax.get_ylim())
    for level in it.levels:
        ax.axhline(level.value, color=LOOKS["other"].paper, linestyle=":", label=level.name)
    if named:
        by_layer(ax, named)
    elif it.series or it.levels:
        ax.legend(frameon=False)
    if it.share:
        ax.yaxis.set_major_formatter(_percent)
    ax.set(xlabel=it.label, ylabel=it.values)


def _series(ax: Axes, at: Floats, it: Series, ends: tuple[float, float]) -> None:
    """One line, its intervals within the ends of the scale; it breaks where there is no value."""
    look = LOOKS[it.role]
    if it.intervals:
        pairs = [pair or (math.nan, math.nan) for pair in it.intervals]
        low, high = np.clip(pairs, *ends).T
        if it.band:
            ax.fill_between(at, low, high, color=look.paper, alpha=0.15, linewidth=0)
        else:
            ax.vlines(at, low, high, color=look.paper)
    ax.plot(
        at,
        finite(it.values),
        color=look.paper,
        linestyle="--" if it.dashed else "-",
        linewidth=1 if it.dashed else None,
        marker=None if it.dashed else look.marker,
        markevery=math.ceil(len(at) / MOST_MARKERS) or 1,
        label=it.name or None,
    )


def _heat(ax: Axes, it: HeatMap) -> None:
    """Cells in the colours of the page, with their numbers where there is room."""
    colours = heat_colours(HEAT_STEPS, diverging=it.diverging)
    values = np.clip(np.array(it.rows, dtype=float), *it.span)
    low, high = it.span
    image = ax.imshow(values, ListedColormap([back for back, _ in colours]), vmin=low, vmax=high)
    names = short(it.names)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=it.across, ylabel=it.down)
    figure_of(ax).colorbar(image, ax=ax)
    if len(names) > MOST_WITH_NUMBERS:
        return
    for row, cells in enumerate(it.cells):
        for column, (text, look) in enumerate(cells):
            ink = "black" if look == "none" else colours[int(look[1:])][1]
            ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)


def _reach(it: Lines) -> tuple[float, float]:
    """Ends of a scale that holds all finite values, intervals and levels."""
    ends = (end for one in it.series for pair in one.intervals for end in pair or ())
    values = (value for one in it.series for value in one.values)
    known = _known([*values, *ends, *(level.value for level in it.levels)])
    return min([it.low, *known]), max([it.high, *known])


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _percent(value: float, _place: float) -> str:
    return f"{100 * value:g}%"


def _patches(legend: Sequence[tuple[Role, str]]) -> list[Patch]:
    return [Patch(color=LOOKS[role].paper, label=said) for role, said in legend]


DRAWN: dict[type, Callable[[Axes, Any], None]] = {
    Bars: _bars,
    Waterfall: _waterfall,
    Tree: _tree,
    Lines: _lines,
    HeatMap: _heat,
}
