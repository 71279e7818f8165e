"""Every view of an exploration: its sentence, table and figure beside each other.

>>> import worldline as wl
>>> from worldline.commands.explore import views
>>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
>>> x, y = data.x[:60], data.y[:60]
>>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
>>> views.rapidity_by_layer(story).get_xlabel()
'layer'
"""

from __future__ import annotations

from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.carriers.page import concentration, found_views
from worldline.commands.complexity.page import boost_waterfall, speed_limit_use
from worldline.commands.complexity.words import model_views
from worldline.commands.doctor.page import accuracy_curve
from worldline.commands.doctor.words import curve_view
from worldline.commands.explore.explored import Explored, read_explored
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.views.classes import (
    class_accuracy,
    class_flow,
    classes_view,
    flow_view,
)
from worldline.commands.explore.views.samples import change_view, map_view, sample_map, spacetime
from worldline.commands.explore.views.similarity import rapidity_by_layer, similarity_view
from worldline.commands.explore.views.trust import trust_view
from worldline.commands.explore.views.turn import (
    at_layer,
    changed_sides,
    driver_view,
    excess_boost,
    tables,
    turn_view,
)
from worldline.plot.axes import figure_of
from worldline.report.views import View

__all__ = [
    "at_layer",
    "changed_sides",
    "class_accuracy",
    "class_flow",
    "excess_boost",
    "figures",
    "rapidity_by_layer",
    "sample_map",
    "spacetime",
    "tables",
    "views",
    "views_of",
]


def views(result: Result[Exploration]) -> dict[str, View]:
    """Every view of one model by its name."""
    measured = result.record.complexity
    complexity = {} if measured is None else model_views(measured)
    carried, names = result.record.carriers, result.record.class_names
    carriers = {} if carried is None else found_views(carried, names)
    return {
        **views_of(result, read_explored(result)),
        **{f"carriers {name}": view for name, view in carriers.items()},
        **{f"complexity {name}": view for name, view in complexity.items()},
    }


def views_of(result: Result[Exploration], data: Explored) -> dict[str, View]:
    """Those of the page's own sections, of numbers by sample that were read already."""
    record = result.record
    return {
        "trust": trust_view(record),
        "layers": similarity_view(record),
        "turn": turn_view(record),
        "driver": driver_view(record),
        "map": map_view(record, data),
        "classes": classes_view(data),
        "flow": flow_view(record, data),
        "change": change_view(result, data),
        "curve": curve_view(record.curve),
    }


def figures(result: Result[Exploration]) -> dict[str, Figure]:
    """All figures of a run, by name."""
    data = read_explored(result)
    axes = {
        "rapidity": rapidity_by_layer(data),
        "sides": changed_sides(data),
        "boosts": excess_boost(data),
        "spacetime": spacetime(data),
        "map": sample_map(data),
        "classes": class_accuracy(data),
        "flow": class_flow(data),
        "curve": accuracy_curve(result.record.curve),
    }
    carried, measured = result.record.carriers, result.record.complexity
    if carried is not None:
        axes["concentration"] = concentration(carried)
    if measured is not None:
        axes["waterfall"] = boost_waterfall(measured)
        if measured.limits:
            axes["limits"] = speed_limit_use(measured)
    return {name: figure_of(ax) for name, ax in axes.items()}
