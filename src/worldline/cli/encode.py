"""``worldline encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from worldline.cli.shared import check_resume, exit_codes, new_table, print_table, progress, run_options, show

__all__ = ["encode"]


@click.command(short_help="The paper's encoder: an experiment by NAME, beside its law and controls.")
@click.argument("name")
@click.option("--candidates", type=int, metavar="N", help="Neurons drawn in each layer; 1000000000000 works.")
@click.option("--width", type=int, metavar="K", help="Neurons kept.")
@click.option("--depth", type=int, metavar="L", help="Layers.")
@click.option("--dimension", type=int, metavar="D", help="Numbers in a feature.")
@click.option("--pairs", type=int, help="Pairs in the figure (dilation, contraction).")
@click.option("--vectors", type=int, help="Unseen vectors (collapse).")
@click.option("--trials", type=int, help="Independent layers for each Bell value (bell).")
@click.option("--speed", type=float, metavar="C", help="The free constant c (spacetime).")
@click.option("--strength", type=float, metavar="ALPHA", help="Of the codeword (image).")
@click.option("--data", metavar="FILE", help="An .npz with a and b, (N, D) each, matched row by row (pairs).")
@click.option("--image", metavar="FILE", help="A grey picture, at most 256 pixels a side (image, reconcile).")
@run_options
def encode(
    name: str,
    data: str | None,
    image: str | None,
    out: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Run an experiment of the paper's selecting encoder, beside its exact law and its controls.

    NAME is dilation, contraction, path3d, collapse, pairs, spacetime, image, reconcile, flip, bell, or all. Every setting
    defaults to the published one.
    """
    with exit_codes(debug):
        from worldline import report, runs

        settings = {option: value for option, value in options.items() if value is not None}
        config = runs.EncodeConfig(name=name, settings=settings, data=data or "", image=image or "")
        check_resume(resume, out)
        with progress(hidden=quiet or as_json) as tick:
            run = runs.encode(config, Path(out) if out else None, resume=resume, tick=tick)
            tick("Writing the report", 0, 1)
            report.write_report(run)
            tick("Writing the report", 1, 1)
        show(run, _encode_lines, as_json=as_json, quiet=quiet)


def _encode_lines(summary: dict[str, Any]) -> None:
    documents = summary.get("experiments") or [summary]
    table = new_table(
        "Measured, and what the exact law says", ("experiment", "quantity", "measured", "law", "± error", "unit")
    )
    for document in documents:
        shown = document["measurements"] if len(documents) == 1 else [document]
        for it in shown:
            numbers = (
                "–" if it[key] is None else f"{it[key]:.4g}" for key in ("measured", "predicted", "standard_error")
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
