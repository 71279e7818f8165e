"""Carriers of a class pair: learnt on half of its samples, judged on the other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.errors import LabelError, ShapeError, UsageError
from worldline.explain.carrying.places import one_place
from worldline.explain.carrying.repairing import first_units, put_back
from worldline.explain.carrying.result import Carriers
from worldline.explain.carrying.units import UnitKind
from worldline.settings import DEFAULT, Settings
from worldline.statistics import Bootstraps, Share, apart
from worldline.trace import Model, choices, untouched
from worldline.trace.resuming import resuming

__all__ = ["ClassPair", "ClassPairs", "pair_carriers"]

PART, FEWEST = 8, 8
"""By default an eighth of the units; of pairs of at least so many fooled samples."""


@dataclass(frozen=True)
class ClassPair:
    """One pair of classes, true → wrong.

    Attributes:
        true, wrong: the classes.
        learnt, judged: samples of the two halves.
        carriers: the units of largest mean effect in the first half, the largest first.
        own, pair, overall, random: share of the second half that is repaired by as many units: of
            the sample's own carriers, of the pair's, of those of all pairs together, at random.
    """

    true: int
    wrong: int
    learnt: int
    judged: int
    carriers: tuple[int, ...]
    own: Share
    pair: Share
    overall: Share
    random: Share

    @property
    def carried(self) -> bool:
        """Whether the pair's carriers surely repair more than random units (intervals apart)."""
        return apart(self.pair.interval, self.random.interval) > 0


@dataclass(frozen=True)
class ClassPairs:
    """Which units of a layer carry which confusion.

    Attributes:
        layer, by, units: which layer, the kind of its units, how many.
        count: how many are put back.
        pairs: the pairs, those with most samples first.
        shared: part of their carriers that two pairs have in common, in [0, 1], learnt on the first
            halves; on the diagonal what the two halves of one pair have in common.
        chance: what two random sets have in common.
    """

    layer: str
    by: UnitKind
    units: int
    count: int
    pairs: tuple[ClassPair, ...]
    shared: tuple[tuple[float, ...], ...]
    chance: float


def pair_carriers(
    model: Model,
    x: Float[Tensor, "N ..."],
    adversarial: Float[Tensor, "N ..."],
    found: Carriers,
    layer: str,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    count: int | None = None,
    resamples: int = 2000,
    settings: Settings = DEFAULT,
) -> ClassPairs:
    """Which units carry each confusion of two classes, judged on samples they were not learnt on.

    The fooled samples of a pair (true, wrong) are dealt alternately to two halves. The units of
    largest mean effect in the first are put back in the second, beside each sample's own, those of
    all pairs together and random ones.

    Args:
        model, x, adversarial: as given to :func:`carriers`.
        found: what it found, in either direction, which this keeps.
        layer: one of its layers, by name or alias.
        pairs: (true, wrong) classes; default: all with at least eight fooled samples.
        count: how many units; default: an eighth of them.
        resamples: of the bootstrap.
        settings: batch size, seed and progress.

    Returns:
        :class:`ClassPairs`. 1 in ``shared`` is the same set, ``chance`` what random sets share.

    Raises:
        LabelError: a pair has fewer than two fooled samples, or none has eight. ShapeError: x is
        not what carriers were found on. UsageError: ``found`` is
        something else, or has no such layer; no such count.

    Cost: one pass over the judged samples and four from the layer on.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("mlp"), wl.zoo.digits()
    >>> x, y = data.x[:200], data.y[:200]
    >>> adversarial = wl.attacks.PGD(epsilon=0.15, steps=5)(model, x, y).x
    >>> found = wl.explain.carriers(model, x, adversarial, y, layers="relu2", shares=())
    >>> confusions = wl.explain.pair_carriers(model, x, adversarial, found, "relu2", pairs=[(1, 8)])
    >>> len(confusions.pairs[0].carriers), confusions.units
    (16, 128)
    """
    if not isinstance(found, Carriers):
        raise UsageError(
            "found must be what wl.explain.carriers(model, x, adversarial, y) returned; got "
            f"{type(found).__name__}."
        )
    seen = found[layer]
    if len(x) != found.given or adversarial.shape != x.shape:
        raise ShapeError(
            f"Pass the inputs and twins that the carriers were found on: {found.given} of one "
            f"shape; got {tuple(x.shape)} and {tuple(adversarial.shape)}."
        )
    count = max(1, seen.units // PART) if count is None else count
    if not 1 <= count <= seen.units:
        raise UsageError(f"Of {seen.units} units, 1 to {seen.units} can be put back; got {count}.")
    groups = _groups(found, pairs)
    halves = {pair: (rows[::2], rows[1::2]) for pair, rows in groups.items()}
    means = {pair: seen.effect[learnt].mean(0) for pair, (learnt, _) in halves.items()}
    sets = {pair: _largest(mean, count) for pair, mean in means.items()}
    again = {pair: _largest(seen.effect[it].mean(0), count) for pair, (_, it) in halves.items()}
    learnt = torch.cat([it for it, _ in halves.values()])
    judged = torch.cat([it for _, it in halves.values()])
    generator = torch.Generator().manual_seed(settings.seed)
    overall = _largest(seen.effect[learnt].mean(0), count)
    marks = {
        "own": first_units(seen.order[judged], count),
        "pair": torch.cat([_marks(sets[it], seen.units, len(halves[it][1])) for it in halves]),
        "overall": _marks(overall, seen.units, len(judged)),
        "random": first_units(
            torch.rand(len(judged), seen.units, generator=generator).argsort(1), count
        ),
    }
    repaired = _repaired(model, x, adversarial, found, seen.name, judged, marks, settings)
    bootstraps = Bootstraps(resamples, settings.seed)
    told, start = [], 0
    for pair, (first, second) in halves.items():
        here = slice(start, start + len(second))
        start += len(second)
        bootstrap = bootstraps.of(len(second))
        shares = [bootstrap.share(flags[here]) for flags in repaired.values()]
        told.append(ClassPair(*pair, len(first), len(second), tuple(sets[pair].tolist()), *shares))
    return ClassPairs(
        layer=seen.name,
        by=seen.by,
        units=seen.units,
        count=count,
        pairs=tuple(told),
        shared=tuple(
            tuple(_common(sets[one], (again if one == two else sets)[two]) for two in halves)
            for one in halves
        ),
        chance=count / seen.units,
    )


def _groups(
    found: Carriers, pairs: Sequence[tuple[int, int]] | None
) -> dict[tuple[int, int], Tensor]:
    """Places among the fooled samples by pair, the largest pair first."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place, pair in enumerate(zip(found.true.tolist(), found.wrong.tolist(), strict=True)):
        groups.setdefault(pair, []).append(place)
    sizes = sorted(((len(it), pair) for pair, it in groups.items()), key=lambda it: (-it[0], it[1]))
    most = ", ".join(f"{true} → {wrong} ({size})" for size, (true, wrong) in sizes[:5])
    if pairs is None:
        wanted = [pair for size, pair in sizes if size >= FEWEST]
        if not wanted:
            raise LabelError(
                f"No pair of classes has {FEWEST} fooled samples; most have: {most}. Give more "
                "samples, or name pairs=."
            )
    else:
        wanted = [(int(true), int(wrong)) for true, wrong in pairs]
        for true, wrong in wanted:
            size = len(groups.get((true, wrong), ()))
            if size < 2:
                raise LabelError(
                    f"The pair {true} → {wrong} has {size} fooled samples, and needs one to learn "
                    f"on and one to judge on. Most have: {most}."
                )
    return {pair: torch.tensor(groups[pair]) for pair in wanted}


def _repaired(
    model: Model,
    x: Tensor,
    adversarial: Tensor,
    found: Carriers,
    layer: str,
    judged: Tensor,
    marks: dict[str, Tensor],
    settings: Settings,
) -> dict[str, Tensor]:
    """Who is right again (in the direction ``noise``: wrong now), by kind of set."""
    place = one_place(model, x, layer, found[layer].by)
    rows = found.rows[judged].to(x.device)
    true = found.true[judged].to(x.device)
    denoise = found.direction == "denoise"
    base, donor = (adversarial, x) if denoise else (x, adversarial)
    parts: dict[str, list[Tensor]] = {name: [] for name in marks}
    with untouched(model), torch.no_grad(), resuming(model, base[rows], [place.layer]) as resumer:
        for start in range(0, len(rows), settings.batch_size):
            here = slice(start, start + settings.batch_size)
            own = resumer.record(base[rows[here]])[1][place.layer]
            given = resumer.read(donor[rows[here]])[1][place.layer]
            for name, mask in marks.items():
                logits = put_back(resumer, place, own, given, mask[here])
                parts[name].append(((choices(logits) == true[here]) == denoise).cpu())
            settings.progress("Class pairs", min(start + settings.batch_size, len(rows)), len(rows))
    return {name: torch.cat(part).double() for name, part in parts.items()}


def _largest(mean: Tensor, count: int) -> Tensor:
    return mean.argsort(descending=True, stable=True)[:count]


def _marks(units: Tensor, count: int, rows: int) -> Tensor:
    mask = torch.zeros(count, dtype=torch.bool)
    mask[units] = True
    return mask.expand(rows, count)


def _common(one: Tensor, two: Tensor) -> float:
    return len(set(one.tolist()) & set(two.tolist())) / len(one)
