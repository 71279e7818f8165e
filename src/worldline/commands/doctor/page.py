"""The page of an examination: worst case, curve, every check."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from worldline.attacks import named_norm
from worldline.checks import Curve
from worldline.commands.base import Result
from worldline.commands.doctor.record import Diagnosis
from worldline.commands.doctor.words import ABOUT, views, words
from worldline.report.figures import Level, Lines, Series
from worldline.report.page import Attached, fill_template, render_page

__all__ = ["attach", "curve_lines", "page"]


def page(results: Sequence[Result[Diagnosis]], attached: Sequence[Attached]) -> str:
    """The page of one run; nothing is attached to it."""
    record = results[0].record
    return render_page(
        "doctor/page.html.j2",
        versions=record.versions,
        scripts=(),
        record=record,
        words=words(record),
        norm=named_norm(record.norm).sign,
        prefix="",
        **_context(results[0]),
    )


def attach(result: Result[Diagnosis], prefix: str) -> Attached:
    """Its sections for another page."""
    sections = fill_template("doctor/sections.html.j2", prefix=prefix, **_context(result))
    return Attached(words(result.record).headline, Markup(sections))


def curve_lines(curve: Curve) -> Lines:
    """The curve as a figure of the shared kinds."""
    points = curve.points
    attacked = Series(
        "under attack",
        "adversarial",
        tuple(point.accuracy for point in points),
        tuple(point.interval for point in points),
    )
    noise = Series(
        "under noise of the same size", "noise", tuple(point.noise_accuracy for point in points)
    )
    epsilons = tuple(point.epsilon for point in points)
    chance = (Level("chance", curve.chance),)
    return Lines(epsilons, (attacked, noise), chance, label="ε", share=True)


def _context(result: Result[Diagnosis]) -> dict[str, object]:
    found = views(result)
    return {
        "views": found,
        "about": [name for name in ABOUT if name in found],
        "curve": curve_lines(result.record.curve),
    }
