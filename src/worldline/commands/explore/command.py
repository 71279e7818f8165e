"""``worldline explore`` as one object."""

from worldline.commands.base import Command
from worldline.commands.explore.config import ExploreConfig
from worldline.commands.explore.page import page
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.run import prepare, run
from worldline.commands.explore.views import figures, tables, views
from worldline.commands.explore.words import words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=ExploreConfig,
    record=Exploration,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    several=page,
    rows="layers",
)
