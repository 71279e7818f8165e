"""What the page of an exploration shows of an evaluation: its checks, and its curve."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from worldline.checks import Check, Curve, CurvePoint
from worldline.plot.axes import new_axes, plain, with_intervals
from worldline.plot.colours import LOOKS
from worldline.report.figures import Level, Lines, Series
from worldline.report.numbers import count, interval, share, significant
from worldline.report.views import Column, Table, View, tabulate
from worldline.statistics import apart

__all__ = ["accuracy_curve", "checks_table", "curve_figure", "curve_view"]

MARKS = {"passed": "✓\u00a0passed", "warned": "⚠\u00a0warned"}
CHECKS = (
    Column[Check]("check", lambda it: it.name, words=True),
    Column[Check]("status", lambda it: MARKS.get(it.status, f"– {it.status}"), words=True),
    Column[Check]("finding", lambda it: it.sentence, words=True),
    Column[Check]("source", lambda it: it.source, words=True),
    Column[Check]("value", lambda it: it.value, form=significant),
    Column[Check]("threshold", lambda it: it.threshold, form=significant),
)
POINTS = (
    Column[CurvePoint]("ε", lambda it: it.epsilon, form=significant),
    Column[CurvePoint]("under attack", lambda it: share(it.accuracy)),
    Column[CurvePoint]("95% interval", lambda it: interval(it.interval, share)),
    Column[CurvePoint]("under noise", lambda it: share(it.noise_accuracy)),
)


def checks_table(checks: Sequence[Check]) -> Table:
    """Every check with its value and threshold."""
    return tabulate(CHECKS, checks)


def curve_view(curve: Curve) -> View:
    """How accuracy goes with ε; it is said to fall only where its ends are apart."""
    first, last = curve.points[0], curve.points[-1]
    ends = (
        f"{share(first.accuracy)} at ε = {significant(first.epsilon)} to "
        f"{share(last.accuracy)} at ε = {significant(last.epsilon)}"
    )
    title = {
        1: f"Accuracy falls from {ends}",
        0: f"Accuracy does not fall beyond its intervals: {ends}",
        -1: f"Accuracy rises from {ends}: that should not be",
    }[apart(first.interval, last.interval)]
    reached = "reached" if last.interval[0] <= curve.chance else "not reached"
    sentence = (
        f"At ε = {significant(last.epsilon)} the interval is {interval(last.interval, share)}. "
        f"Chance is {share(curve.chance)}: it is {reached} within this range. Noise of that size "
        f"leaves {share(last.noise_accuracy)}."
    )
    basis = f"n = {count(curve.samples, 'sample')}, {curve.attack}; 95% Wilson intervals"
    return View(title, sentence, basis, tabulate(POINTS, curve.points))


def curve_figure(curve: Curve) -> Lines:
    """The curve as a figure of the page."""
    points = curve.points
    return Lines(
        tuple(it.epsilon for it in points),
        (
            Series("under noise", "noise", tuple(it.noise_accuracy for it in points)),
            Series(
                "under attack",
                "adversarial",
                tuple(it.accuracy for it in points),
                tuple(it.interval for it in points),
            ),
        ),
        (Level("chance", curve.chance),),
        label="ε",
        share=True,
    )


def accuracy_curve(curve: Curve, *, ax: Axes | None = None) -> Axes:
    """Accuracy against ε with 95 % intervals, under attack and under noise; chance dotted."""
    ax, points, look = new_axes(ax), curve.points, LOOKS["noise"]
    at = [it.epsilon for it in points]
    with_intervals(
        ax,
        at,
        [it.accuracy for it in points],
        [it.interval for it in points],
        "adversarial",
        "under attack",
    )
    noise = [it.noise_accuracy for it in points]
    ax.plot(at, noise, color=look.paper, marker=look.marker, label="under noise of the same size")
    ax.axhline(curve.chance, color=LOOKS["other"].paper, linestyle=":", label="chance")
    ax.set(xlabel="ε", ylabel="accuracy", ylim=(-0.02, 1.02))
    ax.legend(frameon=False)
    return plain(ax)
