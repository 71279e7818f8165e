"""Results in, one self-contained HTML page out; or pictures, text and data."""

from worldline.report.formats import FORMATS, write_formats
from worldline.report.render import render_report, write_report
from worldline.report.serve import serving

__all__ = ["FORMATS", "render_report", "serving", "write_formats", "write_report"]
