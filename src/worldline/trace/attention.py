"""Attention heads: where their outputs stand side by side, before the projection that mixes them.

A head is a slice of what the output projection reads. ``nn.MultiheadAttention`` reads its
projection's weights without calling it, so it is made to call it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

__all__ = ["attentions_in", "heads_apart"]

HEADS = "num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads"
PROJECTIONS = "out_proj", "o_proj", "proj", "c_proj", "out_lin", "to_out.0", "to_out", "wo"
"""What libraries call the projection: torch and CLIP, Llama, timm, GPT-2, DistilBERT, diffusers."""
BESIDE = "output.dense"
"""Of ViT and BERT in transformers: beside the attention, and not in it."""

APART: WeakSet[nn.MultiheadAttention] = WeakSet()
"""Those that call their projection just now."""


@contextmanager
def heads_apart(attentions: Sequence[nn.MultiheadAttention]) -> Iterator[None]:
    """Let these attentions call their output projection, with the same answer to the bit.

    They compute with the identity in its place, and then call it as a module, whose hooks run.
    """
    closed = [module for module in attentions if module not in APART]
    before = [(vars(module), dict(vars(module))) for module in closed]
    try:
        for module in closed:
            instead = functools.partial(_project, module, module.forward)
            module.forward = instead  # type: ignore[method-assign]
            APART.add(module)
        yield
    finally:
        APART.difference_update(closed)
        for now, then in before:
            now.pop("forward", None)
            now.update(then)


def _project(attention: nn.MultiheadAttention, forward: Any, *given: Any, **named: Any) -> Any:
    projection = attention.out_proj
    attention._modules["out_proj"] = _Identity(projection.weight)
    try:
        output, weights = forward(*given, **named)
    finally:
        attention._modules["out_proj"] = projection
    turned = attention.batch_first and output.ndim == 3
    made = projection(output.transpose(0, 1) if turned else output)
    return (made.transpose(0, 1) if turned else made), weights


class _Identity(nn.Module):
    """Weights of a projection that hands on what it reads."""

    bias = None

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.weight = torch.eye(len(like), dtype=like.dtype, device=like.device)


def attentions_in(root: nn.Module) -> Iterator[tuple[str, str, int]]:
    """Every attention: its name, the name of its output projection, its number of heads.

    A module with a number of heads (:data:`HEADS`) and, in it or beside it, a projection. The
    number may stand in its ``config``, as transformers have it.

    >>> from torch import nn
    >>> from worldline.trace.attention import attentions_in
    >>> list(attentions_in(nn.TransformerEncoderLayer(8, 2, 16)))
    [('self_attn', 'self_attn.out_proj', 2)]
    """
    modules = dict(root.named_modules())
    taken: set[str] = set()
    for name, module in modules.items():
        heads = _heads(module)
        parent = name.rpartition(".")[0]
        inside = [f"{name}.{part}".removeprefix(".") for part in PROJECTIONS]
        beside = f"{parent}.{BESIDE}".removeprefix(".")
        found = next((it for it in (*inside, beside) if _is_matrix(modules.get(it))), None)
        if heads and found and found not in taken:
            taken.add(found)
            yield name, found, heads


def _heads(module: nn.Module) -> int:
    """How many heads a module says that it has; an attention may say it in its settings."""
    known = dict(vars(module))
    if "attention" in type(module).__name__.lower():
        known = {**getattr(known.get("config"), "__dict__", {}), **known}
    return next((it for it in map(known.get, HEADS) if type(it) is int and it > 0), 0)


def _is_matrix(module: nn.Module | None) -> bool:
    return module is not None and getattr(getattr(module, "weight", None), "ndim", 0) == 2
