"""``worldline distant``."""

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

__all__ = ["distant"]


@click.command(short_help="Far-apart inputs that the model has merged; or make some.")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="TOML with a [distant] table; options given here win over it.",
)
@model_options
@data_options
@click.option(
    "--layer", metavar="NAME", help="Where to search.  [default: the last before the output]"
)
@click.option("--pairs", type=int, help="Pairs of each sign to find.  [default: 12]")
@click.option("--frame", help="raw, centered or whitened.  [default: centered]")
@click.option(
    "--input-quantile",
    type=float,
    help="Only pairs further apart at the input than this share.  [default: 0.5]",
)
@click.option("--nulls", type=int, help="Untrained networks to search as well.  [default: 9]")
@click.option(
    "--make",
    type=int,
    nargs=2,
    metavar="A B",
    help="Move sample A until the model takes it for sample B.",
)
@click.option("--opposite", is_flag=True, help="With --make: until it is the opposite of B.")
@click.option(
    "--eps",
    metavar="NUMBER",
    help="With --make: how far A may move.  [default: anywhere inside the bounds]",
)
@click.option("--norm", help="With --make: linf or l2.  [default: linf]")
@click.option("--steps", type=int, help="With --make: gradient steps.  [default: 200]")
@click.option("--samples", type=int, help="Search at most so many samples.  [default: 1000]")
@run_options
def distant(**options: Any) -> None:
    """Search a model for inputs that lie far apart, have different labels, and are one (or
    opposites) to it.
    """
    carry_out("distant", lambda own: read_config("DistantConfig", own), options, _distant_lines)


def _distant_lines(summary: dict[str, Any]) -> None:
    from worldline.runs import distant_findings

    heads = (
        *("", "samples", "labels", "predictions", "input\ndistance", f"φ at\n{summary['layer']}"),
        *("for good\nfrom", "p at that\ndistance"),
    )
    table = new_table("Pairs of strangers, far apart at the input", heads)
    for side, infinite in (("merged", "+∞"), ("opposed", "−∞")):
        for pair in summary[side]:
            table.add_row(
                side,
                *(", ".join(map(str, pair[name])) for name in ("samples", "labels", "predictions")),
                f"{pair['input_distance']:.2f}",
                infinite if pair["rapidity"] is None else f"{pair['rapidity']:+.2f}",
                "–" if pair["meets"] is None else summary["layers"][pair["meets"]]["name"],
                f"{pair['matched_p']:.2g}",
            )
    print_table(table)
    click.echo()
    for sentence in distant_findings(summary):
        click.echo(sentence)
    for note in summary["notes"]:
        click.echo(f"Note: {note}", err=True)
