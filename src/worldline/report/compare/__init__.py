"""The page of ``worldline compare``: who shares whose blind spots, predicted and measured."""

from worldline.report.compare.page import render

__all__ = ["render"]
