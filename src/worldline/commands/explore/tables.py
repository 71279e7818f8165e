"""The tables of an exploration: each column's title and value, said once for every form."""

from __future__ import annotations

from worldline.commands.explore.record import Exploration
from worldline.explain import LayerStory
from worldline.report.numbers import count, interval, number, signed
from worldline.report.views import Column, Table, tabulate

__all__ = ["boosts", "rapidity", "sides", "tables"]

LAYER = Column[LayerStory]("layer", lambda it: f"{it.index} {it.name}", words=True)
WIDTH = Column[LayerStory]("width", lambda it: it.width)
LAYERS = (  # words of six letters, so that nine columns fit a terminal
    LAYER,
    Column[LayerStory]("attack to own", lambda it: it.rapidity.adversarial_clean, form=signed),
    Column[LayerStory]("noise to own", lambda it: it.rapidity.noise_clean, form=signed),
    Column[LayerStory]("attack to true", lambda it: it.rapidity.adversarial_true, form=signed),
    Column[LayerStory]("attack to wrong", lambda it: it.rapidity.adversarial_wrong, form=signed),
    Column[LayerStory]("wrong side", lambda it: it.wrong_side),
    Column[LayerStory]("moved by attack", lambda it: it.moved_share),
    Column[LayerStory]("damage", lambda it: it.excess_boost, form=signed),
)
SIDES = (
    LAYER,
    Column[LayerStory]("attacked twins", lambda it: it.wrong_side, interval=True),
    Column[LayerStory]("their originals", lambda it: it.clean_wrong_side, interval=True),
    Column[LayerStory]("moved by the attack", lambda it: it.moved_share, interval=True),
    Column[LayerStory]("noise twins", lambda it: it.noise_wrong_side, interval=True),
    Column[LayerStory](
        "originals, wrong by themselves", lambda it: it.misclassified_wrong_side, interval=True
    ),
)
BOOSTS = (
    LAYER,
    Column[LayerStory](
        "damage beyond noise, nats", lambda it: it.excess_boost, interval=True, form=signed
    ),
)


def tables(record: Exploration) -> tuple[Table, ...]:
    """What the terminal shows."""
    title = (
        f"{count(record.fooled, 'fooled sample')}, {record.frame} frame: median similarity "
        "(rapidity φ, nats) of the attacked and the noise twin to their own original, and to the "
        "true and the wrong class; share closer to the wrong class, and moved there by the attack; "
        "damage beyond noise (nats)"
    )
    return (tabulate(LAYERS, record.layers, title=title),)


def rapidity(record: Exploration) -> Table:
    """Of each comparison the median, its interval, the middle 80 %, and the untrained median."""
    columns: list[Column[LayerStory]] = [LAYER, WIDTH]
    for label, name in (
        ("attacked – original", "adversarial_clean"),
        ("noise – original", "noise_clean"),
        ("attacked – true class", "adversarial_true"),
        ("attacked – wrong class", "adversarial_wrong"),
    ):
        columns += _comparison(label, name)
    return tabulate(columns, record.layers)


def sides(record: Exploration) -> Table:
    """Shares closer to the wrong class, and how much of it the attack moved."""
    return tabulate(SIDES, record.layers)


def boosts(record: Exploration) -> Table:
    """How much more than noise each layer drives the attacked twin apart."""
    return tabulate(BOOSTS, record.layers)


def _comparison(label: str, name: str) -> tuple[Column[LayerStory], ...]:
    def middle(it: LayerStory) -> str:
        found = getattr(it.rapidity, name)
        return interval(None if found.q10 is None else (found.q10, found.q90), number)

    def untrained(it: LayerStory) -> float | None:
        null = it.untrained_rapidity
        return None if null is None else getattr(null, name).median

    return (
        Column(f"{label}: median", lambda it: getattr(it.rapidity, name), interval=True),
        Column("middle 80%", middle),
        Column("untrained", untrained),
    )
