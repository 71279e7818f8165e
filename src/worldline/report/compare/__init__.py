"""The page of ``worldline compare``: who shares whose blind spots, predicted and measured."""

from worldline.report.compare.page import attach, describe, draw, render

__all__ = ["attach", "describe", "draw", "render"]
