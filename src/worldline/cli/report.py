"""``worldline report``."""

from __future__ import annotations

from pathlib import Path

import click

from worldline.cli.carrying import exit_codes
from worldline.cli.printing import say
from worldline.errors import UsageError

__all__ = ["report"]


@click.command()
@click.argument("run")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="OTHER",
    help="A further run on the same page: explorations become models to choose from, others "
    "sections. Repeat for more.",
)
@click.option(
    "--format",
    "formats",
    default="html",
    show_default=True,
    help="html,png,svg,md,json: one or several.",
)
@click.option("--serve", is_flag=True, help="Show the page on this machine only, until Ctrl-C.")
@click.option("--port", type=int, help="Of --serve.  [default: any free one]")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def report(
    run: str, others: tuple[str, ...], formats: str, serve: bool, port: int | None, debug: bool
) -> None:
    """Render the report of a finished RUN folder again."""
    with exit_codes(debug):
        if port is not None and not serve:
            raise UsageError("--port is the port of --serve; give --serve too.")
        if serve and formats != "html":
            raise UsageError(
                f"--serve shows the html page and writes nothing; leave out --format {formats}."
            )
        from worldline.commands.rendering import render_report, write_formats
        from worldline.runs.store import RunFolder

        folder, beside = RunFolder(Path(run)), tuple(RunFolder(Path(other)) for other in others)
        if serve:
            _serve(render_report(folder, beside=beside), port or 0)
            return
        wanted = [name.strip() for name in formats.split(",")]
        for path in write_formats(folder, wanted, beside=beside):
            say(str(path))


def _serve(page: str, port: int) -> None:
    """Until Ctrl-C, which is the way to end it and no failure."""
    from threading import Event

    from worldline.report import serving

    try:
        with serving(page, port=port) as address:
            say(f"{address} (this machine only; Ctrl-C ends)")
            Event().wait()
    except KeyboardInterrupt:
        say("Ended.")
