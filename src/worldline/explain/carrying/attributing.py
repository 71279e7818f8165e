"""Effects of all units of all layers from one path: ten steps, one backward pass a point.

The input goes in a straight line from the adversarial twin x' to the clean x, in P steps. Each
layer's value a then draws a curve from a' to a, and

    m_clean − m_adversarial = ∫ ∂m/∂a · da                                     (along the curve)

at every layer that cuts the network in two, which splits into a sum over its units. The integral is
taken by the trapezoidal rule over the P + 1 points: what a unit gets is

    Σ_k ∂m/∂a_u(k) · (a_u(k+1) − a_u(k−1)) / 2,    one-sided at the ends.

So one pass of P + 1 points gives all layers. The points of a sample are rows of one batch: a
layer's increments are taken when its value is there, its gradient when the backward pass comes by,
and neither is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.errors import ModelError
from worldline.explain.carrying.places import Place
from worldline.explain.carrying.units import Units
from worldline.trace import Model, logits_in
from worldline.trace.layers import gradient_of, tensor_of, value_of
from worldline.trace.values import at_least_float32
from worldline.trace.watching import watching

__all__ = ["NO_GRADIENT", "PathEffects", "margin", "path_effects", "unit_sizes"]

NO_GRADIENT = (
    "Effects along the path need gradients, and this model gives none. Pass exact=True: the units "
    "are then put back one at a time, which needs forward passes alone."
)


def margin(logits: Tensor, true: Tensor, wrong: Tensor) -> Tensor:
    """m = z_true − z_wrong of each row, (N,) in the logits' dtype, at least float32."""
    logits = at_least_float32(logits)
    return (logits.gather(1, true[:, None]) - logits.gather(1, wrong[:, None]))[:, 0]


@dataclass(frozen=True)
class PathEffects:
    """What one pass over the path of a batch gives, float64 on the CPU.

    Attributes:
        effects, sizes: of each place (N, U): the units' effects in logits, and |a − a'|.
        blind: whether a place differs between the twins, and no gradient reaches it.
        clean, adversarial: (N,) the margins of both ends.
    """

    effects: list[Tensor]
    sizes: list[Tensor]
    blind: list[bool]
    clean: Tensor
    adversarial: Tensor


def path_effects(
    model: Model,
    clean: Tensor,
    adversarial: Tensor,
    true: Tensor,
    wrong: Tensor,
    places: Sequence[Place],
    points: int,
) -> PathEffects:
    """The effects of all units of all places for one batch.

    The caller keeps the model as it was.
    """
    samples, rows = len(clean), len(clean) * (points + 1)
    effects = [torch.zeros(samples, it.units.count, dtype=torch.float64) for it in places]
    sizes = list(effects)
    blind = [False] * len(places)
    here: dict[tuple[str, int], list[int]] = {}
    for position, place in enumerate(places):
        here.setdefault((place.layer.module, place.layer.call), []).append(position)

    def visit(name: str, call: int, output: object) -> None:
        for position in here.get((name, call), ()):
            place = places[position]
            value = value_of(place.layer, output, rows)
            seen = value.detach().unflatten(0, (samples, points + 1))
            sizes[position] = unit_sizes(place.units, seen[:, 0], seen[:, -1])
            if not value.requires_grad:
                blind[position] = bool(sizes[position].any())
                continue
            steps = _increments(seen)

            def add(gradient: Tensor, position: int = position, steps: Tensor = steps) -> None:
                layer, units = places[position].layer, places[position].units
                parts = steps.mul_(gradient_of(layer, gradient).reshape(steps.shape))
                effects[position] += units.sums(parts.sum(1)).cpu()  # (N, U)

            tensor_of(place.layer, output).register_hook(add)

    weights = torch.linspace(0, 1, points + 1, device=clean.device, dtype=clean.dtype)
    shape = [1, points + 1, *[1] * (clean.ndim - 1)]
    path = torch.lerp(adversarial[:, None], clean[:, None], weights.view(shape)).flatten(0, 1)
    watched = frozenset(it.layer.module for it in places)
    with torch.enable_grad(), watching(model, visit, watched) as run:
        path.requires_grad_()
        logits = logits_in(run(path), rows)
        if not logits.requires_grad:
            raise ModelError(NO_GRADIENT)
        repeated = (it.repeat_interleave(points + 1) for it in (true, wrong))
        margins = margin(logits, *repeated)
        torch.autograd.grad(margins.sum(), path)
    ends = margins.detach().double().cpu().view(samples, -1)
    return PathEffects(effects, sizes, blind, ends[:, -1], ends[:, 0])


def unit_sizes(units: Units, one: Tensor, other: Tensor) -> Tensor:
    """(N, U) how far each unit's values (N, …) lie from others, float64 on the CPU."""
    return units.sums((one - other).double().square_()).sqrt_().cpu()


def _increments(seen: Tensor) -> Tensor:
    """(N, P + 1, …) half the way between the neighbours of each point, at least float32."""
    seen = at_least_float32(seen)
    steps = torch.empty_like(seen)
    torch.sub(seen[:, 2:], seen[:, :-2], out=steps[:, 1:-1])
    torch.sub(seen[:, 1], seen[:, 0], out=steps[:, 0])
    torch.sub(seen[:, -1], seen[:, -2], out=steps[:, -1])
    return steps.div_(2)
