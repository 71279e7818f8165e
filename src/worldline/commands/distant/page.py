"""The page of ``worldline distant``: pairs and their worldlines, classes, the made pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from worldline.commands.base import Result
from worldline.commands.distant.record import INPUTS, DistantPairs, MadePair
from worldline.commands.distant.words import class_name, class_names, fate, since_words, views
from worldline.errors import RunError
from worldline.explain import DistantPair
from worldline.plot.axes import figure_of
from worldline.report.drawn import draw
from worldline.report.figures import Level, Lines, Role, Series, Sparkline
from worldline.report.heat import Heat, heat_cells, widest
from worldline.report.images import picture
from worldline.report.numbers import p_value, share, signed, significant
from worldline.runs.store import SUMMARY

__all__ = ["context", "figures", "pair_worldlines"]

LARGEST = 6.0
"""Nats at the edge of a small worldline, at most."""


@dataclass(frozen=True)
class Card:
    """One found pair, as it is shown; two of each for its samples."""

    pair: DistantPair
    pictures: tuple[str, str]
    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    fate: str
    words: str
    line: Sparkline
    line_words: str


def context(result: Result[DistantPairs], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record, tensors = result.record, result.folder.read_tensors(INPUTS)
    pairs = (*record.merged, *record.opposed)
    _check(result, tensors, len(pairs))
    drawn = {
        name: [picture(it, record.bounds) for it in tensors[name]]
        for name in ("first", "second", "path", "stranger")
        if name in tensors
    }
    reach = _reach(record)
    cards = [
        _card(record, pair, (first, second), reach)
        for pair, first, second in zip(pairs, drawn["first"], drawn["second"], strict=True)
    ]
    middle = len(record.merged)
    return {
        "views": views(result),
        "galleries": (("merged", cards[:middle]), ("opposed", cards[middle:])),
        "way": None if record.made is None else _way(record.made),
        "path": drawn.get("path", ()),
        "stranger": drawn.get("stranger", ()),
        "names": class_names(record),
        "cells": _cells(record),
        "pairs_searched": f"{record.counts.pairs:,}",
    }


def figures(result: Result[DistantPairs]) -> dict[str, Figure]:
    """For papers, by name."""
    return {"pairs": figure_of(pair_worldlines(result.record))}


def _check(result: Result[DistantPairs], tensors: Mapping[str, Tensor], pairs: int) -> None:
    """Refuse pictures that are not those of the record."""
    made = result.record.made
    needed = {"first": pairs, "second": pairs}
    if made is not None:
        needed |= {"path": len(made.shown_steps), "stranger": 1}
    for name, count in needed.items():
        it = tensors.get(name)
        if it is None or it.ndim < 2 or len(it) != count or (count and it.numel() == 0):
            raise RunError(
                f"{INPUTS} in {result.folder.path} does not belong to its {SUMMARY}: {name!r} must "
                f"hold {count} inputs. Make the run again."
            )


def _card(record: DistantPairs, pair: DistantPair, pictures: tuple[str, str], reach: float) -> Card:
    since = ""
    if pair.meets is not None:
        since = f" {since_words(record, pair)} beyond 99% of pairs as far apart."
    null = f", against untrained networks {p_value(pair.family_p)}" if pair.family_p else ""
    return Card(
        pair=pair,
        pictures=pictures,
        labels=tuple(class_name(record, it) for it in pair.labels),
        predictions=tuple(class_name(record, it) for it in pair.predictions),
        fate=fate(pair),
        words=(
            f"φ = {signed(pair.rapidity)}.{since} At the input {significant(pair.input_distance)} "
            f"apart, further than {share(pair.input_quantile)} of such pairs; p at that distance "
            f"{p_value(pair.matched_p)}{null}."
        ),
        line=Sparkline(
            line=pair.worldline,
            low=record.far[0],
            high=record.far[2],
            reach=reach,
            null=pair.untrained_worldline or (),
        ),
        line_words=f"rapidity by layer: {', '.join(map(signed, pair.worldline))}",
    )


def _reach(record: DistantPairs) -> float:
    """The scale of all small worldlines."""
    rows: Iterable[tuple[float | None, ...]] = (
        *record.far,
        *(pair.worldline for pair in (*record.merged, *record.opposed)),
    )
    sizes = [abs(value) for row in rows for value in row if value is not None]
    return min(LARGEST, max([*sizes, 0.5]))


def pair_worldlines(record: DistantPairs, *, ax: Axes | None = None) -> Axes:
    """Rapidity by layer of the found pairs, over the middle 98 % of pairs as far apart.

    Args:
        record: what ``distant`` found.
        ax: where to draw; a pair's curve has a gap where its rapidity is infinite.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from worldline import commands
    >>> from worldline.commands.distant.page import pair_worldlines
    >>> config = commands.config_of("distant")(model="linear", samples=60, nulls=0, pairs=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = commands.load("distant")(config, Path(folder) / "run")
    >>> pair_worldlines(found.record).get_xlabel()
    'layer'
    """
    low, middle, high = record.far
    usual = tuple(
        None if bottom is None or top is None else (bottom, top)
        for bottom, top in zip(low, high, strict=True)
    )
    series = [
        Series("far pairs: median, middle 98%", "other", middle, usual, band=True, dashed=True),
        *_named("together", "adversarial", record.merged),
        *_named("opposites", "noise", record.opposed),
    ]
    names = tuple(layer.name for layer in record.layers)
    values = "rapidity φ (Fisher's z), nats"
    return draw(Lines(names, tuple(series), label="layer", values=values), ax)


def _named(name: str, role: Role, pairs: Iterable[DistantPair]) -> Iterator[Series]:
    """Worldlines of pairs of one kind, named once."""
    for place, pair in enumerate(pairs):
        yield Series(name if place == 0 else "", role, pair.worldline)


def _way(made: MadePair) -> Lines:
    """Distance at the layer over the steps of a made pair."""
    low, middle, _ = made.same_class_distance
    return Lines(
        x=tuple(map(float, range(len(made.path_distance)))),
        series=(Series("distance to what is aimed at", "adversarial", made.path_distance),),
        levels=(
            Level("two samples of one class, median", middle),
            Level("nearest tenth of them: success is below", low),
        ),
        label="step",
    )


def _cells(record: DistantPairs) -> list[Heat]:
    """The class map of each layer."""
    if record.classes is None:
        return []
    tables = [
        [[cell[layer.index] for cell in row] for row in record.classes.median]
        for layer in record.layers
    ]
    return [heat_cells(table, widest(tables, 0.1), diverging=True) for table in tables]
