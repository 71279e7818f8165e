"""The tables of an exploration: each column's title and value, said once for every form."""

from __future__ import annotations

from worldline.commands.explore.record import Exploration
from worldline.explain import LayerStory
from worldline.report.numbers import interval, number, share, signed
from worldline.report.views import Column, Table, tabulate

__all__ = ["boosts", "rapidity", "sides", "tables"]

LAYER = Column[LayerStory]("layer", lambda it: f"{it.index} {it.name}", words=True)
WIDTH = Column[LayerStory]("width", lambda it: it.width)
WRONG = Column[LayerStory]("closer to the wrong class", lambda it: it.wrong_side, form=share)
MOVED = Column[LayerStory]("moved by the attack", lambda it: it.moved_share, form=share)
DAMAGE = Column[LayerStory]("damage beyond noise", lambda it: it.excess_boost, form=signed)
LAYERS = (
    LAYER,
    WIDTH,
    Column[LayerStory]("attacked, original", lambda it: it.rapidity.adversarial_clean, form=signed),
    Column[LayerStory]("noise, original", lambda it: it.rapidity.noise_clean, form=signed),
    Column[LayerStory](
        "attacked, true class", lambda it: it.rapidity.adversarial_true, form=signed
    ),
    Column[LayerStory](
        "attacked, wrong class", lambda it: it.rapidity.adversarial_wrong, form=signed
    ),
    WRONG,
    MOVED,
    DAMAGE,
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
        f"Median similarity (rapidity φ, nats) by layer: {record.fooled:,} fooled samples, "
        f"{record.frame} frame"
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
