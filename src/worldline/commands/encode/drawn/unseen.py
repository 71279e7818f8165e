"""Figures of what unseen vectors do: collapse, readouts, descent, clusters."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from worldline.commands.encode.drawn.shared import Drawing, legend, show_law
from worldline.commands.encode.record import ExperimentReport
from worldline.encoder.experiments.clusters import ClusterTable
from worldline.encoder.experiments.collapse import CollapseTable
from worldline.encoder.experiments.descent import StepTable
from worldline.encoder.experiments.readouts import LeadingTable, SquashTable
from worldline.encoder.experiments.record import RoundCurves, StepCurves
from worldline.plot.colours import BLUE, GREEN, GREY, PURPLE, VERMILLION

__all__ = ["DRAWN"]


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


def _squash(figure: Figure, _it: ExperimentReport, table: SquashTable) -> None:
    left, right = figure.subplots(1, 2)
    last = table.layer == table.layer.max()
    edges = np.linspace(-1.02, 1.02, 52).tolist()
    shown = (
        ("outputs", table.correlation, BLUE, "-"),
        ("after ReLU", table.relu_correlation, VERMILLION, "--"),
    )
    for label, values, color, style in shown:
        counts, _ = np.histogram(values[last], edges)
        share = counts / max(1, last.sum())
        left.stairs(share, edges, label=label, color=color, linestyle=style, linewidth=1.8)
    left.set(xlabel=f"cosine with the fitted vector, layer {table.layer.max()}", ylabel="share")
    legend(left, loc="upper center")
    layers = np.unique(table.layer)
    same = [table.same_class[table.layer == at].mean() for at in layers]
    certain = [table.confidence[table.layer == at].mean() for at in layers]
    right.plot(layers, same, color=VERMILLION, marker="o", label="share of its class")
    right.plot(layers, certain, color=BLUE, linestyle="--", marker="s", label="mean certainty")
    right.axhline(0.5, color="black", linestyle="--", label="law at last: ½")
    right.set(xlabel="layer", ylabel="softmax of unseen noise", ylim=(-0.03, 1.05))
    legend(right, loc="center right")


def _leading(figure: Figure, _it: ExperimentReport, table: LeadingTable) -> None:
    axes = figure.subplots()
    layers = np.unique(table.layer)
    shown = (
        ("[ℓ ; softmax]", table.softmax_distance, BLUE, "-", "o"),
        ("[ℓ ; ReLU]", table.relu_distance, VERMILLION, "--", "^"),
    )
    for label, values, color, style, marker in shown:
        means = [values[table.layer == at].mean() for at in layers]
        axes.semilogy(layers, means, color=color, linestyle=style, marker=marker, label=label)
    show_law(axes, layers, 1 / (2 * (layers**2 + 1.0)), label="bound 1/(2(ℓ² + 1))")
    axes.set(xlabel="layer", ylabel="mean |â−b̂|²/4")
    legend(axes)


def _descent(figure: Figure, it: ExperimentReport, table: StepTable) -> None:
    curves = it.finding.curves
    if not isinstance(curves, StepCurves):
        raise ValueError("its curves are missing")
    left, right = figure.subplots(1, 2)
    of = table.rate == curves.rate[0]
    steps = np.unique(table.step)
    phi = table.rapidity[of].reshape(len(steps), -1)
    distance = 1 / (1 + np.exp(2 * np.clip(phi, -300, 300)))
    for opposite, color, style in ((False, BLUE, "-"), (True, VERMILLION, "--")):
        shown = distance[:, (phi[-1] < 0) == opposite]
        drawn = left.plot(steps, shown, color=color, linestyle=style, linewidth=0.9, alpha=0.75)
        if drawn:
            drawn[0].set_label("end opposite" if opposite else "end together")
    left.set(xlabel="step", ylabel="squared distance |â−b̂|²/4", title=f"η = {curves.rate[0]:g}")
    legend(left, loc="center right")
    looks = ((BLUE, "o"), (VERMILLION, "^"))
    rows = zip(curves.rate, curves.log_sinh, curves.log_sinh_law, looks, strict=True)
    for number, (rate, measured, law, (color, marker)) in enumerate(rows):
        said = f"measured, η = {rate:g}" + (" (diverges)" if number else "")
        right.plot(measured, color=color, marker=marker, linestyle="none", label=said)
        show_law(right, range(1, len(law) + 1), law, label="_" if number else "law")
    right.set(xlabel="step", ylabel="mean ln|sinh φ| of unseen pairs (nats)")
    legend(right)


def _clusters(figure: Figure, it: ExperimentReport, table: ClusterTable) -> None:
    curves = it.finding.curves
    if not isinstance(curves, RoundCurves):
        raise ValueError("its curves are missing")
    *pictures, right = figure.subplots(1, 3)
    for axes, at in zip(pictures, np.unique(table.round), strict=True):
        for side, color, marker in ((1, BLUE, "o"), (0, VERMILLION, "^")):
            of = (table.round == at) & (table.side == side)
            look = {"color": color, "marker": marker, "linewidths": 0, "alpha": 0.7}
            axes.scatter(table.x[of], table.y[of], s=12, **look, label=f"end {'−+'[side]}u₁")
        title = f"t-SNE after round {at}" if at else "t-SNE of the input"
        axes.set(title=title, xticks=(), yticks=())
        legend(axes, fontsize=8)
    rows = (
        ("digits", curves.silhouette, BLUE, "-", "o"),
        ("random points", curves.silhouette_random, GREEN, "--", "s"),
        ("digits, no selection", curves.silhouette_plain, PURPLE, "-.", "^"),
    )
    for label, values, color, style, marker in rows:
        right.plot(values, color=color, linestyle=style, marker=marker, label=label)
    right.axhline(1, color=GREY, linestyle=":")
    right.set(xlabel="round", ylabel="silhouette of the two ends")
    legend(right, fontsize=8, loc="lower right")


DRAWN: dict[str, Drawing] = {
    "collapse": _collapse,
    "squash": _squash,
    "leading": _leading,
    "descent": _descent,
    "clusters": _clusters,
}
