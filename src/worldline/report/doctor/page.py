"""The page of an examination, from its stored results."""

from __future__ import annotations

import base64
import io
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from worldline import plot
from worldline.plot.names import tidy
from worldline.report.explore import tables
from worldline.report.kinds import Document
from worldline.report.numbers import share
from worldline.report.old_numbers import interval
from worldline.report.page import Attached, fill_template, render_page
from worldline.report.views import Table, View
from worldline.runs import RunFolder, doctor_findings, norm_sign

__all__ = ["attach", "describe", "draw", "render"]

ABOUT = {
    "model": "The model",
    "evaluation": "The evaluation",
    "attack": "The attack on planted adversarial examples",
}


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page, and the curve as PNG by the name of its file; the page holds it too."""
    context, picture = _context(run)
    page = render_page(
        "doctor/page.html.j2", versions=tidy(run.read_json("summary.json")["versions"]), **context
    )
    return page, {"curve.png": picture}


def attach(run: RunFolder, *, prefix: str) -> Attached:
    """Its sections for another page."""
    context, _ = _context(run)
    sections = fill_template("doctor/sections.html.j2", **{**context, "prefix": prefix})
    return Attached(context["headline"], Markup(sections))


def describe(run: RunFolder) -> Document:
    """What the page says."""
    summary = tidy(run.read_json("summary.json"))
    return Document(_headline(summary), doctor_findings(summary), _views(summary))


def draw(run: RunFolder) -> dict[str, Figure]:
    """Figures by name."""
    figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
    plot.accuracy_curve(run, ax=figure.subplots())
    return {"curve": figure}


def _context(run: RunFolder) -> tuple[dict[str, Any], bytes]:
    summary = tidy(run.read_json("summary.json"))
    buffer = io.BytesIO()
    draw(run)["curve"].savefig(buffer, format="png", metadata={"Software": None})
    views = _views(summary)
    context = {
        "summary": summary,
        "prefix": "",
        "headline": _headline(summary),
        "findings": doctor_findings(summary),
        "norm": norm_sign(summary["norm"]),
        "views": views,
        "about": [name for name in ABOUT if name in views],
        "picture": base64.b64encode(buffer.getvalue()).decode(),
        "warned": [check for check in summary["checks"] if check["status"] == "warned"],
    }
    return context, buffer.getvalue()


def _headline(summary: dict[str, Any]) -> str:
    warned = sum(check["status"] == "warned" for check in summary["checks"])
    last = summary["worst_case"][-1]["accuracy"]
    if warned:
        return (
            f"{summary['model']}: the evaluation is not to be believed, {warned} "
            f"{'check warns' if warned == 1 else 'checks warn'}"
        )
    return f"{summary['model']}: at most {last:.1%} robust accuracy, and no check warns"


def _views(summary: dict[str, Any]) -> dict[str, View]:
    worst, curve = summary["worst_case"], summary["curve"]
    samples = f"n = {summary['samples']:,} samples; 95% Wilson intervals"
    rows = tuple(
        (
            "no attack" if row["attack"] == "none" else row["attack"],
            share(row["accuracy"]),
            interval(row["interval"]),
        )
        for row in worst
    )
    views = {
        "worst": View(
            f"Worst case over {len(worst) - 1} attacks: {worst[-1]['accuracy']:.1%} are left",
            "Each attack takes the samples that still hold. What is left is an upper bound on the "
            "robust accuracy: an attack that was "
            "not tried may fool more.",
            samples,
            Table(("after", "accuracy", "95% interval"), rows),
        ),
        "curve": View(
            "Accuracy by ε, up to chance",
            _curve_sentence(curve),
            f"n = {curve['samples']:,} samples; 95% Wilson intervals",
            tables.curve(curve["points"]),
        ),
    }
    for about, title in ABOUT.items():
        checks = [check for check in summary["checks"] if check["about"] == about]
        if checks:
            warned = sum(check["status"] == "warned" for check in checks)
            views[about] = View(
                f"{title}: {warned} of {len(checks)} checks warn",
                "",
                f"n = {len(checks)} checks",
                tables.checks(checks),
            )
    return views


def _curve_sentence(curve: dict[str, Any]) -> str:
    first, last = curve["points"][0], curve["points"][-1]
    return (
        f"Accuracy under {curve['attack']} goes from {first['accuracy']:.1%} at ε = 0 to "
        f"{last['accuracy']:.1%} at ε = "
        f"{last['epsilon']:.3g}; under noise of the same size {last['noise_accuracy']:.1%} are "
        f"left there; chance is {curve['chance']:.1%}."
    )
