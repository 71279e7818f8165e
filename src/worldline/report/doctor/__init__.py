"""The page of ``worldline doctor``: worst case, curve, every check."""

from worldline.report.doctor.page import attach, describe, draw, render

__all__ = ["attach", "describe", "draw", "render"]
