"""``worldline complexity`` as one object."""

from worldline.commands.base import Command
from worldline.commands.complexity.config import ComplexityConfig
from worldline.commands.complexity.page import context, figures
from worldline.commands.complexity.record import ComplexityReport
from worldline.commands.complexity.run import prepare, run
from worldline.commands.complexity.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=ComplexityConfig,
    record=ComplexityReport,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    context=context,
    rows="layers",
)
