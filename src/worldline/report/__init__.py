"""The shell of every page and of its other forms; knows no command."""

from worldline.report.formats import FORMATS, json_document, markdown, picture_files
from worldline.report.serve import serving

__all__ = ["FORMATS", "json_document", "markdown", "picture_files", "serving"]
