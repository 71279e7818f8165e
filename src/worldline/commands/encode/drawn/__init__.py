"""The figure of every experiment, drawn from its table; one module for each of the paper's claims."""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from worldline.commands.encode.drawn import answers, carrying, merging, unseen
from worldline.commands.encode.record import ExperimentReport

__all__ = ["DRAWN"]

DRAWN: dict[str, Callable[[Figure, ExperimentReport, Any], None]] = {
    **merging.DRAWN,
    **unseen.DRAWN,
    **carrying.DRAWN,
    **answers.DRAWN,
}
"""By the name of the experiment: draws it into a figure."""
