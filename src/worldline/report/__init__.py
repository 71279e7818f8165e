"""The shell of every page and of its other forms; knows no command."""

from worldline.report.formats import FORMATS
from worldline.report.serve import serving

__all__ = ["FORMATS", "serving"]
