"""Every view of what carries an attack: its sentence, table and figure beside each other."""

from __future__ import annotations

from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.carriers.record import CarriersReport, ModelCarriers
from worldline.commands.carriers.views.gallery import gallery_view
from worldline.commands.carriers.views.pairs import pair_bars, pairs_view, shared_heat, shared_view
from worldline.commands.carriers.views.repair import repair_curve, repair_view
from worldline.commands.carriers.views.shared import Names
from worldline.commands.carriers.views.spread import concentration, spread_view
from worldline.commands.carriers.views.telling import verdict
from worldline.commands.carriers.views.units import top_units, units_view
from worldline.plot.axes import figure_of
from worldline.report.drawn import draw
from worldline.report.views import View

__all__ = ["concentration", "figures", "found_views", "repair_curve", "top_units", "views"]


def views(result: Result[CarriersReport]) -> dict[str, View]:
    """The views of the model, then those of pairs of classes."""
    record = result.record
    views = found_views(record.found, record.class_names)
    if record.pairs is not None:
        views["pairs"] = pairs_view(record, record.pairs)
        views["shared"] = shared_view(record, record.pairs)
    return views


def found_views(found: ModelCarriers, names: Names) -> dict[str, View]:
    """How few are enough by layer, all curves, the samples shown, the parts themselves."""
    views = {
        "spread": spread_view(found),
        "repair": repair_view(found, verdict(found)),
        "units": units_view(found),
    }
    if found.shown:
        views["gallery"] = gallery_view(found, names)
    return views


def figures(result: Result[CarriersReport]) -> dict[str, Figure]:
    """For papers, by name: the spread, and of every layer its curves and top units."""
    found = result.record.found
    drawn = {"concentration": concentration(found)}
    for it in found.layers:
        if it.curves:
            drawn[f"repair-{it.index:02d}"] = repair_curve(found, it.name, by=it.by)
        drawn[f"units-{it.index:02d}"] = top_units(found, it.name, by=it.by)
    pairs, names = result.record.pairs, result.record.class_names
    if pairs is not None:
        drawn["pairs"] = draw(pair_bars(pairs, names))
        drawn["shared"] = draw(shared_heat(pairs, names))
    return {name: figure_of(ax) for name, ax in drawn.items()}
