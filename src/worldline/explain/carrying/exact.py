"""Exact effects: each unit put back alone, many in one pass, from the layer on."""

from __future__ import annotations

import torch
from torch import Tensor

from worldline.explain.carrying.attributing import margin
from worldline.explain.carrying.places import Place
from worldline.trace.resuming import Resumer

__all__ = ["exact_effects"]


def exact_effects(
    resumer: Resumer,
    place: Place,
    base: Tensor,
    donor: Tensor,
    true: Tensor,
    wrong: Tensor,
    *,
    before: Tensor,
    batch_size: int,
) -> Tensor:
    """(N, U) float64 on the CPU: how m changes when a unit of ``base`` is taken from the donor.

    A unit whose values are the same in both has no effect, and is not run.

    Args:
        resumer: has the run of ``base`` in memory.
        place: the layer and its units.
        base, donor: (N, …) the layer's values in that run, and what is put in.
        true, wrong: (N,) the classes of the margin.
        before: (N,) the margin of the run as it is.
        batch_size: rows in one pass.
    """
    units = place.units
    effects = torch.zeros(len(base), units.count, dtype=torch.float64)
    differs = units.sums((base != donor).to(torch.float32)) > 0
    # one unit after the other, so that a pass is of one unit where all samples fit in it
    wanted, samples = (it.to(base.device) for it in differs.T.nonzero(as_tuple=True))
    for rows, unit in zip(samples.split(batch_size), wanted.split(batch_size), strict=True):
        value = base[rows].contiguous()
        units.put_one(value, donor, rows, unit)
        after = margin(resumer.resume(place.layer, value, rows), true[rows], wrong[rows])
        effects[rows.cpu(), unit.cpu()] = (after - before[rows]).double().cpu()
    return effects
