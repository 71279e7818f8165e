"""``worldline encode`` as one object."""

from worldline.commands.base import Command
from worldline.commands.encode.config import EncodeConfig
from worldline.commands.encode.page import context, figures
from worldline.commands.encode.record import EncoderReport
from worldline.commands.encode.run import prepare, run
from worldline.commands.encode.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=EncodeConfig,
    record=EncoderReport,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    context=context,
    beside=True,
)
