"""The tables of distant pairs: each column's title and value, said once for every form."""

from __future__ import annotations

from worldline.commands.distant.record import DistantPairs, MadePair
from worldline.explain import DistantPair, SeenLayer
from worldline.report.numbers import NONE, p_value, signed, significant
from worldline.report.views import Column, Table, tabulate

__all__ = ["class_name", "class_names", "classes", "fate", "tables", "way", "worldlines"]


def tables(record: DistantPairs) -> tuple[Table, ...]:
    """What the terminal shows."""

    def meets(pair: DistantPair) -> str:
        return NONE if pair.meets is None else record.layers[pair.meets].name

    columns = (
        Column[DistantPair]("", fate, words=True),
        *_who(record),
        Column[DistantPair](f"φ at {record.layer}", lambda it: it.rapidity, form=signed),
        Column[DistantPair]("beyond 99% from", meets),
        *_strange()[:2],
    )
    title = "Pairs of strangers, far apart at the input"
    return (tabulate(columns, (*record.merged, *record.opposed), title=title),)


def worldlines(record: DistantPairs, pairs: tuple[DistantPair, ...]) -> Table:
    """These pairs by layer."""
    columns = (*_who(record), *_strange(), *(_at(layer) for layer in record.layers))
    return tabulate(columns, pairs)


def classes(record: DistantPairs) -> Table | None:
    """Medians of every two classes by layer; None without a class map."""
    if (found := record.classes) is None:
        return None
    names, size = class_names(record), range(len(found.labels))
    cells = [(a, b) for a in size for b in size if a <= b]
    columns: list[Column[tuple[int, int]]] = [
        Column("class", lambda it: names[it[0]], words=True),
        Column("other class", lambda it: names[it[1]], words=True),
        Column("pairs", lambda it: found.count[it[0]][it[1]]),
    ]

    def median(layer: SeenLayer) -> Column[tuple[int, int]]:
        return Column(layer.name, lambda it: found.median[it[0]][it[1]][layer.index])

    return tabulate([*columns, *map(median, record.layers)], cells)


def way(made: MadePair) -> Table:
    """The way of a made pair, step by step."""
    steps = list(enumerate(zip(made.path_distance, made.path_rapidity, strict=True)))
    columns: tuple[Column[tuple[int, tuple[float, float | None]]], ...] = (
        Column("step", lambda it: it[0]),
        Column("distance at the layer", lambda it: it[1][0], form=significant),
        Column("φ", lambda it: it[1][1], form=signed),
    )
    return tabulate(columns, steps)


def fate(pair: DistantPair) -> str:
    """What became of a pair: features that meet are merged only where the predictions are one."""
    if pair.rapidity < 0:
        return "opposite"
    known = {True: "merged", False: "told apart", None: "no prediction"}
    return known[pair.one_prediction]


def class_name(record: DistantPairs, label: int | None) -> str:
    """A class by its name, or by its number where it has none."""
    if label is None:
        return NONE
    names = record.class_names or ()
    return names[label] if 0 <= label < len(names) else str(label)


def class_names(record: DistantPairs) -> list[str]:
    """Names of the classes in the map; equal names are numbered, so that each has its place."""
    labels = record.classes.labels if record.classes else ()
    names = [class_name(record, label) for label in labels]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({label})" for name, label in zip(names, labels, strict=True)]


def _who(record: DistantPairs) -> tuple[Column[DistantPair], ...]:
    def named(labels: tuple[int | None, int | None]) -> str:
        return ", ".join(class_name(record, label) for label in labels)

    return (
        Column("samples", lambda it: f"{it.samples[0]}, {it.samples[1]}", words=True),
        Column("labels", lambda it: named(it.labels), words=True),
        Column("predicted", lambda it: named(it.predictions), words=True),
    )


def _strange() -> tuple[Column[DistantPair], ...]:
    return (
        Column("input distance", lambda it: it.input_distance, form=significant),
        Column("p at that distance", lambda it: it.matched_p, form=p_value),
        Column("p against untrained", lambda it: it.family_p, form=p_value),
    )


def _at(layer: SeenLayer) -> Column[DistantPair]:
    return Column(layer.name, lambda it: it.worldline[layer.index], form=signed)
