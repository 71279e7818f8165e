"""What several figures of the encoder's experiments have in common.

Colour never stands alone: line styles and markers say the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.encode.record import ExperimentReport
from worldline.encoder.experiments.record import Floats, Names
from worldline.plot.colours import BLUE, VERMILLION

__all__ = ["FEATURES", "RESOLVED", "legend", "show_law", "show_measured", "show_worldlines"]

Drawing = Callable[[Figure, ExperimentReport, Any], None]
"""Draws an experiment into a figure, from its report and its table."""

RESOLVED = 2.0**-53  # of the sine of an angle, by float64
FEATURES = (("fitted", BLUE, "o", "-"), ("other", VERMILLION, "^", "--"))


def show_law(axes: Axes, at: npt.ArrayLike, law: npt.ArrayLike, label: str = "exact law") -> None:
    """The law, dashed in black."""
    axes.plot(at, law, color="black", linestyle="--", label=label)


def show_measured(
    axes: Axes, at: npt.ArrayLike, values: npt.ArrayLike, error: npt.ArrayLike
) -> None:
    """What was measured, with its errors."""
    label = "measured, ± 2 standard errors"
    axes.errorbar(at, values, error, color=VERMILLION, marker="o", linestyle="none", label=label)


def show_worldlines(axes: Any, path: Floats, feature: Names) -> None:
    """The paths (3, 2 L) of the two features of a pair, in and around the unit sphere."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    sphere = np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)
    axes.plot_wireframe(*sphere, color="#dddddd", linewidth=0.5)
    for who, color, marker, style in FEATURES:
        look = {"color": color, "marker": marker, "linestyle": style, "label": f"{who} feature"}
        axes.plot(*path[:, feature == who], **look, markersize=4, linewidth=1)


def legend(axes: Axes, **said: Any) -> None:
    """A legend without a frame, if anything has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, **said)
