"""Figures of an exploration for papers: the numbers of the page, in its colours and markers.

>>> import worldline as wl
>>> from worldline.commands.explore import figures
>>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
>>> x, y = data.x[:60], data.y[:60]
>>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
>>> figures.rapidity_by_layer(story).get_xlabel()
'layer'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.complexity.page import boost_waterfall, speed_limit_use
from worldline.commands.doctor.page import accuracy_curve
from worldline.commands.explore.explored import SHOWN, STATES, TWINS, Explored, read_explored
from worldline.commands.explore.record import Exploration
from worldline.errors import UsageError
from worldline.explain import LayerStory, TwinStory
from worldline.plot.axes import by_layer, figure_of, finite, new_axes, plain, short, with_intervals
from worldline.plot.colours import LOOKS
from worldline.statistics import Share
from worldline.trace import Comparison

__all__ = [
    "changed_sides",
    "class_accuracy",
    "class_flow",
    "excess_boost",
    "figures",
    "rapidity_by_layer",
    "sample_map",
    "spacetime",
]

Source = Result[Exploration] | TwinStory | Explored
ROLES: dict[Comparison, str] = {
    "adversarial_clean": "adversarial",
    "noise_clean": "noise",
    "adversarial_true": "true",
    "adversarial_wrong": "wrong",
    "clean_true": "true",
    "clean_wrong": "wrong",
}
STATE_ROLES = ("adversarial", "noise", "other")
SIDES: tuple[tuple[str, str, Callable[[LayerStory], Share]], ...] = (
    ("adversarial", "attacked twins", lambda it: it.wrong_side),
    ("true", "their originals", lambda it: it.clean_wrong_side),
    ("wrong", "moved by the attack", lambda it: it.moved_share),
    ("noise", "noise twins (control)", lambda it: it.noise_wrong_side),
)
MOST_FLOWS = 12


def figures(result: Result[Exploration]) -> dict[str, Figure]:
    """All figures of a run, by name."""
    data = read_explored(result)
    axes = {
        "rapidity": rapidity_by_layer(data),
        "sides": changed_sides(data),
        "boosts": excess_boost(data),
        "spacetime": spacetime(data),
        "map": sample_map(data),
        "classes": class_accuracy(data),
        "flow": class_flow(data),
        "curve": accuracy_curve(result.record.curve),
    }
    measured = result.record.complexity
    if measured is not None:
        axes["waterfall"] = boost_waterfall(measured)
        if measured.limits:
            axes["limits"] = speed_limit_use(measured)
    return {name: figure_of(ax) for name, ax in axes.items()}


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


def changed_sides(source: Source, *, ax: Axes | None = None) -> Axes:
    """Shares on the wrong side by layer, and what the attack moved, with 95 % intervals.

    The tipping layer (swap layer) is the first from which the moved share's interval stays above
    the dotted line at one half.
    """
    data, ax = read_explored(source), new_axes(ax)
    at = np.arange(len(data.layers))
    for role, label, share_of in SIDES:
        shares = [share_of(layer) for layer in data.layers]
        values, ends = [it.value for it in shares], [it.interval for it in shares]
        with_intervals(ax, at, values, ends, role, label)
    ax.axhline(0.5, color=LOOKS["other"].paper, linestyle=":", label="one half")
    ax.set_ylabel("share closer to the wrong class")
    return by_layer(ax, data.layer_names)


def excess_boost(source: Source, *, ax: Axes | None = None) -> Axes:
    """How much more a layer drives the attacked twin away than noise does, with 95 % intervals.

    In nats. Above 0: the layer pushes the attacked twin away by more than the noise twin.
    """
    data, ax = read_explored(source), new_axes(ax)
    boosts = [layer.excess_boost for layer in data.layers]
    values = [None if it is None else it.median for it in boosts]
    ends = [None if it is None else it.interval for it in boosts]
    ax.axhline(0, color=LOOKS["other"].paper, linewidth=1)
    at = np.arange(len(boosts))
    with_intervals(ax, at, values, ends, "adversarial", "damage beyond noise", line=False)
    ax.set_ylabel("damage beyond noise, nats")
    return by_layer(ax, data.layer_names)


def spacetime(source: Source, *, sample: int | None = None, ax: Axes | None = None) -> Axes:
    """The worldlines of one sample's twins and class means, in the frame of the clean sample.

    Args:
        source: a finished run of ``explore``, or a story.
        sample: which, by its row in what was given; default: a typical fooled one.
        ax: where to draw.

    Returns:
        The axes: depth upwards, Σ ρ to the side, the light cone |ρ| = 1 dotted. Short bars are
        ticks of proper time, one for each unit of Σ sin θ. A line ends where its pair is undefined.

    Raises:
        UsageError: there is no such sample.
    """
    data, ax = read_explored(source), new_axes(ax)
    named = np.flatnonzero(data.samples == sample)
    if sample is not None and not len(named):
        raise UsageError(
            f"There is no sample {sample} in this run; its rows go from {data.samples[0]} to "
            f"{data.samples[-1]}."
        )
    chosen = data.typical() if sample is None else int(named[0])
    depth = len(data.layers)
    for side in (-1, 1):
        edge = [0, side * depth]
        ax.plot(edge, [0, depth], color=LOOKS["other"].paper, linestyle=":", linewidth=1)
    least = 0.0
    for twin, label in TWINS.items():
        line, look = data.worldline(chosen, twin), LOOKS[ROLES[twin]]
        (drawn,) = ax.plot(line.place, line.time, color=look.paper, label=label)
        drawn.set(marker=look.marker, markersize=4)
        known = np.isfinite(line.proper)
        ticks = np.arange(1, np.floor(line.proper[known].max()) + 1)
        place, time = (
            np.interp(ticks, line.proper[known], it[known]) for it in (line.place, line.time)
        )
        ax.plot(place, time, linestyle="none", marker="_", markersize=12, color=look.paper)
        least = min(least, float(np.nanmin(line.place)))
    ax.set(
        xlabel="Σ ρ with the clean sample", xlim=(least - 0.3, depth + 0.3), ylim=(0, depth + 0.2)
    )
    ax.set_yticks(range(depth + 1), ["", *short(data.layer_names)])
    ax.set_title(f"sample {data.samples[chosen]}")
    ax.legend(frameon=False)
    return plain(ax)


def sample_map(source: Source, *, layer: int | None = None, ax: Axes | None = None) -> Axes:
    """How close each sample's attacked twin is to its original, and how close to the wrong class.

    Args:
        source: a finished run of ``explore``, or a story.
        layer: its index; default: the last.
        ax: where to draw.

    Raises:
        UsageError: there is no such layer.
    """
    data, ax = read_explored(source), new_axes(ax)
    at = _layer(data, layer)
    near, far = (
        finite(data.rapidity[pair][:, at]) for pair in ("adversarial_clean", "adversarial_wrong")
    )
    for state, (name, role) in enumerate(zip(STATES, STATE_ROLES, strict=True)):
        rows, look = data.states == state, LOOKS[role]
        (drawn,) = ax.plot(near[rows], far[rows], linestyle="none", color=look.paper, label=name)
        drawn.set(marker=look.marker, markersize=3, alpha=0.6)
    ax.set(
        xlabel=f"φ(attacked, original) at {short(data.layer_names)[at]}: still beside its twin →",
        ylabel="φ(attacked, wrong class): beside strangers →",
    )
    ax.legend(frameon=False)
    return plain(ax)


def class_accuracy(source: Source, *, ax: Axes | None = None) -> Axes:
    """Accuracy by class, clean, under noise and under attack, with 95 % Wilson intervals."""
    data, ax = read_explored(source), new_axes(ax)
    looks = (("clean", "true"), ("noise", "noise"), ("adversarial", "adversarial"))
    for place, (twin, role) in enumerate(looks):
        at = np.arange(len(data.classes)) + 0.2 * (place - 1)
        shares = [row.right[twin] for row in data.classes]
        values, ends = [it.value for it in shares], [it.interval for it in shares]
        with_intervals(ax, at, values, ends, role, twin, line=False)
    ax.set_xticks(range(len(data.classes)), short([row.name for row in data.classes]))
    ax.set(xlabel="class", ylabel="accuracy", ylim=(-0.02, 1.02))
    ax.legend(frameon=False)
    return plain(ax)


def class_flow(source: Source, *, layer: int | None = None, ax: Axes | None = None) -> Axes:
    """The largest flows of fooled samples from class to class, and how many are lost by a layer."""
    data, ax = read_explored(source), new_axes(ax)
    at, flows = _layer(data, layer), data.flows[:MOST_FLOWS]
    places = range(len(flows))
    counts = [it.count for it in flows]
    ax.barh(places, counts, color="none", edgecolor=LOOKS["other"].paper, label="fooled")
    told = f"closer to the wrong class for good by {short(data.layer_names)[at]}"
    ax.barh(places, [it.by_layer[at] for it in flows], color=LOOKS["wrong"].paper, label=told)
    ax.set_yticks(places, [" → ".join(short([it.source, it.target])) for it in flows])
    ax.invert_yaxis()
    ax.set_xlabel("samples")
    ax.legend(frameon=False)
    return plain(ax)


def _layer(data: Explored, layer: int | None) -> int:
    count = len(data.layers)
    if layer is not None and not 0 <= layer < count:
        raise UsageError(f"There is no layer {layer}: this run has {count}, from 0.")
    return count - 1 if layer is None else layer
