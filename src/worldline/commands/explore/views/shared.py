"""What the views of an exploration share."""

from __future__ import annotations

from collections.abc import Sequence

from worldline.commands.base import Result
from worldline.commands.explore.explored import Explored
from worldline.commands.explore.record import Exploration
from worldline.errors import UsageError
from worldline.explain import LayerStory, TwinStory
from worldline.report.numbers import count
from worldline.report.views import Column
from worldline.statistics import Share, Summary
from worldline.trace import Comparison

__all__ = ["LAYER", "ROLES", "Row", "Source", "fooled_basis", "layer_index", "listed", "row_of"]

Source = Result[Exploration] | TwinStory | Explored


ROLES: dict[Comparison, str] = {
    "adversarial_clean": "adversarial",
    "noise_clean": "noise",
    "adversarial_true": "true",
    "adversarial_wrong": "wrong",
    "clean_true": "true",
    "clean_wrong": "wrong",
}


LAYER = Column[LayerStory]("layer", lambda it: f"{it.index} {it.name}", words=True)


Row = tuple[float | None, float | None, float | None]  # value, low, high


def row_of(it: Share | Summary | None) -> Row:
    """A value and its interval, as the script reads them."""
    if it is None:
        return None, None, None
    low, high = it.interval or (None, None)
    return (it.value if isinstance(it, Share) else it.median), low, high


def fooled_basis(record: Exploration) -> str:
    """How many fooled samples stand behind a view."""
    fooled = count(record.fooled, "fooled sample")
    return f"n = {fooled} of {record.samples:,}; 95% bootstrap intervals over samples"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


MOST_NAMED = 6


def layer_index(data: Explored, layer: int | None) -> int:
    """A layer's place; the last where none is named."""
    count = len(data.layers)
    if layer is not None and not 0 <= layer < count:
        raise UsageError(f"There is no layer {layer}: this run has {count}, from 0.")
    return count - 1 if layer is None else layer
