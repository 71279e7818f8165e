"""The page of ``worldline distant``: the pairs, their worldlines, and how entangled the classes are
by layer.
"""

from worldline.report.distant.page import attach, describe, draw, render

__all__ = ["attach", "describe", "draw", "render"]
