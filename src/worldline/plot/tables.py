"""Figures of a comparison and of a search for distant pairs, as Matplotlib axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from worldline.compare import Predicted
from worldline.errors import UsageError
from worldline.plot.figures import _short, new_axes, plain
from worldline.plot.names import tidy
from worldline.runs import RunFolder

__all__ = ["transfer"]

MOST_WITH_NUMBERS = 16


def transfer(
    source: RunFolder | Predicted, *, which: str = "predicted", ax: Axes | None = None
) -> Axes:
    """Transfer between models as a heat map: sources down, targets across, similar models beside
    each other.

    Args:
        source: a finished run of ``compare``, or a prediction.
        which: ``predicted``, ``similarity``, or, of a run that measured, ``measured``,
            ``noise_rate``, ``same_mistake``.
        ax: where to draw.

    Raises:
        UsageError: there is no such table.

    >>> import worldline as wl
    >>> models = {name: wl.zoo.load(name) for name in ("linear", "mlp")}
    >>> found = wl.compare.predict(models, wl.zoo.digits().x[:100], epsilon=0.15)
    >>> wl.plot.transfer(found).get_title()
    'predicted'
    """
    if isinstance(source, RunFolder):
        document = tidy(source.read_json("summary.json"))
        names, table, order = document.get("models"), document.get(which), document.get("order")
    else:
        tables = {"predicted": source.score.tolist(), "similarity": source.similarity.tolist()}
        names, table, order = (
            tidy(list(source.names), "models"),
            tables.get(which),
            range(len(source.names)),
        )
    if names is None or order is None or table is None:
        raise UsageError(
            f"There is no table {which!r} in this comparison: name predicted or similarity."
        )
    values = np.array([[table[row][column] for column in order] for row in order], dtype=float)
    ax = new_axes(ax)
    drawn = ax.imshow(values, cmap="cividis")
    ordered = _short([names[place] for place in order])
    ax.set_xticks(range(len(ordered)), ordered, rotation=40, ha="right")
    ax.set_yticks(range(len(ordered)), ordered)
    ax.set(xlabel="target", ylabel="source", title=which.replace("_", " "))
    if len(ordered) <= MOST_WITH_NUMBERS:
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "black" if value > middle else "white"
                ax.text(
                    column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=7
                )
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(drawn, ax=ax)
    return plain(ax)
