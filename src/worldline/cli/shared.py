"""What every command does alike: options, exit codes, progress, the last lines that it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worldline.errors import InputError, UsageError, WorldlineError

if TYPE_CHECKING:
    from rich.table import Table

    from worldline.runs import RunFolder

__all__ = [
    "carry_out",
    "data_options",
    "exit_codes",
    "model_options",
    "new_table",
    "print_table",
    "progress",
    "read_config",
    "run_options",
]

Tick = Callable[[str, int, int], None]
RUN_OPTIONS = (
    click.option("--seed", type=int, help="Seed of everything random.  [default: 0]"),
    click.option(
        "--out",
        metavar="FOLDER",
        help="Folder of the run; must not exist.  [default: the next free one in runs/]",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Continue the run in --out, if it has this very configuration.",
    ),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print the summary as one JSON document, and nothing else.",
    ),
    click.option("--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


MODEL_OPTIONS = (
    click.option(
        "--model",
        help="Zoo name, package.module:factory, file.py:factory, model.pt2, model.onnx or "
        "hf:FOLDER.  [default: cnn]",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        help="State dict for a factory's model: .safetensors, or .pt (weights only).",
    ),
)
DATA_OPTIONS = (
    click.option(
        "--unsafe-pickle",
        is_flag=True,
        help="Open whole pickled modules (.pt, .pkl) and TorchScript, which can run any code.",
    ),
    click.option(
        "--data",
        help="'digits', an .npz with x and y, a folder of pictures by class, or file.py:factory "
        "of a Dataset.  [default: digits]",
    ),
    click.option(
        "--image-size",
        type=int,
        metavar="N",
        help="Resize a folder's pictures to N pixels and cut out the centre.",
    ),
    click.option("--bounds", metavar="LOW,HIGH", help="Legal range of the inputs.  [default: 0,1]"),
    click.option("--batch-size", type=int, help="Inputs in one pass.  [default: 256]"),
    click.option("--device", help="Where torch computes.  [default: cpu]"),
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that makes a run."""
    return _with(RUN_OPTIONS, command)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name one model."""
    return _with(MODEL_OPTIONS, command)


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that brings data to models."""
    return _with(DATA_OPTIONS, command)


def _with(
    options: tuple[Callable[..., Any], ...], command: Callable[..., None]
) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def exit_codes(debug: bool) -> Iterator[None]:
    """Turn exceptions into one sentence and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            "Interrupted. What was finished is kept; the same command with --out FOLDER --resume "
            "goes on.",
            err=True,
        )
        raise SystemExit(130) from None
    except WorldlineError as error:
        if debug:
            raise
        click.echo(f"worldline: {error}", err=True)
        raise SystemExit(3 if isinstance(error, InputError) else 2) from None
    except SystemExit as error:
        click.echo(
            f"worldline: code that was loaded ended the program (SystemExit: {error.code}). Keep "
            f"sys.exit out of what is imported "
            "and called.",
            err=True,
        )
        raise SystemExit(3) from None
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"worldline: internal failure, {type(error).__name__}: {error} (--debug shows the "
            f"traceback; please report it).",
            err=True,
        )
        raise SystemExit(1) from None


@contextmanager
def progress(*, hidden: bool) -> Iterator[Tick]:
    """A bar for each stage, on standard error and only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def tick(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tick


def carry_out(
    command: str,
    configure: Callable[[dict[str, Any]], Any],
    options: dict[str, Any],
    tell: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run a command from its options to its last line: configure, run, write the report, print.

    Args:
        command: name of the function in :mod:`worldline.runs`.
        configure: from the options that are not those of every command to the configuration.
        options: all of them, as click gives them.
        tell: prints what the command tells of a summary.

    Returns:
        The summary document, after everything is stored and printed.
    """
    own = dict(options)
    out, resume, as_json, quiet, debug = (
        own.pop(name) for name in ("out", "resume", "as_json", "quiet", "debug")
    )
    with exit_codes(debug):
        from worldline import report, runs

        config = configure(own)
        if resume and out is None:
            raise UsageError("--resume continues the run in --out; name that folder with --out.")
        with progress(hidden=quiet or as_json) as tick:
            run: RunFolder = getattr(runs, command)(
                config, Path(out) if out else None, resume=resume, tick=tick
            )
            tick("Writing the report", 0, 1)
            report.write_report(run)
            tick("Writing the report", 1, 1)
        summary = run.read_json("summary.json")
        place = run.path / summary["report"]
        if as_json:
            click.echo(
                json.dumps({**summary, "report": str(place)}, ensure_ascii=False, allow_nan=False)
            )
        elif not quiet:
            tell(summary)
            click.echo(f"Report: {place}")
    return summary


def read_config(kind: str, options: dict[str, Any]) -> Any:
    """A configuration of :mod:`worldline.runs` from ``--config``, if given, and the options, which
    win over it.
    """
    from worldline import runs

    config: Any = getattr(runs, kind)
    given = {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != ()
    }
    file = given.pop("config_file", None)
    if "bounds" in given:
        given["bounds"] = runs.parse_bounds(given["bounds"])
    return config(**{**(config.read(Path(file)) if file else {}), **given})


def new_table(title: str, heads: tuple[str, ...]) -> Table:
    """A table for the terminal; words stand left, numbers right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        words = head in (
            "attack",
            "check",
            "layer",
            "experiment",
            "model",
            "quantity",
            "source",
            "status",
            "unit",
        )
        table.add_column(head, justify="left" if words else "right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print it to standard output, as wide as the terminal."""
    from rich.console import Console

    Console(file=sys.stdout).print(table)
