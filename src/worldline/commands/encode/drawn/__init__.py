"""The figure of every experiment, drawn from its table; a module for each kind of claim."""

from worldline.commands.encode.drawn import answers, carrying, merging, unseen
from worldline.commands.encode.drawn.shared import Drawing

__all__ = ["DRAWN"]

DRAWN: dict[str, Drawing] = {**merging.DRAWN, **unseen.DRAWN, **carrying.DRAWN, **answers.DRAWN}
"""By the name of the experiment: draws it into a figure."""
