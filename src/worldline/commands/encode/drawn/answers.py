"""Figures of labels, recognition, Bell values and the likelihood."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from matplotlib.figure import Figure

from worldline.commands.encode.drawn.shared import Drawing, legend, show_law, show_measured
from worldline.commands.encode.record import ExperimentReport
from worldline.encoder import Selection, rapidity_rate_large_width, share_entropy
from worldline.encoder.experiments.bell import BellTable
from worldline.encoder.experiments.flip import FlipTable
from worldline.encoder.experiments.labels import ScoreTable
from worldline.encoder.experiments.likelihood import LikelihoodTable
from worldline.encoder.experiments.onestep import OneStepTable
from worldline.encoder.experiments.pairs import PartnerTable
from worldline.encoder.experiments.record import FlipCurves
from worldline.geometry.bell import CLASSICAL_BOUND, TSIRELSON_BOUND, bell_value, sign_correlation
from worldline.plot.colours import BLUE, GREEN, GREY, PURPLE, VERMILLION

__all__ = ["DRAWN"]


def _flip(figure: Figure, it: ExperimentReport, table: FlipTable) -> None:
    left, right = figure.subplots(1, 2)
    curves = it.finding.curves
    if not isinstance(curves, FlipCurves):
        raise ValueError("its curves are missing")
    density, edges = curves.reading_density, curves.reading_edges
    left.stairs(density, edges, fill=True, color=BLUE, alpha=0.7, label="kept readings")
    grid = np.linspace(min(-4, *edges), 4, 200)
    show_law(left, grid, np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), label="all readings")
    left.set(xlabel="what a neuron reads of the fitted feature", ylabel="density")
    left.legend(frameon=False)
    show_measured(right, *_kept_by_correlation(table))
    if it.finding.measurements[-1].predicted is not None:
        show_law(right, np.tanh(curves.law_rapidity), curves.law_kept)
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


def _labels(figure: Figure, _it: ExperimentReport, table: ScoreTable) -> None:
    layers = np.unique(table.layers)
    several = np.atleast_1d(figure.subplots(1, len(layers), sharey=True))
    edges = np.linspace(-1, 1, 81).tolist()
    for axes, at in zip(several, [*layers[1:], layers[0]], strict=True):
        scores = table.score[table.layers == at]
        looks = (("x", scores, BLUE, "-"), ("−x", -scores, VERMILLION, "--"))
        for label, values, color, style in looks:
            share = np.histogram(values, edges)[0] / len(values)
            axes.stairs(share, edges, color=color, linestyle=style, label=label, linewidth=1.4)
        title = f"{at} layer{'s' if at > 1 else ''}" if at else "untrained map"
        axes.set(title=title, xlabel="score", yscale="log", ylim=(5e-4, 2))
    figure.axes[0].set_ylabel("share of digits")
    legend(figure.axes[0], loc="upper center")


def _onestep(figure: Figure, _it: ExperimentReport, table: OneStepTable) -> None:
    axes = figure.subplots()
    axes.semilogx(table.rate, table.flipped, "o", color=VERMILLION, label="measured")
    show_law(axes, table.rate, table.flipped_law, label="law")
    axes.semilogx(
        table.rate, table.flipped_centred, ":", marker="s", color=BLUE, label="centred pictures"
    )
    axes.semilogx(
        table.rate, table.flipped_random, "-.", marker="^", color=GREEN, label="permuted step"
    )
    axes.set(xlabel="size η of the step", ylabel="share given the example's wrong label")
    legend(axes)


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


def _bell(figure: Figure, _it: ExperimentReport, table: BellTable) -> None:
    left, right = figure.subplots(1, 2)
    shares = np.linspace(0.001, 1, 200)
    show_law(left, shares, [*map(bell_value, shares)], label="law 4 − 2k/n")
    show_measured(left, table.share, table.value, 2 * table.standard_error)
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


def _likelihood(figure: Figure, _it: ExperimentReport, table: LikelihoodTable) -> None:
    left, right = figure.subplots(1, 2)
    shares = np.linspace(0.002, 0.998, 250)
    show_law(left, shares, [*map(share_entropy, shares)], label="H₂(q)")
    show_measured(left, table.width / table.candidates, table.measured, 2 * table.standard_error)
    left.plot(
        table.width / table.candidates,
        table.choice,
        color=BLUE,
        marker="s",
        linestyle="none",
        label="(1/n) log₂ C(n, k)",
    )
    left.set(xlabel="share of rows kept, q = k/n", ylabel="−(1/n) log₂ ℒ (bits)")
    legend(left, loc="lower center")
    rows = 1000
    kept = np.arange(2, rows, 8)
    rates = [rapidity_rate_large_width(Selection(candidates=rows, width=int(k))) for k in kept]
    right.plot(
        [share_entropy(k / rows) for k in kept], rates, color=VERMILLION, label="by the share kept"
    )
    right.set(xlabel="H₂(q) (bits)", ylabel="nats of rapidity per layer, many neurons")
    right.axhline(0, color=GREY, linestyle=":", label="no merging")
    legend(right)


DRAWN: dict[str, Drawing] = {
    "flip": _flip,
    "labels": _labels,
    "onestep": _onestep,
    "pairs": _matched,
    "bell": _bell,
    "likelihood": _likelihood,
}
