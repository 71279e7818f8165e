"""Where things stand in the pictures of a model's complexity: a waterfall of boosts, bars of speed
limits, a ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worldline.plot.complexity import levels, most_used, used_share
from worldline.report.numbers import share

__all__ = ["Bar", "Bars", "Waterfall", "limit_bars", "ranking_bars", "waterfall"]

WIDTH, HEIGHT, LEFT, TOP, FOOT = 560, 270, 40, 22, 60
ROW, NAMES, VALUES = 26, 150, 64
MOST_LABELS = 14


@dataclass(frozen=True)
class Step:
    """One column: from the level before to the level here; ``look``: apart, together, or end (input
    and output).
    """

    x: float
    y: float
    width: float
    height: float
    look: str
    label: str
    name: str


@dataclass(frozen=True)
class Waterfall:
    """The way of the median φ through the layers, and that of the untrained network as a dashed
    line.
    """

    steps: tuple[Step, ...]
    untrained: str
    scale: tuple[tuple[str, float], ...]
    zero: float
    said: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


@dataclass(frozen=True)
class Bar:
    """One row: how long the bar is, where its interval and its null end."""

    y: float
    name: str
    look: str
    length: float
    ends: tuple[float, float] | None
    null: float | None
    said: str


@dataclass(frozen=True)
class Bars:
    """Rows of bars from 0 to ``most``."""

    bars: tuple[Bar, ...]
    height: int
    scale: tuple[tuple[str, float], ...]
    width: int = WIDTH
    left: int = NAMES


def waterfall(document: dict[str, Any], kind: str) -> Waterfall | None:
    """The waterfall of one kind of pairs; None where no level is finite."""
    trained, null = levels(document, kind), levels(document, kind, untrained=True)
    known = [level for level in [*trained, *null] if level is not None]
    if not known or trained[0] is None:
        return None
    low, high = min(0.0, *known), max(0.0, *known)

    def down(level: float) -> float:
        return HEIGHT - FOOT - (HEIGHT - FOOT - TOP) * (level - low) / (high - low or 1.0)

    names = [layer["name"] for layer in document["layers"]]
    columns = [(0.0, trained[0], "end", names[0])]
    for before, here, name in zip(trained, trained[1:], names[1:], strict=False):
        if before is None or here is None:
            break
        columns.append((before, here, "apart" if here < before else "together", name))
    else:
        columns.append((0.0, trained[-1] or 0.0, "end", "output"))
    room = (WIDTH - LEFT) / (len(names) + 1)
    every = -(-len(columns) // MOST_LABELS)
    steps = []
    for place, (start, end, look, name) in enumerate(columns):
        top = max(start, end)
        text = f"{end:.2f}" if look == "end" else f"{end - start:+.2f}"
        steps.append(
            Step(
                x=LEFT + room * place + 0.12 * room,
                y=down(top),
                width=0.76 * room,
                height=max(1.0, down(min(start, end)) - down(top)),
                look=look,
                label=text.replace("-", "−") if len(columns) <= MOST_LABELS else "",
                name=name if place % every == 0 or look == "end" else "",
            )
        )
    line = "".join(
        f"{'L' if place else 'M'}{LEFT + room * (place + 0.5):.1f},{down(level):.1f}"
        for place, level in enumerate(null)
        if level is not None
    )
    places = 1 if high - low >= 1 else 2
    scale = tuple(
        (f"{low + (high - low) * part:.{places}f}", down(low + (high - low) * part))
        for part in (0, 0.5, 1)
    )
    said = ", ".join(
        f"{name} {'∞' if level is None else f'{level:.2f}'}"
        for name, level in zip(names, trained, strict=True)
    )
    return Waterfall(tuple(steps), line, scale, down(0.0), said)


def limit_bars(document: dict[str, Any]) -> Bars | None:
    """How much of its speed limit each linear layer uses, noise twins above strangers; None without
    such layers.
    """
    rows = []
    for limit in most_used(document):
        for kind, look in (("noise", "noise"), ("strangers", "wrong")):
            used = used_share(limit, kind)
            if used is not None:
                null = used_share(limit, kind, untrained=True)
                rows.append((limit["name"] if look == "noise" else "", look, used, null))
    return _bars(rows, 1.0) if rows else None


def ranking_bars(models: list[dict[str, Any]], ranking: list[int]) -> Bars:
    """Share of answers that noise changes, the most fragile model first."""
    shares = [(models[place]["model"], models[place]["fragility"]["changed"]) for place in ranking]
    most = max([it["interval"][1] for _, it in shares] + [0.05])
    return _bars(
        [(name, "adversarial", (it["value"], it["interval"]), None) for name, it in shares], most
    )


Used = tuple[float, list[float] | None]


def _bars(rows: list[tuple[str, str, Used, Used | None]], most: float) -> Bars:
    room = WIDTH - NAMES - VALUES

    def across(value: float) -> float:
        return NAMES + room * min(value, most) / most

    bars = []
    for place, (name, look, (value, ends), null) in enumerate(rows):
        bars.append(
            Bar(
                y=6.0 + ROW * place,
                name=name,
                look=look,
                length=across(value) - NAMES,
                ends=None if ends is None else (across(ends[0]), across(ends[1])),
                null=None if null is None else across(null[0]),
                said=share(value),
            )
        )
    scale = tuple((share(most * part), across(most * part)) for part in (0, 0.5, 1))
    return Bars(tuple(bars), 6 + ROW * len(rows) + 24, scale)
