"""The command as one object."""

from worldline.commands.base import Command
from worldline.commands.complexity.config import ComplexityConfig
from worldline.commands.complexity.page import attach, figures, page
from worldline.commands.complexity.record import ComplexityReport
from worldline.commands.complexity.run import Given, prepare, run
from worldline.commands.complexity.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command[ComplexityConfig, Given, ComplexityReport](
    name="complexity",
    config=ComplexityConfig,
    record=ComplexityReport,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    page=page,
    attach=attach,
    figures=figures,
)
