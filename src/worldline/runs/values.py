"""Results as plain values: what JSON and Parquet can hold."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from worldline.checks import Check, Curve
from worldline.statistics import Share, Summary

__all__ = ["check_parts", "columns_of", "curve_part", "finite", "share_part", "summary_part"]


def summary_part(summary: Summary) -> dict[str, Any]:
    """A distribution as JSON: quantiles, interval, counts; an infinite one is null, and ``status``
    says so.
    """
    low, high = summary.interval or (None, None)
    values = (summary.median, summary.q10, summary.q90, low, high)
    if summary.count == 0:
        status = "no samples"
    elif any(value is not None and math.isinf(value) for value in values):
        status = "infinite"
    else:
        status = "ok"
    return {
        "median": finite(summary.median),
        "q10": finite(summary.q10),
        "q90": finite(summary.q90),
        "interval": None if summary.interval is None else [finite(low), finite(high)],
        "count": summary.count,
        "undefined": summary.undefined,
        "status": status,
    }


def share_part(share: Share) -> dict[str, Any]:
    """A share with its interval and count."""
    return {
        "value": share.value,
        "interval": list(share.interval) if share.interval else None,
        "count": share.count,
    }


def finite(value: float | None) -> float | None:
    """The number, or None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def check_parts(checks: tuple[Check, ...]) -> list[dict[str, Any]]:
    """Checks as plain data."""
    return [
        {**asdict(check), "value": finite(check.value), "threshold": finite(check.threshold)}
        for check in checks
    ]


def curve_part(curve: Curve) -> dict[str, Any]:
    """Accuracy under attack by ε as plain data: an upper bound on robustness at each ε."""
    return {
        **asdict(curve),
        "points": [{**asdict(point), "interval": list(point.interval)} for point in curve.points],
    }


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns, nested values flattened to ``name_part``, an interval to ``name_low`` and
    ``name_high``.
    """
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return {name: [row.get(name) for row in flat] for name in names}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            flat |= _flat(part, f"{prefix}{name}_")
        elif name == "interval":
            flat |= {
                f"{prefix}low": part[0] if part else None,
                f"{prefix}high": part[1] if part else None,
            }
        else:
            flat[f"{prefix}{name}"] = part
    return flat
