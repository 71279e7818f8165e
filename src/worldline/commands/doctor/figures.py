"""Figures of an examination, for papers."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.checks import Curve
from worldline.commands.base import Result
from worldline.commands.doctor.record import Diagnosis
from worldline.plot.axes import figure_of, finite, new_axes, plain, with_intervals
from worldline.plot.colours import LOOKS
from worldline.report.formats import pictures as draw

__all__ = ["accuracy_curve", "figures", "pictures"]


def accuracy_curve(curve: Curve, *, ax: Axes | None = None) -> Axes:
    """Accuracy against ε with 95 % intervals, under attack and under noise; chance dotted.

    Args:
        curve: of a record, or of :func:`worldline.checks.accuracy_curve`.
        ax: where to draw.

    >>> import worldline as wl
    >>> from worldline.commands.doctor.figures import accuracy_curve
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y, attack = data.x[:60], data.y[:60], wl.attacks.FGSM(epsilon=0.15)
    >>> accuracy_curve(wl.checks.accuracy_curve(model, x, y, attack=attack)).get_ylabel()
    'accuracy'
    """
    ax = new_axes(ax)
    at = [point.epsilon for point in curve.points]
    values = [point.accuracy for point in curve.points]
    ends = [point.interval for point in curve.points]
    with_intervals(ax, at, values, ends, "adversarial", "under attack")
    look = LOOKS["noise"]
    ax.plot(
        at,
        finite([point.noise_accuracy for point in curve.points]),
        color=look.paper,
        marker=look.marker,
        label="under noise of the same size",
    )
    ax.axhline(curve.chance, color=LOOKS["other"].paper, linestyle=":", label="chance")
    ax.set(xlabel="ε", ylabel="accuracy", ylim=(-0.02, 1.02))
    ax.legend(frameon=False)
    return plain(ax)


def figures(result: Result[Diagnosis]) -> dict[str, Figure]:
    """The curve."""
    return {"curve": figure_of(accuracy_curve(result.record.curve))}


def pictures(result: Result[Diagnosis]) -> dict[str, bytes]:
    """The curve as PNG, beside the page."""
    return dict(draw(figures(result), "png"))
