"""Some fooled samples: where it sits in the input, and what putting it back does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from worldline.commands.carriers.record import Entry, ModelCarriers, Shown
from worldline.commands.carriers.views.shared import Names, class_name, exchanged, kind_name, mends
from worldline.errors import RunError
from worldline.report.images import effect_map, picture
from worldline.report.numbers import count, signed, significant
from worldline.report.views import Column, Table, View, tabulate
from worldline.settings import Bounds

__all__ = ["Card", "Picture", "cards_of", "gallery_view"]

SHORT = partial(significant, digits=4)
FULL = 0.995
"""The size of effect at this quantile of a map has full colour."""


@dataclass(frozen=True)
class Picture:
    """One picture of a card, with what stands under it."""

    source: str
    alt: str
    said: str
    right: bool | None = None


@dataclass(frozen=True)
class Card:
    """One fooled sample as it is shown."""

    sample: int
    words: str
    pictures: tuple[Picture, ...]
    strip: tuple[Picture, ...]
    entries: Table | None


def gallery_view(found: ModelCarriers, names: Names) -> View:
    """What is shown of the samples, as a table."""
    columns = (
        Column[Shown]("sample", lambda it: str(it.sample), words=True),
        Column[Shown]("label", lambda it: class_name(it.label, names), words=True),
        Column[Shown]("attacked", lambda it: class_name(it.wrong, names), words=True),
        Column[Shown]("exchanged", lambda it: it.units),
        Column[Shown]("then", lambda it: class_name(it.answer, names)),
    )
    return View(
        "Where it sits in the input",
        "Of each sample only the parts of largest effect are "
        f"{exchanged(found)}, the fewest of those tried that change the answer.",
        f"n = {count(len(found.shown), 'fooled sample')}, chosen by pair of classes and not by "
        "outcome; no interval",
        tabulate(columns, found.shown),
    )


def cards_of(
    found: ModelCarriers, tensors: Mapping[str, Tensor], bounds: Bounds, names: Names
) -> list[Card]:
    """The samples with their pictures, or their entries.

    Raises:
        RunError: the tensors are not those of the record.
    """
    _check(found, tensors)
    cards = []
    for place, it in enumerate(found.shown):
        pictures, strip = [], []
        if found.maps:
            seen = {
                name: _plain(tensors[name][place]) for name in ("clean", "adversarial", "exchanged")
            }
            said = class_name(it.label, names), class_name(it.wrong, names)
            maps = [
                effect_map(
                    seen["clean"],
                    tensors[at.tensor][place],
                    bounds,
                    float(tensors[at.tensor][place].abs().double().flatten().quantile(FULL)),
                )
                for at in found.maps
            ]
            answer = class_name(it.answer, names)
            pictures = [
                Picture(picture(seen["clean"], bounds), "original", said[0], True),
                Picture(picture(seen["adversarial"], bounds), "attacked", said[1], False),
                Picture(maps[0], "what carries it", ""),
                Picture(
                    picture(seen["exchanged"], bounds),
                    f"{it.units:,} {'put back' if found.direction == 'denoise' else 'attacked'}",
                    answer,
                    it.answer == it.label,
                ),
            ]
            strip = [
                Picture(source, at.layer, f"{at.grid[0]} × {at.grid[1]} {at.by}s")
                for source, at in zip(maps[1:], found.maps[1:], strict=True)
            ]
        cards.append(
            Card(
                sample=it.sample,
                words=_exchange_words(found, it, names),
                pictures=tuple(pictures),
                strip=tuple(strip),
                entries=_entries(it) if it.entries else None,
            )
        )
    return cards


def _exchange_words(found: ModelCarriers, it: Shown, names: Names) -> str:
    """What was exchanged in a sample, and what the model says then."""
    layer = next((at for at in found.layers if at.name == "input"), None)
    parts = "parts" if layer is None else kind_name(layer, layer.units)
    total = "" if layer is None else f" of {layer.units:,}"
    answer = class_name(it.answer, names)
    if it.answer == (it.wrong if mends(found) else it.label):
        then = f"the model still says {answer}"
    else:
        then = f"the model says {answer}{' again' if it.answer == it.label else ''}"
    return f"{it.units:,}{total} {parts} {exchanged(found)}: {then}"


def _entries(it: Shown) -> Table:
    """The parts of largest effect of one input that is no picture, with both values."""
    values = (
        Column[Entry]("original", lambda at: at.clean, form=SHORT),
        Column[Entry]("attacked", lambda at: at.adversarial, form=SHORT),
    )
    columns = (
        Column[Entry]("part", lambda at: at.name, words=True),
        *(values if it.entries[0].clean is not None else ()),
        Column[Entry]("effect, logits", lambda at: at.effect, form=signed),
    )
    return tabulate(columns, it.entries)


def _plain(sample: Tensor) -> Tensor:
    """As a picture can be shown: of other than one or three channels, their mean."""
    return sample if sample.shape[0] in (1, 3) else sample.mean(0)


def _check(found: ModelCarriers, tensors: Mapping[str, Tensor]) -> None:
    """Refuse pictures that are not those of the record."""
    names = [it.tensor for it in found.maps]
    for name in [*(("clean", "adversarial", "exchanged") if names else ()), *names]:
        it = tensors.get(name)
        if it is None or it.ndim < 3 or len(it) != len(found.shown) or not it.numel():
            raise RunError(
                f"The pictures do not belong to the record: {name!r} must hold those of "
                f"{len(found.shown)} samples. Make the run again."
            )
