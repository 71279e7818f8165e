"""``worldline compare``."""

from __future__ import annotations

from typing import Any

import click

from worldline.cli.shared import (
    carry_out,
    data_options,
    new_table,
    print_table,
    read_config,
    run_options,
)
from worldline.errors import UsageError

__all__ = ["compare"]

ZOO = ("cnn", "cnn@1", "cnn-adv", "linear", "mlp", "mlp@1", "mlp-adv", "resnet", "vit")


@click.command(short_help="Which models share blind spots, before anyone attacks.")
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--zoo", metavar="default", help="Compare the embedded models: " + ", ".join(ZOO) + "."
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="TOML with a [compare] table; options given here win over it.",
)
@data_options
@click.option(
    "--eps",
    metavar="NUMBER",
    help="Radius of the attack in the inputs' units; 8/255 works.  [default: 0.15]",
)
@click.option("--norm", help="linf or l2.  [default: linf]")
@click.option(
    "--measure",
    is_flag=True,
    help="Attack every model, and judge the prediction by what carries over.",
)
@click.option(
    "--attack",
    help="For --measure: pgd, fgsm, or package.module:callable(model, x, y).  [default: pgd]",
)
@click.option("--steps", type=int, help="Steps of PGD.  [default: 20]")
@click.option("--samples", type=int, help="Use at most so many samples.  [default: 1000]")
@click.option(
    "--probed-samples", type=int, help="Samples that are probed for the prediction.  [default: 100]"
)
@click.option("--probes", type=int, help="Displacements of each probed sample.  [default: 64]")
@run_options
def compare(**options: Any) -> None:
    """Predict which attacks carry over from model to model, from forward passes alone.

    MODEL is a name of the zoo (cnn; cnn@1 for another seed), package.module:factory or
    file.py:factory, with weights as file.py:factory@weights.safetensors, model.pt2, model.onnx or
    hf:FOLDER. Nothing is attacked without --measure.
    """
    carry_out("compare", _configure, options, _compare_lines)


def _configure(options: dict[str, Any]) -> Any:
    zoo, models = options.pop("zoo"), options.pop("models")
    if zoo not in (None, "default"):
        raise UsageError(f"--zoo takes 'default', which is {', '.join(ZOO)}; got {zoo!r}.")
    if zoo is not None:
        models = (*models, *(name for name in ZOO if name not in models))
    return read_config("CompareConfig", {**options, "models": models})


def _compare_lines(summary: dict[str, Any]) -> None:
    from worldline.runs import comparison_findings

    names = [summary["models"][place] for place in summary["order"]]
    title = "Predicted score: rows are attacked, columns are fooled; compare within a column"
    _matrix(title, summary, "predicted", names)
    if summary["measured"] is not None:
        _matrix("Measured rate beyond noise of the same size", summary, "measured", names)
    click.echo()
    for sentence in comparison_findings(summary):
        click.echo(sentence)
    for note in summary["notes"]:
        click.echo(f"Note: {note}", err=True)


def _matrix(title: str, summary: dict[str, Any], key: str, names: list[str]) -> None:
    table = new_table(title, ("source", *names))
    for source in summary["order"]:
        row = (summary[key][source][target] for target in summary["order"])
        table.add_row(
            summary["models"][source], *("–" if value is None else f"{value:.2f}" for value in row)
        )
    print_table(table)
