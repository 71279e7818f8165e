"""What to do with a prediction: a stand-in for a black box, a team that does not fall at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.compare.models import Loader, Models
from worldline.compare.predicting import Predicted, predict
from worldline.errors import UsageError
from worldline.trace import Model

__all__ = ["Ensemble", "Surrogate", "diverse", "rank_surrogates", "surrogate"]

EXHAUSTIVE = 50_000
"""Ensembles up to which all are tried."""


@dataclass(frozen=True)
class Surrogate:
    """One stand-in for a target.

    Attributes:
        name: of the candidate.
        rate, interval: what of its attacks is expected to carry over, see :class:`Predicted`.
        similarity: with the target, in [−1, 1].
    """

    name: str
    rate: float
    interval: tuple[float, float]
    similarity: float


@dataclass(frozen=True)
class Ensemble:
    """Models that do not fall to each other's attacks.

    Attributes:
        models: the members, in the order of the prediction.
        shared: mean expected rate from one member to another; lower is better.
        exhaustive: whether every choice was tried; otherwise greedy with exchanges.
    """

    models: tuple[str, ...]
    shared: float
    exhaustive: bool


def surrogate(
    target: Model | Loader, candidates: Models, x: Float[Tensor, "N ..."], **options: Any
) -> tuple[Surrogate, ...]:
    """Rank stand-ins for a black-box target, the best first, without attacking anything.

    Args:
        target: the model to be attacked later; a callable is enough.
        candidates: name → model or :class:`Loader`; the name ``target`` is taken.
        x: (N, …) inputs.
        options: of :func:`predict`.

    Returns:
        One :class:`Surrogate` for each candidate that answered.

    Raises:
        UsageError: a candidate called ``target``; otherwise as :func:`predict`.

    Cost: as :func:`predict`.

    >>> import torch, worldline as wl
    >>> _ = torch.manual_seed(0)
    >>> a, b = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)
    >>> found = wl.compare.surrogate(a, {"other": b, "same": a}, torch.rand(40, 8))
    >>> [it.name for it in found]
    ['same', 'other']
    """
    if "target" in candidates:
        raise UsageError("A candidate may not be called 'target'; rename it.")
    return rank_surrogates(predict({"target": target, **candidates}, x, **options), "target")


def rank_surrogates(predicted: Predicted, target: str) -> tuple[Surrogate, ...]:
    """The same from a prediction that is there.

    Args:
        predicted: from :func:`predict`.
        target: one of its names.

    Returns:
        The other models, the best stand-in first; none where the target has no sample right.

    Raises:
        UsageError: no such model.

    >>> import torch, worldline as wl
    >>> _ = torch.manual_seed(0)
    >>> a, b = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)
    >>> found = wl.compare.predict({"a": a, "b": b, "again": a}, torch.rand(40, 8))
    >>> wl.compare.rank_surrogates(found, "a")[0].name
    'again'
    """
    if target not in predicted.names:
        raise UsageError(
            f"There is no model {target!r} in the prediction; it has {', '.join(predicted.names)}."
        )
    place = predicted.names.index(target)
    found = []
    for row, name in enumerate(predicted.names):
        if row != place and bool(predicted.rate[row, place].isfinite()):
            rate, alike = (float(it[row, place]) for it in (predicted.rate, predicted.similarity))
            low, high = predicted.interval[row, place].tolist()
            found.append(Surrogate(name, rate, (low, high), alike))
    return tuple(sorted(found, key=lambda it: -it.rate))


def diverse(predicted: Predicted, size: int, *, among: Sequence[str] | None = None) -> Ensemble:
    """The ensemble whose members fall least to each other's attacks, as far as it is expected.

    Minimises the mean expected rate from one member to another: over all choices where these are
    few, else greedily with exchanges.

    Args:
        predicted: from :func:`predict`.
        size: number of members, at least 2.
        among: names to choose from; default: all. Pass those that are accurate enough: a useless
            model shares little, too.

    Returns:
        :class:`Ensemble`.

    Raises:
        UsageError: fewer models than members, or an unknown name.

    Cost: at most 50,000 sums, or O(size · M²) of them.

    >>> import torch, worldline as wl
    >>> _ = torch.manual_seed(0)
    >>> a, b = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)
    >>> found = wl.compare.predict({"a": a, "again": a, "b": b}, torch.rand(40, 8))
    >>> wl.compare.diverse(found, 3).models
    ('a', 'again', 'b')
    """
    wanted = predicted.names if among is None else among
    pool = [predicted.names.index(name) for name in wanted if name in predicted.names]
    unknown = [name for name in wanted if name not in predicted.names]
    if unknown or not 2 <= size <= len(pool):
        raise UsageError(
            f"An ensemble of {size} needs at least 2 members and at most the {len(pool)} models "
            "there are" + (f"; unknown: {', '.join(unknown)}." if unknown else ".")
        )
    rate = predicted.rate.nan_to_num(nan=1.0)  # of what has nothing right, nothing is expected
    table = ((rate + rate.T) / 2).fill_diagonal_(0)
    exhaustive = comb(len(pool), size) <= EXHAUSTIVE
    best = _try_all(table, pool, size) if exhaustive else _exchange(table, pool, size)
    shared = float(table[best][:, best].sum()) / (size * (size - 1))
    return Ensemble(tuple(predicted.names[place] for place in sorted(best)), shared, exhaustive)


def _try_all(table: Tensor, pool: list[int], size: int) -> list[int]:
    choices, least, best = combinations(pool, size), float("inf"), tuple(pool[:size])
    while block := list(islice(choices, 4096)):
        rows = torch.tensor(block)
        shared = table[rows[:, :, None], rows[:, None, :]].sum((1, 2))
        if float(shared.min()) < least:
            least, best = float(shared.min()), block[int(shared.argmin())]
    return list(best)


def _exchange(table: Tensor, pool: list[int], size: int) -> list[int]:
    def shared(one: int, others: list[int]) -> float:
        return float(table[one, others].sum())

    def best(others: list[int]) -> int:
        return min((it for it in pool if it not in others), key=lambda it: shared(it, others))

    members = [pool[0]]
    while len(members) < size:
        members.append(best(members))
    changed = True
    while changed:
        changed = False
        for place in range(size):
            others = members[:place] + members[place + 1 :]
            better = best(others)
            if shared(better, others) < shared(members[place], others) - 1e-12:
                members[place], changed = better, True
    return members
