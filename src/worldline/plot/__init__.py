"""Figures for papers: Matplotlib axes with the data and the numbers of the page."""

from worldline.plot.complexity import boost_waterfall, fragility_ranking, speed_limit_use
from worldline.plot.explored import Explored, read_explored
from worldline.plot.figures import (
    accuracy_curve,
    changed_sides,
    class_accuracy,
    class_flow,
    excess_boost,
    rapidity_by_layer,
    sample_map,
    spacetime,
)
from worldline.plot.tables import transfer

__all__ = [
    "Explored",
    "accuracy_curve",
    "boost_waterfall",
    "changed_sides",
    "class_accuracy",
    "class_flow",
    "excess_boost",
    "fragility_ranking",
    "rapidity_by_layer",
    "read_explored",
    "sample_map",
    "spacetime",
    "speed_limit_use",
    "transfer",
]
