"""What carries one class into another."""

from __future__ import annotations

from worldline.commands.carriers.record import CarriersReport, ModelCarriers
from worldline.commands.carriers.views.shared import Names, class_name, repairs
from worldline.explain import ClassPair, ClassPairs
from worldline.report.figures import Bar, Bars, Role
from worldline.report.heat import HeatMap
from worldline.report.numbers import count, estimate, share
from worldline.report.views import Column, Table, View, tabulate
from worldline.statistics import Share

__all__ = ["pair_bars", "pair_words", "pairs_table", "pairs_view", "shared_heat", "shared_view"]

WHOSE: dict[Role, tuple[str, str]] = {
    "adversarial": ("own", "each sample's own"),
    "true": ("pair", "the pair's, learnt on other samples"),
    "wrong": ("overall", "of all pairs together"),
    "other": ("random", "by lot"),
}
MOST_NAMED = 3


def _pair_name(it: ClassPair, names: Names) -> str:
    """``bag → shirt``."""
    return f"{class_name(it.true, names)} → {class_name(it.wrong, names)}"


def pairs_table(record: CarriersReport, pairs: ClassPairs) -> Table:
    """What the terminal shows."""
    title = f"{_pair_units(pairs)} of {pairs.layer} that carry one class into another"
    return tabulate(_pair_columns(record, brief=True), pairs.pairs, title=title)


def _pair_units(pairs: ClassPairs) -> str:
    return f"{pairs.count:,} of {pairs.units:,} {pairs.by}s"


def _pair_columns(record: CarriersReport, *, brief: bool) -> tuple[Column[ClassPair], ...]:
    names, interval = record.class_names, not brief
    halves = (
        Column[ClassPair]("learnt on", lambda it: it.learnt),
        Column[ClassPair]("judged on", lambda it: it.judged),
    )
    return (
        Column[ClassPair]("pair", lambda it: _pair_name(it, names), words=True),
        *(halves[1:] if brief else halves),
        Column[ClassPair]("the pair's", lambda it: it.pair, interval=True),
        Column[ClassPair]("sample's own", lambda it: it.own, interval=interval),
        Column[ClassPair]("of all pairs", lambda it: it.overall, interval=interval),
        Column[ClassPair]("by lot", lambda it: it.random, interval=interval),
    )


def pair_words(pairs: ClassPairs, it: ClassPair, names: Names, found: ModelCarriers) -> str:
    """What the carriers of one pair do, beside all controls."""
    name, do = _pair_name(it, names), repairs(found)
    units = f"{_pair_units(pairs)} of {pairs.layer}"
    learnt = f"learnt on {count(it.learnt, 'fooled sample')}"
    one = pairs.count == 1
    carry, they_do = ("carries", f"it {do}s") if one else ("carry", f"they {do}")
    claim = (
        f"{units} {carry} {name}: {learnt}, {they_do}"
        if it.carried
        else f"That {name} has carriers in common at {pairs.layer} is not sure: {units}, {learnt}, "
        f"{do}{'s' * one}"
    )
    return (
        f"{claim} {estimate(it.pair)} of the other {it.judged:,}; each sample's own "
        f"{estimate(it.own)}, those of all pairs together {estimate(it.overall)}, as many by lot "
        f"{estimate(it.random)}."
    )


def pairs_view(record: CarriersReport, pairs: ClassPairs) -> View:
    """The pairs, those whose carriers surely do more than parts by lot in words."""
    names, found = record.class_names, record.found
    carried = [it for it in pairs.pairs if it.carried]
    shown = pairs.pairs if len(pairs.pairs) == 1 else (carried or pairs.pairs)[:MOST_NAMED]
    total = count(len(pairs.pairs), "pair of classes", "pairs of classes")
    return View(
        f"{len(carried)} of {total} surely have carriers that other samples of the pair share",
        " ".join(pair_words(pairs, it, names, found) for it in shown),
        f"n = {sum(it.judged for it in pairs.pairs):,} fooled samples on which nothing was learnt; "
        "95% bootstrap intervals",
        tabulate(_pair_columns(record, brief=False), pairs.pairs),
    )


def shared_view(record: CarriersReport, pairs: ClassPairs) -> View:
    """How many carriers any two pairs have in common."""
    names = [_pair_name(it, record.class_names) for it in pairs.pairs]
    cells = tuple((name, *map(share, row)) for name, row in zip(names, pairs.shared, strict=True))
    return View(
        "Which pairs share carriers",
        f"The part of their {pairs.count:,} carriers that two pairs have in common; on the "
        f"diagonal, what the two halves of one pair have. Sets by lot share {share(pairs.chance)}.",
        f"n = {sum(it.learnt for it in pairs.pairs):,} fooled samples; no interval",
        Table(("pair", *names), cells),
    )


def pair_bars(pairs: ClassPairs, names: Names) -> Bars:
    """What is repaired by whose carriers, pair by pair."""
    bars: list[Bar] = []
    for it in pairs.pairs:
        for at, (role, part) in enumerate(WHOSE.items()):
            value: Share = getattr(it, part[0])
            name = "" if at else _pair_name(it, names)
            bars.append(Bar(name, value.value, share(value.value), role, value.interval))
    legend = tuple((role, said) for role, (_, said) in WHOSE.items())
    label = f"share repaired by {pairs.count:,} of {pairs.units:,} {pairs.by}s of {pairs.layer}"
    return Bars(tuple(bars), 1.0, share=True, label=label, legend=legend)


def shared_heat(pairs: ClassPairs, names: Names) -> HeatMap:
    """What two pairs have in common, as a heat map."""
    told = tuple(_pair_name(it, names) for it in pairs.pairs)
    return HeatMap(told, pairs.shared, (0.0, 1.0), down="pair", across="other pair")
