"""What all figures that answer to the mouse share: their look, and how they get into a page."""

from __future__ import annotations

from importlib import resources
from typing import Any

from bokeh.embed import json_item
from bokeh.models import Model
from bokeh.plotting import figure
from bokeh.resources import Resources
from markupsafe import Markup

from worldline.report.page import as_json

__all__ = ["as_figure_data", "new_plot", "page_scripts", "place_legend"]


def page_scripts(package: str) -> list[str]:
    """Bokeh's own script, and the ``page.js`` of a package of the report."""
    own = resources.files(f"worldline.report.{package}").joinpath("page.js").read_text("utf-8")
    return [*Resources(mode="inline", components=["bokeh"], minified=True).js_raw, own]


def as_figure_data(figures: dict[str, Model]) -> Markup:
    """Figures by the id of their place, for the page's script to embed."""
    return as_json({name: json_item(model) for name, model in figures.items()})


def new_plot(title: str, height: int, **options: Any) -> Any:
    """An empty figure in the style of the page."""
    plot: Any = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        tools="reset,save",
        toolbar_location="above",
        background_fill_color="#ffffff",
        **options,
    )
    plot.toolbar.logo = None
    plot.title.text_font_size = "14px"
    plot.grid.grid_line_color = "#e6e6e6"
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font_size = "12px"
    return plot


def place_legend(plot: Any, columns: int) -> None:
    """The legend below the figure, in so many columns."""
    plot.add_layout(plot.legend[0], "below")
    plot.legend.orientation = "horizontal"
    plot.legend.ncols = columns
    plot.legend.location = "left"
    plot.legend.spacing = 14
    plot.legend.label_text_font_size = "12px"
    plot.legend.border_line_color = None
    plot.legend.padding = plot.legend.margin = 0
