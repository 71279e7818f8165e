"""From a search's stored results to what its page shows: cards with pictures and small worldlines;
no markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from worldline.errors import RunError
from worldline.report.images import picture
from worldline.runs import RunFolder

__all__ = ["HEIGHT", "WIDTH", "Card", "Path", "Sparkline", "read_cards", "read_path"]

WIDTH, HEIGHT, MARGIN = 150, 64, 5
LARGEST = 6.0  # nats at the edge of a small worldline


@dataclass(frozen=True)
class Sparkline:
    """Points of SVG polylines: the pair, the same pair untrained, and the band of usual far
    pairs.
    """

    pair: str
    untrained: str | None
    band: str
    zero: float


@dataclass(frozen=True)
class Card:
    """One found pair; ``meets`` is a layer's name or None."""

    pair: dict[str, Any]
    labels: tuple[str, str]
    predictions: tuple[str, str]
    pictures: tuple[str, str]
    meets: str | None
    line: Sparkline


@dataclass(frozen=True)
class Path:
    """The pictures along the way of a made pair, with the steps they show, and the stranger."""

    pictures: tuple[str, ...]
    steps: tuple[int, ...]
    stranger: str


def read_cards(run: RunFolder, summary: dict[str, Any]) -> tuple[list[Card], list[Card]]:
    """Cards of the merged and of the opposed pairs."""
    tensors = _tensors(run)
    bounds = (summary["bounds"][0], summary["bounds"][1])
    names = summary["class_names"]
    both = [*summary["merged"], *summary["opposed"]]
    ends = [value for row in summary["far"] for value in row if value is not None]
    ends += [value for pair in both for value in pair["worldline"] if value is not None]
    reach = min(LARGEST, max([*(abs(value) for value in ends), 0.5]))

    def named(labels: list[int]) -> tuple[str, str]:
        first, second = (
            str(names[label]) if names and 0 <= label < len(names) else str(label)
            for label in labels
        )
        return first, second

    cards = [
        Card(
            pair=pair,
            labels=named(pair["labels"]),
            predictions=named(pair["predictions"]),
            pictures=(
                picture(tensors["first"][row], bounds),
                picture(tensors["second"][row], bounds),
            ),
            meets=None if pair["meets"] is None else summary["layers"][pair["meets"]]["name"],
            line=_sparkline(pair, summary["far"], reach),
        )
        for row, pair in enumerate(both)
    ]
    return cards[: len(summary["merged"])], cards[len(summary["merged"]) :]


def read_path(run: RunFolder, summary: dict[str, Any]) -> Path | None:
    """Pictures of the made pair, if one was made."""
    if summary["made"] is None:
        return None
    tensors, bounds = _tensors(run), (summary["bounds"][0], summary["bounds"][1])
    return Path(
        pictures=tuple(picture(step, bounds) for step in tensors["path"]),
        steps=tuple(summary["made"]["shown_steps"]),
        stranger=picture(tensors["stranger"][0], bounds),
    )


def _tensors(run: RunFolder) -> dict[str, Tensor]:
    tensors = run.read_tensors("inputs.safetensors")
    if tensors is None:
        raise RunError(f"{run.path} holds no readable inputs.safetensors.")
    return tensors


def _sparkline(pair: dict[str, Any], far: list[list[float | None]], reach: float) -> Sparkline:
    layers = len(pair["worldline"])

    def points(row: list[float | None], sign: float) -> list[str]:
        """An infinite rapidity, which is null, is at the edge on the pair's side."""
        return [
            f"{_across(layer, layers):.1f},{_down(sign * reach if value is None else value, reach):.1f}"
            for layer, value in enumerate(row)
        ]

    sign = 1.0 if pair["rapidity"] is None or pair["rapidity"] >= 0 else -1.0
    untrained = pair["untrained_worldline"]
    return Sparkline(
        pair=" ".join(points(pair["worldline"], sign)),
        untrained=None if untrained is None else " ".join(points(untrained, sign)),
        band=" ".join([*points(far[0], -1.0), *points(far[2], 1.0)[::-1]]),
        zero=_down(0.0, reach),
    )


def _across(layer: int, layers: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * layer / max(layers - 1, 1)


def _down(value: float, reach: float) -> float:
    return HEIGHT / 2 - (HEIGHT / 2 - MARGIN) * max(-1.0, min(1.0, value / reach))
