"""``worldline compare`` as one object."""

from worldline.commands.base import Command
from worldline.commands.compare.config import CompareConfig
from worldline.commands.compare.page import context, figures
from worldline.commands.compare.record import Comparison
from worldline.commands.compare.run import prepare, run
from worldline.commands.compare.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=CompareConfig,
    record=Comparison,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    context=context,
    rows="pairs",
)
