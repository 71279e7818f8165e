"""What is said of distant pairs: as much as the model's own predictions and the nulls support."""

from __future__ import annotations

from worldline.commands.base import Result
from worldline.commands.distant import tables
from worldline.commands.distant.record import DistantPairs, MadePair
from worldline.explain import DistantPair
from worldline.report.numbers import count, number, p_value, share, signed, significant
from worldline.report.views import View, Words

__all__ = ["made_words", "since_words", "views", "words"]

NEARLY_THE_SAME = 0.1
"""Share of random pairs that are closer at the input, under which two inputs are not distant."""


def words(record: DistantPairs) -> Words:
    """The finding, the sentences under it, and what must be known of it."""
    return Words(_headline(record), _findings(record), record.notes)


def views(result: Result[DistantPairs]) -> dict[str, View]:
    """Words and tables by view, as on the page."""
    record = result.record
    basis = f"{count(record.counts.pairs, 'pair')} searched; {_null_basis(record)}."
    found = {}
    if record.made is not None:
        sentence = made_words(record, record.made)
        table = tables.way(record.made)
        found["made"] = View("The pair that was made", sentence, f"At {record.layer}.", table)
    for name, title, side in (
        ("merged", f"Strangers brought together at {record.layer}", record.merged),
        ("opposed", f"Strangers made opposites at {record.layer}", record.opposed),
    ):
        if side:
            told = _strongest(record, side[0])
            found[name] = View(title, told, basis, tables.worldlines(record, side))
    if record.classes is not None:
        found["classes"] = View(
            "How alike the classes are, layer by layer",
            "Median similarity (rapidity φ) of random pairs of each two classes; the diagonal is "
            "pairs within a class.",
            "Random pairs; the table says how many.",
            tables.classes(record),
        )
    return found


def _null_basis(record: DistantPairs) -> str:
    if record.untrained is None:
        return "no untrained network beside them"
    return f"the same in {count(record.untrained.networks, 'untrained network')}"


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


def _fates(pairs: tuple[DistantPair, ...]) -> str:
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


def _findings(record: DistantPairs) -> tuple[str, ...]:
    found = [_searched(record)]
    if not record.merged and not record.opposed:
        found.append("No pair was found.")
    found += [_strongest(record, side[0]) for side in (record.merged, record.opposed) if side]
    if record.untrained is not None and (record.merged or record.opposed):
        found.append(_beyond(record))
    if record.made is not None:
        found.append(made_words(record, record.made))
    return tuple(found)


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
    return (
        f"{most} most are {_called(record, pair.samples, pair.labels)}, further apart at the input "
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


def _fate(record: DistantPairs, pair: DistantPair) -> str:
    """Whether the model itself merges them: that depends on its predictions alone."""
    first, second = (tables.class_name(record, it) for it in pair.predictions)
    if pair.one_prediction is None:
        return "The model's output for one of them is NaN."
    if pair.rapidity < 0:
        both = f"takes both for {first}" if first == second else f"says {first} and {second}"
        return f"The model {both}."
    if pair.one_prediction:
        return f"The model has merged them: it takes both for {first}."
    return f"They are brought together at the layer, told apart in the end ({first} and {second})."


def _called(record: DistantPairs, samples: tuple[int, int], labels: tuple[int, int]) -> str:
    return " and ".join(
        f"sample {sample} (label {tables.class_name(record, label)})"
        for sample, label in zip(samples, labels, strict=True)
    )


def _beyond(record: DistantPairs) -> str:
    assert record.untrained is not None
    networks = record.untrained.networks
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


def made_words(record: DistantPairs, made: MadePair) -> str:
    """Whether the pair was made, and what it is worth."""
    first, second = made.samples
    budget = "anywhere inside the bounds"
    if made.epsilon_text is not None:
        sign = {"linf": "L∞", "l2": "L2"}[made.norm]
        budget = f"within {sign} ε = {made.epsilon_text}"
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
    told += (
        f" It moved by {significant(made.change)} and is {significant(made.nearest_data)} from the "
        f"nearest data (usual: {significant(made.usual_nearest)})."
    )
    before, after, other = (tables.class_name(record, it) for it in made.predictions)
    end = ""
    if None not in made.predictions:
        end = f" The model says {after} (before: {before}), and {other} of sample {second}."
    return (
        f"{told} At the input it is {number(made.input_distance)} from it, further than "
        f"{share(made.input_closer)} of random pairs are from each other.{end}"
    )
