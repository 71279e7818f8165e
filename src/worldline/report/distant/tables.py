"""Names of the classes in the map, and the way of a made pair as places of an SVG picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["PathPicture", "class_names", "path_picture"]

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 240, 46, 30


@dataclass(frozen=True)
class PathPicture:
    """The path of the moved sample, and two levels with their names: usual, and what counts as
    success.
    """

    width: int
    height: int
    path: str
    levels: tuple[tuple[str, float], ...]
    scale: tuple[tuple[str, float], ...]
    steps: int


def class_names(summary: dict[str, Any]) -> list[str]:
    """Names of the classes in the map; equal names are numbered, so that each has its place."""
    known, labels = summary["class_names"], summary["classes"]["labels"]
    names = [
        str(known[label]) if known and 0 <= label < len(known) else str(label) for label in labels
    ]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({label})" for name, label in zip(names, labels, strict=True)]


def path_picture(made: dict[str, Any]) -> PathPicture:
    """Distance at the layer, step by step."""
    values = [0.0 if value is None else value for value in made["path_distance"]]
    low, middle, _ = made["same_class_distance"]
    top = 1.05 * float(max([*values, middle, 1e-12]))

    def down(value: float) -> float:
        return (HEIGHT - BOTTOM) * (1 - value / top) + 6

    across = (WIDTH - LEFT - 8) / max(len(values) - 1, 1)
    points = " ".join(
        f"{LEFT + across * step:.1f},{down(value):.1f}" for step, value in enumerate(values)
    )
    levels = (
        ("two samples of one class, median", down(middle)),
        ("nearest tenth of them: success is below", down(low)),
    )
    scale = tuple((f"{top * part:.3g}", down(top * part)) for part in (0, 0.5, 0.95))
    return PathPicture(
        WIDTH, HEIGHT, f"M{points}".replace(" ", "L"), levels, scale, len(values) - 1
    )
