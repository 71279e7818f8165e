"""The group of commands."""

from __future__ import annotations

import click

from worldline import __version__
from worldline.cli.compare import compare
from worldline.cli.complexity import complexity
from worldline.cli.distant import distant
from worldline.cli.doctor import doctor
from worldline.cli.encode import encode
from worldline.cli.explore import explore
from worldline.cli.report import report

__all__ = ["commands", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="worldline")
def commands() -> None:
    """See why an input fools your model: follow it, layer by layer, beside its adversarial twin."""


for command in (explore, compare, complexity, distant, encode, doctor, report):
    commands.add_command(command)


def main() -> None:
    """Entry point of the ``worldline`` command."""
    commands.main(prog_name="worldline")
