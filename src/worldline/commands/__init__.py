"""The commands, one folder each; to add one, add its folder and its line here.

>>> from worldline import commands
>>> sorted(commands.COMMANDS)[:2]
['carriers', 'compare']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldline.commands.base import Command
    from worldline.runs.config import Config

__all__ = ["COMMANDS", "config_of", "load"]

COMMANDS = {  # name → its configuration's class, which needs no torch; in the order of --help
    "explore": "ExploreConfig",
    "carriers": "CarriersConfig",
    "compare": "CompareConfig",
    "complexity": "ComplexityConfig",
    "distant": "DistantConfig",
    "encode": "EncodeConfig",
    "doctor": "DoctorConfig",
}


def config_of(name: str) -> "type[Config]":
    """The class whose fields are a command's options.

    >>> from worldline import commands
    >>> commands.config_of("explore").command
    'explore'
    """
    found: type[Config] = getattr(
        import_module(f"worldline.commands.{name}.config"), COMMANDS[name]
    )
    return found


def load(name: str) -> "Command[Any, Any, Any]":
    """A command by its name: call it with a configuration and, if wanted, a folder.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from worldline import commands
    >>> config = commands.config_of("explore")(model="linear", samples=50, steps=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     commands.load("explore")(config, Path(folder) / "run").record.samples
    50
    """
    found: Command[Any, Any, Any] = import_module(f"worldline.commands.{name}.command").COMMAND
    return found
