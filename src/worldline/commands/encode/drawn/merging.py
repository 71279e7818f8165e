"""Figures of what merges: pairs, paths, codes, sides and spacetime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.encode.drawn.shared import (
    FEATURES,
    RESOLVED,
    Drawing,
    legend,
    show_law,
    show_worldlines,
)
from worldline.commands.encode.record import ExperimentReport
from worldline.encoder.experiments.merging import PairTable, PathTable
from worldline.encoder.experiments.normalised import PointTable
from worldline.encoder.experiments.record import AheadCurves, Floats, MergeCurves
from worldline.encoder.experiments.sides import HammingTable, MarginTable
from worldline.encoder.experiments.spacetime import DistanceTable
from worldline.geometry import length_contraction
from worldline.plot.colours import BLUE, GREEN, GREY, VERMILLION

__all__ = ["DRAWN"]

SHOWN_STEPS = 8
STYLES = ((BLUE, "-", "o"), (GREEN, "--", "s"), (VERMILLION, "-.", "^"))


def _dilation(figure: Figure, it: ExperimentReport, table: PairTable) -> None:
    left, right = figure.subplots(1, 2)
    _pairs(left, table, table.correlation)
    left.set(xlabel="layer", ylabel="cosine ρ of the pair", ylim=(-1.05, 1.05))
    _againstshow_law(right, it, "ln γ", sign=1)


def _contraction(figure: Figure, it: ExperimentReport, table: PairTable) -> None:
    left, right = figure.subplots(1, 2)
    _pairs(left, table, table.squared_distance)
    left.set(xlabel="layer", ylabel="squared distance |â−b̂|²/4", ylim=(-0.03, 1.03))
    _againstshow_law(right, it, "ln sin θ", sign=-1)


def _path3d(figure: Figure, it: ExperimentReport, table: PathTable) -> None:
    grid = figure.add_gridspec(1, 2)
    left: Any = figure.add_subplot(grid[0], projection="3d")
    right = figure.add_subplot(grid[1])
    path = np.stack((table.x, table.y, table.z))
    show_worldlines(left, path[:, : 2 * SHOWN_STEPS], table.feature[: 2 * SHOWN_STEPS])
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
    show_law(right, table.layer[shown], law[shown], label="law: e^(−r) per layer")
    right.axhline(RESOLVED, color=GREY, linestyle=":", label="float64 resolves no more")
    right.set(xlabel="layer", ylabel="sin θ = 1/γ", ylim=(RESOLVED / 4, 3))
    right.legend(frameon=False)


def _hamming(figure: Figure, _it: ExperimentReport, table: HammingTable) -> None:
    axes = figure.subplots()
    axes.plot(table.layer, table.differing, color=VERMILLION, linewidth=3, alpha=0.6)
    axes.lines[-1].set_label("measured")
    show_law(axes, table.layer, table.law, label="law after selection")
    axes.plot(table.layer, table.angle_law, color=BLUE, linestyle=":", label="θ/π, no selection")
    axes.set(xlabel="layer", ylabel="share of signs that differ", ylim=(-0.01, 0.52))
    legend(axes)


def _margin(figure: Figure, _it: ExperimentReport, table: MarginTable) -> None:
    axes = figure.subplots()
    for n, (color, style, marker) in zip(np.unique(table.candidates), STYLES, strict=False):
        of = table.candidates == n
        error = 2 * table.standard_error[of]
        look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "none"}
        axes.errorbar(
            table.degrees[of], table.crossed[of], error, **look, label=f"n = {n:,}, measured"
        )
        axes.plot(
            table.degrees[of], table.law[of], color=color, linestyle=style, label=f"n = {n:,}, law"
        )
    axes.axhline(0.5, color=GREY, linestyle=":", label="a toss of a coin")
    axes.set(xlabel="degrees from 90° at the input", ylabel="share that end on the other side")
    legend(axes)


def _spacetime(figure: Figure, it: ExperimentReport, table: DistanceTable) -> None:
    curves = it.finding.curves
    if not isinstance(curves, AheadCurves):
        raise ValueError("its curves are missing")
    several = figure.subplots(1, len(curves.candidates), sharey=True)
    settings = zip(curves.candidates, curves.speed, curves.crossing, strict=True)
    for axes, (n, speed, crossing) in zip(np.atleast_1d(several), settings, strict=True):
        of = table.candidates == n
        layers = np.unique(table.layer[of])
        each = len(layers) * (int(table.vector[of].max()) + 1)
        lines = table.squared_distance[of][:each].reshape(len(layers), -1)
        for ends, color, style in ((False, BLUE, "-"), (True, VERMILLION, "--")):
            shown = lines[:, (lines[-1] > 0.5) == ends]
            drawn = axes.plot(layers, shown, color=color, linestyle=style, linewidth=0.8)
            if drawn:
                drawn[0].set_label("end opposite" if ends else "end together")
        if 0 < crossing < math.inf:
            axes.axvline(
                crossing, color="black", linestyle="--", label=f"law: layer {crossing:.1f}"
            )
        axes.set(title=f"n = {n:,}, c = {speed:g}", xlabel="layer", ylim=(-0.03, 1.03))
        legend(axes, fontsize=8, loc="center right")
    figure.axes[0].set_ylabel("|â−b̂|²/4 of spacetime points")


def _normalised(figure: Figure, it: ExperimentReport, table: PointTable) -> None:
    path = np.stack((table.x, table.y, table.t))
    for column, kind in enumerate(("together", "opposite")):
        axes: Any = figure.add_subplot(1, 2, column + 1, projection="3d")
        shown = table.pair == kind
        show_worldlines(axes, path[:, shown], table.feature[shown])
        speed = it.settings.get("speed", math.nan)
        axes.set(title=f"a pair that ends {kind}, c = {speed:g}", zlabel="time coordinate")
        axes.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(0, 0.5, 1), box_aspect=(1, 1, 0.8))
    figure.axes[0].legend(loc="upper left", frameon=False)


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


def _againstshow_law(axes: Axes, it: ExperimentReport, quantity: str, *, sign: int) -> None:
    """Mean ln γ by layer beside the exact law; with sign −1 as ln sin θ."""
    curves, plain_rate = it.finding.curves, it.finding.controls.no_selection.evidence
    if not isinstance(curves, MergeCurves) or plain_rate is None or plain_rate.predicted is None:
        raise ValueError("its curves are missing")
    measured, law = sign * np.array(curves.log_gamma), sign * np.array(curves.log_gamma_law)
    label = f"measured, {it.finding.replicas:,} pairs"
    axes.plot(measured, color=VERMILLION, linewidth=3, alpha=0.6, label=label)
    show_law(axes, range(len(law)), law)
    slope = sign * plain_rate.predicted * np.arange(len(measured))
    axes.plot(slope, color=BLUE, linestyle=":", label="slope without selection (k = n)")
    if max(np.abs(law)) > -math.log(RESOLVED):
        level = -sign * math.log(RESOLVED)
        axes.axhline(level, color=GREY, linestyle=":", label="float64 resolves no more")
    axes.set(xlabel="layer", ylabel=f"mean {quantity} (nats)")
    axes.legend(frameon=False)


DRAWN: dict[str, Drawing] = {
    "dilation": _dilation,
    "contraction": _contraction,
    "path3d": _path3d,
    "hamming": _hamming,
    "margin": _margin,
    "spacetime": _spacetime,
    "normalised": _normalised,
}
