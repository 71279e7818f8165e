"""``worldline doctor``."""

from __future__ import annotations

from typing import Any

import click

from worldline.cli.shared import (
    carry_out,
    data_options,
    model_options,
    new_table,
    print_table,
    read_config,
    run_options,
)

__all__ = ["doctor"]

MARKS = {"passed": "passed", "warned": "WARNS", "not applicable": "–"}


@click.command(short_help="Can this model be traced, and is its evaluation one to believe?")
@click.argument("named", required=False, metavar="[MODEL]")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="TOML with a [doctor] table; options given here win over it.",
)
@model_options
@data_options
@click.option(
    "--eps",
    metavar="NUMBER",
    help="Radius of the attack in the inputs' units; 8/255 works.  [default: 0.15]",
)
@click.option("--norm", help="linf or l2.  [default: linf]")
@click.option(
    "--attack",
    help="strong (APGD, then targeted APGD), pgd, fgsm, or package.module:callable(model, x, y).  "
    "[default: strong]",
)
@click.option("--steps", type=int, help="Gradient steps.  [default: 40]")
@click.option(
    "--attack-selftest",
    is_flag=True,
    help="Plant adversarial examples, and see whether the attack finds them.",
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Also APGD (CE, DLR), Square Attack, and AutoAttack if installed; minutes.",
)
@click.option("--samples", type=int, help="Use at most so many samples.  [default: 1000]")
@click.option("--strict", is_flag=True, help="Exit with 4 if a check warns.")
@run_options
def doctor(named: str | None, strict: bool, **options: Any) -> None:
    """Examine a model, attack it, and say whether the number that comes out is to be believed.

    MODEL may be given as --model too.
    """
    if named is not None:
        if options["model"] is not None:
            raise click.UsageError("Name the model once: as MODEL or as --model.")
        options["model"] = named
    summary = carry_out(
        "doctor", lambda own: read_config("DoctorConfig", own), options, _doctor_lines
    )
    if strict and not summary["trustworthy"]:
        raise SystemExit(4)


def _doctor_lines(summary: dict[str, Any]) -> None:
    from worldline.runs import doctor_findings

    table = new_table("Checks", ("check", "about", "value", "threshold", "status"))
    for check in summary["checks"]:
        numbers = (
            "–" if check[key] is None else f"{check[key]:.3g}" for key in ("value", "threshold")
        )
        table.add_row(check["name"], check["about"], *numbers, MARKS[check["status"]])
    print_table(table)
    table = new_table(
        "Worst case over attacks, an upper bound on robustness",
        ("attack", "accuracy", "95% interval"),
    )
    for row in summary["worst_case"]:
        low, high = row["interval"]
        table.add_row(row["attack"], f"{row['accuracy']:.1%}", f"{low:.1%} to {high:.1%}")
    print_table(table)
    curve = summary["curve"]
    table = new_table(
        f"Accuracy by ε under {curve['attack']} ({curve['samples']} samples)",
        ("ε", "accuracy", "under noise"),
    )
    for point in curve["points"]:
        table.add_row(
            f"{point['epsilon']:.3g}", f"{point['accuracy']:.1%}", f"{point['noise_accuracy']:.1%}"
        )
    print_table(table)
    click.echo()
    for sentence in doctor_findings(summary):
        click.echo(sentence)
    for check in summary["checks"]:
        if check["status"] == "warned":
            click.echo(f"Warning: {check['name']}: {check['sentence']}", err=True)
