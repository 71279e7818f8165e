"""From any attack to the three twins of each sample: clean, noise, adversarial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import BoundsError, ModelError, ShapeError
from worldline.settings import Bounds
from worldline.trace import Model, untouched

__all__ = ["Attack", "adversarial_twin", "noise_twin"]

BLOCK = 2**22  # numbers that are permuted at a time: their order takes 8 bytes each
Attack = Callable[[Any, Tensor, Tensor], Any]
"""``attack(model, x, y)`` → the adversarial inputs, or an object that holds them as ``.x``."""


def adversarial_twin(
    attack: Attack, model: Model, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]
) -> Float[Tensor, "N ..."]:
    """Adversarial inputs of any attack, ours or a foreign one.

    Args:
        attack: any callable ``attack(model, x, y)`` that returns a tensor like x, or an object with
            such a tensor as ``.x`` or as its first item (Foolbox's and ART's wrappers, a lambda, a
            class of your own).
        model, x, y: handed on to it.

    Returns:
        (N, …) detached. Whether the result stays in the ball and the bounds is for
        :func:`worldline.checks.check_evaluation` to say.

    Raises:
        ModelError: the attack raised, with its words. ShapeError, BoundsError: it did not return
            finite inputs like x.

    The model is left as it was even if the attack is careless (``.grad``, mode, buffers, global
    random state).

    >>> import torch, worldline as wl
    >>> x = torch.tensor([[0.2, 0.4]])
    >>> attack = lambda model, x, y: x + 0.1
    >>> wl.attacks.adversarial_twin(attack, torch.nn.Identity(), x, torch.tensor([0]))
    tensor([[0.3000, 0.5000]])
    """
    with untouched(model):
        try:
            found = attack(model, x, y)
        except Exception as error:  # the user's code: anything can come
            if type(error).__module__.startswith("worldline."):
                raise
            raise ModelError(
                f"The attack {_name(attack)} raised {type(error).__name__}: {error}."
            ) from error
    result = getattr(found, "x", found)
    if isinstance(result, (tuple, list)) and result:
        result = result[0]
    if not isinstance(result, Tensor) or result.shape != x.shape or not result.is_floating_point():
        came = (
            f"{tuple(result.shape)} {result.dtype}"
            if isinstance(result, Tensor)
            else type(result).__name__
        )
        raise ShapeError(
            f"The attack {_name(attack)} must return inputs of shape {tuple(x.shape)} {x.dtype}; "
            f"it returned {came}."
        )
    result = result.detach().to(x)
    if not bool(torch.isfinite(result).all()):
        raise BoundsError(f"The attack {_name(attack)} returned NaN or infinite inputs.")
    return result


def noise_twin(
    clean: Float[Tensor, "N ..."],
    adversarial: Float[Tensor, "N ..."],
    *,
    bounds: Bounds = (0.0, 1.0),
    generator: torch.Generator,
) -> Float[Tensor, "N ..."]:
    """Control for the adversarial twin: noise of the same norm in every Lp.

    The perturbation's entries are permuted within each sample and their signs redrawn; the sum is
    clipped to the bounds (which can only shorten it).

    Args:
        clean, adversarial: (N, …).
        bounds: lowest and highest legal value.
        generator: on the CPU.

    Returns:
        (N, …), the noise twins.

    >>> import torch, worldline as wl
    >>> clean = torch.full((1, 4), 0.5)
    >>> adversarial = clean + torch.tensor([[0.1, 0.2, 0.0, 0.0]])
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = wl.attacks.noise_twin(clean, adversarial, generator=generator)
    >>> (noise - clean).abs().sort().values
    tensor([[0.0000, 0.0000, 0.1000, 0.2000]])
    """
    noise = torch.empty_like(clean)
    rows = max(1, BLOCK // max(1, clean[0].numel()))
    for start in range(0, len(clean), rows):
        part = clean[start : start + rows]
        delta = (adversarial[start : start + rows] - part).flatten(1)
        order = torch.rand(delta.shape, generator=generator).argsort(1).to(delta.device)
        signs = torch.randint(0, 2, delta.shape, generator=generator).to(delta) * 2 - 1
        moved = part + (delta.gather(1, order) * signs).view_as(part)
        noise[start : start + rows] = moved.clamp(*bounds)
    return noise


def _name(attack: object) -> str:
    return getattr(attack, "__name__", type(attack).__name__)
