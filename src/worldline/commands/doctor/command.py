"""``worldline doctor`` as one object."""

from worldline.commands.base import Command
from worldline.commands.doctor.config import DoctorConfig
from worldline.commands.doctor.figures import figures, pictures
from worldline.commands.doctor.page import attach, page
from worldline.commands.doctor.record import Diagnosis
from worldline.commands.doctor.run import prepare, run
from worldline.commands.doctor.tables import tables
from worldline.commands.doctor.words import views, words

__all__ = ["COMMAND"]

COMMAND = Command(
    name="doctor",
    config=DoctorConfig,
    record=Diagnosis,
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
