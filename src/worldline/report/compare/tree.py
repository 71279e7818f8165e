"""The tree of models as places of an SVG picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Tree", "tree_of"]

WIDTH, ROW, MARGIN, NAMES = 640, 24, 14, 190


@dataclass(frozen=True)
class Tree:
    """Names with their heights on the picture, the path that joins them, and the scale below."""

    width: int
    height: int
    leaves: tuple[tuple[str, float], ...]
    path: str
    scale: tuple[tuple[str, float], ...]
    names_at: int = WIDTH - NAMES + 8


def tree_of(summary: dict[str, Any]) -> Tree:
    """Leaves on the right, in the order of the tree; joins to the left, the further the less is
    shared.
    """
    order, count = summary["order"], len(summary["models"])
    largest = float(max([height for *_, height in summary["tree"]] + [1e-9]))

    def across(height: float) -> float:
        return WIDTH - NAMES - (WIDTH - NAMES - MARGIN) * height / largest

    place = {
        leaf: (across(0.0), MARGIN + ROW * float(position)) for position, leaf in enumerate(order)
    }
    leaves = tuple((summary["models"][leaf], place[leaf][1]) for leaf in order)
    parts = []
    for number, (left, right, height) in enumerate(summary["tree"]):
        (x1, y1), (x2, y2), joined = place[left], place[right], across(height)
        parts.append(f"M{x1:.1f},{y1:.1f}H{joined:.1f}V{y2:.1f}H{x2:.1f}")
        place[count + number] = (joined, (y1 + y2) / 2)
    height = MARGIN + ROW * count + 22
    scale = tuple((f"{largest * part:.2f}", across(largest * part)) for part in (0, 0.5, 1))
    return Tree(WIDTH, height, leaves, "".join(parts), scale)
