"""``worldline complexity``."""

from __future__ import annotations

from typing import Any

import click

from worldline.cli.shared import carry_out, new_table, print_table, read_config, run_options

__all__ = ["complexity"]


@click.command(short_help="How complex models are, and how fragile, before anyone attacks.")
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="TOML with a [complexity] table; options given here win over it.",
)
@click.option("--data", help="'digits', or an .npz with x and y.  [default: digits]")
@click.option("--bounds", metavar="LOW,HIGH", help="Legal range of the inputs.  [default: 0,1]")
@click.option(
    "--sigma",
    metavar="NUMBER",
    help="Size of the noise twins in the inputs' units.  [default: 0.1]",
)
@click.option(
    "--eps",
    metavar="NUMBER",
    help="Also follow adversarial twins of this radius.  [default: none are made]",
)
@click.option("--norm", help="With --eps: linf or l2.  [default: linf]")
@click.option("--steps", type=int, help="With --eps: steps of PGD.  [default: 20]")
@click.option("--layers", multiple=True, metavar="GLOB", help="Layers to follow; repeat for more.")
@click.option("--frame", help="raw, centered or whitened.  [default: centered]")
@click.option("--samples", type=int, help="Use at most so many samples.  [default: 1000]")
@click.option("--batch-size", type=int, help="Inputs in one pass.  [default: 256]")
@click.option("--device", help="Where torch computes.  [default: cpu]")
@run_options
def complexity(**options: Any) -> None:
    """Measure models layer by layer, in nats of rapidity, and rank them by how fragile they seem.

    MODEL is a name of the zoo (cnn; cnn@1 for another seed), or your own as in worldline compare.
    Nothing is attacked without --eps.
    """
    carry_out("complexity", _configure, options, _complexity_lines)


def _configure(options: dict[str, Any]) -> Any:
    return read_config("ComplexityConfig", options)


def _complexity_lines(summary: dict[str, Any]) -> None:
    from worldline.runs import complexity_findings

    _ranking_table(summary)
    _layer_table(summary["models"][summary["ranking"][0]])
    click.echo()
    for sentence in complexity_findings(summary):
        click.echo(sentence)
    for note in dict.fromkeys(note for document in summary["models"] for note in document["notes"]):
        click.echo(f"Note: {note}", err=True)


def _ranking_table(summary: dict[str, Any]) -> None:
    known = [measure["name"] for measure in summary["models"][0]["known"]]
    table = new_table(
        "Fragility (an estimate), and the field's measures",
        ("model", "answers that\nnoise changes", "95%\ninterval", "total boost\nof noise", *known),
    )
    for place in summary["ranking"]:
        document = summary["models"][place]
        changed = document["fragility"]["changed"]
        low, high = changed["interval"]
        values = {measure["name"]: measure["value"] for measure in document["known"]}
        boost = document["total_boost"]["noise"]["median"]
        table.add_row(
            document["model"],
            f"{changed['value']:.1%}",
            f"{low:.1%}–{high:.1%}",
            _number(boost, "+.2f"),
            *(_number(values[name], ",.4g") for name in known),
        )
    print_table(table)


def _layer_table(document: dict[str, Any]) -> None:
    heads = (
        "#",
        "layer",
        "width",
        "φ noise",
        "boost",
        "untrained",
        "φ strangers",
        "boost",
        "dimension",
    )
    table = new_table(f"{document['model']}: median rapidity φ and boost by layer, in nats", heads)
    for layer in document["layers"]:
        boosts = [layer["boost"].get(kind, {}).get("median") for kind in ("noise", "strangers")]
        null = (layer["untrained_boost"] or {}).get("noise", {}).get("median")
        table.add_row(
            str(layer["index"]),
            layer["name"],
            f"{layer['width']:,}",
            _number(layer["rapidity"]["noise"]["median"], "+.2f"),
            _number(boosts[0], "+.2f"),
            _number(null, "+.2f"),
            _number(layer["rapidity"]["strangers"]["median"], "+.2f"),
            _number(boosts[1], "+.2f"),
            _number(layer["dimension"]["participation"], ".1f"),
        )
    print_table(table)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
