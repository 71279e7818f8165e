"""Results in, one self-contained HTML page out."""

from worldline.report.render import render_report, write_report

__all__ = ["render_report", "write_report"]
