"""The page of ``worldline explore``: one choice of model, sample and layer, and views that follow
it.
"""

from worldline.report.explore.page import describe, draw, render

__all__ = ["describe", "draw", "render"]
