"""The page of an examination, from its stored results."""

from __future__ import annotations

import base64
import io
from typing import Any

from matplotlib.figure import Figure

from worldline.report.colours import BLUE, GREY, VERMILLION
from worldline.report.page import render_page
from worldline.runs import RunFolder, doctor_findings, norm_sign

__all__ = ["render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page, and the curve as PNG by the name of its file; the page holds it too."""
    summary = run.read_json("summary.json")
    picture = _curve(summary)
    page = render_page(
        "doctor/page.html.j2",
        scripts=[],
        summary=summary,
        headline=_headline(summary),
        findings=doctor_findings(summary),
        norm=norm_sign(summary["norm"]),
        shown=_shown(summary["curve"]),
        picture=base64.b64encode(picture).decode(),
        groups={
            about: [check for check in summary["checks"] if check["about"] == about]
            for about in ("model", "evaluation", "attack")
        },
        warned=[check for check in summary["checks"] if check["status"] == "warned"],
    )
    return page, {"curve.png": picture}


def _headline(summary: dict[str, Any]) -> str:
    warned = sum(check["status"] == "warned" for check in summary["checks"])
    last = summary["worst_case"][-1]["accuracy"]
    if warned:
        return f"{summary['model']}: the evaluation is not to be believed, {warned} {'check warns' if warned == 1 else 'checks warn'}"
    return f"{summary['model']}: at most {last:.1%} robust accuracy, and no check warns"


def _shown(curve: dict[str, Any]) -> str:
    first, last = curve["points"][0], curve["points"][-1]
    return (
        f"Accuracy under {curve['attack']} falls from {first['accuracy']:.1%} at ε = 0 to "
        f"{last['accuracy']:.1%} at ε = {last['epsilon']:.3g}; under noise of the same size "
        f"{last['noise_accuracy']:.1%} are left there; chance is {curve['chance']:.1%}."
    )


def _curve(summary: dict[str, Any]) -> bytes:
    curve = summary["curve"]
    points = curve["points"]
    epsilons = [point["epsilon"] for point in points]
    accuracy = [100 * point["accuracy"] for point in points]
    low, high = ([100 * point["interval"][end] for point in points] for end in (0, 1))
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.fill_between(epsilons, low, high, color=VERMILLION, alpha=0.2, linewidth=0, label="95% interval")
    axes.plot(
        epsilons, accuracy, color=VERMILLION, marker="o", label=f"under {curve['attack']}: an upper bound on robustness"
    )
    noisy = [100 * point["noise_accuracy"] for point in points]
    axes.plot(epsilons, noisy, color=BLUE, marker="s", linestyle="--", label="under noise of the same size")
    axes.axhline(100 * curve["chance"], color=GREY, linestyle=":", label="chance")
    axes.axvline(summary["epsilon"], color=GREY, linewidth=0.8, label="declared ε")
    axes.set(
        xlabel=f"ε ({norm_sign(summary['norm'])}, in the units of the input)", ylabel="accuracy (%)", ylim=(-2, 102)
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
