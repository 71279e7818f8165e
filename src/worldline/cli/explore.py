"""``worldline explore``."""

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

__all__ = ["explore"]


@click.command()
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="TOML with an [explore] table; options given here win over it.",
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
    "--attack", help="pgd, fgsm, or package.module:callable(model, x, y).  [default: pgd]"
)
@click.option("--steps", type=int, help="Steps of PGD.  [default: 40]")
@click.option(
    "--layers",
    multiple=True,
    metavar="GLOB",
    help="Layers to trace; repeat for more.  [default: those the next stage reads]",
)
@click.option("--frame", help="raw, centered or whitened.  [default: centered]")
@click.option(
    "--tokens",
    help="For layers of tokens: flatten, cls, mean or token (each by itself).  [default: flatten]",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Trace within it, over the model: 2GB, 500MB.  [default: no limit]",
)
@click.option("--samples", type=int, help="Attack at most so many samples.  [default: 1000]")
@click.option("--strict", is_flag=True, help="Exit with 4 if a check of the evaluation warns.")
@run_options
def explore(strict: bool, **options: Any) -> None:
    """Attack a model, follow the twins through its layers, and write a report."""
    summary = carry_out(
        "explore", lambda own: read_config("ExploreConfig", own), options, _explore_lines
    )
    if strict and not summary["trustworthy"]:
        raise SystemExit(4)


def _explore_lines(summary: dict[str, Any]) -> None:
    from worldline.runs import findings

    _layer_table(summary)
    click.echo()
    for sentence in findings(summary):
        click.echo(sentence)
    warnings = [check["sentence"] for check in summary["checks"] if check["status"] == "warned"]
    for warning in (*warnings, *summary["notes"]):
        click.echo(f"Warning: {warning}", err=True)
    if not warnings:
        click.echo(f"Checks of the evaluation: none of {len(summary['checks'])} warns.")


def _layer_table(summary: dict[str, Any]) -> None:
    title = (
        f"Median rapidity φ by layer ({summary['fooled']:,} fooled samples, "
        f"{summary['frame']} frame)"
    )
    heads = (
        *(
            "#",
            "layer",
            "width",
            "adv–\nclean",
            "noise–\nclean",
            "adv–\ntrue",
            "adv–\nwrong",
            "changed\nsides",
        ),
        "excess\nboost",
    )
    table = new_table(title, heads)
    for layer in summary["layers"]:
        rapidity = [
            _number(layer["rapidity"][name])
            for name in (
                "adversarial_clean",
                "noise_clean",
                "adversarial_true",
                "adversarial_wrong",
            )
        ]
        share = "–" if layer["swapped_share"] is None else f"{layer['swapped_share']:.0%}"
        boost = _number(layer["excess_boost"]) if layer["excess_boost"] else "–"
        table.add_row(
            str(layer["index"]), layer["name"], f"{layer['width']:,}", *rapidity, share, boost
        )
    print_table(table)


def _number(summary: dict[str, Any]) -> str:
    if summary["median"] is None:
        return "∞" if summary["status"] == "infinite" else "–"
    return f"{summary['median']:+.2f}"
