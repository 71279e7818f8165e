"""Similarity by layer: its sentence, table and figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from worldline.commands.explore.explored import SHOWN, read_explored
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.views.shared import LAYER, ROLES, Source, fooled_basis
from worldline.commands.explore.views.turn import at_layer
from worldline.explain import LayerStory
from worldline.plot.axes import by_layer, finite, new_axes
from worldline.plot.colours import LOOKS
from worldline.report.numbers import interval, number
from worldline.report.views import Column, Table, View, tabulate
from worldline.statistics import Summary, apart
from worldline.trace import Comparison

__all__ = ["rapidity", "rapidity_by_layer", "similarity_view"]

WIDTH = Column[LayerStory]("width", lambda it: it.width)


def similarity_view(record: Exploration) -> View:
    """Whether attacked twins lose their originals: φ falls, and ends below that of noise."""
    first, last = record.layers[0], record.layers[-1]
    attacked, noise = last.rapidity.adversarial_clean, last.rapidity.noise_clean
    by_layer = tuple((layer.name, at_layer(layer)) for layer in record.layers)
    rest = (fooled_basis(record), rapidity(record), by_layer)
    if attacked.median is None or noise.median is None:
        return View("Similarity by layer", _no_median(record), *rest)
    start = first.rapidity.adversarial_clean
    values = f"φ = {number(attacked.median)} at {last.name}, against {number(noise.median)}"
    values += " for noise twins"
    if attacked.interval is None or noise.interval is None:
        return View(f"Too few twins to compare: {values}", _way(record), *rest)
    falls = apart(attacked.interval, start.interval) < 0
    title = {
        -1: f"Attacked twins end further from their originals than noise twins do: {values}",
        0: f"Attacked twins stay as close to their originals as noise twins do: {values}; the "
        "intervals overlap",
        1: f"Attacked twins stay closer to their originals than noise twins do: {values}",
    }[apart(attacked.interval, noise.interval)]
    if falls and apart(attacked.interval, noise.interval) < 0:
        title = (
            f"Attacked twins lose their originals: φ falls from {number(start.median)} to "
            f"{number(attacked.median)} at {last.name}, against {number(noise.median)} for noise "
            "twins"
        )
    return View(title, _way(record), *rest)


def _no_median(record: Exploration) -> str:
    if not record.fooled:
        return "No sample was fooled."
    return f"At {record.layers[-1].name}, no fooled sample has a similarity: features are constant."


def _way(record: Exploration) -> str:
    first, last = record.layers[0], record.layers[-1]

    def way(start: Summary, end: Summary) -> str:
        return f"from {number(start.median)} to {number(end.median)}"

    one, other = first.rapidity, last.rapidity
    return (
        f"From {first.name} to {last.name}, the median similarity φ to the original goes "
        f"{way(one.adversarial_clean, other.adversarial_clean)} for attacked twins and "
        f"{way(one.noise_clean, other.noise_clean)} for noise twins; to the wrong class's mean, "
        f"that of attacked twins goes {way(one.adversarial_wrong, other.adversarial_wrong)}."
    )


def rapidity(record: Exploration) -> Table:
    """Of each comparison the median, its interval, the middle 80 %, and the untrained median."""
    columns: list[Column[LayerStory]] = [LAYER, WIDTH]
    for label, name in (
        ("attacked – original", "adversarial_clean"),
        ("noise – original", "noise_clean"),
        ("attacked – true class", "adversarial_true"),
        ("attacked – wrong class", "adversarial_wrong"),
    ):
        columns += _comparison(label, name)
    return tabulate(columns, record.layers)


def _comparison(label: str, name: str) -> tuple[Column[LayerStory], ...]:
    def middle(it: LayerStory) -> str:
        found = getattr(it.rapidity, name)
        return interval(None if found.q10 is None else (found.q10, found.q90), number)

    def untrained(it: LayerStory) -> float | None:
        null = it.untrained_rapidity
        return None if null is None else getattr(null, name).median

    return (
        Column(f"{label}: median", lambda it: getattr(it.rapidity, name), interval=True),
        Column("middle 80%", middle),
        Column("untrained", untrained),
    )


def rapidity_by_layer(
    source: Source, *, ax: Axes | None = None, pairs: Sequence[Comparison] = tuple(SHOWN)
) -> Axes:
    """Median rapidity φ (Fisher's z, nats) by layer with quartiles; the untrained network dashed.

    Args:
        source: a finished run of ``explore``, or a story.
        ax: where to draw; default: new axes.
        pairs: of ``adversarial_clean``, ``noise_clean``, ``adversarial_true``,
            ``adversarial_wrong``.

    Returns:
        The axes. A curve that ends is infinite or undefined from there on.
    """
    data, ax = read_explored(source), new_axes(ax)
    at = np.arange(len(data.layers))
    for pair in pairs:
        bands, look, label = data.bands(pair), LOOKS[ROLES[pair]], SHOWN[pair]
        ends = finite(bands.low), finite(bands.high)
        ax.fill_between(at, *ends, color=look.paper, alpha=0.15, linewidth=0)
        ax.plot(at, finite(bands.median), color=look.paper, marker=look.marker, label=label)
        if data.untrained:
            null, style = finite(data.bands(pair, untrained=True).median), f"{label}, untrained"
            ax.plot(at, null, color=look.paper, linestyle="--", linewidth=1, label=style)
    ax.set_ylabel("similarity: rapidity φ = artanh ρ (Fisher's z), nats")
    return by_layer(ax, data.layer_names)
