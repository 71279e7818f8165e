"""``worldline encode``."""

from __future__ import annotations

from typing import Any

import click

from worldline.cli.shared import carry_out, new_table, print_table, run_options

__all__ = ["encode"]


@click.command(
    short_help="The paper's encoder: an experiment by NAME, beside its law and controls."
)
@click.argument("name")
@click.option(
    "--candidates", type=int, metavar="N", help="Neurons drawn in each layer; 1000000000000 works."
)
@click.option("--width", type=int, metavar="K", help="Neurons kept.")
@click.option("--depth", type=int, metavar="L", help="Layers.")
@click.option("--dimension", type=int, metavar="D", help="Numbers in a feature.")
@click.option("--pairs", type=int, help="Pairs in the figure (dilation, contraction).")
@click.option("--vectors", type=int, help="Unseen vectors (collapse).")
@click.option("--trials", type=int, help="Independent layers for each Bell value (bell).")
@click.option("--speed", type=float, metavar="C", help="The free constant c (spacetime).")
@click.option("--strength", type=float, metavar="ALPHA", help="Of the codeword (image).")
@click.option(
    "--data", metavar="FILE", help="An .npz with a and b, (N, D) each, matched row by row (pairs)."
)
@click.option(
    "--image", metavar="FILE", help="A grey picture, at most 256 pixels a side (image, reconcile)."
)
@run_options
def encode(**options: Any) -> None:
    """Run an experiment of the paper's selecting encoder, beside its exact law and its controls.

    NAME is dilation, contraction, path3d, collapse, pairs, spacetime, image, reconcile, flip, bell,
    or all. Every setting defaults to the published one.
    """
    carry_out("encode", _configure, options, _encode_lines)


def _configure(options: dict[str, Any]) -> Any:
    from worldline import runs

    given = {name: value for name, value in options.items() if value is not None}
    name, data, image = given.pop("name"), given.pop("data", ""), given.pop("image", "")
    return runs.EncodeConfig(name=name, settings=given, data=data, image=image)


def _encode_lines(summary: dict[str, Any]) -> None:
    documents = summary.get("experiments") or [summary]
    table = new_table(
        "Measured, and what the exact law says",
        ("experiment", "quantity", "measured", "law", "± error", "unit"),
    )
    for document in documents:
        shown = document["measurements"] if len(documents) == 1 else [document]
        for it in shown:
            numbers = (
                "–" if it[key] is None else f"{it[key]:.4g}"
                for key in ("measured", "predicted", "standard_error")
            )
            table.add_row(document["experiment"], it["quantity"], *numbers, it["unit"])
    print_table(table)
    for document in documents:
        click.echo()
        if len(documents) == 1:
            for control in document["controls"].values():
                click.echo(f"Control, {control['name']}: {control['sentence']}")
            click.echo()
        click.echo(f"{document['title']}: {document['verdict']}")
