"""``worldline distant`` as one object."""

from worldline.commands.base import Command
from worldline.commands.distant.config import DistantConfig
from worldline.commands.distant.page import context, figures
from worldline.commands.distant.record import DistantPairs
from worldline.commands.distant.run import prepare, run
from worldline.commands.distant.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=DistantConfig,
    record=DistantPairs,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    context=context,
    rows="pairs",
)
