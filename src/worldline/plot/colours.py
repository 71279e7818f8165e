"""The look of every figure, on a page or in print: a colour and a marker for each thing.

Told apart by colour-blind readers too, and never by colour alone. The first colour of a look is for
paper (at least 4.5 : 1 on white), the second for dark screens.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BLUE", "GREEN", "GREY", "LOOKS", "PURPLE", "VERMILLION", "Look", "heat_colours"]

VERMILLION, BLUE, GREEN, PURPLE, GREY = "#c8500a", "#0072b2", "#00795a", "#a3487f", "#666666"


@dataclass(frozen=True)
class Look:
    """Colour on paper, colour on a dark screen, Matplotlib's name of the marker."""

    paper: str
    dark: str
    marker: str


LOOKS = {
    "adversarial": Look(VERMILLION, "#ff9a57", "o"),
    "noise": Look(BLUE, "#63b8f0", "s"),
    "true": Look(GREEN, "#3fcf9f", "^"),
    "wrong": Look(PURPLE, "#e596c3", "D"),
    "other": Look(GREY, "#b4b4be", "v"),
}


def heat_colours(steps: int, *, diverging: bool) -> list[tuple[str, str]]:
    """Background and ink of each step of a heat map, low to high.

    The ink is black or white, whichever reads better.

    >>> from worldline.plot.colours import heat_colours
    >>> heat_colours(3, diverging=True)[1]
    ('#f7f6f6', '#000000')
    """
    from matplotlib import colormaps  # noqa: PLC0415  # a page without a heat map need not wait for it
    from matplotlib.colors import to_hex  # noqa: PLC0415

    colours = colormaps["RdBu_r" if diverging else "cividis"]
    found = [colours(step / (steps - 1)) for step in range(steps)]
    inks = ["#000000" if _luminance(*colour[:3]) > 0.18 else "#ffffff" for colour in found]
    return list(zip(map(to_hex, found), inks, strict=True))


def _luminance(*channels: float) -> float:
    """Relative luminance as WCAG 2 defines it; black and white ink are equally legible at 0.18."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
