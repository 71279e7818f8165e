"""``worldline report``."""

from __future__ import annotations

from pathlib import Path

import click

from worldline.cli.shared import exit_codes

__all__ = ["report"]


@click.command()
@click.argument("run")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def report(run: str, debug: bool) -> None:
    """Render the report of a finished RUN folder again."""
    with exit_codes(debug):
        from worldline import report as reports
        from worldline import runs

        click.echo(reports.write_report(runs.RunFolder(Path(run))))
