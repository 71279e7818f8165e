"""Models from a name: the zoo, or the user's factory with weights."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldline import zoo
from worldline.errors import ModelError
from worldline.loading.imports import import_object

__all__ = ["check_model_name", "load_model"]


def load_model(
    spec: str,
    weights: str | Path | None = None,
    *,
    tick: Callable[[int, int], None] = lambda _done, _total: None,
) -> nn.Module:
    """A model by name, in eval mode.

    Args:
        spec: a name of the zoo (``cnn``, or ``cnn@1`` for the one of another seed), ``package.module:factory`` or
            ``file.py:factory`` (``file.py:factory@w.safetensors`` with weights). The factory is called without
            arguments and returns an ``nn.Module``; a module instance under that name is taken as it is.
        weights: a state dict as ``.safetensors``, or as ``.pt``/``.pth`` (read with ``weights_only=True``, which
            refuses anything but tensors and plain containers).
        tick: epochs done and in all, where a zoo model is trained first.

    Raises:
        ModelError: no such model or file, the factory raises, or the weights do not fit; says which and what to do.

    >>> import worldline as wl
    >>> type(wl.loading.load_model("linear")).__name__
    'Sequential'
    """
    source, extra = check_model_name(spec)
    if ":" in spec:
        model = _made_by(source)
        weights = weights or extra or None
    else:
        model = zoo.load(source, seed=int(extra or 0), tick=tick)
    if weights is not None:
        _fill(model, Path(weights))
    return model.eval()


def check_model_name(spec: str) -> tuple[str, str]:
    """Split what comes after ``@`` from a specification, and refuse one that names nothing.

    Raises:
        ModelError: no such model of the zoo, or a seed that is no number. Factories are not looked for.

    >>> from worldline.loading.models import check_model_name
    >>> check_model_name("cnn@1"), check_model_name("nets.py:build@w.pt")
    (('cnn', '1'), ('nets.py:build', 'w.pt'))
    """
    if ":" in spec:
        file, _, factory = spec.partition(":")
        name, _, weights = factory.partition("@")
        return f"{file}:{name}", weights
    name, _, seed = spec.partition("@")
    if name not in zoo.names():
        near = difflib.get_close_matches(name, zoo.names(), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ModelError(
            f"There is no model {spec!r}.{hint} The zoo has {', '.join(zoo.names())}; your own model is named as "
            "'package.module:factory' or 'file.py:factory'."
        )
    if seed and not seed.isdecimal():
        raise ModelError(f"After {name}@ comes a seed such as {name}@1; got {seed!r}.")
    return name, seed


def _made_by(spec: str) -> nn.Module:
    factory = import_object(spec)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise ModelError(f"{spec} is a {type(factory).__name__}, not a factory that returns an nn.Module.")
    try:
        model = factory()
    except Exception as error:
        raise ModelError(
            f"The factory {spec} raised {type(error).__name__}: {error}. It is called without arguments."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"The factory {spec} must return an nn.Module; it returned {type(model).__name__}.")
    return model


def _fill(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"There is no weights file {str(path)!r}.")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        elif path.suffix in (".pt", ".pth"):
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise ModelError(f"Weights must be .safetensors, .pt or .pth; got {path.name!r}.")
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{path.name} cannot be read as a {path.suffix} state dict: {reason} Save it again with "
            "safetensors.torch.save_file(model.state_dict(), path)."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path.name} does not hold a state dict (names to tensors); it holds {type(state).__name__}.")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ModelError(f"The weights in {path.name} do not fit the model: {reason}") from error
