"""The shell of every page and of its other forms; knows no command."""

from worldline.report.formats import FORMATS
from worldline.report.render import render_report, write_formats, write_report
from worldline.report.serve import serving

__all__ = ["FORMATS", "render_report", "serving", "write_formats", "write_report"]
