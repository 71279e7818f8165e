"""Generators from seeds, apart from those with which the same seed drew the data.

Data and layers must be independent, or no law holds. Who draws features with ``manual_seed(0)`` and
fits an encoder with ``seed=0`` would feed both from one stream, so a seed is moved by a fixed
bijection before it is used.
"""

from __future__ import annotations

import torch

__all__ = ["make_generator", "spawn_generator"]


def make_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator of a seed, its stream another than that of ``torch.Generator().manual_seed(seed)``.

    seed ↦ (a·seed + c) mod 2⁶⁴ with a odd: no two seeds meet, in the low 32 bits either, which are
    all that the CPU uses.

    Args:
        seed: any integer; beyond 64 bits it wraps.
        device: where the generator draws.

    >>> import torch
    >>> from worldline.encoder.seeds import make_generator
    >>> plain = torch.Generator().manual_seed(0)
    >>> torch.equal(torch.rand(2, generator=plain), torch.rand(2, generator=make_generator(0)))
    False
    """
    moved = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) % 2**64
    return torch.Generator(device).manual_seed(moved)


def spawn_generator(
    generator: torch.Generator, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator of its own, from one number of another.

    >>> import torch
    >>> from worldline.encoder.seeds import spawn_generator
    >>> parent = torch.Generator().manual_seed(0)
    >>> one, two = spawn_generator(parent), spawn_generator(parent)
    >>> torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=two))
    False
    """
    return make_generator(
        int(torch.randint(2**62, (), device=generator.device, generator=generator)), device
    )
