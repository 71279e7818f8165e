"""The page of ``worldline complexity``: boosts as a waterfall, speed limits as bars, models
ranked.
"""

from worldline.report.complexity.page import attach, describe, draw, render

__all__ = ["attach", "describe", "draw", "render"]
