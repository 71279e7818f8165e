"""The look of figures for papers: colours, names, axes; `report.drawn` draws with these."""

from worldline.plot.axes import new_axes
from worldline.plot.colours import LOOKS, Look
from worldline.plot.names import tidy, tidy_name

__all__ = ["LOOKS", "Look", "new_axes", "tidy", "tidy_name"]
