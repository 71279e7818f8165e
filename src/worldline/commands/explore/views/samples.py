"""Sample by sample: the map, the worldlines and what the attack changed."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes

from worldline.commands.base import Result
from worldline.commands.explore.explored import STATES, TWINS, Explored, read_explored
from worldline.commands.explore.record import TWINS as INPUTS
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.views.shared import ROLES, Source, fooled_basis, layer_index
from worldline.commands.explore.words import norm_sign
from worldline.errors import UsageError
from worldline.plot.axes import finite, new_axes, plain, short
from worldline.plot.colours import LOOKS
from worldline.report.numbers import count, estimate, number, share, significant
from worldline.report.views import View
from worldline.statistics import proportion

__all__ = ["change_view", "map_view", "sample_map", "spacetime"]

STATE_ROLES = ("adversarial", "noise", "other")


MOST_ENTRIES = 30_000_000  # of inputs, behind what is said of the change


def map_view(record: Exploration, data: Explored) -> View:
    """At each layer, how many fooled twins are closer to strangers than to their original."""
    held, wrong = (int((data.states == state).sum()) for state in (1, 2))
    states = f"{record.fooled:,} fooled, {held:,} held, {wrong:,} wrong by itself"
    basis = f"n = {count(len(data.fooled), 'sample')}; 95% Wilson intervals"
    if not record.fooled:
        told = ("No sample was fooled, so no twin has joined strangers", f"{states}.")
        return View(*told, fooled_basis(record), None, (told,) * len(data.layers))
    by_layer = []
    for place, layer in enumerate(data.layer_names):
        strangers, own = (
            data.rapidity[pair][data.fooled, place]
            for pair in ("adversarial_wrong", "adversarial_clean")
        )
        known = ~(np.isnan(strangers) | np.isnan(own))
        part = proportion(int((strangers > own)[known].sum()), int(known.sum()))
        lost = record.fooled - part.count
        if part.value is None:
            title = f"At {layer}, no fooled twin has a similarity to strangers"
            by_layer.append((title, f"{states}."))
            continue
        by_layer.append(
            (
                f"At {layer}, {share(part.value)} of the fooled twins are closer to strangers than "
                "to their own original",
                f"{estimate(part)} of {count(part.count, 'fooled twin')}"
                f"{f'; {lost:,} more are undefined' if lost else ''}. {states}.",
            )
        )
    return View(*by_layer[-1], basis, None, tuple(by_layer))


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
    at = layer_index(data, layer)
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


def change_view(result: Result[Exploration], data: Explored) -> View:
    """What the attack did to the inputs of the fooled samples, or of all where none was."""
    record, inputs = result.record, result.folder.read_tensors(INPUTS)
    some = np.flatnonzero(data.fooled) if data.fooled.any() else np.arange(len(data.fooled))
    rows = torch.from_numpy(some[: max(1, MOST_ENTRIES // inputs["clean"][0].numel())])
    clean = inputs["clean"][rows].flatten(1)
    change = inputs["adversarial"][rows].flatten(1) - clean
    largest, length = change.abs().amax(1), change.norm(dim=1)
    moved = (change.abs() > 1e-6 * largest.clamp_min(1e-30)[:, None]).sum(1).double()
    relative = length / clean.norm(dim=1).clamp_min(1e-30)
    own = largest if record.norm == "linf" else length
    low, high = record.bounds
    greatest = float(change.abs().max())
    basis = f"n = {count(len(change), 'fooled sample' if data.fooled.any() else 'sample')}"
    if greatest > 0:
        basis += f"; changes are magnified {number((high - low) / greatest, 1)} times"
        title = (
            f"The attack changes {float(moved.median()):.0f} of {change.shape[1]:,} entries of an "
            f"input by at most {significant(float(largest.median()))}"
        )
    else:
        title = "The attack changes nothing"
    sentence = (
        f"Medians over {count(len(change), 'sample')}. In the {norm_sign(record.norm)} norm that "
        f"is {significant(float(own.median()))} of the allowed {record.epsilon_text}; the change "
        f"is {share(float(relative.median()))} as long as the input itself. In the pictures of the "
        "change, lighter raises a value, darker lowers it, grey leaves it."
    )
    return View(title, sentence, basis)
