"""The page of an examination: worst case, curve, every check; and the curve for papers."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.checks import Curve
from worldline.commands.base import Result
from worldline.commands.doctor.record import Diagnosis
from worldline.commands.doctor.words import ABOUT, views
from worldline.plot.axes import figure_of
from worldline.report.drawn import draw
from worldline.report.figures import Level, Lines, Series
from worldline.report.numbers import norm_sign

__all__ = ["accuracy_curve", "context", "curve_lines", "figures"]


def context(result: Result[Diagnosis], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record, found = result.record, views(result)
    return {
        "norm": norm_sign(record.norm),
        "views": found,
        "about": [name for name in ABOUT if name in found],
        "curve": curve_lines(record.curve),
    }


def figures(result: Result[Diagnosis]) -> dict[str, Figure]:
    """The curve."""
    return {"curve": figure_of(accuracy_curve(result.record.curve))}


def curve_lines(curve: Curve) -> Lines:
    """Accuracy by ε, for the page and for papers."""
    attacked, ends, noise = (
        tuple(getattr(point, name) for point in curve.points)
        for name in ("accuracy", "interval", "noise_accuracy")
    )
    return Lines(
        x=tuple(point.epsilon for point in curve.points),
        series=(
            Series("under attack", "adversarial", attacked, ends),
            Series("under noise of the same size", "noise", noise),
        ),
        levels=(Level("chance", curve.chance),),
        label="ε",
        values="accuracy",
        share=True,
    )


def accuracy_curve(curve: Curve, *, ax: Axes | None = None) -> Axes:
    """Accuracy against ε with 95 % intervals, under attack and under noise; chance dotted.

    Args:
        curve: of a record, or of :func:`worldline.checks.accuracy_curve`.
        ax: where to draw.

    >>> import worldline as wl
    >>> from worldline.commands.doctor.page import accuracy_curve
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y, attack = data.x[:60], data.y[:60], wl.attacks.FGSM(epsilon=0.15)
    >>> accuracy_curve(wl.checks.accuracy_curve(model, x, y, attack=attack)).get_ylabel()
    'accuracy'
    """
    return draw(curve_lines(curve), ax)
