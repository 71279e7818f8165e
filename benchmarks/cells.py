"""Numbers and their intervals as cells of a table."""

from __future__ import annotations

from typing import Any


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(value: Any) -> str:
    """A number, or a mean over seeds with its 95 % interval."""
    if value is None:
        return "–"
    if isinstance(value, dict) and "low" not in value:
        return f"{short(value['mean'])} (one seed)"
    if isinstance(value, dict):
        return f"{short(value['mean'])} ({short(value['low'])} … {short(value['high'])})"
    return short(value)


def grid(
    title: str, table: dict[str, dict[str, Any]], columns: list[str] | None = None
) -> list[str]:
    """One row for each name, one column for each quantity."""
    columns = columns or list(next(iter(table.values())))
    lines = [f"**{title}**", "", f"| | {' | '.join(name.replace('_', ' ') for name in columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    lines += [
        f"| {name.replace('|', '∣')} | {' | '.join(cell(row[column]) for column in columns)} |"
        for name, row in table.items()
    ]
    return [*lines, ""]
