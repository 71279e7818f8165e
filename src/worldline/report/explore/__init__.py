"""The page of ``worldline explore``: one sample leads every view."""

from worldline.report.explore.page import render

__all__ = ["render"]
