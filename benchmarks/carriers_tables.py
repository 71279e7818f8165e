"""What the benchmark of carriers found, as tables and in words."""

from __future__ import annotations

from typing import Any

from cells import cell, grid

STAGES = ["stem", "stage1", "stage2", "stage3"]
COMPARED = ["clean", "adaptive", "adaptive_worst_classes"]


def section(document: dict[str, Any]) -> list[str]:
    """How an attack spreads, whose its carriers are, and whether knowing them hardens."""
    return [
        f"{document['setup']}.",
        "",
        "### How the attack spreads with depth",
        "",
        *depth_lines(document["depth"]),
        "### Do attacks share their carriers?",
        "",
        *shared_lines(document["attacks"]),
        "### Does it harden?",
        "",
        *harden_lines(document),
    ]


def seeds_of(it: dict[str, Any]) -> str:
    return "1 seed" if it["seeds"] == 1 else f"{it['seeds']} seeds"


def depth_lines(settings: dict[str, Any]) -> list[str]:
    lines = []
    for setting, it in settings.items():
        told = f"{setting}: {seeds_of(it)}, accuracy {cell(it['accuracy'])}, pictures fooled "
        lines += [told + f"{', '.join(map(str, it['fooled']))}.", ""]
        for by, rows in it["layers"].items():
            lines += grid(
                f"{setting}, by {by}: share of the units that repairs half; repaired by an eighth",
                rows,
                ["units", "share", "carriers", "random", "change", "noise"],
            )
        lines += [place_line(setting, it["place"]), ""]
    return lines


def harden_lines(document: dict[str, Any]) -> list[str]:
    strong, settings = document["strong"], document["hardening"]
    lines = [
        f"*Adaptive*: APGD on the cross-entropy and on the targeted DLR loss with nine targets, "
        f"{strong['steps']} steps each, and Square with {strong['queries']} queries, on the "
        f"changed network, over the first {strong['judged']} judged pictures; *worst classes*: "
        "the true classes of the three pairs that carriers were learnt on. *Old twins*: those of "
        "the unchanged network. Eight channels of the last stage's 64 are changed.",
        "",
        *outcome_lines(settings),
    ]
    for setting, rows in document["strength"].items():
        title = f"{setting}: right under the adaptive attack, and with five times its steps"
        lines += grid(f"{title} and queries", rows)
    for setting, it in settings.items():
        columns = ["clean", "old_twins", "adaptive", "adaptive_worst_classes", "seconds"]
        lines += grid(f"{setting}, {seeds_of(it)}: right", it["changes"], columns)
        lines += grid(
            f"{setting}: gained over the unchanged network, paired by seed",
            it["beside_unchanged"],
            columns[:-1],
        )
        lines += grid(
            f"{setting}: gained over the rival, paired by seed", it["beside_rival"], COMPARED
        )
    return lines


def shared_lines(settings: dict[str, Any]) -> list[str]:
    """What the last stage's carriers of two attacks have in common, and its controls."""
    lines = []
    for setting, it in settings.items():
        table = it["common"]

        def overlap(name: str, table: dict[str, Any] = table) -> str:
            return cell(table[name]["overlap stage3"]) if name in table else "–"

        lines += [
            f"Outcome, {setting}, last stage: PGD shares {overlap('PGD – APGD')} of its first "
            f"eighth with APGD, {overlap('PGD – FGSM')} with FGSM, {overlap('PGD – Square')} with "
            f"Square; with itself from another start {overlap('PGD – PGD, seed 1')}; with itself "
            "on another picture of the same mistake "
            f"{overlap('PGD, another picture of the same mistake')}, on any other picture "
            f"{overlap('PGD, another picture')}.",
            "",
        ]
        lines += grid(
            f"{setting}, {seeds_of(it)}: part of the first eighth of the channels in common, "
            "where both make the same mistake (chance: .125)",
            table,
            ["pictures", *(f"overlap {layer}" for layer in STAGES), "rank_correlation stage3"],
        )
    return lines


def outcome_lines(settings: dict[str, Any]) -> list[str]:
    """What the intervals support, of accuracy under the adaptive attack."""
    lines = []
    for setting, it in settings.items():
        told = [
            f"{name} {verdict_of(row['adaptive'])}"
            for name, row in it["beside_rival"].items()
            if name.endswith("random")
        ]
        gains = [
            f"{name} {verdict_of(row['adaptive'])}" for name, row in it["beside_unchanged"].items()
        ]
        lines += [
            f"Outcome, {setting}, {seeds_of(it)}, right under the adaptive attack. Carriers "
            f"against random channels: {'; '.join(told)}. Against the unchanged network: "
            f"{'; '.join(gains)}. Put back by hand, the "
            f"carriers repair {cell(it['repaired']['carriers'])} of the mistakes that they were "
            f"learnt on, the random channels {cell(it['repaired']['random'])}.",
            "",
        ]
    return lines


def verdict_of(it: dict[str, Any]) -> str:
    """A difference, and which sign its interval supports."""
    if "low" not in it:
        return cell(it)
    if it["low"] > 0:
        return f"{cell(it)}, better"
    return f"{cell(it)}, worse" if it["high"] < 0 else f"{cell(it)}, no difference shown"


def place_line(setting: str, it: dict[str, Any]) -> str:
    swaps = ", ".join(map(str, it["swap_layer"]))
    most = ", ".join(it["most_concentrated"])
    return (
        f"{setting}: swap layer by seed {swaps}; most concentrated stage by seed {most}, at or "
        f"after the swap layer in {it['at_or_after_swap']} of {it['with_swap_layer']}. Rank "
        "correlation over the four stages of the share that repairs half with the excess boost "
        f"{cell(it['rank_correlation_with_excess_boost'])}, with the moved share "
        f"{cell(it['rank_correlation_with_moved_share'])}."
    )
