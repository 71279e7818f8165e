"""``worldline doctor`` as one object."""

from worldline.commands.base import Command
from worldline.commands.doctor.config import DoctorConfig
from worldline.commands.doctor.page import context, figures
from worldline.commands.doctor.record import Diagnosis
from worldline.commands.doctor.run import prepare, run
from worldline.commands.doctor.words import tables, views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    config=DoctorConfig,
    record=Diagnosis,
    prepare=prepare,
    run=run,
    words=words,
    tables=tables,
    views=views,
    figures=figures,
    context=context,
    beside=True,
    rows="checks",
)
