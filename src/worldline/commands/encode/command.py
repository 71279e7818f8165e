"""``worldline encode`` as one object."""

from worldline.commands.base import Command
from worldline.commands.encode.config import EncodeConfig
from worldline.commands.encode.page import attach, figures, page, pictures
from worldline.commands.encode.record import EncoderReport
from worldline.commands.encode.run import prepare, run
from worldline.commands.encode.words import tables, views, words

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
