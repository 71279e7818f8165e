"""The page of ``worldline encode``: claim, figure, law, controls and verdict of each experiment."""

from worldline.report.encode.page import attach, describe, draw, render

__all__ = ["attach", "describe", "draw", "render"]
