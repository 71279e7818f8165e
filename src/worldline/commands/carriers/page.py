"""The page of ``worldline carriers``, and what shows what was found on any page.

Each figure is declared once: the page's script draws it, and Matplotlib for papers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from markupsafe import Markup
from torch import Tensor

from worldline.commands.base import Result
from worldline.commands.carriers.record import SHOWN, CarriersReport, ModelCarriers
from worldline.commands.carriers.views import concentration, found_views, views
from worldline.commands.carriers.views.gallery import cards_of
from worldline.commands.carriers.views.pairs import pair_bars, shared_heat
from worldline.commands.carriers.views.repair import curves_of
from worldline.commands.carriers.views.shared import Names, is_full, layer_words, mends
from worldline.commands.carriers.views.spread import spread_groups
from worldline.commands.carriers.views.units import top_of
from worldline.commands.carriers.words import attack_words, finding, verdict
from worldline.explain import LayerFinding
from worldline.report.figures import Bars, Lines
from worldline.report.page import fill_template
from worldline.settings import Bounds

__all__ = ["carriers_markup", "concentration", "context", "found_views"]

Drawn = TypeVar("Drawn", Lines, Bars)


def context(result: Result[CarriersReport], prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record = result.record
    tensors = result.folder.read_tensors(SHOWN)
    return {
        "attack": attack_words(record),
        "views": views(result),
        "pairs": None if record.pairs is None else pair_bars(record.pairs, record.class_names),
        "shared": None if record.pairs is None else shared_heat(record.pairs, record.class_names),
        "found": carriers_markup(
            record.found, tensors, record.bounds, record.class_names, prefix=prefix
        ),
    }


def carriers_markup(
    found: ModelCarriers,
    tensors: Mapping[str, Tensor],
    bounds: Bounds,
    names: Names,
    *,
    prefix: str,
    brief: bool = False,
    guide: bool = False,
) -> Markup:
    """The views of what was found on one model; ids start with the prefix.

    Args:
        found: what was found.
        tensors: pictures and maps of the samples shown.
        bounds: legal range of the inputs.
        names: of the classes.
        prefix: of all ids.
        brief: the verdict first, and most of it folded away.
        guide: whether the page carries the guide, to point at.
    """
    return fill_template(
        "carriers/found.html.j2",
        prefix=prefix,
        brief=brief,
        guide=guide,
        finding=finding(found),
        verdict=verdict(found),
        views=found_views(found, names),
        spread=spread_groups(found),
        curves=_by_cut([it for it in found.layers if it.curves], found, curves_of),
        tops=_by_cut(found.layers, found, top_of),
        cards=cards_of(found, tensors, bounds, names),
        mends=mends(found),
    )


def _by_cut(
    layers: Sequence[LayerFinding],
    found: ModelCarriers,
    draw_one: Callable[[LayerFinding, ModelCarriers], Drawn],
) -> list[list[tuple[str, Drawn]]]:
    """Named figures of the layers through which all passes and of heads, then of the others."""
    first = [it for it in layers if is_full(it) or it.by == "head"]
    rest = [it for it in layers if it not in first]
    both = (first, rest) if first else (rest, [])
    return [[(layer_words(it), draw_one(it, found)) for it in some] for some in both]
