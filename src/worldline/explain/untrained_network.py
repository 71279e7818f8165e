"""The null model of a trained network: the same architecture with its weights drawn again."""

from __future__ import annotations

import copy

import torch
from torch import nn

from worldline.errors import ModelError

__all__ = ["NO_MODULE", "kept_note", "untrained", "untrained_or_note"]

NO_MODULE = "There is no untrained null: the model is a plain callable, not an nn.Module."


def untrained(model: nn.Module, *, seed: int = 0) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of the model with every module reset by its own ``reset_parameters``.

    Args:
        model: the trained model; it is not changed.
        seed: of the new weights; the global random state is not used up.

    Returns:
        The copy, and the names of the modules that hold parameters of their own but have no reset:
        those keep their trained values, as do parametrised and normed weights, and whoever reports
        the null must say so. (A ``_reset_parameters`` counts, as ``nn.MultiheadAttention`` has it.)

    Raises:
        ModelError: the model cannot be copied.

    Cost: one copy of the model.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2)
    >>> copy, kept = wl.explain.untrained(model)
    >>> torch.equal(copy.weight, model.weight), kept
    (False, ())
    """
    try:
        fresh = copy.deepcopy(model)
    except Exception as error:
        raise ModelError(
            f"The model cannot be copied for the untrained null ({type(error).__name__}: "
            f"{error}). Make it deep-copyable, or trace without the null (null=False)."
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kept = _reset(fresh)
    return fresh.eval(), kept


def untrained_or_note(
    model: object, seed: int, notes: list[str]
) -> tuple[nn.Module | None, tuple[str, ...]]:
    """:func:`untrained`, or None; the notes then say why, and else what keeps its values."""
    if not isinstance(model, nn.Module):
        notes.append(NO_MODULE)
        return None, ()
    try:
        fresh, kept = untrained(model, seed=seed)
    except ModelError as error:
        notes.append(f"There is no untrained null. {error}")
        return None, ()
    notes.extend(kept_note(kept))
    return fresh, kept


def kept_note(kept: tuple[str, ...]) -> list[str]:
    """The note on modules that keep their trained values, if there are any."""
    if not kept:
        return []
    names = ", ".join(kept)
    return [f"The untrained null keeps the trained values of {names}, which cannot be reset."]


@torch.no_grad()
def _reset(fresh: nn.Module) -> tuple[str, ...]:
    """Reset every module, and name those that keep what they had."""
    kept = []
    for name, module in fresh.named_modules():
        reset = getattr(module, "reset_parameters", None) or getattr(
            module, "_reset_parameters", None
        )
        if callable(reset):
            reset()
        if callable(reset) and not _computes_its_weight(module):
            continue
        if next(module.parameters(recurse=False), None) is not None:
            kept.append(name or type(module).__name__)
    return tuple(kept)


def _computes_its_weight(module: nn.Module) -> bool:
    """Whether an old ``weight_norm`` or ``spectral_norm`` makes its weight anew after a reset."""
    return any(
        type(hook).__name__ in ("WeightNorm", "SpectralNorm")
        for hook in module._forward_pre_hooks.values()
    )
