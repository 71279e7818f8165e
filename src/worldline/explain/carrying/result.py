"""What was found about carriers: of one layer, and of all."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import UsageError
from worldline.explain.carrying.units import UnitKind
from worldline.notebook import as_html
from worldline.statistics import Share, Summary

__all__ = [
    "ORDERS",
    "Carriers",
    "Concentration",
    "Curve",
    "Cut",
    "Direction",
    "LayerCarriers",
    "LayerFinding",
    "Order",
    "TopUnit",
    "Trust",
]

Direction = Literal["denoise", "noise"]
"""``denoise``: clean units into the adversarial run; ``noise``: adversarial ones into the clean."""
Order = Literal["carriers", "random", "change", "noise", "path"]
ORDERS: tuple[Order, ...] = "carriers", "random", "change", "noise", "path"
"""In which order, and from whom, units are put back: by effect; at random; by size of change; by
effect, but from the noise twin; by the path's effect, where ``carriers`` goes by the exact one.
"""
Trust = Literal["ok", "incomplete", "partial cut", "below exact", "no gradient"]


@dataclass(frozen=True)
class Curve:
    """A repair curve: how many samples are repaired by the first units of an order.

    Attributes:
        order: which order, and whose values (:data:`ORDERS`).
        repaired: share of the fooled samples that the model gets right again, by number of units
            (``counts`` of the layer); in the direction ``noise`` that it now gets wrong.
    """

    order: Order
    repaired: tuple[Share, ...]


@dataclass(frozen=True)
class Concentration:
    """The smallest share of the units that repairs half of the samples, among those tried.

    Attributes:
        share, units: None where none of those tried does.
        interval: 95 % bootstrap interval of the share; its upper end is None where resamples never
            reach a half. None where no curve was asked for.
    """

    share: float | None
    units: int | None
    interval: tuple[float | None, float | None] | None


@dataclass(frozen=True)
class Cut:
    """What happens with all units of the layer put back: whether the layer holds all there is.

    Attributes:
        full: whether the clean logits come out; if not, something of the attack goes around the
            layer, through a skip connection.
        repaired: share of samples that are repaired.
        margin: median share of the margin m_clean − m_adversarial that comes back: 1 at a full
            cut.
        around: modules whose values go around it, as far as they can be told; empty at a full cut.
    """

    full: bool
    repaired: Share
    margin: float
    around: tuple[str, ...]


@dataclass(frozen=True)
class TopUnit:
    """A unit with a large mean effect.

    Attributes:
        unit: its number, from 0.
        effect: mean over the samples.
        among: share of samples in which it is among the first sixteenth of the units.
    """

    unit: int
    effect: float = field(metadata={"unit": "logits"})
    among: Share


@dataclass(frozen=True)
class LayerFinding:
    """What carries the attack at one layer, over the fooled samples; without tensors.

    Attributes:
        index, name, kind: which of the layers looked at, from 0; the class of its module.
        aliases: other names of the same value, such as the block that returns it.
        by: kind of its units.
        units: U, how many.
        grid: how they lie, (H, W) for positions and pixels, (U,) else.
        counts: numbers of units that were put back, for the curves.
        curves: one for each order; empty where none was asked for.
        concentration: the smallest share that repairs half.
        completeness: |Σ effects − (m_clean − m_adversarial)| over m_clean − m_adversarial: 0 where
            the effects add up. At a layer that does not cut the network it says how much the layer
            does not hold, and is not to be small. None for exact effects, which need not add up.
        completeness_largest: the largest of them.
        cut: what all units together do; None without curves.
        agreement: Spearman's rank correlation of the path's effects with the exact ones, over the
            units of a sample; None without exact effects or where either is constant.
        trust: ``ok``; ``partial cut`` where something goes around the layer; ``incomplete`` where
            the path's effects do not add up to within 1 %, in the median, at a full cut; ``below
            exact`` where the path's curve lies more than .03 under the exact one; ``no gradient``
            where the twins differ there and no gradient comes by, so that the path sees nothing.
        top: units of largest mean effect, at most twelve.
    """

    index: int
    name: str
    kind: str
    aliases: tuple[str, ...]
    by: UnitKind
    units: int
    grid: tuple[int, ...]
    counts: tuple[int, ...]
    curves: tuple[Curve, ...]
    concentration: Concentration
    completeness: Summary | None
    completeness_largest: float | None
    cut: Cut | None
    agreement: Summary | None
    trust: Trust
    top: tuple[TopUnit, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """``counts`` as shares of the units."""
        return tuple(count / self.units for count in self.counts)

    def curve(self, order: Order) -> Curve | None:
        """The curve of one order; None where it was not drawn."""
        return next((it for it in self.curves if it.order == order), None)


@dataclass(frozen=True)
class LayerCarriers(LayerFinding):
    """:class:`LayerFinding` with what it was found from.

    Attributes:
        effect: (N, U) float64 in logits: how much of the margin each unit brings back
            (``denoise``) or takes away (``noise``); positive: it carries the attack.
        size: (N, U) float64, |a − a'| of each unit.
        path_effect: (N, U) the path's, where ``effect`` is exact; else None.
    """

    effect: Float[Tensor, "N U"] = field(repr=False, kw_only=True)
    size: Float[Tensor, "N U"] = field(repr=False, kw_only=True)
    path_effect: Float[Tensor, "N U"] | None = field(default=None, repr=False, kw_only=True)

    @property
    def order(self) -> Int[Tensor, "N U"]:
        """(N, U) the units of each sample by effect, the largest first."""
        return self.effect.argsort(dim=1, descending=True, stable=True)

    @property
    def finding(self) -> LayerFinding:
        """The same without tensors, for a record."""
        return LayerFinding(**{it.name: getattr(self, it.name) for it in fields(LayerFinding)})


@dataclass(frozen=True)
class Carriers:
    """What carries the attack, by layer.

    Attributes:
        layers: one :class:`LayerCarriers` a layer, over the N fooled samples.
        by: the kind of unit that was asked for.
        direction: ``denoise`` or ``noise``.
        exact: whether effects are exact, or the path's.
        points: steps of the path; None without it.
        given: how many samples were given.
        rows: (N,) which of them are fooled: the clean one right, the adversarial one wrong.
        true, wrong: (N,) their labels and what the model says of their adversarial twins.
        margin_clean, margin_adversarial: (N,) float64, z_true − z_wrong of both, in logits.
        noise: (N, …) the noise twins of the fooled samples.
        batch_size: rows in one pass, as memory allowed.
        notes: what a reader must know before believing it.
    """

    layers: tuple[LayerCarriers, ...]
    by: UnitKind
    direction: Direction
    exact: bool
    points: int | None
    given: int
    rows: Int[Tensor, " N"]
    true: Int[Tensor, " N"]
    wrong: Int[Tensor, " N"]
    margin_clean: Float[Tensor, " N"] = field(repr=False)
    margin_adversarial: Float[Tensor, " N"] = field(repr=False)
    noise: Float[Tensor, "N ..."] = field(repr=False)
    batch_size: int
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> LayerCarriers:
        """The layer of this name or alias."""
        found = next((it for it in self.layers if name in (it.name, *it.aliases)), None)
        if found is None:
            names = ", ".join(it.name for it in self.layers)
            raise UsageError(f"Carriers were not looked for at {name!r}, but at: {names}.")
        return found

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        sentence = f"{len(self.rows)} of {self.given} samples are fooled; units put back repair:"
        rows = []
        for it in self.layers:
            first = min((at for at, share in enumerate(it.shares) if share >= 1 / 16), default=None)
            parts = [
                None if first is None or curve is None else curve.repaired[first].value
                for curve in (it.curve("carriers"), it.curve("random"))
            ]
            rows.append((it.name, f"{it.units} {it.by}s", it.concentration.share, *parts, it.trust))
        heads = (
            "layer",
            "units",
            "share that repairs half",
            "carriers, 1/16",
            "random, 1/16",
            "trust",
        )
        return as_html(sentence, heads, rows)
