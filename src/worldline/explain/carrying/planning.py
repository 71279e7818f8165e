"""How many samples go in one pass, within memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldline.attacks import predict
from worldline.explain.carrying.passes import Passes, Twins
from worldline.explain.carrying.places import Place
from worldline.settings import silent
from worldline.trace import Model
from worldline.trace.memory import bytes_a_sample, fitting, model_bytes
from worldline.trace.probing import few
from worldline.trace.resuming import resuming

__all__ = ["plan_answers", "plan_sizes"]

RESULTS = 4 * 8
"""Bytes of a unit and sample: effect, size, path effect and random order."""


def plan_answers(model: Model, x: Tensor, *, memory: int | None, batch_size: int) -> int:
    """How many samples at a time are answered within memory, before anything else is done.

    Args:
        model: the model.
        x: (N, …) a few inputs.
        memory: bytes over the model and the given data; None: no limit.
        batch_size: samples in one pass, at most.

    Raises:
        UsageError: not even one sample fits.

    Cost: with a limit, two small passes.
    """
    if memory is None:
        return batch_size
    a_sample = bytes_a_sample(lambda samples: predict(model, few(x, samples)))
    what = "a copy of the parameters and one sample's pass"
    return min(batch_size, fitting(memory, kept=model_bytes(model), a_sample=a_sample, what=what))


def plan_sizes(
    model: Model,
    places: Sequence[Place],
    twins: Twins,
    *,
    points: int,
    path: bool,
    memory: int | None,
    batch_size: int,
) -> tuple[int, int]:
    """How many samples at a time go along the path, and are put back into.

    Args:
        model, places, twins: what will be run.
        points: steps of the path.
        path: whether anything goes along it.
        memory: bytes over the model and the given data; None: no limit.
        batch_size: rows in one pass, at most.

    Raises:
        UsageError: not even one sample fits.

    Cost: with a limit, two small runs of either kind.
    """
    along, back = max(1, batch_size // (points + 1)), batch_size
    if memory is None:
        return along, back
    units = sum(place.units.count for place in places)
    kept = model_bytes(model) + RESULTS * units * len(twins)

    def passes(samples: int) -> Passes:
        some = Twins(*(it[:1].repeat(samples, *[1] * (it.ndim - 1)) for it in vars(twins).values()))
        counts = [(1,)] * len(places)
        return Passes(model, places, counts, some, direction="denoise", seed=0, progress=silent)

    def follow(samples: int) -> None:
        passes(samples).attribute(points, samples)

    layers = [it.layer for it in places]
    what = "the results, a copy of the parameters and one sample's path"
    if path:
        along = min(along, fitting(memory, kept=kept, a_sample=bytes_a_sample(follow), what=what))
    what = "the results, a copy of the parameters and one sample's values"
    # what trying the resumer takes is the same for any number of samples, and more than a few take
    with torch.no_grad(), resuming(model, twins.adversarial, layers) as resumer:
        a_sample = bytes_a_sample(lambda some: passes(some).put_back(resumer, 0, some, exact=False))
    return along, min(back, fitting(memory, kept=kept, a_sample=a_sample, what=what))
