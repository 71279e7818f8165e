"""What the page of an exploration shows of an examination: checks, and accuracy by ε."""

from worldline.commands.doctor.figures import accuracy_curve
from worldline.commands.doctor.page import curve_lines
from worldline.commands.doctor.tables import brief_table, checks_table, curve_table
from worldline.commands.doctor.words import curve_view

__all__ = [
    "accuracy_curve",
    "brief_table",
    "checks_table",
    "curve_lines",
    "curve_table",
    "curve_view",
]
