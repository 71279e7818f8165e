"""Figures of a comparison and of a search for distant pairs, as Matplotlib axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from worldline.compare import Predicted
from worldline.errors import UsageError
from worldline.plot.colours import LOOKS
from worldline.plot.figures import _short, new_axes, plain
from worldline.plot.names import tidy
from worldline.runs import RunFolder

__all__ = ["pair_worldlines", "transfer"]

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


def pair_worldlines(run: RunFolder, *, ax: Axes | None = None) -> Axes:
    """Rapidity by layer of the found distant pairs, over the middle 98 % of pairs as far apart.

    Args:
        run: a finished run of ``distant``.
        ax: where to draw; a pair's curve has a gap where its rapidity is infinite.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> config = wl.runs.DistantConfig(model="mlp", samples=60, nulls=0, pairs=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wl.plot.pair_worldlines(wl.runs.distant(config, Path(folder) / "run")).get_xlabel()
    'layer'
    """
    document: dict[str, Any] = tidy(run.read_json("summary.json"))
    if "far" not in document:
        raise UsageError(f"{run.path} is no run of distant.")
    ax, at = new_axes(ax), range(len(document["layers"]))
    low, _, high = (np.array(row, dtype=float) for row in document["far"])
    ax.fill_between(
        at, low, high, color=LOOKS["other"].paper, alpha=0.2, label="middle 98% of far pairs"
    )
    for side, role in (("merged", "adversarial"), ("opposed", "noise")):
        for place, pair in enumerate(document[side]):
            line = np.array(pair["worldline"], dtype=float)
            label = side if place == 0 else None
            ax.plot(
                at,
                line,
                color=LOOKS[role].paper,
                marker=LOOKS[role].marker,
                markersize=3,
                linewidth=1,
                label=label,
            )
    ax.set_xticks(at, _short([layer["name"] for layer in document["layers"]]))
    ax.set(xlabel="layer", ylabel="rapidity φ (Fisher's z), nats")
    ax.legend(frameon=False)
    return plain(ax)
