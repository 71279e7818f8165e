"""The experiments' figures, drawn from their tables. Colour never stands alone: line styles and
markers say the same.
"""

from __future__ import annotations

import io
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

from worldline.geometry import length_contraction
from worldline.plot.colours import BLUE, GREEN, GREY, PURPLE, VERMILLION

__all__ = ["draw", "figure_of"]

Document = dict[str, Any]
Table = dict[str, npt.NDArray[Any]]
SHOWN_STEPS = 8
RESOLVED = 2.0**-53  # of the sine of an angle, by float64


def draw(document: Document, columns: dict[str, list[Any]]) -> bytes:
    """An experiment's figure as PNG, from its document and its table."""
    buffer = io.BytesIO()
    figure_of(document, columns).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def figure_of(document: Document, columns: dict[str, list[Any]]) -> Figure:
    """An experiment's figure, from its document and its table."""
    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    table = {name: np.asarray(values) for name, values in columns.items()}
    DRAWN[document["experiment"]](figure, document, table)
    for axes in figure.axes:
        if axes.get_xlabel() == "layer":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _dilation(figure: Figure, document: Document, table: Table) -> None:
    left, right = figure.subplots(1, 2)
    _pairs(left, table, "correlation")
    left.set(xlabel="layer", ylabel="cosine ρ of the pair", ylim=(-1.05, 1.05))
    _against_law(right, document, sign=1)
    right.set(xlabel="layer", ylabel="mean ln γ (nats)")


def _contraction(figure: Figure, document: Document, table: Table) -> None:
    left, right = figure.subplots(1, 2)
    _pairs(left, table, "squared_distance")
    left.set(xlabel="layer", ylabel="squared distance |â−b̂|²/4", ylim=(-0.03, 1.03))
    _against_law(right, document, sign=-1)
    right.set(xlabel="layer", ylabel="mean ln sin θ (nats)")


def _path3d(figure: Figure, document: Document, table: Table) -> None:
    grid = figure.add_gridspec(1, 2)
    left: Any = figure.add_subplot(grid[0], projection="3d")
    right = figure.add_subplot(grid[1])
    _globe(left)
    for who, color, marker, style in (("fitted", BLUE, "o", "-"), ("other", VERMILLION, "^", "--")):
        path = np.stack([table[f"{who}_{axis}"][:SHOWN_STEPS] for axis in "xyz"])
        left.plot(
            *path,
            color=color,
            marker=marker,
            linestyle=style,
            markersize=4,
            linewidth=1,
            label=f"{who} feature",
        )
        left.text(*path[:, 0], " 1", color=color)
    left.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(-1, 0, 1), box_aspect=(1, 1, 1))
    left.legend(loc="upper left", frameon=False)
    sine = length_contraction(torch.from_numpy(table["rapidity"])).clamp_min(RESOLVED).numpy()
    right.semilogy(
        table["layer"], sine, color=VERMILLION, marker=".", linestyle="none", label="this pair"
    )
    _slope(right, document, table["layer"])
    right.axhline(RESOLVED, color=GREY, linestyle=":", label="float64 resolves no more")
    right.set(xlabel="layer", ylabel="sin θ = 1/γ", ylim=(RESOLVED / 4, 3))
    right.legend(frameon=False)


def _collapse(figure: Figure, _document: Document, table: Table) -> None:
    depths = np.unique(table["depth"])
    edges = np.linspace(0, 180, 91).tolist()
    for axes, depth in zip(
        np.atleast_1d(figure.subplots(1, len(depths), sharey=True)), depths, strict=True
    ):
        angles = np.degrees(table["angle"][table["depth"] == depth])
        axes.hist(angles, bins=edges, color=BLUE, weights=np.full(len(angles), 1 / len(angles)))
        near = np.mean(np.minimum(angles, 180 - angles) < 1)
        axes.set(
            title=f"depth {depth}" if depth else "input",
            xticks=(0, 90, 180),
            xlabel="angle (degrees)",
            yscale="log",
        )
        axes.text(
            0.5,
            0.97,
            f"{near:.0%} within 1°\nof 0° or 180°",
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=8,
        )
        axes.set_ylim(8e-5, 4)
    figure.axes[0].set_ylabel("share of unseen vectors")


def _matched(figure: Figure, _document: Document, table: Table) -> None:
    grid = figure.subplots(2, 2, sharex=True)
    edges = np.linspace(0, 1, 61).tolist()
    for column, when in enumerate(("before", "after")):
        plain = table[f"correlated_distance_{when}"]
        either = np.minimum(plain, table[f"anticorrelated_distance_{when}"])
        for row, (distance, name) in enumerate(
            ((plain, "|â−b̂|²/4"), (either, "min(|â−b̂|², |â+b̂|²)/4"))
        ):
            axes: Axes = grid[row, column]
            for is_matched, color, style, label in (
                (True, BLUE, "-", "matched"),
                (False, VERMILLION, "--", "unmatched"),
            ):
                shown = distance[table["matched"] == is_matched]
                axes.hist(
                    shown,
                    bins=edges,
                    histtype="step",
                    color=color,
                    linestyle=style,
                    linewidth=1.6,
                    label=label,
                )
            axes.set(ylabel="pairs", title=f"{when} the encoder: {name}")
    grid[0, 0].legend(frameon=False)
    for axes in grid[1]:
        axes.set_xlabel("squared distance")


def _spacetime(figure: Figure, document: Document, table: Table) -> None:
    for column, (kind, title) in enumerate(
        (("together", "ends together"), ("opposite", "ends opposite"))
    ):
        axes: Any = figure.add_subplot(1, 2, column + 1, projection="3d")
        _globe(axes)
        for who, color, marker, style in (
            ("fitted", BLUE, "o", "-"),
            ("other", VERMILLION, "^", "--"),
        ):
            path = np.stack([table[f"{kind}_{who}_{axis}"] for axis in "xyt"])
            axes.plot(
                *path,
                color=color,
                marker=marker,
                linestyle=style,
                markersize=4,
                linewidth=1,
                label=f"{who} feature",
            )
        axes.set(
            title=f"a pair that {title}, c = {document['settings']['speed']:g}",
            zlabel="time coordinate",
        )
        axes.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(0, 0.5, 1), box_aspect=(1, 1, 0.8))
    figure.axes[0].legend(loc="upper left", frameon=False)


def _carried(figure: Figure, document: Document, table: Table) -> None:
    figure.set_size_inches(11, 6.2)
    grid = figure.add_gridspec(2, 5, height_ratios=(1, 1.05))
    shape = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    shown = (
        ("message", "the message"),
        ("carried", "what is sent"),
        ("received", "the receiver reads"),
        ("overheard", "the eavesdropper reads"),
        ("wrong_key", "without the weights"),
    )
    for place, (name, title) in enumerate(shown):
        axes = figure.add_subplot(grid[0, place])
        low, high = (None, None) if name in ("carried", "wrong_key") else (0, 1)
        axes.imshow(
            table[name].reshape(shape).astype(float),
            cmap="gray",
            interpolation="nearest",
            vmin=low,
            vmax=high,
        )
        axes.set(xticks=(), yticks=(), title=title)
    below = figure.add_subplot(grid[1, :])
    layers = range(len(document["curves"]["rapidity"]))
    below.plot(
        layers,
        document["curves"]["rapidity"],
        color=VERMILLION,
        label="measured, receiver and eavesdropper",
        linewidth=3,
        alpha=0.6,
    )
    below.plot(
        layers, document["curves"]["rapidity_law"], color="black", linestyle="--", label="exact law"
    )
    below.set(xlabel="layer", ylabel="mean |φ| from the\nsender's codeword (nats)")
    below.legend(frameon=False)


def _flip(figure: Figure, document: Document, table: Table) -> None:
    left, right = figure.subplots(1, 2)
    curves = document["curves"]
    left.stairs(
        curves["reading_density"],
        curves["reading_edges"],
        fill=True,
        color=BLUE,
        alpha=0.7,
        label="kept readings",
    )
    grid = np.linspace(min(-4, *curves["reading_edges"]), 4, 200)
    left.plot(
        grid,
        np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi),
        color="black",
        linestyle="--",
        label="all readings",
    )
    left.set(xlabel="what a neuron reads of the fitted feature", ylabel="density")
    left.legend(frameon=False)
    towards, same = np.abs(table["start_rapidity"]), table["label"] == table["fitted_label"]
    kept = np.where(table["start_rapidity"] > 0, same, ~same)
    edges = np.quantile(towards, np.linspace(0, 1, 9))
    middle, share, error = [], [], []
    for low, high in pairwise(edges):
        inside = (towards >= low) & (towards <= high)
        middle.append(float(np.tanh(towards[inside]).mean()))
        share.append(float(kept[inside].mean()))
        error.append(2 * math.sqrt(max(share[-1] * (1 - share[-1]), 1e-9) / inside.sum()))
    right.errorbar(
        middle,
        share,
        yerr=error,
        color=VERMILLION,
        marker="o",
        linestyle="none",
        label="measured, ± 2 standard errors",
    )
    right.plot(
        np.tanh(curves["law_rapidity"]),
        curves["law_kept"],
        color="black",
        linestyle="--",
        label="exact law",
    )
    right.axhline(0.5, color=GREY, linestyle=":", label="a toss of a coin")
    right.set(
        xlabel="|correlation| with the fitted feature at the input",
        ylabel="share whose label follows\nthe sign of its correlation",
    )
    right.legend(frameon=False, loc="center right")


def _bell(figure: Figure, document: Document, table: Table) -> None:
    left, right = figure.subplots(1, 2)
    shares = np.linspace(0.001, 1, 200)
    left.plot(shares, 4 - 2 * shares, color="black", linestyle="--", label="law 4 − 2k/n")
    left.errorbar(
        table["share"],
        table["value"],
        yerr=2 * table["standard_error"],
        color=VERMILLION,
        marker="o",
        linestyle="none",
        label="measured, ± 2 standard errors",
    )
    left.axhline(2, color=BLUE, linestyle=":", label="classical bound 2")
    left.axhline(2 * math.sqrt(2), color=PURPLE, linestyle="-.", label="quantum bound 2√2")
    left.set(xlabel="share of neurons kept, k/n", ylabel="CHSH value S", ylim=(1.8, 4.1))
    left.legend(frameon=False)
    angle = np.degrees(document["curves"]["angle"])
    styles = (("1", BLUE, "-", "s"), ("0.586", GREEN, "--", "o"), ("0.05", VERMILLION, "-.", "^"))
    for share, color, style, marker in styles:
        right.plot(
            angle,
            document["curves"][f"law_{share}"],
            color=color,
            linestyle=style,
            label=f"k/n = {share}, law",
        )
        row = int(np.argmin(np.abs(table["share"] - float(share))))
        measured = [table["correlation_90_45"][row], table["correlation_0_135"][row]]
        right.plot(
            (45, 135),
            measured,
            color=color,
            marker=marker,
            linestyle="none",
            label=f"k/n = {share}, measured",
        )
    right.set(
        xlabel="angle between the two sides' settings (degrees)",
        ylabel="mean product of signs",
        xticks=(0, 45, 90, 135, 180),
    )
    right.legend(frameon=False, fontsize=8)


def _pairs(axes: Axes, table: Table, name: str) -> None:
    """One line for each pair, those that end together apart from those that end opposite."""
    layers = np.unique(table["layer"])
    lines = table[name].reshape(len(layers), -1)
    ends = table["correlation"].reshape(len(layers), -1)[-1] > 0
    for together, color, style, label in (
        (True, BLUE, "-", "end together"),
        (False, VERMILLION, "--", "end opposite"),
    ):
        for number, line in enumerate(lines.T[ends == together]):
            axes.plot(
                layers,
                line,
                color=color,
                linestyle=style,
                linewidth=0.9,
                alpha=0.75,
                label=None if number else label,
            )
    axes.legend(frameon=False, loc="center right")


def _against_law(axes: Axes, document: Document, *, sign: int) -> None:
    """Mean ln γ by layer beside the exact law; with sign −1 as ln sin θ."""
    measured, law = (
        sign * np.array(document["curves"][name]) for name in ("log_gamma", "log_gamma_law")
    )
    layers = np.arange(len(measured))
    axes.plot(
        layers,
        measured,
        color=VERMILLION,
        linewidth=3,
        alpha=0.6,
        label=f"measured, {document['replicas']:,} pairs",
    )
    axes.plot(layers, law, color="black", linestyle="--", label="exact law")
    plain = document["controls"]["no_selection"]["predicted"]
    axes.plot(
        layers,
        sign * plain * layers,
        color=BLUE,
        linestyle=":",
        label="slope without selection (k = n)",
    )
    if max(np.abs(law)) > -math.log(RESOLVED):
        axes.axhline(
            -sign * math.log(RESOLVED), color=GREY, linestyle=":", label="float64 resolves no more"
        )
    axes.legend(frameon=False)


def _slope(axes: Axes, document: Document, layers: npt.NDArray[Any]) -> None:
    law = np.exp(-document["predicted"] * layers)
    shown = law > RESOLVED / 4
    axes.plot(
        layers[shown], law[shown], color="black", linestyle="--", label="law: e^(−r) per layer"
    )


def _globe(axes: Any) -> None:
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    axes.plot_wireframe(
        np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v), color="#dddddd", linewidth=0.5
    )


DRAWN: dict[str, Callable[[Figure, Document, Table], None]] = {
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
