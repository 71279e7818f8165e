"""The command ``compare``."""

from worldline.commands.base import Command
from worldline.commands.compare.config import CompareConfig
from worldline.commands.compare.page import attach, figures, page
from worldline.commands.compare.record import Comparison
from worldline.commands.compare.run import prepare, run
from worldline.commands.compare.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    name="compare",
    config=CompareConfig,
    record=Comparison,
    prepare=prepare,
    run=run,
    words=words,
    views=views,
    tables=tables,
    page=page,
    attach=attach,
    figures=figures,
)
