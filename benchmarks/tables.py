"""Write docs/benchmarks.md from the benchmarks' JSON: the public figures come from here and nowhere
else.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import carriers_tables
import measure
from cells import grid

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench` from `benchmarks/results/*.json`; do not edit by hand. Ratios are medians
over rounds in which all contestants run in turn, with the smallest and the largest ratio; absolute
times depend on the machine.
"""


def ratios(table: dict[str, Any]) -> list[str]:
    rows = ["| | seconds | ratio | lowest – highest |", "|---|---|---|---|"]
    for name, it in table.items():
        rows.append(
            f"| {name} | {it['seconds']:.3f} | {it['ratio']:.3f} | {it['ratio_low']:.3f} – "
            f"{it['ratio_high']:.3f} |"
        )
    return rows


def rest(it: dict[str, Any] | None) -> list[str]:
    """What explore spends beside the attack."""
    if it is None:
        return []
    return [
        f"ResNet with batch normalisation, {it['samples']} samples of {it['data']}: the attack "
        f"takes {it['attack_seconds']:.1f} s, everything else {it['rest_seconds']:.1f} s, "
        f"{it['ratio']:.2f} of it ({it['ratio_low']:.2f} – {it['ratio_high']:.2f}; "
        f"{it['processor_ratio']:.2f} in processor time; {it['threads']} threads on two "
        f"processors at a load of {it['load']:.0f}).",
        "",
    ]


def section(document: dict[str, Any]) -> list[str]:
    lines = [f"## {document['benchmark']}", "", f"Claim: {document['claim']}.", ""]
    lines += [
        f"torch {document['torch']}, Python {document['python']}, {document['threads']} threads.",
        "",
    ]
    for title, table in document.get("tables", {}).items():
        lines += [f"**{title}**", "", *ratios(table), ""]
    if "still_right" in document:
        lines += ["| still right after | samples | worldline | pyautoattack |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {it['samples']} | {it['worldline']} | {it['pyautoattack']} |"
            for name, it in document["still_right"].items()
        ] + [""]
    if "peak_mebibytes" in document:
        lines += ["| peak memory of the process | MiB |", "|---|---|"]
        lines += [
            f"| {name} | {value:.0f} |" for name, value in document["peak_mebibytes"].items()
        ] + [""]
    if "resnet50" in document:
        lines += ["| | |", "|---|---|"]
        lines += [
            f"| {name.replace('_', ' ')} | {value:,.4g} |"
            for name, value in document["resnet50"].items()
        ] + [""]
    plain = {
        name: value
        for name, value in document.items()
        if isinstance(value, dict) and "rounds" in value
    }
    if plain:
        lines += ["| | seconds | lowest – highest |", "|---|---|---|"]
        lines += [
            f"| {name} | {it['seconds']:.3f} | {it['low']:.3f} – {it['high']:.3f} |"
            for name, it in plain.items()
        ] + [""]
    if "measured" in document:
        lines += [
            "| experiment | quantity | measured | law | standard error |",
            "|---|---|---|---|---|",
        ]
        for it in document["measured"]:
            numbers = (
                "–" if it[key] is None else f"{it[key]:.4g}"
                for key in ("measured", "predicted", "standard_error")
            )
            what = f"control, {it['name']}: {it['quantity']}" if "name" in it else it["quantity"]
            lines.append(
                f"| {it['experiment']} | {what.replace('|', '∣')} | {' | '.join(numbers)} |"
            )
        lines.append("")
    if "seconds_a_model" in document:
        lines += ["| models | predicting, seconds a model |", "|---|---|"]
        lines += [
            f"| {count} | {value:.4f} |" for count, value in document["seconds_a_model"].items()
        ] + [""]
    if "times_cheaper" in document:
        times = document["times_cheaper"]
        lines += [
            f"Predicting is {times:.0f} times cheaper than measuring: the target of 100 is "
            f"{'met' if times >= 100 else 'missed'}.",
            "",
        ]
    for title, page in document.get("pages", {}).items():
        lines += [
            f"**{title}**: {page['bytes'] / 1e6:.2f} MB, rendered in "
            f"{page['rendered_seconds']:.1f} s, first paint after "
        ]
        lines[-1] += (
            f"{page['first_paint_milliseconds']:.0f} ms, loaded after "
            f"{page['loaded_milliseconds']:.0f} ms."
        )
        lines += ["", "| an answer to | seconds | lowest – highest |", "|---|---|---|"]
        lines += [
            f"| {name} | {it['seconds']:.3f} | {it['low']:.3f} – {it['high']:.3f} |"
            for name, it in page["answers"].items()
        ] + [""]
    lines += rest(document.get("rest_over_attack"))
    for name in ("report_bytes", "first_paint_milliseconds"):
        if document.get(name) is not None:
            lines += [f"{name.replace('_', ' ')}: {document[name]:,.0f}", ""]
    return lines


def median_lines(medians: dict[str, Any]) -> list[str]:
    """The smallest changes that fool, ours beside the rivals'."""
    lines = [
        "| smallest change that fools: median (share fooled) | worldline | Foolbox | adv_lib |",
        "|---|---|---|---|",
    ]
    for name, it in medians.items():
        cells = (
            f"{'∞' if it[who]['median'] is None else format(it[who]['median'], '.4g')} "
            f"({it[who]['fooled']:.0%})"
            for who in ("worldline", "Foolbox", "adv_lib")
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def encoder_section(document: dict[str, Any]) -> list[str]:
    """The encoder's JSON has a shape of its own: every median time, and every ratio beside it."""
    versions = document["versions"]
    lines = ["## encoder", "", document["claim"], ""]
    lines += [
        f"torch {versions['torch']}, Python {versions['python']}, {versions['threads']} threads.",
        "",
    ]
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


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def with_interval(it: dict[str, Any]) -> str:
    low, high = it["interval"] or (None, None)
    return f"{number(it['value'])} ({number(low)} – {number(high)})"


STATISTICS = {"within_target": "within target", "double_centred": "double-centred"}


def agreement_table(settings: dict[str, Any], statistic: str) -> list[str]:
    """One statistic: ours beside rivals and the noise ceiling, a row for each attack."""
    rivals = list(next(iter(settings.values()))["others"])
    place = list(STATISTICS).index(statistic)
    lines = [
        f"| attack | ceiling | white | {' | '.join(rivals)} |",
        "|---" * (3 + len(rivals)) + "|",
    ]
    for name, it in settings.items():
        ours = with_interval(it["white"][statistic])
        theirs = [number(it["others"][rival][statistic]["value"]) for rival in rivals]
        cells = [name, number(it["ceiling"][place]), ours, *theirs]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def ahead_table(settings: dict[str, Any]) -> list[str]:
    heads = (
        "white less gradient cosine, within",
        "double",
        "thorough less gradient cosine, within",
        "double",
        "black less displacement cosine, within",
        "double",
        "white less one step, within",
        "double",
        "partial, white",
        "Mantel p",
    )
    lines = [f"| attack | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for name, it in settings.items():
        pairs = [*it["ahead"].values(), it["behind_one_step"]]
        cells = [with_interval(part) for pair in pairs for part in pair]
        cells.append(with_interval(it["white"]["partial"]))
        cells.append(f"{it['white']['double_centred']['p']:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def calibration_table(settings: dict[str, Any]) -> list[str]:
    lines = [
        "| attack | measured | expected: white, grey, black | mean error | calibration error "
        "| inside the interval |",
        "|---" * 6 + "|",
    ]
    ways = ("white", "grey", "black")
    for name, it in settings.items():
        found = [it["calibration"][way] for way in ways]
        cells = [
            ", ".join(number(one[key]) for one in found)
            for key in ("expected", "mean_error", "calibration_error", "inside_interval")
        ]
        lines.append(f"| {name} | {number(found[0]['measured'])} | {' | '.join(cells)} |")
    return [*lines, ""]


def use_table(settings: dict[str, Any]) -> list[str]:
    first = next(iter(settings.values()))
    stand_ins, picks = ", ".join(first["surrogate"]), ", ".join(first["ensembles"])
    lines = [
        f"| attack | stand-in: {stand_ins} | ensemble, transfer between members: {picks} "
        "| its majority falls |",
        "|---" * 4 + "|",
    ]
    for name, it in settings.items():
        chosen = ", ".join(number(value) for value in it["surrogate"].values())
        between, falls = (
            ", ".join(number(pick[place]) for pick in it["ensembles"].values()) for place in (0, 1)
        )
        lines.append(f"| {name} | {chosen} | {between} | {falls} |")
    return [*lines, ""]


def outcome(half: dict[str, Any]) -> str:
    """What the half says about the claim, with the cases that do not support it."""
    settings = half["settings"]
    sentences = []
    for place, (statistic, words) in enumerate(STATISTICS.items()):
        values = {name: it["white"][statistic]["value"] for name, it in settings.items()}
        best, worst = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        ahead = [it["ahead"]["white"][place]["interval"][0] > 0 for it in settings.values()]
        near = [it["behind_one_step"][place]["value"] >= -0.03 for it in settings.values()]
        black = [it["ahead"]["black"][place]["value"] >= 0 for it in settings.values()]
        sentences.append(
            f"{words}, white: {values[worst]:.2f} ({worst}) to {values[best]:.2f} ({best}), ahead "
            f"of gradient cosine with an interval above zero on {sum(ahead)} of {len(settings)} "
            f"attacks, within .03 of the measured one-step attack on {sum(near)}; black not below "
            f"the displacement cosine on {sum(black)}"
        )
    return "Outcome: " + "; ".join(sentences) + "."


def transfer_section(document: dict[str, Any]) -> list[str]:
    """Expected against measured transfer: two worlds, both halves, with their roles."""
    lines = ["## transfer", "", f"Claim: {document['claim']}.", ""]
    lines += [
        f"torch {document['torch']}, Python {document['python']}, {document['threads']} threads.",
        "",
        "*White*: gradients of both models, 200 samples, the default; *thorough*: all samples. "
        "*Grey*: the target gives none and answers to the source's step. *Black*: neither gives "
        "any, 4 small changes a sample. "
        f"Brackets: 95 % of {document['resamples']} bootstraps over models. Ceiling: what a "
        "perfect score would reach, given the noise of the measured rates (√ of the Spearman–Brown "
        "corrected split-half correlation). One step: how well the *measured* transfer of a "
        "one-step attack of the same size ranks that of this one. Partial: within target, beyond "
        "gradient cosine and norm, CKA, CCA information, agreement and accuracy. Calibration "
        "error: mean over ten classes of the expected rate of |mean expected − mean measured|. "
        "Interference: our reading of arXiv:2510.11709, which names no score of two models.",
        "",
    ]
    for world, halves in document["worlds"].items():
        for half, it in halves.items():
            lines += half_lines(world, half, it)
    return lines


def half_lines(world: str, half: str, it: dict[str, Any]) -> list[str]:
    low, high = it["accuracy"]
    lines = [
        f"### {world}, {half} half: {it['role']}",
        "",
        f"{it['models']} models, {it['samples']} samples, accuracy {low:.3f} – {high:.3f}: "
        f"{', '.join(it['architectures'])}.",
        "",
        outcome(it),
        "",
    ]
    if it["did_not_learn"]:
        lines += [f"Left out, as they did not learn: {', '.join(it['did_not_learn'])}.", ""]
    for statistic, words in STATISTICS.items():
        lines += [f"**Spearman, {words}**", "", *agreement_table(it["settings"], statistic)]
    lines += ["**Differences**", "", *ahead_table(it["settings"])]
    lines += ["**Rates**", "", *calibration_table(it["settings"])]
    return [*lines, "**What it is good for** (rates)", "", *use_table(it["settings"])]


def dimension_section(document: dict[str, Any]) -> list[str]:
    """Scores by the number of inputs, and whether the gap grows."""
    sizes = document["dimensions"]
    lines = ["## dimension", "", f"Claim: {document['claim']}.", ""]
    gaps = {}
    for size, it in sizes.items():
        ours = next(iter(it["scores"].values()))
        black = [value for name, value in it["scores"].items() if name.startswith("black")]
        gaps[size] = ours[0] - max(value[0] for value in black)
    values = list(gaps.values())
    grows = all(one < other for one, other in pairwise(values))
    said = ", ".join(f"{gap:.2f} at {int(size):,}" for size, gap in gaps.items())
    lines += [
        f"Outcome: {'supported' if grows else 'not supported'}: within targets, white is ahead of "
        f"the better black one by {said} inputs.",
        "",
        "Twelve models a size, so differences of some hundredths are chance. Cells: Spearman "
        "within target / double-centred.",
        "",
    ]
    heads = [f"{int(size):,} inputs, ε {it['epsilon'] * 255:.0f}/255" for size, it in sizes.items()]
    lines += [f"| | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    rows = {"mean rate": [number(it["mean_rate"]) for it in sizes.values()]}
    rows["ceiling"] = [" / ".join(map(number, it["ceiling"])) for it in sizes.values()]
    for name in next(iter(sizes.values()))["scores"]:
        rows[name] = [" / ".join(map(number, it["scores"][name])) for it in sizes.values()]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return [*lines, ""]


def fragility_section(document: dict[str, Any]) -> list[str]:
    """Spearman of each score with accuracy under attack, in both worlds."""
    lines = ["## fragility", "", f"Claim: {document['claim']}.", ""]
    halves = {
        f"{world}, {half}": it
        for world, both in document["fragility"].items()
        for half, it in both.items()
    }
    heads = [f"{name} ({it['models']} models)" for name, it in halves.items()]
    lines += [
        "Mean over attacks of Spearman's correlation over models with the accuracy under attack; "
        "brackets: 95 % of bootstraps over models.",
        "",
        f"| | {' | '.join(heads)} |",
        "|---" * (1 + len(heads)) + "|",
    ]
    for name in next(iter(halves.values()))["scores"]:
        cells = [with_interval(it["scores"][name]) for it in halves.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def distant_section(document: dict[str, Any]) -> list[str]:
    """Beside the ratios: growth, memory, and what the search finds in the zoo's models."""
    lines = []
    if "growth" in document:
        lines += grid("Time of the search over N, at 128 features", document["growth"])
    if "memory" in document:
        lines += grid(
            "Working memory of the search beyond a mapped store, one thread (anonymous memory, "
            "sampled after each column of tiles)",
            document["memory"],
        )
    found = document.get("science", {})
    if "beyond_nulls" in found:
        it = found["beyond_nulls"]
        title = (
            f"Of {it['far_pairs']:,} far pairs of different labels, how many are beyond the best "
            f"pair of {it['untrained_networks']} "
            "untrained networks (mean over five seeds, 95 % t interval; at most 20,000 of each "
            "sign are counted)"
        )
        lines += grid(
            title,
            it["layers"],
            ["merged", "merged_both_right", "opposed", "largest", "null_largest"],
        )
    if "fragility" in found:
        kinds = found["fragility"]
        scores = {
            name: {kind: row[name] for kind, row in kinds.items()}
            for name in next(iter(kinds.values()))
        }
        title = (
            "Spearman correlation of a score with how small an L∞ ε fools the sample (right "
            "samples of 300, five seeds)"
        )
        lines += grid(title, scores)
    if "invariances" in found:
        lines += grid(
            "How far an input goes with its features in place (L2, median of 64, five seeds)",
            found["invariances"],
        )
    if "carried_over" in found:
        title = (
            "Collisions made at one seed, looked at in the next (shares and median φ of 64, five "
            "seeds); the straight line is its point "
            "at the same distance from the stranger"
        )
        shown = [
            "success",
            "success, other seed",
            "success, straight line, other seed",
            "success, noise, other seed",
        ]
        shown += [
            "prediction, other seed",
            "prediction, straight line, other seed",
            "φ",
            "φ, other seed",
        ]
        lines += grid(
            title, found["carried_over"], [*shown, "φ, straight line, other seed", "input_closer"]
        )
    return lines


def interval_of(it: dict[str, Any], value: str, interval: str) -> str:
    if it.get(value) is None:
        return it.get("status", "–")
    return f"{it[value]:.3f} ({it[interval][0]:.2f} … {it[interval][1]:.2f})"


def complexity_models(half: dict[str, Any], chosen: str) -> list[str]:
    lines = [
        "| measure, the sign so that larger should be more robust | mean ρ_s over the attacks | "
        "beyond clean and noise accuracy |"
    ]
    lines[0] += " single attacks | without one architecture |"
    lines.append("|---" * 5 + "|")
    for name, it in half["models"].items():
        cells = [
            interval_of(it, "value", "interval"),
            interval_of(it, "partial", "partial_interval"),
        ]
        spans = [it.get(part) for part in ("attacks", "without_an_architecture")]
        cells += [f"{min(span):.2f} … {max(span):.2f}" if span else "–" for span in spans]
        shown = name.replace("|", "∣")
        lines.append(f"| {f'**{shown}**' if name == chosen else shown} | {' | '.join(cells)} |")
    return [*lines, ""]


def complexity_samples(half: dict[str, Any], chosen: str) -> list[str]:
    lines = [
        "| score of a sample | L∞ | L2 | worst model, L∞ | worst model, L2 |",
        "|---" * 5 + "|",
    ]
    for name, it in half["samples"].items():
        cells = [interval_of(it[norm], "value", "interval") for norm in ("linf", "l2")]
        cells += [f"{it[norm]['worst_model']:.2f}" for norm in ("linf", "l2")]
        lines.append(f"| {f'**{name}**' if name == chosen else name} | {' | '.join(cells)} |")
    return [*lines, ""]


def complexity_outcome(half: dict[str, Any], chosen: dict[str, str]) -> str:
    model = half["models"][chosen["model"]]
    sample = {norm: it["value"] for norm, it in half["samples"][chosen["sample"]].items()}
    single = min(model["attacks"])
    return (
        f"Outcome: models {model['value']:.3f} "
        f"({'at least' if model['value'] >= 0.92 else 'under'} .92; its worst attack "
        f"{single:.2f}), "
        f"samples {sample['linf']:.3f} in L∞ and {sample['l2']:.3f} in L2 "
        f"({'both at least' if min(sample.values()) >= 0.93 else 'not both at least'} .93)."
    )


def complexity_section(document: dict[str, Any]) -> list[str]:
    """Measures against measured robustness: both halves with their roles, calibration, and the
    hardening of single layers.
    """
    chosen = document["chosen"]
    lines = ["## complexity", "", f"Claim: {document['claim']}.", ""]
    lines += [
        f"torch {document['torch']}, Python {document['python']}, {document['threads']} threads.",
        "",
    ]
    lines += [
        f"Spearman over models with the accuracy of {document['samples']} samples under twelve "
        f"attacks (PGD-20 and APGD-50, CE then DLR, "
        f"at three ε in L∞ and L2), averaged over them; brackets: 95 % of {document['resamples']} "
        f"bootstraps over models. Spearman over "
        "the samples of a model with the smallest ε that fools them, averaged over models. Bold: "
        "the chosen scores.",
        "",
    ]
    for name, half in document["halves_of_complexity"].items():
        lines += [f"### {name} half: {half['role']}", ""]
        lines += [
            f"{half['count']} models: {', '.join(half['architectures'])}.",
            "",
            complexity_outcome(half, chosen),
            "",
        ]
        if half["did_not_learn"]:
            everyone = interval_of(half["with_all_models"], "value", "interval")
            left_out = ", ".join(half["did_not_learn"])
            lines += [
                f"Left out, as they did not learn (accuracy under 0.8): {left_out}. With them: "
                f"{everyone}.",
                "",
            ]
        spread = [
            f"{attack} {low:.2f} / {middle:.2f} / {high:.2f}"
            for attack, (low, middle, high) in half["accuracy"].items()
        ]
        lines += [f"Accuracy under attack, lowest / median / highest: {'; '.join(spread)}.", ""]
        lines += ["**Models**", "", *complexity_models(half, chosen["model"])]
        lines += ["**Samples**", "", *complexity_samples(half, chosen["sample"])]
        lines += grid(
            "Accuracy predicted for an unseen architecture, calibrated on the other five",
            half["predicted_accuracy"],
        )
    shown = [
        "accuracy_before",
        "gain_at_largest_excess_boost",
        "gain_at_another",
        "difference",
        "low",
        "high",
        "is_the_best",
    ]
    rows = {
        name: {**it, "low": it["interval"][0], "high": it["interval"][1]}
        for name, it in document["hardening"].items()
    }
    lines += grid(
        "One layer alone trained on PGD twins: accuracy under PGD L∞ 0.1 gained at the layer of "
        "largest excess boost, and at another",
        rows,
        [*shown, "best_at_random"],
    )
    for name, it in document["hardening"].items():
        gains = ", ".join(f"{gain:.3f}" for gain in it["gain_by_layer"])
        layers = ", ".join(map(str, it["chosen_layer"]))
        lines += [
            f"{name}: mean gain by layer {gains}; chosen layer by seed (from 0): {layers}.",
            "",
        ]
    return lines


def jacobian_lines(it: dict[str, Any]) -> list[str]:
    lines = [
        f"**Jacobian of ResNet-18, 1,000 logits, {it['samples']} images of 64×64, one round**",
        "",
        "| | seconds | Lanczos is faster by |",
    ]
    lines.append("|---" * 3 + "|")
    for name, value in it["seconds"].items():
        lines.append(f"| {name} | {value:.0f} | {it['times_faster'].get(name, 1.0):.1f} |")
    return [
        *lines,
        "",
        f"Largest relative error of one of its 20 singular values: {it['largest_error']:.1e}.",
        "",
    ]


def main() -> None:
    documents = [
        json.loads(path.read_text("utf-8")) for path in sorted(measure.RESULTS.glob("*.json"))
    ]
    lines = [HEAD]
    for document in documents:
        if "worlds" in document:
            lines += transfer_section(document)
        elif "dimensions" in document:
            lines += dimension_section(document)
        elif "fragility" in document:
            lines += fragility_section(document)
        elif "halves_of_complexity" in document:
            lines += complexity_section(document)
        else:
            lines += section(document) if "benchmark" in document else encoder_section(document)
        if document.get("benchmark") == "distant":
            lines += distant_section(document)
        if document.get("benchmark") == "carriers":
            lines += carriers_tables.section(document)
        if "medians" in document:
            lines += median_lines(document["medians"])
        if "jacobian" in document:
            lines += jacobian_lines(document["jacobian"])
    DOCUMENT.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    print(f"wrote {DOCUMENT.name} from {len(documents)} results")


if __name__ == "__main__":
    main()
