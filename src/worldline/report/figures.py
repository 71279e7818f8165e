"""Figures of the shared kinds, as data, declared once for the page and for papers.

A page's script (``script/kinds.js``) draws them, and so does ``report.drawn`` with Matplotlib.
In a template ``{{ macros.figure(prefix ~ "limits", record_figure, "What it shows, in words") }}``
is all that is needed, and a figure drawn so can stand on another command's page too. ``role`` is
one of the looks of ``plot.colours.LOOKS``: a colour and a marker. ±∞ and None are allowed wherever
a value is a float or None: lines break there, and bars end at the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

__all__ = [
    "Bar",
    "Bars",
    "Figure",
    "Level",
    "Lines",
    "Role",
    "Series",
    "Sparkline",
    "Tree",
    "Waterfall",
]

Role = Literal["adversarial", "noise", "true", "wrong", "other"]
Values = tuple[float | None, ...]
Ends = tuple[float, float] | None


@dataclass(frozen=True)
class Bar:
    """One horizontal bar from 0.

    Attributes:
        name: on the left; "" where it belongs to the bar above.
        said: the number on the right, as written.
        interval: a whisker over the end.
        null: a dashed mark across: the same of the untrained network.
    """

    name: str
    value: float | None
    said: str
    role: Role = "adversarial"
    interval: Ends = None
    null: float | None = None


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, one below the other.

    Attributes:
        most: end of the scale; default: what the values and intervals need.
        share: whether the scale is in per cent.
        legend: (role, words) of each entry.
    """

    bars: tuple[Bar, ...]
    most: float | None = None
    share: bool = False
    label: str = ""
    legend: tuple[tuple[Role, str], ...] = ()
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class Waterfall:
    """The way of a quantity through layers, one step a column, between what it was and what it is.

    Attributes:
        names: of the layers.
        levels: after each layer; the way ends before the first that is not finite.
        null: the same of the control, a dashed line.
    """

    names: tuple[str, ...]
    levels: Values
    null: Values = ()
    label: str = "rapidity φ, nats"
    kind: Literal["waterfall"] = "waterfall"

    @property
    def whole(self) -> tuple[float, ...]:
        """The levels that are drawn."""
        return tuple(
            takewhile(math.isfinite, (math.nan if it is None else it for it in self.levels))
        )


@dataclass(frozen=True)
class Tree:
    """A dendrogram with its leaves on the right.

    Attributes:
        leaves: names in the order of the tree, top to bottom.
        joins: (left, right, height): parts joined, as in SciPy's linkage: numbers below the
            number of leaves are places in ``order``'s numbering, further ones earlier joins.
        order: the number of each leaf, top to bottom.
    """

    leaves: tuple[str, ...]
    joins: tuple[tuple[int, int, float], ...]
    order: tuple[int, ...]
    label: str = ""
    kind: Literal["tree"] = "tree"


@dataclass(frozen=True)
class Sparkline:
    """A small line through the layers, over a band of what is usual and beside a control.

    Attributes:
        reach: the scale goes from −reach to reach; what is infinite stands at its edge.
    """

    line: Values
    low: Values
    high: Values
    reach: float
    null: Values = ()
    kind: Literal["sparkline"] = "sparkline"


@dataclass(frozen=True)
class Series:
    """One line with markers.

    Attributes:
        name: in the legend; "" where it belongs to the series above.
        values: None: no marker there, and the line breaks.
        intervals: whiskers; ``band`` draws them as one band instead.
    """

    name: str
    role: Role
    values: Values
    intervals: tuple[Ends, ...] = ()
    band: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line at a value that means something, dashed and named: chance, a bound."""

    name: str
    value: float


@dataclass(frozen=True)
class Lines:
    """Lines over numbers (ε, steps) or over names (layers).

    Attributes:
        x: numbers, or names.
        label: what x is.
        values: what the vertical scale is, as papers say it.
        share: whether the vertical scale is 0 to 100 %.
        low, high: that the vertical scale holds at least.
    """

    x: tuple[float, ...] | tuple[str, ...]
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    label: str = ""
    values: str = ""
    share: bool = False
    low: float = 0.0
    high: float = 0.0
    kind: Literal["lines"] = "lines"


Figure = Bars | Waterfall | Tree | Sparkline | Lines
