"""``worldline distant`` as one object."""

from __future__ import annotations

from worldline.commands.base import Command
from worldline.commands.distant.config import DistantConfig
from worldline.commands.distant.figures import figures
from worldline.commands.distant.page import attach, page
from worldline.commands.distant.record import DistantPairs
from worldline.commands.distant.run import Given, prepare, run
from worldline.commands.distant.tables import tables
from worldline.commands.distant.words import views, words

__all__ = ["COMMAND"]

COMMAND: Command[DistantConfig, Given, DistantPairs] = Command(
    name="distant",
    config=DistantConfig,
    record=DistantPairs,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    page=page,
    attach=attach,
    figures=figures,
)
