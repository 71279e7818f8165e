"""``worldline encode`` as one object."""

from worldline.commands.base import Command
from worldline.commands.encode.config import EncodeConfig
from worldline.commands.encode.figures import figures, pictures
from worldline.commands.encode.page import attach, page
from worldline.commands.encode.record import EncoderReport
from worldline.commands.encode.run import prepare, run
from worldline.commands.encode.tables import tables
from worldline.commands.encode.words import views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    name="encode",
    config=EncodeConfig,
    record=EncoderReport,
    prepare=prepare,
    run=run,
    words=words,
    views=views,
    tables=tables,
    page=page,
    attach=attach,
    figures=figures,
    pictures=pictures,
)
