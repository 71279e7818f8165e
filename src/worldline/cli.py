"""The command line: parses, calls the API, prints; nothing else.

Exit codes: 0 done, 1 internal failure, 2 usage, 3 input rejected, 4 finished but not trustworthy (``--strict``),
130 interrupted. Torch is imported by the command that needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worldline import __version__
from worldline.errors import InputError, UsageError, WorldlineError

if TYPE_CHECKING:
    from worldline.runs import RunFolder

__all__ = ["main"]

Tick = Callable[[str, int, int], None]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="worldline")
def commands() -> None:
    """See why an input fools your model: follow it, layer by layer, beside its adversarial twin."""


@commands.command()
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="TOML with an [explore] table; options given here win over it.",
)
@click.option("--model", help="Zoo name, package.module:factory or file.py:factory.  [default: cnn]")
@click.option(
    "--weights", metavar="FILE", help="State dict for a factory's model: .safetensors, or .pt (weights only)."
)
@click.option("--data", help="'digits', or an .npz with x and y.  [default: digits]")
@click.option("--bounds", metavar="LOW,HIGH", help="Legal range of the inputs.  [default: 0,1]")
@click.option(
    "--eps", metavar="NUMBER", help="Radius of the attack in the inputs' units; 8/255 works.  [default: 0.15]"
)
@click.option("--norm", help="linf or l2.  [default: linf]")
@click.option("--attack", help="pgd, fgsm, or package.module:callable(model, x, y).  [default: pgd]")
@click.option("--steps", type=int, help="Steps of PGD.  [default: 40]")
@click.option(
    "--layers",
    multiple=True,
    metavar="GLOB",
    help="Layers to trace; repeat for more.  [default: those the next stage reads]",
)
@click.option("--frame", help="raw, centered or whitened.  [default: centered]")
@click.option("--seed", type=int, help="Seed of everything random.  [default: 0]")
@click.option("--samples", type=int, help="Attack at most so many samples.  [default: 1000]")
@click.option("--batch-size", type=int, help="Inputs in one pass.  [default: 256]")
@click.option("--device", help="Where torch computes.  [default: cpu]")
@click.option("--out", metavar="FOLDER", help="Folder of the run; must not exist.  [default: runs/MODEL-DATA-NUMBER]")
@click.option("--resume", is_flag=True, help="Continue the run in --out, if it has this very configuration.")
@click.option("--strict", is_flag=True, help="Exit with 4 if a check of the evaluation warns.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document, and nothing else.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def explore(
    config_file: str | None,
    bounds: str | None,
    out: str | None,
    resume: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Attack a model, follow the twins through its layers, and write a report."""
    with _exit_codes(debug):
        from worldline import report, runs

        given = {name: value for name, value in options.items() if value not in (None, ())}
        if bounds is not None:
            given["bounds"] = runs.parse_bounds(bounds)
        keys = runs.ExploreConfig.read(Path(config_file)) if config_file else {}
        config = runs.ExploreConfig(**{**keys, **given})
        if resume and out is None:
            raise UsageError("--resume continues the run in --out; name that folder with --out.")
        with _progress(hidden=quiet or as_json) as tick:
            run = runs.explore(config, Path(out) if out else None, resume=resume, tick=tick)
            tick("Writing the report", 0, 1)
            report.write_report(run)
            tick("Writing the report", 1, 1)
        _show(run, as_json=as_json, quiet=quiet)
        if strict and not run.read_json("summary.json")["trustworthy"]:
            raise SystemExit(4)


@commands.command("report")
@click.argument("run")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def report_command(run: str, debug: bool) -> None:
    """Render the report of a finished RUN folder again."""
    with _exit_codes(debug):
        from worldline import report, runs

        click.echo(report.write_report(runs.RunFolder(Path(run))))


def main() -> None:
    """Entry point of the ``worldline`` command."""
    commands.main(prog_name="worldline")


@contextmanager
def _exit_codes(debug: bool) -> Iterator[None]:
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
def _progress(*, hidden: bool) -> Iterator[Tick]:
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


def _show(run: RunFolder, *, as_json: bool, quiet: bool) -> None:
    from worldline.runs import findings

    summary = run.read_json("summary.json")
    if as_json:
        click.echo(
            json.dumps({**summary, "report": str(run.path / summary["report"])}, ensure_ascii=False, allow_nan=False)
        )
        return
    if quiet:
        return
    _table(summary)
    click.echo()
    for sentence in findings(summary):
        click.echo(sentence)
    warnings = [check["sentence"] for check in summary["checks"] if check["status"] == "warned"]
    for warning in (*warnings, *summary["notes"]):
        click.echo(f"Warning: {warning}", err=True)
    if not warnings:
        click.echo(f"Checks of the evaluation: none of {len(summary['checks'])} warns.")
    click.echo(f"Report: {run.path / summary['report']}")


def _table(summary: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"Median rapidity φ by layer ({summary['fooled']:,} fooled samples, {summary['frame']} frame)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    heads = (
        "#",
        "layer",
        "width",
        "adv–\nclean",
        "noise–\nclean",
        "adv–\ntrue",
        "adv–\nwrong",
        "changed\nsides",
        "excess\nboost",
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "layer" else "right", overflow="fold")
    for layer in summary["layers"]:
        rapidity = [
            _number(layer["rapidity"][name])
            for name in ("adversarial_clean", "noise_clean", "adversarial_true", "adversarial_wrong")
        ]
        share = "–" if layer["swapped_share"] is None else f"{layer['swapped_share']:.0%}"
        boost = _number(layer["excess_boost"]) if layer["excess_boost"] else "–"
        table.add_row(str(layer["index"]), layer["name"], f"{layer['width']:,}", *rapidity, share, boost)
    Console(file=sys.stdout).print(table)


def _number(summary: dict[str, Any]) -> str:
    if summary["median"] is None:
        return "∞" if summary["status"] == "infinite" else "–"
    return f"{summary['median']:+.2f}"
