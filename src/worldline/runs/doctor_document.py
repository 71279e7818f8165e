"""An examination as plain data and as sentences."""

from __future__ import annotations

from typing import Any

from worldline.checks import Check, Curve, ModelReport, Planted
from worldline.inputs import Data
from worldline.runs.config import DoctorConfig
from worldline.runs.explore_findings import norm_sign
from worldline.runs.values import check_parts, curve_part
from worldline.statistics import wilson

__all__ = ["SCHEMA", "check_columns", "doctor_document", "doctor_findings"]

SCHEMA = "worldline.doctor/1"
COLUMNS = ("about", "name", "status", "value", "threshold", "sentence", "source")


def doctor_document(
    config: DoctorConfig,
    data: Data,
    report: ModelReport,
    groups: dict[str, tuple[Check, ...]],
    curve: Curve,
    right: dict[str, float],
    worst: tuple[tuple[str, ...], tuple[float, ...]],
    planted: Planted | None,
    made_with: dict[str, str],
) -> dict[str, Any]:
    """The content of ``summary.json``; a check that both examinations make is listed once, as the
    evaluation's.
    """
    again = {check.name for check in groups["evaluation"]}
    checks = [
        {"about": about, **row}
        for about, group in groups.items()
        for row in check_parts(group)
        if about != "model" or row["name"] not in again
    ]
    samples = min(config.samples, len(data.x))
    names, shares = ("none", *worst[0]), worst[1]
    return {
        "schema": SCHEMA,
        "model": config.model,
        "data": data.name,
        "data_split": data.split,
        "bounds": list(data.bounds),
        "epsilon": config.epsilon,
        "epsilon_text": config.eps,
        "norm": config.norm,
        "attack": config.attack,
        "steps": config.steps if ":" not in config.attack and config.attack != "fgsm" else None,
        "seed": config.seed,
        "samples": samples,
        "classes": report.classes,
        "layers": list(report.layers),
        "clean_accuracy": right["clean"],
        "adversarial_accuracy": right["adversarial"],
        "noise_accuracy": right["noise"],
        "worst_case": [
            {
                "attack": name,
                "accuracy": share,
                "interval": list(wilson(round(share * samples), samples)),
            }
            for name, share in zip(names, shares, strict=True)
        ],
        "curve": curve_part(curve),
        "checks": checks,
        "trustworthy": all(check["status"] != "warned" for check in checks),
        "selftest": None
        if planted is None
        else {
            "samples": len(planted.planted),
            "planted": int(planted.planted.sum()),
            "found": int(planted.found.sum()),
            "found_at_random": int(planted.random.sum()),
            "trials": planted.trials,
            "layer": planted.layer,
        },
        "notes": [],
        "versions": made_with,
        "report": "report.html",
    }


def check_columns(document: dict[str, Any]) -> dict[str, list[Any]]:
    """One row a check."""
    return {name: [check[name] for check in document["checks"]] for name in COLUMNS}


def doctor_findings(summary: dict[str, Any]) -> tuple[str, ...]:
    """What was found, in a few plain sentences made from the summary document.

    >>> from worldline.runs import doctor_findings
    >>> document = {"model": "m", "data": "d", "samples": 9, "norm": "linf", "epsilon_text": "0.1", "clean_accuracy": 1.0,
    ...     "worst_case": [{"attack": "none", "accuracy": 1.0}, {"attack": "PGD-9", "accuracy": 0.5}], "noise_accuracy": 1.0,
    ...     "checks": [{"status": "passed"}], "curve": {"chance": 0.1, "points": [{"epsilon": 1.0, "accuracy": 0.0}]}}
    >>> doctor_findings(document)[1]
    'None of 1 checks warns. That makes the number believable, and proves nothing: a stronger attack
    may find more.'
    """
    last = summary["worst_case"][-1]
    ball = f"{norm_sign(summary['norm'])}, ε = {summary['epsilon_text']}"
    warned = [check["name"] for check in summary["checks"] if check["status"] == "warned"]
    ran = [check for check in summary["checks"] if check["status"] != "not applicable"]
    believable = (
        f"{len(warned)} of {len(ran)} checks {'warns' if len(warned) == 1 else 'warn'} "
        f"({', '.join(warned)}): do not believe that number "
        "before that is dealt with."
        if warned
        else f"None of {len(ran)} checks warns. That makes the number believable, and proves "
        f"nothing: a stronger attack may find more."
    )
    end, chance = summary["curve"]["points"][-1], summary["curve"]["chance"]
    reach = f"at ε = {end['epsilon']:.3g} it is {end['accuracy']:.1%}, "
    reach += "at chance or below" if end["accuracy"] <= chance else f"above chance ({chance:.1%})"
    return (
        f"{summary['model']} gets {summary['clean_accuracy']:.1%} of {summary['samples']:,} "
        f"samples of {summary['data']} right, and "
        f"{last['accuracy']:.1%} in the worst case over {len(summary['worst_case']) - 1} attacks "
        f"({ball}): an upper bound on its "
        f"robustness. Noise of the same size leaves {summary['noise_accuracy']:.1%}.",
        believable,
        f"Accuracy under attack by ε: {reach}.",
    )
