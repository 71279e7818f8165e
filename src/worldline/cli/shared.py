"""What every command does alike: options, exit codes, progress, the last lines that it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from worldline.errors import InputError, UsageError, WorldlineError

if TYPE_CHECKING:
    from rich.table import Table

    from worldline.runs import RunFolder

__all__ = ["check_resume", "exit_codes", "new_table", "print_table", "progress", "run_options", "show"]

Tick = Callable[[str, int, int], None]
RUN_OPTIONS = (
    click.option("--seed", type=int, help="Seed of everything random.  [default: 0]"),
    click.option(
        "--out", metavar="FOLDER", help="Folder of the run; must not exist.  [default: the next free one in runs/]"
    ),
    click.option("--resume", is_flag=True, help="Continue the run in --out, if it has this very configuration."),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document, and nothing else."),
    click.option("--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that makes a run."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return command


@contextmanager
def exit_codes(debug: bool) -> Iterator[None]:
    """Turn exceptions into one sentence and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            "Interrupted. What was finished is kept; the same command with --out FOLDER --resume goes on.",
            err=True,
        )
        raise SystemExit(130) from None
    except WorldlineError as error:
        if debug:
            raise
        click.echo(f"worldline: {error}", err=True)
        raise SystemExit(3 if isinstance(error, InputError) else 2) from None
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"worldline: internal failure, {type(error).__name__}: {error} (--debug shows the traceback; please report it).",
            err=True,
        )
        raise SystemExit(1) from None


@contextmanager
def progress(*, hidden: bool) -> Iterator[Tick]:
    """A bar for each stage, on standard error and only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def tick(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tick


def check_resume(resume: bool, out: str | None) -> None:
    """Refuse to resume what has no name."""
    if resume and out is None:
        raise UsageError("--resume continues the run in --out; name that folder with --out.")


def show(run: RunFolder, tell: Callable[[dict[str, Any]], None], *, as_json: bool, quiet: bool) -> None:
    """Print a finished run: one JSON document, nothing, or what the command tells of it and where its report is."""
    summary = run.read_json("summary.json")
    place = run.path / summary["report"]
    if as_json:
        click.echo(json.dumps({**summary, "report": str(place)}, ensure_ascii=False, allow_nan=False))
    elif not quiet:
        tell(summary)
        click.echo(f"Report: {place}")


def new_table(title: str, heads: tuple[str, ...]) -> Table:
    """A table for the terminal; words stand left, numbers right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        words = head in ("layer", "experiment", "quantity", "source", "unit")
        table.add_column(head, justify="left" if words else "right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print it to standard output, as wide as the terminal."""
    from rich.console import Console

    Console(file=sys.stdout).print(table)
