"""Write docs/benchmarks.md from the benchmarks' JSON: the public figures come from here and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import measure

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench` from `benchmarks/results/*.json`; do not edit by hand. Ratios are medians over rounds in which all
contestants run in turn, with the smallest and the largest ratio; absolute times depend on the machine.
"""


def ratios(table: dict[str, Any]) -> list[str]:
    rows = ["| | seconds | ratio | lowest – highest |", "|---|---|---|---|"]
    for name, it in table.items():
        rows.append(
            f"| {name} | {it['seconds']:.3f} | {it['ratio']:.3f} | {it['ratio_low']:.3f} – {it['ratio_high']:.3f} |"
        )
    return rows


def section(document: dict[str, Any]) -> list[str]:
    lines = [f"## {document['benchmark']}", "", f"Claim: {document['claim']}.", ""]
    lines += [f"torch {document['torch']}, Python {document['python']}, {document['threads']} threads.", ""]
    for title, table in document.get("tables", {}).items():
        lines += [f"**{title}**", "", *ratios(table), ""]
    if "peak_mebibytes" in document:
        lines += ["| peak memory of the process | MiB |", "|---|---|"]
        lines += [f"| {name} | {value:.0f} |" for name, value in document["peak_mebibytes"].items()] + [""]
    plain = {name: value for name, value in document.items() if isinstance(value, dict) and "rounds" in value}
    if plain:
        lines += ["| | seconds | lowest – highest |", "|---|---|---|"]
        lines += [
            f"| {name} | {it['seconds']:.3f} | {it['low']:.3f} – {it['high']:.3f} |" for name, it in plain.items()
        ] + [""]
    if "measured" in document:
        lines += ["| experiment | quantity | measured | law | standard error |", "|---|---|---|---|---|"]
        for it in document["measured"]:
            numbers = (
                "–" if it[key] is None else f"{it[key]:.4g}" for key in ("measured", "predicted", "standard_error")
            )
            lines.append(f"| {it['experiment']} | {it['quantity'].replace('|', '∣')} | {' | '.join(numbers)} |")
        lines.append("")
    for name in ("report_bytes", "first_paint_milliseconds"):
        if document.get(name) is not None:
            lines += [f"{name.replace('_', ' ')}: {document[name]:,.0f}", ""]
    return lines


def encoder_section(document: dict[str, Any]) -> list[str]:
    """The encoder's JSON has a shape of its own: every median time, and every ratio beside it."""
    versions = document["versions"]
    lines = ["## encoder", "", document["claim"], ""]
    lines += [f"torch {versions['torch']}, Python {versions['python']}, {versions['threads']} threads.", ""]
    lines += ["| | value |", "|---|---|"]

    def walk(value: dict[str, Any], path: str) -> None:
        for name, part in value.items():
            if isinstance(part, list):
                for it in part:
                    walk(it, f"{path}{name}, k = {it['k']}, batch {it['batch']}")
            elif isinstance(part, dict):
                walk(part, f"{path}, {name}" if path else name)
            elif name in ("median_seconds", "times_faster", "over_floor", "slowest_over_fastest"):
                lines.append(f"| {path}: {name.replace('_', ' ')} | {part:.4g} |")

    walk({name: part for name, part in document.items() if name != "versions"}, "")
    return [*lines, ""]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(value: Any) -> str:
    """A number, or a mean over seeds with its 95 % interval."""
    if isinstance(value, dict):
        return f"{number(value['mean'])} ({number(value['low'])} … {number(value['high'])})"
    return number(value)


def grid(title: str, table: dict[str, dict[str, Any]], columns: list[str] | None = None) -> list[str]:
    """One row for each name, one column for each quantity."""
    columns = columns or list(next(iter(table.values())))
    lines = [f"**{title}**", "", f"| | {' | '.join(name.replace('_', ' ') for name in columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    lines += [
        f"| {name.replace('|', '∣')} | {' | '.join(cell(row[column]) for column in columns)} |"
        for name, row in table.items()
    ]
    return [*lines, ""]


def distant_section(document: dict[str, Any]) -> list[str]:
    """Beside the ratios: growth, memory, and what the search finds in the zoo's models."""
    lines = []
    if "growth" in document:
        lines += grid("Time of the search over N, at 128 features", document["growth"])
    if "memory" in document:
        lines += grid(
            "Working memory of the search beyond a mapped store, one thread (anonymous memory, sampled after each column of tiles)",
            document["memory"],
        )
    found = document.get("science", {})
    if "beyond_nulls" in found:
        it = found["beyond_nulls"]
        title = (
            f"Of {it['far_pairs']:,} far pairs of different labels, how many are beyond the best pair of {it['untrained_networks']} "
            "untrained networks (mean over five seeds, 95 % t interval; at most 20,000 of each sign are counted)"
        )
        lines += grid(title, it["layers"], ["merged", "merged_both_right", "opposed", "largest", "null_largest"])
    if "fragility" in found:
        kinds = found["fragility"]
        scores = {name: {kind: row[name] for kind, row in kinds.items()} for name in next(iter(kinds.values()))}
        title = (
            "Spearman correlation of a score with how small an L∞ ε fools the sample (right samples of 300, five seeds)"
        )
        lines += grid(title, scores)
    if "invariances" in found:
        lines += grid(
            "How far an input goes with its features in place (L2, median of 64, five seeds)", found["invariances"]
        )
    if "carried_over" in found:
        title = (
            "Collisions made at one seed, looked at in the next (shares and median φ of 64, five seeds); the straight line is its point "
            "at the same distance from the stranger"
        )
        shown = ["success", "success, other seed", "success, straight line, other seed", "success, noise, other seed"]
        shown += ["prediction, other seed", "prediction, straight line, other seed", "φ", "φ, other seed"]
        lines += grid(title, found["carried_over"], [*shown, "φ, straight line, other seed", "input_closer"])
    return lines


def main() -> None:
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(measure.RESULTS.glob("*.json"))]
    lines = [HEAD]
    for document in documents:
        lines += section(document) if "benchmark" in document else encoder_section(document)
        if document.get("benchmark") == "distant":
            lines += distant_section(document)
    DOCUMENT.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    print(f"wrote {DOCUMENT.name} from {len(documents)} results")


if __name__ == "__main__":
    main()
