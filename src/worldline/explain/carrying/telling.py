"""From effects and who was repaired to what is told of a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.explain.carrying.passes import Seen
from worldline.explain.carrying.places import Place
from worldline.explain.carrying.repairing import concentration_of
from worldline.explain.carrying.result import Curve, Cut, LayerCarriers, TopUnit, Trust
from worldline.statistics import Bootstrap, Summary

__all__ = ["layer_carriers"]

TOP, AMONG = 12, 16
"""How many units are listed; those among the first sixteenth of a sample's count."""
FULL, COMPLETE, UNDER = 1e-3, 0.01, 0.03
"""How far a margin may be off at a full cut, effects from adding up, and a curve from the exact."""


def layer_carriers(
    index: int, place: Place, seen: Seen, change: Tensor, bootstrap: Bootstrap
) -> LayerCarriers:
    """What is told of one layer.

    Args:
        index, place: which.
        seen: what the passes gave.
        change: (N,) m_clean − m_adversarial.
        bootstrap: of the N samples.
    """
    units = place.units
    curves = tuple(
        Curve(order, bootstrap.share_columns(flags)) for order, flags in seen.flags.items()
    )
    errors = None if seen.path is None else (seen.path.sum(1) - change).abs() / change
    completeness = None if errors is None else bootstrap.summary(errors)
    cut = _cut(seen, change, bootstrap)
    empty = torch.zeros(len(change), 0)
    exact = seen.path is not None and not torch.equal(seen.path, seen.effect)
    return LayerCarriers(
        index=index,
        name=place.layer.name,
        kind=place.layer.kind,
        aliases=place.layer.aliases,
        by=units.kind,
        units=units.count,
        grid=units.grid,
        counts=seen.counts,
        curves=curves,
        concentration=concentration_of(
            seen.flags.get("carriers", empty), seen.counts, units.count, bootstrap
        ),
        completeness=completeness,
        completeness_largest=None if errors is None else float(errors.max()),
        cut=cut,
        agreement=_agreement(seen, bootstrap) if exact else None,
        trust=_trust(cut, completeness, seen),
        top=_top(seen.effect, bootstrap),
        effect=seen.effect,
        size=seen.size,
        path_effect=seen.path if exact else None,
    )


def _cut(seen: Seen, change: Tensor, bootstrap: Bootstrap) -> Cut | None:
    if seen.whole is None or seen.whole_repaired is None:
        return None
    part = seen.whole
    full = bool(((part - 1).abs() <= FULL).all())
    return Cut(
        full,
        bootstrap.share(seen.whole_repaired),
        float(part.median()),
        () if full else seen.around,
    )


def _trust(cut: Cut | None, completeness: Summary | None, seen: Seen) -> Trust:
    path, exact = seen.flags.get("path"), seen.flags.get("carriers")
    under = path is not None and exact is not None and path.mean(0) < exact.mean(0) - UNDER
    if seen.blind:
        return "no gradient"
    if isinstance(under, Tensor) and bool(under.any()):
        return "below exact"
    if seen.passed if cut is None else not cut.full:
        return "partial cut"
    median = None if completeness is None else completeness.median
    return "incomplete" if median is not None and median > COMPLETE else "ok"


def _agreement(seen: Seen, bootstrap: Bootstrap) -> Summary:
    """Spearman's rank correlation of each sample's effects, both ways."""
    assert seen.path is not None
    one, other = (it.argsort(1).argsort(1).double() for it in (seen.path, seen.effect))
    one, other = (it - it.mean(1, keepdim=True) for it in (one, other))
    return bootstrap.summary((one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1)))


def _top(effect: Tensor, bootstrap: Bootstrap) -> tuple[TopUnit, ...]:
    means = effect.mean(0)
    units = effect.shape[1]
    first = effect.argsort(dim=1, descending=True, stable=True)[:, : max(1, round(units / AMONG))]
    wanted = means.argsort(descending=True, stable=True)[:TOP]
    among = (first[:, :, None] == wanted).any(1)  # (N, TOP)
    shares = bootstrap.share_columns(among.double())
    return tuple(
        TopUnit(int(unit), float(means[unit]), share)
        for unit, share in zip(wanted, shares, strict=True)
    )
