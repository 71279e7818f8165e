"""``worldline carriers`` as one object."""

from worldline.commands.base import Command
from worldline.commands.carriers.config import CarriersConfig
from worldline.commands.carriers.page import context
from worldline.commands.carriers.record import CarriersReport
from worldline.commands.carriers.run import prepare, run
from worldline.commands.carriers.views import figures, views
from worldline.commands.carriers.words import tables, words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=CarriersConfig,
    record=CarriersReport,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    context=context,
    rows="layers",
)
