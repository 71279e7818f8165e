"""What is said of distant pairs, as much as the model's own predictions and the nulls support.

Sentences and tables: each column's title and value is said once for every form.
"""

from __future__ import annotations

from worldline.commands.base import Result
from worldline.commands.distant.record import DistantPairs, MadePair
from worldline.explain import ClassMap, DistantPair, SeenLayer
from worldline.report.numbers import (
    NONE,
    count,
    norm_sign,
    number,
    p_value,
    share,
    signed,
    significant,
)
from worldline.report.views import Column, Table, View, Words, tabulate
from worldline.runs.config import by_feature

__all__ = [
    "class_name",
    "class_names",
    "fate",
    "made_words",
    "since_words",
    "tables",
    "views",
    "words",
]

NEARLY_THE_SAME = 0.1
"""Share of random pairs that are closer at the input, under which two inputs are not distant."""
Pairs = tuple[DistantPair, ...]


def words(record: DistantPairs) -> Words:
    """The finding, the sentences under it, and what must be known of it."""
    found = [_searched(record)]
    if not record.merged and not record.opposed:
        found.append("No pair was found.")
    found += [_strongest(record, side[0]) for side in (record.merged, record.opposed) if side]
    if record.untrained is not None and (record.merged or record.opposed):
        found.append(_beyond(record, record.untrained.networks))
    if record.made is not None:
        found.append(made_words(record, record.made))
    return Words(_headline(record), tuple(found), record.notes)


def tables(record: DistantPairs) -> tuple[Table, ...]:
    """What the terminal shows."""

    def meets(pair: DistantPair) -> str:
        return NONE if pair.meets is None else record.layers[pair.meets].name

    columns = (
        Column[DistantPair]("", fate, words=True),
        *_who(record),
        Column[DistantPair](f"φ at {record.layer}", lambda it: it.rapidity, form=signed),
        Column[DistantPair]("beyond 99% from", meets),
        *STRANGE[:2],
    )
    title = "Pairs of strangers, far apart at the input"
    return (tabulate(columns, (*record.merged, *record.opposed), title=title),)


def views(result: Result[DistantPairs]) -> dict[str, View]:
    """Words and tables by view, as on the page."""
    record = result.record
    null = "no untrained network beside them"
    if record.untrained is not None:
        null = f"the same in {count(record.untrained.networks, 'untrained network')}"
    basis = f"{count(record.counts.pairs, 'pair')} searched; {null}."
    found = {}
    if (made := record.made) is not None:
        told, table = made_words(record, made), _way(made)
        found["made"] = View("The pair that was made", told, f"At {record.layer}.", table)
    for name, what, side in (
        ("merged", "brought together", record.merged),
        ("opposed", "made opposites", record.opposed),
    ):
        if side:
            title, table = f"Strangers {what} at {record.layer}", _worldlines(record, side)
            found[name] = View(title, _strongest(record, side[0]), basis, table)
    if record.classes is not None:
        found["classes"] = View(
            "How alike the classes are, layer by layer",
            "Median similarity (rapidity φ) of random pairs of each two classes; the diagonal is "
            "pairs within a class.",
            "Random pairs; the table says how many.",
            _classes(record, record.classes),
        )
    return found


# the search, and what stands against chance


def _headline(record: DistantPairs) -> str:
    if not record.merged:
        return f"{record.model} brings no distant pair together at {record.layer}"
    beyond, null = record.merged_beyond_untrained, record.untrained
    further = ""
    if beyond is not None and null is not None:
        networks = count(null.networks, "untrained network")
        if beyond == 0:
            do = "does" if null.networks == 1 else "do"
            return (
                f"At {record.layer} {record.model} brings no pair of strangers closer together "
                f"than {networks} {do}"
            )
        further = f"; {beyond:,} more alike there than any in {networks}"
    pairs = count(len(record.merged), "pair")
    told = f"{record.model} brings {pairs} of strangers together at {record.layer}"
    return f"{told}: {_fates(record.merged)}{further}"


def _searched(record: DistantPairs) -> str:
    far = ", however far apart at the input"
    if record.least_distance > 0:
        far = (
            f" for those at least {significant(record.least_distance)} apart at the input (the "
            f"furthest {share(1 - record.input_quantile)})"
        )
    how = "" if record.search == "exact" else " approximately"
    return (
        f"At {record.layer} of {record.model} all {count(record.counts.pairs, 'pair')} with "
        f"different labels among {count(record.counts.samples, 'sample')} were searched{how}{far}."
    )


def _beyond(record: DistantPairs, networks: int) -> str:
    sides = (
        (record.merged_beyond_untrained, len(record.merged), "brought together"),
        (record.opposed_beyond_untrained, len(record.opposed), "made opposites"),
    )
    parts = [f"{beyond} of {total} pairs {what}" for beyond, total, what in sides if total]
    return (
        f"Against chance: {' and '.join(parts)} are more entangled than the best pair that the "
        f"same search finds in {count(networks, 'untrained network')} of the same shape (with so "
        f"many no p-value is under {p_value(1 / (1 + networks))})."
    )


# the pairs


def _who(record: DistantPairs) -> tuple[Column[DistantPair], ...]:
    def named(labels: tuple[int | None, int | None]) -> str:
        return ", ".join(class_name(record, label) for label in labels)

    return (
        Column("samples", lambda it: f"{it.samples[0]}, {it.samples[1]}", words=True),
        Column("labels", lambda it: named(it.labels), words=True),
        Column("predicted", lambda it: named(it.predictions), words=True),
    )


STRANGE = (
    Column[DistantPair]("input distance", lambda it: it.input_distance, form=significant),
    Column[DistantPair]("p at that distance", lambda it: it.matched_p, form=p_value),
    Column[DistantPair]("p against untrained", lambda it: it.family_p, form=p_value),
)


def _worldlines(record: DistantPairs, pairs: Pairs) -> Table:
    """These pairs by layer."""

    def at(layer: SeenLayer) -> Column[DistantPair]:
        return Column(layer.name, lambda it: it.worldline[layer.index], form=signed)

    return tabulate((*_who(record), *STRANGE, *map(at, record.layers)), pairs)


def _strongest(record: DistantPairs, pair: DistantPair) -> str:
    """The first pair of its sign."""
    together = pair.rapidity > 0
    most = "Brought together" if together else "Made opposites"
    usual, beside, since = record.same_class[record.layer_index], "", ""
    if together and usual is not None:
        beside = f", where two samples of one class have {signed(usual)} (median)"
    if pair.meets is not None:
        more = "alike" if together else "opposed"
        since = f" {since_words(record, pair)} they are more {more} than 99% of such pairs."
    called = " and ".join(
        f"sample {sample} (label {class_name(record, label)})"
        for sample, label in zip(pair.samples, pair.labels, strict=True)
    )
    return (
        f"{most} most are {called}, further apart at the input "
        f"than {share(pair.input_quantile)} of such pairs: similarity (rapidity) "
        f"{signed(pair.rapidity)}{beside}.{since} {_fate(record, pair)}"
    )


def since_words(record: DistantPairs, pair: DistantPair) -> str:
    """Over which layers, without a gap, a pair is beyond what is usual: up to the searched one."""
    assert pair.meets is not None
    if pair.meets == record.layer_index:
        return f"At {record.layer}"
    name = record.layers[pair.meets].name
    return f"From {'the input' if name == 'input' else name} to {record.layer}"


def fate(pair: DistantPair) -> str:
    """What became of a pair: features that meet are merged only where the predictions are one."""
    if pair.rapidity < 0:
        return "opposite"
    known = {True: "merged", False: "told apart", None: "no prediction"}
    return known[pair.one_prediction]


def _fates(pairs: Pairs) -> str:
    """What became of them at the output."""
    flags = [pair.one_prediction for pair in pairs]
    parts = (
        (flags.count(True), "merged"),
        (flags.count(False), "told apart in the end"),
        (flags.count(None), "without a prediction"),
    )
    known = [(many, what) for many, what in parts if many]
    if len(known) == 1 and len(flags) > 1:
        return f"all {known[0][1]}"
    return ", ".join(f"{many} {what}" if len(flags) > 1 else what for many, what in known)


def _fate(record: DistantPairs, pair: DistantPair) -> str:
    """Whether the model itself merges them: that depends on its predictions alone."""
    first, second = (class_name(record, it) for it in pair.predictions)
    if pair.one_prediction is None:
        return "The model's output for one of them is NaN."
    if pair.rapidity < 0:
        both = f"takes both for {first}" if first == second else f"says {first} and {second}"
        return f"The model {both}."
    if pair.one_prediction:
        return f"The model has merged them: it takes both for {first}."
    return f"They are brought together at the layer, told apart in the end ({first} and {second})."


# the classes


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


def _classes(record: DistantPairs, found: ClassMap) -> Table:
    """Medians of every two classes by layer."""
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


# the made pair


def made_words(record: DistantPairs, made: MadePair) -> str:
    """Whether the pair was made, and what it is worth."""
    first, second = made.samples
    budget = "anywhere inside the bounds"
    if made.epsilon_text is not None:
        budget = f"within {norm_sign(made.norm)} ε = {made.epsilon_text}"
    how = "was made" if made.success else "could not be made"
    aim = "to meet" if made.sign > 0 else "the opposite of"
    closer = f"{share(made.same_class_closer)} of pairs of one class are"
    if made.same_class_closer == 0:
        closer = "no pair of one class is"
    told = (
        f"Sample {first}, moved {budget}, {how} {aim} sample {second} at {record.layer}: {closer} "
        f"closer to each other there than it is to its aim (success: under 10%)."
    )
    if made.sign > 0 and made.input_closer < NEARLY_THE_SAME:
        smaller = "a budget" if made.epsilon is None else "a smaller budget"
        return (
            f"{told} But at the input it has nearly become the other, which is the trivial way to "
            f"meet: give {smaller} with --eps."
        )
    end = ""
    if None not in made.predictions:
        before, after, other = (class_name(record, it) for it in made.predictions)
        end = f" The model says {after} (before: {before}), and {other} of sample {second}."
    return (
        f"{told} It moved by {significant(made.change)}{_unit(made)} and is "
        f"{significant(made.nearest_data)} from the nearest data (usual: "
        f"{significant(made.usual_nearest)}). At the input it is "
        f"{number(made.input_distance)} from it, further than {share(made.input_closer)} of random "
        f"pairs are from each other.{end}"
    )


def _unit(made: MadePair) -> str:
    """Of a move that is no length in the inputs' units."""
    return " of the sizes by feature" if by_feature(made.epsilon_text or "") else ""


def _way(made: MadePair) -> Table:
    """The way of a made pair, step by step."""
    steps = list(enumerate(zip(made.path_distance, made.path_rapidity, strict=True)))
    columns: tuple[Column[tuple[int, tuple[float, float | None]]], ...] = (
        Column("step", lambda it: it[0]),
        Column("distance at the layer", lambda it: it[1][0], form=significant),
        Column("φ", lambda it: it[1][1], form=signed),
    )
    return tabulate(columns, steps)
