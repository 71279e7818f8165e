"""Options made from the fields of a configuration, where type, default and help are said."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import click

from worldline.runs.config import Config, Described, ModelConfig, options_of
from worldline.settings import Bounds

__all__ = ["RUN_OPTIONS", "options_for"]


def _flag(said: str, *names: str) -> click.Option:
    return click.Option(names, is_flag=True, help=said)


RUN_OPTIONS: tuple[click.Parameter, ...] = (
    click.Option(
        ["--out"],
        metavar="FOLDER",
        help="Folder of the run; must not exist.  [default: the next free one in runs/]",
    ),
    _flag("Continue the run in --out, if it has this very configuration.", "--resume"),
    _flag("Print the record as one JSON document, and nothing else.", "--json", "as_json"),
    _flag("Print nothing but errors.", "--quiet"),
    _flag("Show the traceback of an error.", "--debug"),
)


def options_for(config: type[Config]) -> list[click.Parameter]:
    """The arguments and options of a command, those of every run last."""
    own = [_parameter(it) for it in options_of(config)]
    if issubclass(config, ModelConfig):
        own.insert(1, click.Option(["--model", "named"], hidden=True))
    file = click.Option(
        ["--config", "file"],
        metavar="FILE",
        help=f"TOML with a [{config.command}] table; options given here win over it.",
    )
    strict = _flag("Exit with 4 if a check warns.", "--strict")
    return [*own, file, *([strict] if config.strict else []), *RUN_OPTIONS]


def _parameter(it: Described) -> click.Parameter:
    several = get_origin(it.plain) is tuple and it.hint != Bounds
    endless = several and get_args(it.plain)[-1] is ...
    if it.option.positional:
        metavar = it.name.upper().removesuffix("S") + ("..." if endless else "")
        return click.Argument(
            [it.name], required=False, nargs=-1 if endless else 1, metavar=f"[{metavar}]"
        )
    single = [it.flag.removesuffix("s")] if endless else []  # one value each time it is given
    names = [*dict.fromkeys([*single, it.flag]), it.name]
    if it.plain is bool:
        return click.Option(names, help=it.option.help, is_flag=True, default=None)
    return click.Option(
        names,
        help=_help(it),
        metavar=it.option.metavar or _metavar(it),
        multiple=endless,
        nargs=len(get_args(it.plain)) if several and not endless else 1,
    )


def _metavar(it: Described) -> str:
    if get_origin(it.plain) is Literal:
        return "|".join(get_args(it.plain))
    names: dict[Any, str] = {int: "N", float: "NUMBER"}
    kinds = {"number": "NUMBER", "sizes": "SIZES", "size": "SIZE", "callable": "NAME"}
    return kinds.get(it.option.kind) or names.get(it.plain, "TEXT")


def _help(it: Described) -> str:
    """With the default, unless it is none or the sentence says it."""
    default = it.default
    if default in (None, "", ()) or "[default:" in it.option.help:
        return it.option.help
    shown = ",".join(f"{end:g}" for end in default) if isinstance(default, tuple) else default
    return f"{it.option.help}  [default: {shown}]"
