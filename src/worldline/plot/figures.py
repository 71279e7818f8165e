"""Figures of an exploration for papers, as Matplotlib axes: the data and numbers of the page, in
its colours and markers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from worldline.errors import UsageError
from worldline.explain import TwinStory
from worldline.plot.colours import LOOKS
from worldline.plot.explored import PAIRS, STATES, TWINS, Explored, read_explored
from worldline.runs import RunFolder

__all__ = [
    "accuracy_curve",
    "changed_sides",
    "class_accuracy",
    "class_flow",
    "excess_boost",
    "rapidity_by_layer",
    "sample_map",
    "spacetime",
]

Source = RunFolder | TwinStory | Explored
ROLES = {
    "adversarial_clean": "adversarial",
    "noise_clean": "noise",
    "adversarial_true": "true",
    "adversarial_wrong": "wrong",
    "clean_true": "true",
    "clean_wrong": "wrong",
}
STATE_ROLES = ("adversarial", "noise", "other")
MOST_FLOWS = 12
LONGEST_LABEL = 20


def rapidity_by_layer(
    source: Source, *, ax: Axes | None = None, pairs: tuple[str, ...] = tuple(PAIRS)
) -> Axes:
    """Median rapidity φ (Fisher's z, nats) by layer with quartiles; the untrained network dashed.

    Args:
        source: a finished run of ``explore``, or a story.
        ax: where to draw; default: new axes.
        pairs: of ``adversarial_clean``, ``noise_clean``, ``adversarial_true``,
            ``adversarial_wrong``.

    Returns:
        The axes. A curve that ends is infinite or undefined from there on.

    >>> import worldline as wl
    >>> data = wl.zoo.digits()
    >>> model, x, y = wl.zoo.load("linear"), data.x[:60], data.y[:60]
    >>> found = wl.attacks.PGD(epsilon=0.15, steps=5)(model, x, y)
    >>> ax = wl.plot.rapidity_by_layer(wl.explain.twins(model, x, found.x, y))
    >>> ax.get_xlabel()
    'layer'
    """
    data, ax = read_explored(source), new_axes(ax)
    at = np.arange(len(data.layers))
    for pair in pairs:
        bands, look = data.bands(pair), LOOKS[ROLES[pair]]
        ax.fill_between(
            at, _finite(bands.low), _finite(bands.high), color=look.paper, alpha=0.15, linewidth=0
        )
        ax.plot(at, _finite(bands.median), color=look.paper, marker=look.marker, label=PAIRS[pair])
        if data.untrained:
            null = data.bands(pair, untrained=True).median
            ax.plot(
                at,
                _finite(null),
                color=look.paper,
                linestyle="--",
                linewidth=1,
                label=f"{PAIRS[pair]}, untrained",
            )
    ax.set_ylabel("rapidity φ = artanh ρ (Fisher's z), nats")
    return _by_layer(ax, data)


def changed_sides(source: Source, *, ax: Axes | None = None) -> Axes:
    """Share of samples nearer to the wrong class's mean than to their own's, by layer, with 95 %
    intervals.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.changed_sides(story).get_ylabel()
    'share nearer to the wrong class'
    """
    data, ax = read_explored(source), new_axes(ax)
    series = (
        ("swapped", "adversarial", "adversarial twins"),
        ("noise_swapped", "noise", "noise twins (control)"),
        ("misclassified_swapped", "other", "clean samples wrong by themselves (control)"),
    )
    for key, role, label in series:
        rows = [layer[key] for layer in data.summary["layers"]]
        known = [place for place, row in enumerate(rows) if row["value"] is not None]
        if known:
            values = [rows[place]["value"] for place in known]
            ends = [rows[place]["interval"] or (rows[place]["value"],) * 2 for place in known]
            _intervals(ax, known, values, ends, role, label)
    ax.set(ylabel="share nearer to the wrong class", ylim=(-0.02, 1.02))
    return _by_layer(ax, data)


def excess_boost(source: Source, *, ax: Axes | None = None) -> Axes:
    """How much more a layer drives the adversarial twin away than noise of the same size, in nats,
    with 95 % intervals.

    Above 0: the layer pushes the adversarial twin away by more than the noise twin.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.excess_boost(story).get_ylabel()
    'driven apart beyond noise, nats'
    """
    data, ax = read_explored(source), new_axes(ax)
    boosts = {place: layer["excess_boost"] for place, layer in enumerate(data.summary["layers"])}
    known = [place for place, boost in boosts.items() if boost and boost["median"] is not None]
    values = [-boosts[place]["median"] for place in known]
    ends = [
        _turned(boosts[place]["interval"], value)
        for place, value in zip(known, values, strict=True)
    ]
    ax.axhline(0, color=LOOKS["other"].paper, linewidth=1)
    if known:
        _intervals(ax, known, values, ends, "adversarial", "driven apart beyond noise", line=False)
    ax.set_ylabel("driven apart beyond noise, nats")
    return _by_layer(ax, data)


def spacetime(source: Source, *, sample: int | None = None, ax: Axes | None = None) -> Axes:
    """The worldlines of one sample's twins and class means, in the frame of the clean sample.

    Args:
        source: a finished run of ``explore``, or a story.
        sample: which; default: a typical fooled one.
        ax: where to draw.

    Returns:
        The axes: depth upwards, Σ ρ to the side, the light cone |ρ| = 1 dotted; short bars are
            ticks of proper time, one for each
        unit of Σ sin θ.

    Raises:
        UsageError: there is no such sample.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.spacetime(story, sample=3).get_title()
    'sample 3'
    """
    data, ax = read_explored(source), new_axes(ax)
    chosen = data.typical() if sample is None else sample
    if not 0 <= chosen < len(data.fooled):
        raise UsageError(f"There is no sample {chosen}: this run has {len(data.fooled)}, from 0.")
    depth = len(data.layers)
    for side in (-1, 1):
        ax.plot(
            [0, side * depth], [0, depth], color=LOOKS["other"].paper, linestyle=":", linewidth=1
        )
    least = 0.0
    for twin, label in TWINS.items():
        line, look = data.worldline(chosen, twin), LOOKS[ROLES[twin]]
        ax.plot(
            line.place, line.time, color=look.paper, marker=look.marker, markersize=4, label=label
        )
        ticks = np.arange(1, np.floor(line.proper[-1]) + 1)
        place, time = (np.interp(ticks, line.proper, it) for it in (line.place, line.time))
        ax.plot(place, time, linestyle="none", marker="_", markersize=12, color=look.paper)
        least = min(least, float(line.place.min()))
    ax.set(
        xlabel="Σ ρ with the clean sample", xlim=(least - 0.3, depth + 0.3), ylim=(0, depth + 0.2)
    )
    ax.set_yticks(range(depth + 1), ["", *_short(data.layers)])
    ax.set_title(f"sample {chosen}")
    ax.legend(frameon=False)
    return plain(ax)


def sample_map(source: Source, *, layer: int | None = None, ax: Axes | None = None) -> Axes:
    """Each sample's adversarial twin: how near it still is to its clean twin, and how near to the
    wrong class.

    Args:
        source: a finished run of ``explore``, or a story.
        layer: its index; default: the last.
        ax: where to draw.

    Raises:
        UsageError: there is no such layer.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.sample_map(story, layer=0).get_xlabel()
    'φ(adversarial, clean) at input: still beside its twin →'
    """
    data, ax = read_explored(source), new_axes(ax)
    at = len(data.layers) - 1 if layer is None else layer
    if not 0 <= at < len(data.layers):
        raise UsageError(f"There is no layer {at}: this run has {len(data.layers)}, from 0.")
    for state, (name, role) in enumerate(zip(STATES, STATE_ROLES, strict=True)):
        rows, look = data.states == state, LOOKS[role]
        x, y = (
            _finite(data.rapidity[pair][rows, at])
            for pair in ("adversarial_clean", "adversarial_wrong")
        )
        ax.plot(
            x,
            y,
            linestyle="none",
            marker=look.marker,
            markersize=3,
            color=look.paper,
            alpha=0.6,
            label=name,
        )
    ax.set(
        xlabel=f"φ(adversarial, clean) at {_short(data.layers)[at]}: still beside its twin →",
        ylabel="φ(adversarial, wrong class): beside strangers →",
    )
    ax.legend(frameon=False)
    return plain(ax)


def class_accuracy(source: RunFolder | Explored, *, ax: Axes | None = None) -> Axes:
    """Accuracy by class, clean, under noise and under attack, with 95 % Wilson intervals.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.plot.class_accuracy(run).get_xlabel()
    'class'
    """
    data, ax = read_explored(source), new_axes(ax)
    looks = (("clean", "true"), ("noise", "noise"), ("adversarial", "adversarial"))
    for place, (twin, role) in enumerate(looks):
        at = [number + 0.2 * (place - 1) for number in range(len(data.classes))]
        values = [row.right[twin].value or 0.0 for row in data.classes]
        ends = [row.right[twin].interval or (0.0, 1.0) for row in data.classes]
        _intervals(ax, at, values, ends, role, twin, line=False)
    ax.set_xticks(range(len(data.classes)), _short([row.name for row in data.classes]))
    ax.set(xlabel="class", ylabel="accuracy", ylim=(-0.02, 1.02))
    ax.legend(frameon=False)
    return plain(ax)


def class_flow(source: Source, *, layer: int | None = None, ax: Axes | None = None) -> Axes:
    """The largest flows of fooled samples from class to class: how many, and how many had changed
    sides by a layer.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.class_flow(story).get_xlabel()
    'samples'
    """
    data, ax = read_explored(source), new_axes(ax)
    at = len(data.layers) - 1 if layer is None else layer
    flows = data.flows[:MOST_FLOWS]
    places = range(len(flows))
    ax.barh(
        places,
        [it.count for it in flows],
        color="none",
        edgecolor=LOOKS["other"].paper,
        label="fooled",
    )
    turned = [it.by_layer[at] for it in flows]
    ax.barh(
        places,
        turned,
        color=LOOKS["wrong"].paper,
        label=f"changed sides for good by {_short(data.layers)[at]}",
    )
    ax.set_yticks(places, [" → ".join(_short([it.source, it.target])) for it in flows])
    ax.invert_yaxis()
    ax.set_xlabel("samples")
    ax.legend(frameon=False)
    return plain(ax)


def accuracy_curve(
    source: RunFolder | Explored | dict[str, Any], *, ax: Axes | None = None
) -> Axes:
    """Accuracy against ε with 95 % intervals, under attack and under noise; chance dotted.

    Args:
        source: a finished run of ``explore`` or ``doctor``, or the ``curve`` of its summary.
        ax: where to draw.

    Raises:
        UsageError: the run holds no curve.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.accuracy_curve(wl.plot.read_explored(story))
    Traceback (most recent call last):
    worldline.errors.UsageError: This run holds no curve of accuracy against ε.
    """
    ax = new_axes(ax)
    curve = _curve_of(source)
    if not curve:
        raise UsageError("This run holds no curve of accuracy against ε.")
    points = curve["points"]
    at = [point["epsilon"] for point in points]
    ends = [point["interval"] or (point["accuracy"],) * 2 for point in points]
    _intervals(ax, at, [point["accuracy"] for point in points], ends, "adversarial", "under attack")
    known = [point for point in points if point.get("noise_accuracy") is not None]
    look = LOOKS["noise"]
    ax.plot(
        [point["epsilon"] for point in known],
        [point["noise_accuracy"] for point in known],
        color=look.paper,
        marker=look.marker,
        label="under noise of the same size",
    )
    if curve.get("chance") is not None:
        ax.axhline(curve["chance"], color=LOOKS["other"].paper, linestyle=":", label="chance")
    ax.set(xlabel="ε", ylabel="accuracy", ylim=(-0.02, 1.02))
    ax.legend(frameon=False)
    return plain(ax)


def _curve_of(source: RunFolder | Explored | dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(source, RunFolder):
        source = source.read_json("summary.json").get("curve") or {}
    found: dict[str, Any] | None = (
        source.summary.get("curve") if isinstance(source, Explored) else source
    )
    return found


def new_axes(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure that belongs to no window."""
    return Figure(figsize=(7, 4.2), dpi=150, layout="constrained").subplots() if ax is None else ax


def _intervals(
    ax: Axes, at: Any, values: Any, ends: Any, role: str, label: str, *, line: bool = True
) -> None:
    look = LOOKS[role]
    below = [max(0.0, value - low) for value, (low, _) in zip(values, ends, strict=True)]
    above = [max(0.0, high - value) for value, (_, high) in zip(values, ends, strict=True)]
    style = "-" if line else "none"
    ax.errorbar(
        at,
        values,
        (below, above),
        color=look.paper,
        marker=look.marker,
        linestyle=style,
        label=label,
    )


def _turned(interval: list[float | None] | None, value: float) -> tuple[float, float]:
    low, high = interval or (None, None)
    return (value, value) if low is None or high is None else (-high, -low)


def _finite(values: Any) -> Any:
    return np.where(np.isfinite(values), values, np.nan)


def _short(names: list[str]) -> list[str]:
    """Names that leave room for the figure; those with dots keep their end, in which they
    differ.
    """

    def short(name: str) -> str:
        if len(name) <= LONGEST_LABEL:
            return name
        return f"…{name[1 - LONGEST_LABEL :]}" if "." in name else f"{name[: LONGEST_LABEL - 1]}…"

    return [short(name) for name in names]


def _by_layer(ax: Axes, data: Explored) -> Axes:
    names = _short(data.layers)
    ax.set_xlabel("layer")
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    if len(names) <= 16:
        ax.set_xticks(range(len(names)), names)
        if sum(map(len, names)) > 60:
            ax.tick_params("x", rotation=30)
    ax.legend(frameon=False)
    return plain(ax)


def plain(ax: Axes) -> Axes:
    """No box, and no mathematics read into names."""
    ax.spines[["top", "right"]].set_visible(False)
    figure = ax.get_figure()
    for text in figure.findobj(Text) if figure else ():
        text.set_parse_math(False)
    return ax
