"""What is said of carriers, as far as the intervals go: sentences, tables and views.

Each quantity has its sentence and its columns beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from worldline.commands.base import Result
from worldline.commands.carriers.record import CarriersReport, Entry, ModelCarriers, Shown
from worldline.explain import ClassPair, ClassPairs, LayerFinding, Order
from worldline.report.numbers import NONE, attack_name, count, estimate, share, significant
from worldline.report.numbers import signed as with_sign
from worldline.report.views import Column, Table, View, Words, tabulate
from worldline.statistics import Share, apart

__all__ = [
    "attack_words",
    "class_name",
    "entries_table",
    "found_notes",
    "found_views",
    "is_full",
    "kind_name",
    "layer_name",
    "layer_words",
    "pair_name",
    "shown_words",
    "tables",
    "unit_name",
    "units_of",
    "verdict",
    "views",
    "words",
]

MOST_TOP = 6
MOST_NAMED = 3
Names = tuple[str, ...] | None
Layer = Column[LayerFinding]
signed = partial(with_sign, places=2)
CONTROLS: dict[Order, str] = {
    "random": "as many by lot",
    "change": "those that changed most",
    "noise": "the noise twin's values in their place",
}


def words(record: CarriersReport) -> Words:
    """The verdict, what stands beside it, and what must be known before it is believed."""
    found = record.found
    pairs, names = record.pairs, record.class_names
    of_pairs = () if pairs is None else (_pair_words(pairs, pairs.pairs[0], names, found),)
    findings = (
        verdict(found),
        _spread(found),
        _at_input(found),
        *of_pairs,
        _accuracy(record),
    )
    notes, warnings = found_notes(found)
    return Words(headline(record), tuple(filter(None, findings)), (*record.notes, *notes), warnings)


def headline(record: CarriersReport) -> str:
    """The verdict in one line; no part is named where as many by lot may do as much."""
    found, name = record.found, record.model
    layer = _telling(found)
    if layer is None:
        return f"{name}: at no layer do a few parts surely carry the attack"
    random = _at(layer, "random")
    few = f"{_few(layer)} of {units_of(layer)}{_where(layer)}"
    one = layer.concentration.units == 1
    what = (
        f"undo{'es' * one} half of the attack"
        if found.direction == "denoise"
        else f"fool{'s' * one} half of the samples"
    )
    return f"{name}: {few} {what}; {'one' if one else 'as many'} by lot {share(random.value)}"


def verdict(found: ModelCarriers) -> str:
    """The parts of one layer that do it, beside the controls."""
    layer = _telling(found)
    if layer is None:
        return (
            f"At none of {count(len(found.layers), 'layer')} are there parts that surely do more "
            f"than as many by lot, and enough to {_do_half(found)} {_samples(found)}."
        )
    units = layer.concentration.units
    controls = "; ".join(
        f"{said}: {estimate(_at(layer, order))}" for order, said in CONTROLS.items()
    )
    return (
        f"With {units:,} of {units_of(layer)}{_where(layer)} {_exchanged(found)}, those of "
        f"largest effect (carriers), {estimate(_at(layer, 'carriers'))} of {_samples(found)} are "
        f"{_done(found)}; {controls}."
    )


def found_notes(found: ModelCarriers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What must be known, and what speaks against the attribution."""
    method = (
        "Each part was exchanged alone (exact)."
        if found.exact
        else f"Effects are attributed along a path of {count(found.points or 0, 'step')}; which "
        "samples are repaired is counted by running the model."
    )
    around = [it for it in found.layers if not is_full(it)]
    notes = [method, *found.notes]
    if around:
        least = min(around, key=lambda it: it.cut.repaired.value or 0.0 if it.cut else 0.0)
        notes.append(
            f"Something goes around {len(around)} of {count(len(found.layers), 'layer')}, such as "
            f"a skip connection: all of their parts together {_undo(found)} only so much, at "
            f"{layer_name(least)} the least ({share(least.cut and least.cut.repaired.value)}); the "
            "table says how much, layer by layer."
        )
    warnings = [
        f"At {it.name} the effects are not to be believed as shares of the whole: they miss the "
        f"change of the margin by {share(it.completeness.median)} (median). Give more --points, or "
        "--exact."
        for it in found.layers
        if it.trust == "incomplete" and it.completeness is not None
    ]
    warnings += [
        f"At {it.name} the path's order of parts does less than the exact one; the exact one is "
        "shown."
        for it in found.layers
        if it.trust == "below exact"
    ]
    return tuple(notes), tuple(warnings)


def tables(record: CarriersReport) -> tuple[Table, ...]:
    """What the terminal shows."""
    found = record.found
    title = f"Fewest parts (carriers) that {_do_half(found)} {_samples(found)}"
    brief = (
        Layer("layer", layer_name, words=True),
        Layer("fewest", _few_of),
        Layer("95%", _ends),
        Layer("do", lambda it: _at(it, "carriers")),
        Layer("by lot", lambda it: _at(it, "random")),
        Layer("changed most", lambda it: _at(it, "change")),
        Layer("all", lambda it: it.cut and it.cut.repaired),
    )
    layers = tabulate(brief, found.layers, title=title)
    if record.pairs is None:
        return (layers,)
    pairs = tabulate(_pair_columns(record, brief=True), record.pairs.pairs, title=_whose(record))
    return layers, pairs


def views(result: Result[CarriersReport]) -> dict[str, View]:
    """The views of the model, then those of pairs of classes."""
    record = result.record
    views = found_views(record.found, record.class_names)
    if record.pairs is not None:
        views["pairs"] = _pairs_view(record, record.pairs)
        views["shared"] = _shared_view(record, record.pairs)
    return views


def found_views(found: ModelCarriers, names: Names) -> dict[str, View]:
    """How few are enough by layer, all curves, the samples shown, the parts themselves."""
    basis = f"n = {_samples(found)}; 95% bootstrap intervals over samples"
    shown = {
        "spread": View(
            "How few parts are enough, by layer",
            _spread(found) or "At no layer is any number of parts that was tried enough.",
            basis,
            tabulate(SPREAD, found.layers),
        ),
        "repair": View(
            f"What exchanging some parts {'repairs' if _mends(found) else 'breaks'}",
            verdict(found),
            basis,
            tabulate(REPAIR, list(_points(found))),
        ),
        "units": View(
            "The parts that carry most",
            _units_words(found),
            f"{basis}; effects are means",
            tabulate(UNITS, list(_units(found))),
        ),
    }
    if found.shown:
        shown["gallery"] = _gallery(found, names)
    return shown


def attack_words(record: CarriersReport) -> str:
    """The attack as a phrase."""
    return attack_name(record.attack, record.steps, record.norm, record.epsilon_text)


def _accuracy(record: CarriersReport) -> str:
    found = record.found
    return (
        f"{record.model} gets {estimate(record.clean_accuracy)} of "
        f"{count(found.samples, 'sample')} of {record.data} right, and under "
        f"{attack_words(record)} {estimate(record.adversarial_accuracy)}."
    )


# What is done, and to what, in either direction


def _mends(found: ModelCarriers) -> bool:
    return found.direction == "denoise"


def _undo(found: ModelCarriers) -> str:
    return "repair" if _mends(found) else "fool"


def _do_half(found: ModelCarriers) -> str:
    return "repair half of" if _mends(found) else "fool half of"


def _done(found: ModelCarriers) -> str:
    return "right again" if _mends(found) else "fooled"


def _exchanged(found: ModelCarriers) -> str:
    return "put back" if _mends(found) else "taken from the attacked twin"


def _samples(found: ModelCarriers) -> str:
    return count(found.used, "fooled sample")


# How few are enough


def kind_name(layer: LayerFinding, many: int = 2) -> str:
    """What a part of the layer is called; at the input of a table it is a feature."""
    name = "feature" if layer.by == "neuron" and layer.name == "input" else layer.by
    return name if many == 1 else f"{name}s"


def layer_name(layer: LayerFinding) -> str:
    """The layer as it is called; of heads, the attention that they belong to."""
    if layer.by != "head":
        return layer.name
    return layer.name.removesuffix(".input").rpartition(".")[0] or layer.name


def is_full(layer: LayerFinding) -> bool:
    """Whether all that the network knows passes here, so that nothing goes around it."""
    return layer.cut is None or layer.cut.full


def units_of(layer: LayerFinding) -> str:
    """``64 channels``."""
    return f"{layer.units:,} {kind_name(layer, layer.units)}"


def layer_words(layer: LayerFinding) -> str:
    """The layer with its parts, as figures name it."""
    return f"{layer_name(layer)}: {kind_name(layer)}"


def _where(layer: LayerFinding) -> str:
    return "" if layer.name == "input" else f" of {layer_name(layer)}"


def _at(layer: LayerFinding, order: Order) -> Share:
    """What the fewest units that are enough do, in some order; nothing where none are."""
    curve, units = layer.curve(order), layer.concentration.units
    if curve is None or units is None:
        return Share(None, None, 0)
    return curve.repaired[layer.counts.index(units)]


def _telling(found: ModelCarriers) -> LayerFinding | None:
    """The layer where the smallest share is enough, surely more than by lot.

    Where there are such, an inner one through which everything passes, else an inner one.
    """
    known = [
        it
        for it in found.layers
        if apart(_at(it, "carriers").interval, _at(it, "random").interval) > 0
    ]
    for wanted in (_is_inner_cut, _is_inner, is_full):
        found_here = [it for it in known if wanted(it)]
        if found_here:
            return min(found_here, key=lambda it: it.concentration.share or 1.0)
    return None


def _is_inner(layer: LayerFinding) -> bool:
    return layer.name != "input"


def _is_inner_cut(layer: LayerFinding) -> bool:
    return _is_inner(layer) and is_full(layer) and layer.by != "head"


def _few(layer: LayerFinding) -> str:
    ends = _ends(layer)
    few = f"{layer.concentration.units:,}"
    return few if ends in (few, NONE) else f"{few} ({ends})"


def _few_of(layer: LayerFinding) -> str:
    few = layer.concentration.units
    return f"{NONE if few is None else f'{few:,}'} of {units_of(layer)}"


def _ends(layer: LayerFinding) -> str:
    """The interval in units; – where there is none."""
    if layer.concentration.interval is None:
        return NONE
    low, high = (
        None if it is None else round(it * layer.units) for it in layer.concentration.interval
    )
    if low is None:
        return NONE
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


SPREAD = (
    Layer("layer", lambda it: f"{it.index} {layer_name(it)}", words=True),
    Layer("parts", units_of, words=True),
    Layer("fewest that are enough", lambda it: it.concentration.units),
    Layer("95% interval", _ends),
    Layer("as a share", lambda it: it.concentration.share, form=share),
    Layer("they do", lambda it: _at(it, "carriers"), interval=True),
    Layer("as many by lot", lambda it: _at(it, "random"), interval=True),
    Layer("changed most", lambda it: _at(it, "change"), interval=True),
    Layer("noise twin's values", lambda it: _at(it, "noise")),
    Layer("all parts", lambda it: it.cut and it.cut.repaired),
    Layer("effects miss", lambda it: it.completeness, form=share),
)


def _spread(found: ModelCarriers) -> str:
    """How few are enough with depth, kind by kind, where everything passes through the layer."""
    kinds = dict.fromkeys(it.by for it in found.layers)
    parts = []
    for kind in kinds:
        layers = [it for it in found.layers if it.by == kind and is_full(it)]
        known = [it for it in layers if it.concentration.share is not None]
        if known and (len(layers) > 1 or len(kinds) == 1):
            parts.append(_with_depth(known, found))
    never = [layer_name(it) for it in found.layers if it.concentration.units is None]
    if never:
        some = ", ".join(never[:MOST_NAMED]) + (", …" if len(never) > MOST_NAMED else "")
        where = f"{count(len(never), 'layer')} ({some})"
        parts.append(f"At {where} none of the numbers tried is enough.")
    return " ".join(parts)


def _with_depth(known: list[LayerFinding], found: ModelCarriers) -> str:
    """The first, the last, and the extremes between; which way it goes, if the intervals say."""
    first, last = known[0], known[-1]
    by_share = sorted(known, key=lambda it: it.concentration.share or 1.0)
    shown = {id(it) for it in (first, last, by_share[0], by_share[-1])}
    named = [it for it in known if len(known) <= MOST_NAMED + 2 or id(it) in shown]
    told = ", ".join(
        f"{share(it.concentration.share)} at {layer_name(it)} ({it.concentration.units:,} of "
        f"{it.units:,})"
        for it in named
    )
    kinds = kind_name(first)
    sentence = f"Of {kinds}, the smallest share that is enough to {_do_half(found)} them is {told}"
    if first is last:
        return f"{sentence}."
    if _below(first, last):
        return f"{sentence}: with depth the attack spreads over more of them."
    if _below(last, first):
        return f"{sentence}: with depth the attack gathers in fewer of them."
    return f"{sentence}; the first and the last are not told apart."


def _below(one: LayerFinding, other: LayerFinding) -> bool:
    ends = one.concentration.interval, other.concentration.interval
    if ends[0] is None or ends[1] is None:
        return False
    high, low = ends[0][1], ends[1][0]
    return high is not None and (low is None or high < low)


def _at_input(found: ModelCarriers) -> str:
    """The same of the input, where the verdict is of another layer."""
    layer = next((it for it in found.layers if it.name == "input"), None)
    telling = _telling(found)
    if layer is None or telling is None or telling is layer or layer.concentration.units is None:
        return ""
    return (
        f"Of the input, {_few(layer)} of {units_of(layer)} {_exchanged(found)} make "
        f"{estimate(_at(layer, 'carriers'))} {_done(found)}, as many by lot "
        f"{estimate(_at(layer, 'random'))}."
    )


# Every curve


@dataclass(frozen=True)
class Point:
    """One number of units at one layer."""

    layer: LayerFinding
    place: int


Read = Callable[[Point], Share | None]


def _points(found: ModelCarriers) -> Iterator[Point]:
    for layer in found.layers:
        if layer.curves:
            yield from (Point(layer, place) for place in range(len(layer.counts)))


def _read(order: Order) -> Read:
    def read(at: Point) -> Share | None:
        curve = at.layer.curve(order)
        return None if curve is None else curve.repaired[at.place]

    return read


REPAIR = (
    Column[Point]("layer", lambda at: layer_name(at.layer), words=True),
    Column[Point]("parts", lambda at: kind_name(at.layer), words=True),
    Column[Point]("exchanged", lambda at: at.layer.counts[at.place]),
    Column[Point]("largest effect", _read("carriers"), interval=True),
    Column[Point]("by lot", _read("random"), interval=True),
    Column[Point]("changed most", _read("change"), interval=True),
    Column[Point]("noise twin's values", _read("noise"), interval=True),
)


# The parts themselves


@dataclass(frozen=True)
class Unit:
    """One unit of a layer."""

    layer: LayerFinding
    name: str
    effect: float
    among: Share


UNITS = (
    Column[Unit]("layer", lambda it: layer_name(it.layer), words=True),
    Column[Unit]("part", lambda it: it.name, words=True),
    Column[Unit]("effect, logits", lambda it: it.effect, form=signed),
    Column[Unit]("among the top of", lambda it: it.among, interval=True),
)


def unit_name(layer: LayerFinding, unit: int, features: Names = None) -> str:
    """A part in words: ``channel 12``, ``row 3, column 4``, the name of a column of a table."""
    if layer.name == "input" and features and unit < len(features):
        return features[unit]
    if len(layer.grid) == 2 and layer.by != "neuron":
        row, column = divmod(unit, layer.grid[1])
        return f"row {row}, column {column}"
    return f"{kind_name(layer, 1)} {unit}"


def _units(found: ModelCarriers) -> Iterator[Unit]:
    for layer in found.layers:
        for it in layer.top[:MOST_TOP]:
            name = unit_name(layer, it.unit, found.features)
            yield Unit(layer, name, it.effect, it.among)


def _units_words(found: ModelCarriers) -> str:
    """The part that is most often among the top, where it surely is in more than half."""
    steady = [
        unit
        for unit in _units(found)
        if unit.among.interval is not None and unit.among.interval[0] > 1 / 2
    ]
    meaning = "Of each layer, the parts of largest mean effect, and how many samples they are among"
    said = f"{meaning} the first sixteenth of."
    if not steady:
        return f"{said} None is surely among them in more than half of the samples."
    most = max(steady, key=lambda it: it.among.value or 0.0)
    return (
        f"{said} {most.name[:1].upper()}{most.name[1:]}{_where(most.layer)} is among them in "
        f"{estimate(most.among)}."
    )


# The samples shown


def shown_words(found: ModelCarriers, it: Shown, names: Names) -> str:
    """What was exchanged in a sample, and what the model says then."""
    layer = next((at for at in found.layers if at.name == "input"), None)
    parts = "parts" if layer is None else kind_name(layer, it.units)
    total = "" if layer is None else f" of {layer.units:,}"
    changed = it.answer == it.label if _mends(found) else it.answer != it.label
    return (
        f"{it.units:,}{total} {parts} {_exchanged(found)}: "
        f"{'' if changed else 'still '}{class_name(it.answer, names)}"
    )


def entries_table(it: Shown) -> Table:
    """The parts of largest effect of one input that is no picture, with both values."""
    columns = (
        Column[Entry]("part", lambda at: at.name, words=True),
        Column[Entry]("original", lambda at: at.clean, form=significant),
        Column[Entry]("attacked", lambda at: at.adversarial, form=significant),
        Column[Entry]("effect, logits", lambda at: at.effect, form=signed),
    )
    return tabulate(columns, it.entries)


def class_name(label: int, names: Names) -> str:
    """A class by its name, or its number."""
    return names[label] if names and 0 <= label < len(names) else str(label)


def _gallery(found: ModelCarriers, names: Names) -> View:
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
        f"{_exchanged(found)}, the fewest of those tried that change the answer.",
        f"n = {count(len(found.shown), 'fooled sample')}, chosen by pair of classes and not by "
        "outcome; no interval",
        tabulate(columns, found.shown),
    )


# What carries one class into another


def pair_name(it: ClassPair, names: Names) -> str:
    """``bag → shirt``."""
    return f"{class_name(it.true, names)} → {class_name(it.wrong, names)}"


def _whose(record: CarriersReport) -> str:
    pairs = record.pairs
    assert pairs is not None
    return f"{_pair_units(pairs)} of {pairs.layer} that carry one class into another"


def _pair_units(pairs: ClassPairs) -> str:
    return f"{pairs.count:,} of {pairs.units:,} {pairs.by}s"


def _pair_columns(record: CarriersReport, *, brief: bool) -> tuple[Column[ClassPair], ...]:
    names, interval = record.class_names, not brief
    halves = (
        Column[ClassPair]("learnt on", lambda it: it.learnt),
        Column[ClassPair]("judged on", lambda it: it.judged),
    )
    return (
        Column[ClassPair]("pair", lambda it: pair_name(it, names), words=True),
        *(halves[1:] if brief else halves),
        Column[ClassPair]("the pair's", lambda it: it.pair, interval=True),
        Column[ClassPair]("sample's own", lambda it: it.own, interval=interval),
        Column[ClassPair]("of all pairs", lambda it: it.overall, interval=interval),
        Column[ClassPair]("by lot", lambda it: it.random, interval=interval),
    )


def _pair_words(pairs: ClassPairs, it: ClassPair, names: Names, found: ModelCarriers) -> str:
    """What the carriers of one pair do, beside all controls."""
    name, do = pair_name(it, names), _undo(found)
    units = f"{_pair_units(pairs)} of {pairs.layer}"
    claim = (
        f"{units} carry {name}: learnt on {count(it.learnt, 'fooled sample')}, they {do}"
        if it.carried
        else f"No {units} surely carry {name} by more than as many by lot: those learnt on "
        f"{count(it.learnt, 'fooled sample')} {do}"
    )
    return (
        f"{claim} {estimate(it.pair)} of the other {it.judged:,}; each sample's own "
        f"{estimate(it.own)}, those of all pairs together {estimate(it.overall)}, as many by lot "
        f"{estimate(it.random)}."
    )


def _pairs_view(record: CarriersReport, pairs: ClassPairs) -> View:
    names, found = record.class_names, record.found
    carried = [it for it in pairs.pairs if it.carried]
    shown = pairs.pairs if len(pairs.pairs) == 1 else (carried or pairs.pairs)[:MOST_NAMED]
    total = count(len(pairs.pairs), "pair of classes", "pairs of classes")
    return View(
        f"{len(carried)} of {total} surely have carriers that other samples of the pair share",
        " ".join(_pair_words(pairs, it, names, found) for it in shown),
        f"n = {sum(it.judged for it in pairs.pairs):,} fooled samples on which nothing was learnt; "
        "95% bootstrap intervals",
        tabulate(_pair_columns(record, brief=False), pairs.pairs),
    )


def _shared_view(record: CarriersReport, pairs: ClassPairs) -> View:
    names = [pair_name(it, record.class_names) for it in pairs.pairs]
    rows = list(zip(names, pairs.shared, strict=True))
    columns = (
        Column[tuple[str, tuple[float, ...]]]("pair", lambda row: row[0], words=True),
        *(
            Column[tuple[str, tuple[float, ...]]](name, lambda row, at=at: row[1][at], form=share)
            for at, name in enumerate(names)
        ),
    )
    return View(
        "Which pairs share carriers",
        f"The part of their {pairs.count:,} carriers that two pairs have in common; on the "
        f"diagonal, what the two halves of one pair have. Sets by lot share {share(pairs.chance)}.",
        f"n = {sum(it.learnt for it in pairs.pairs):,} fooled samples; no interval",
        tabulate(columns, rows),
    )
