"""The group of commands, each made from its configuration."""

from __future__ import annotations

import sys
from functools import partial
from inspect import cleandoc
from typing import Any

import click

from worldline import __version__
from worldline.cli.carrying import carry_out
from worldline.cli.options import options_for
from worldline.cli.printing import say
from worldline.cli.report import report
from worldline.commands import COMMANDS, config_of

__all__ = ["commands", "main"]


class _Commands(click.Group):
    """A group whose own messages pass the printer too, as they repeat what was typed."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Parse and run; every way out is an exit code and at most one sentence."""
        try:
            super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            hint = f" See {context.command_path} --help." if context else ""
            say(f"worldline: {error.format_message()}{hint}", error=True)
            raise SystemExit(error.exit_code) from None
        except click.Abort:
            say("Interrupted.", error=True)
            raise SystemExit(130) from None
        raise SystemExit(0)


commands = _Commands(
    "worldline",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See why an input fools your model: follow it, layer by layer, beside its attacked twin.",
)
click.version_option(__version__, prog_name="worldline")(commands)
for name in COMMANDS:
    described = cleandoc(config_of(name).__doc__ or "").split("\n\nAttributes:")[0]
    commands.add_command(
        click.Command(
            name,
            params=options_for(config_of(name)),
            callback=partial(carry_out, name),
            help=described.split("\n\n>>>")[0],
            short_help=described.split("\n")[0],
        )
    )
commands.add_command(report)


def main() -> None:
    """Entry point of the ``worldline`` command."""
    commands.main(sys.argv[1:], prog_name="worldline")
