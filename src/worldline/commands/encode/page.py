"""The page of the encoder's experiments: claim, figure, law, controls and verdict of each.

Figures are drawn from the experiments' tables. Colour never stands alone: line styles and markers
say the same.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from worldline.commands.base import Result
from worldline.commands.encode.config import ALL
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.commands.encode.words import compared, evidence, measured
from worldline.encoder.experiments import EXPERIMENTS
from worldline.encoder.experiments.bell import BellTable
from worldline.encoder.experiments.carrying import CarryTable
from worldline.encoder.experiments.collapse import CollapseTable
from worldline.encoder.experiments.flip import FlipTable
from worldline.encoder.experiments.merging import PairTable, PathTable, SpacetimeTable
from worldline.encoder.experiments.pairs import PartnerTable
from worldline.encoder.experiments.record import CarryCurves, FlipCurves, Floats, MergeCurves, Names
from worldline.errors import RunError
from worldline.files import shorten
from worldline.geometry import length_contraction
from worldline.geometry.bell import CLASSICAL_BOUND, TSIRELSON_BOUND, bell_value, sign_correlation
from worldline.plot.colours import BLUE, GREEN, GREY, PURPLE, VERMILLION

__all__ = ["context", "figures"]

SHOWN_STEPS = 8
RESOLVED = 2.0**-53  # of the sine of an angle, by float64
FEATURES = (("fitted", BLUE, "o", "-"), ("other", VERMILLION, "^", "--"))


def context(result: Result[EncoderReport], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    return {
        "compared": compared(record) if record.experiment == ALL else None,
        "experiments": record.experiments,
        "pictures": {name: base64.b64encode(png).decode() for name, png in result.pictures.items()},
        "measured": measured,
        "evidence": evidence,
    }


def figures(result: Result[EncoderReport]) -> dict[str, Figure]:
    """The figure of each experiment, by its name.

    Raises:
        RunError: a table is not there, damaged, or that of something else.
    """
    return {it.experiment: _figure(result, it) for it in result.record.experiments}


def _figure(result: Result[EncoderReport], it: ExperimentReport) -> Figure:
    table: object = result.folder.read_columns(EXPERIMENTS[it.experiment].table, it.table)
    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    try:
        DRAWN[it.experiment](figure, it, table)
    except (ValueError, IndexError, TypeError, AttributeError, ZeroDivisionError) as error:
        where = shorten(str(result.folder.path / it.table))
        raise RunError(f"{where} does not fit its record ({error}). Make the run again.") from error
    for axes in figure.axes:
        if axes.get_xlabel() == "layer":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _dilation(figure: Figure, it: ExperimentReport, table: PairTable) -> None:
    left, right = figure.subplots(1, 2)
    _pairs(left, table, table.correlation)
    left.set(xlabel="layer", ylabel="cosine ρ of the pair", ylim=(-1.05, 1.05))
    _against_law(right, it, "ln γ", sign=1)


def _contraction(figure: Figure, it: ExperimentReport, table: PairTable) -> None:
    left, right = figure.subplots(1, 2)
    _pairs(left, table, table.squared_distance)
    left.set(xlabel="layer", ylabel="squared distance |â−b̂|²/4", ylim=(-0.03, 1.03))
    _against_law(right, it, "ln sin θ", sign=-1)


def _path3d(figure: Figure, it: ExperimentReport, table: PathTable) -> None:
    grid = figure.add_gridspec(1, 2)
    left: Any = figure.add_subplot(grid[0], projection="3d")
    right = figure.add_subplot(grid[1])
    path = np.stack((table.x, table.y, table.z))
    _worldlines(left, path[:, : 2 * SHOWN_STEPS], table.feature[: 2 * SHOWN_STEPS])
    for start, (_, color, *_) in zip(path.T, FEATURES, strict=False):
        left.text(*start, " 1", color=color)
    left.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(-1, 0, 1), box_aspect=(1, 1, 1))
    left.legend(loc="upper left", frameon=False)
    sine = length_contraction(torch.from_numpy(table.rapidity.copy())).clamp_min(RESOLVED).numpy()
    right.semilogy(
        table.layer, sine, color=VERMILLION, marker=".", linestyle="none", label="this pair"
    )
    law = np.exp(-(it.finding.measurements[0].predicted or 0.0) * table.layer)
    shown = law > RESOLVED / 4
    _law(right, table.layer[shown], law[shown], label="law: e^(−r) per layer")
    right.axhline(RESOLVED, color=GREY, linestyle=":", label="float64 resolves no more")
    right.set(xlabel="layer", ylabel="sin θ = 1/γ", ylim=(RESOLVED / 4, 3))
    right.legend(frameon=False)


def _collapse(figure: Figure, _it: ExperimentReport, table: CollapseTable) -> None:
    depths = np.unique(table.depth)
    edges = np.linspace(0, 180, 91).tolist()
    drawn = np.atleast_1d(figure.subplots(1, len(depths), sharey=True))
    for axes, depth in zip(drawn, depths, strict=True):
        angles = np.degrees(table.angle[table.depth == depth])
        axes.hist(angles, bins=edges, color=BLUE, weights=np.full(len(angles), 1 / len(angles)))
        near = int(np.sum(np.minimum(angles, 180 - angles) < 1))
        title = f"depth {depth}" if depth else "input"
        axes.set(title=title, xticks=(0, 90, 180), xlabel="angle (degrees)", yscale="log")
        axes.set_ylim(8e-5, 4)
        said = f"{near:,} of {len(angles):,}\nwithin 1° of\n0° or 180°"
        place = {"transform": axes.transAxes, "ha": "center", "va": "top"}
        axes.text(0.5, 0.97, said, **place, fontsize=8)
    figure.axes[0].set_ylabel("share of unseen vectors")


def _matched(figure: Figure, _it: ExperimentReport, table: PartnerTable) -> None:
    grid = figure.subplots(2, 2, sharex=True)
    edges = np.linspace(0, 1, 61).tolist()
    groups = ("matched", table.matched, BLUE, "-"), ("unmatched", ~table.matched, VERMILLION, "--")
    times = (
        ("before", table.correlated_distance_before, table.anticorrelated_distance_before),
        ("after", table.correlated_distance_after, table.anticorrelated_distance_after),
    )
    for (when, close, opposite), column in zip(times, grid.T, strict=True):
        either = np.minimum(close, opposite)
        shown = ("|â−b̂|²/4", close), ("min(|â−b̂|², |â+b̂|²)/4", either)
        for axes, (name, distance) in zip(column, shown, strict=True):
            for label, of, color, style in groups:
                counts, _ = np.histogram(distance[of], edges)
                axes.stairs(counts, edges, label=label, color=color, linestyle=style, linewidth=1.6)
            axes.set(ylabel="pairs", title=f"{when} the encoder: {name}")
    grid[0, 0].legend(frameon=False)
    for axes in grid[1]:
        axes.set_xlabel("squared distance")


def _spacetime(figure: Figure, it: ExperimentReport, table: SpacetimeTable) -> None:
    path = np.stack((table.x, table.y, table.t))
    for column, kind in enumerate(("together", "opposite")):
        axes: Any = figure.add_subplot(1, 2, column + 1, projection="3d")
        shown = table.pair == kind
        _worldlines(axes, path[:, shown], table.feature[shown])
        speed = it.settings.get("speed", math.nan)
        axes.set(title=f"a pair that ends {kind}, c = {speed:g}", zlabel="time coordinate")
        axes.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(0, 0.5, 1), box_aspect=(1, 1, 0.8))
    figure.axes[0].legend(loc="upper left", frameon=False)


def _carried(figure: Figure, it: ExperimentReport, table: CarryTable) -> None:
    figure.set_size_inches(11, 6.2)
    grid = figure.add_gridspec(2, 5, height_ratios=(1, 1.05))
    shape = int(table.row.max()) + 1, int(table.column.max()) + 1
    shown = (
        (table.message, "the message", True),
        (table.carried, "what is sent", False),
        (table.received, "the receiver reads", True),
        (table.overheard, "the eavesdropper reads", True),
        (table.wrong_key, "without the weights", False),
    )
    for place, (pixels, title, bounded) in enumerate(shown):
        axes = figure.add_subplot(grid[0, place])
        image = pixels.reshape(shape).astype(float)
        low, high = (0, 1) if bounded else (None, None)
        axes.imshow(image, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
        axes.set(xticks=(), yticks=(), title=title)
    below = figure.add_subplot(grid[1, :])
    curves = it.finding.curves
    if isinstance(curves, CarryCurves):
        label = "measured, receiver and eavesdropper"
        below.plot(curves.rapidity, color=VERMILLION, label=label, linewidth=3, alpha=0.6)
        _law(below, range(len(curves.rapidity_law)), curves.rapidity_law)
    below.set(xlabel="layer", ylabel="mean |φ| from the\nsender's codeword (nats)")
    below.legend(frameon=False)


def _flip(figure: Figure, it: ExperimentReport, table: FlipTable) -> None:
    left, right = figure.subplots(1, 2)
    curves = it.finding.curves
    if not isinstance(curves, FlipCurves):
        raise ValueError("its curves are missing")
    density, edges = curves.reading_density, curves.reading_edges
    left.stairs(density, edges, fill=True, color=BLUE, alpha=0.7, label="kept readings")
    grid = np.linspace(min(-4, *edges), 4, 200)
    _law(left, grid, np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), label="all readings")
    left.set(xlabel="what a neuron reads of the fitted feature", ylabel="density")
    left.legend(frameon=False)
    _measured(right, *_kept_by_correlation(table))
    if it.finding.measurements[-1].predicted is not None:
        _law(right, np.tanh(curves.law_rapidity), curves.law_kept)
    right.axhline(0.5, color=GREY, linestyle=":", label="a toss of a coin")
    right.set(
        xlabel="|correlation| with the fitted feature at the input",
        ylabel="share whose label follows\nthe sign of its correlation",
    )
    right.legend(frameon=False, loc="center right")


def _kept_by_correlation(table: FlipTable) -> tuple[list[float], list[float], list[float]]:
    """In eight groups by |ρ|: its mean, the share whose label follows its sign, two errors."""
    towards, same = np.abs(table.start_rapidity), table.label == table.fitted_label
    kept = np.where(table.start_rapidity > 0, same, ~same)
    middle, share, error = [], [], []
    for low, high in pairwise(np.quantile(towards, np.linspace(0, 1, 9))):
        inside = (towards >= low) & (towards <= high)
        middle.append(float(np.tanh(towards[inside]).mean()))
        share.append(float(kept[inside].mean()))
        error.append(2 * math.sqrt(max(share[-1] * (1 - share[-1]), 1e-9) / inside.sum()))
    return middle, share, error


def _bell(figure: Figure, _it: ExperimentReport, table: BellTable) -> None:
    left, right = figure.subplots(1, 2)
    shares = np.linspace(0.001, 1, 200)
    _law(left, shares, [*map(bell_value, shares)], label="law 4 − 2k/n")
    _measured(left, table.share, table.value, 2 * table.standard_error)
    left.axhline(CLASSICAL_BOUND, color=BLUE, linestyle=":", label="classical bound 2")
    left.axhline(TSIRELSON_BOUND, color=PURPLE, linestyle="-.", label="quantum bound 2√2")
    left.set(xlabel="share of neurons kept, k/n", ylabel="CHSH value S", ylim=(1.8, 4.1))
    left.legend(frameon=False)
    angles = torch.linspace(0, math.pi, 91, dtype=torch.float64)
    styles = ((1.0, BLUE, "-", "s"), (2 - 2**0.5, GREEN, "--", "o"), (0.05, VERMILLION, "-.", "^"))
    for share, color, style, marker in styles:
        named = f"k/n = {share:.3g}"
        law = sign_correlation(angles, share)
        right.plot(angles.rad2deg(), law, color=color, linestyle=style, label=f"{named}, law")
        row = int(np.argmin(np.abs(table.share - share)))
        found = [table.correlation_90_45[row], table.correlation_0_135[row]]
        label = f"{named}, measured"
        right.plot((45, 135), found, color=color, marker=marker, linestyle="none", label=label)
    right.set(
        xlabel="angle between the two sides' settings (degrees)",
        ylabel="mean product of signs",
        xticks=(0, 45, 90, 135, 180),
    )
    right.legend(frameon=False, fontsize=8)


def _pairs(axes: Axes, table: PairTable, values: Floats) -> None:
    """One line for each pair, those that end together apart from those that end opposite."""
    layers = np.unique(table.layer)
    lines = values.reshape(len(layers), -1)
    ends = table.correlation.reshape(len(layers), -1)[-1] > 0
    kinds = (True, BLUE, "-", "end together"), (False, VERMILLION, "--", "end opposite")
    for together, color, style, label in kinds:
        these = lines[:, ends == together]
        shown = axes.plot(layers, these, color=color, linestyle=style, linewidth=0.9, alpha=0.75)
        if shown:
            shown[0].set_label(label)
    axes.legend(frameon=False, loc="center right")


def _against_law(axes: Axes, it: ExperimentReport, quantity: str, *, sign: int) -> None:
    """Mean ln γ by layer beside the exact law; with sign −1 as ln sin θ."""
    curves, plain_rate = it.finding.curves, it.finding.controls.no_selection.evidence
    if not isinstance(curves, MergeCurves) or plain_rate is None or plain_rate.predicted is None:
        raise ValueError("its curves are missing")
    measured, law = sign * np.array(curves.log_gamma), sign * np.array(curves.log_gamma_law)
    label = f"measured, {it.finding.replicas:,} pairs"
    axes.plot(measured, color=VERMILLION, linewidth=3, alpha=0.6, label=label)
    _law(axes, range(len(law)), law)
    slope = sign * plain_rate.predicted * np.arange(len(measured))
    axes.plot(slope, color=BLUE, linestyle=":", label="slope without selection (k = n)")
    if max(np.abs(law)) > -math.log(RESOLVED):
        level = -sign * math.log(RESOLVED)
        axes.axhline(level, color=GREY, linestyle=":", label="float64 resolves no more")
    axes.set(xlabel="layer", ylabel=f"mean {quantity} (nats)")
    axes.legend(frameon=False)


def _law(axes: Axes, at: npt.ArrayLike, law: npt.ArrayLike, label: str = "exact law") -> None:
    axes.plot(at, law, color="black", linestyle="--", label=label)


def _measured(axes: Axes, at: npt.ArrayLike, values: npt.ArrayLike, error: npt.ArrayLike) -> None:
    label = "measured, ± 2 standard errors"
    axes.errorbar(at, values, error, color=VERMILLION, marker="o", linestyle="none", label=label)


def _worldlines(axes: Any, path: Floats, feature: Names) -> None:
    """The paths (3, 2 L) of the two features of a pair, in and around the unit sphere."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    sphere = np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)
    axes.plot_wireframe(*sphere, color="#dddddd", linewidth=0.5)
    for who, color, marker, style in FEATURES:
        look = {"color": color, "marker": marker, "linestyle": style, "label": f"{who} feature"}
        axes.plot(*path[:, feature == who], **look, markersize=4, linewidth=1)


DRAWN: dict[str, Callable[[Figure, ExperimentReport, Any], None]] = {
    "dilation": _dilation,
    "contraction": _contraction,
    "path3d": _path3d,
    "collapse": _collapse,
    "pairs": _matched,
    "spacetime": _spacetime,
    "image": _carried,
    "reconcile": _carried,
    "flip": _flip,
    "bell": _bell,
}
