"""A command on what was handed over: the same run, in a folder that lives as long as its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from os import PathLike
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, TypeVar, get_args
from weakref import finalize

import numpy as np
import torch
from torch import Tensor, nn

from worldline.attacks import Budget, MadeTwins, named_norm
from worldline.commands import config_of, load
from worldline.commands.base import Result
from worldline.errors import DataError, LayerError, ModelError, ShapeError, UsageError
from worldline.inputs import Data, samples_of
from worldline.loading import hold_data
from worldline.loading.datasets import told
from worldline.runs.config import GIVEN, AttackConfig, Config, DataConfig, Handed, options_of
from worldline.runs.opening import bounded, open_data
from worldline.settings import silent
from worldline.trace import Model
from worldline.trace.opening import modules_behind

__all__ = ["call", "call_on_data", "named_models"]

MADE = "given:adversarial"
"""What a record calls an attack of which only the twins are known."""
C = TypeVar("C", bound=Config)


def call(
    command: str, options: Mapping[str, Any], hand: Callable[[Any], Config] = lambda it: it
) -> Result[Any]:
    """Run a command, and render its page where its folder is to be kept.

    Args:
        command: its name.
        options: of the configuration, and ``out`` and ``progress``; None is not given.
        hand: gives the configuration what is handed over, once its options are known to be legal.
    """
    given = {name: value for name, value in options.items() if value is not None}
    out, progress = given.pop("out", None), given.pop("progress", silent)
    with torch.inference_mode(False), torch.enable_grad():  # wherever it is called
        config = hand(config_of(command).from_text(_as_text(command, given)))
        if out is not None:
            result = load(command)(config, Path(out), progress=progress)
            result.report()
            return result
        root = Path(mkdtemp(prefix="worldline-"))
        try:
            result = load(command)(config, root / command, progress=progress)
        except BaseException:
            rmtree(root, ignore_errors=True)
            raise
    finalize(result.folder, rmtree, root, ignore_errors=True)
    return result


def call_on_data(
    command: str, models: Mapping[str, Model | str], x: Any, y: Any, options: Mapping[str, Any]
) -> Result[Any]:
    """Run a command on models, by their names, and data; the user's models are left as they were.

    Further options: ``reference`` and ``class_names`` of the data, ``adversarial`` twins, a
    callable as ``attack``.
    """
    given = {name: value for name, value in options.items() if value is not None}
    about = {it: given.pop(it, None) for it in ("reference", "class_names")}
    x = str(x) if isinstance(x, PathLike) else Batches(x) if isinstance(x, Iterator) else x
    box, arrays = _arrays(command, given)
    adversarial, attack = given.pop("adversarial", None), given.get("attack", "")
    if callable(attack):
        given["attack"] = _name_of(attack)
    if isinstance(x, str):
        given["data"] = x
    if isinstance(x, Data):
        given.setdefault("bounds", x.bounds)
    handed = {name: model for name, model in models.items() if not isinstance(model, str)}
    for it in ("layer", "layers"):
        if it in given:
            given[it] = _layers(given[it], handed.values())
    given.setdefault("device", _device_of(handed.values()))

    def hand(config: DataConfig) -> DataConfig:
        data = _data(config, x, y, about)
        data = data if box is None else _boxed(data, box)
        own = attack if callable(attack) else None
        config = replace(config, handed=Handed(models=handed, data=data, attack=own, arrays=arrays))
        if adversarial is None:
            return config
        if attack or given.get("attack_selftest"):
            raise UsageError(
                "The adversarial twins are there already; leave attack and attack_selftest out, "
                "or give the attack in their place."
            )
        assert isinstance(config, AttackConfig)
        return _with_twins(
            config, data, adversarial, whole=not isinstance(x, Data), eps="eps" in given
        )

    return call(command, given, hand)


def named_models(models: Any, name: str | None = None) -> dict[str, Model | str]:
    """Models by name: as a mapping says, else by their class, a second one as ``MLP#2``.

    Those that are text are names already, as on the command line, and keep them.

    Raises:
        ModelError: something is no model.
    """
    if isinstance(models, PathLike):
        models = str(models)
    if not isinstance(models, Mapping):
        alone = isinstance(models, str) or callable(models) or not isinstance(models, Iterable)
        found: dict[str, Model | str] = {}
        for model in [models] if alone else models:
            stem = model if isinstance(model, str) else name or _class_of(model)
            taken = sum(it.split("#")[0] == stem for it in found)
            found[f"{stem}#{taken + 1}" if taken else stem] = model
        models = found
    for key, model in models.items():
        if isinstance(model, type):
            raise ModelError(
                f"{model.__name__} is a class; hand over one of it, {model.__name__}(…)."
            )
        if not isinstance(key, str) or not (isinstance(model, str) or callable(model)):
            learnt = hasattr(model, "predict_proba")
            hint = " Wrap it: lambda x: torch.as_tensor(model.predict_proba(x.numpy()))." * learnt
            raise ModelError(
                "A model is an nn.Module, any callable that maps inputs (N, …) to outputs, or a "
                f"name as on the command line; got {told(model)}.{hint}"
            )
    return {model if isinstance(model, str) else key: model for key, model in models.items()}


class Batches:
    """What an iterator gave, to be read more than once."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def _data(config: DataConfig, x: Any, y: Any, about: Mapping[str, Any]) -> Data:
    if not isinstance(x, (str, Data)):
        return bounded(config, partial(hold_data, x, y, seed=config.seed, **about))
    given = [name for name, value in {"y": y, **about}.items() if value is not None]
    if given:
        raise DataError(f"{told(x)} brings its own labels and reference; leave {given[0]} out.")
    if isinstance(x, str):
        return open_data(config)
    if tuple(config.bounds) != tuple(x.bounds):
        raise DataError(f"The data's bounds are {x.bounds}, not {config.bounds}; leave bounds out.")
    return x


def _arrays(
    command: str, given: dict[str, Any]
) -> tuple[tuple[Tensor, Tensor] | None, dict[str, Tensor]]:
    """Bounds by feature, and the arrays among other options, whose place text takes."""
    known = {it.name: it for it in options_of(config_of(command))}
    lists = (list, tuple)
    arrays = {
        it: _tensor(given[it], it)
        for it in ("eps", "mask")
        if _is_array(given.get(it)) or isinstance(given.get(it), lists)
    }
    if "mask" in arrays and "mask" in known:
        given["mask"] = "given"
    if "eps" in arrays:
        if known["eps"].option.kind != "sizes":
            raise UsageError(f"Sizes by feature are not for {command}: give one number as eps.")
        given["eps"] = GIVEN
    if isinstance(given.get("immutable"), (list, tuple)):
        given["immutable"] = ",".join(map(str, given["immutable"]))
    bounds = given.get("bounds")
    if _is_array(bounds) and bounds.shape == (2,):  # type: ignore[union-attr]
        bounds = given["bounds"] = tuple(map(float, bounds))  # type: ignore[arg-type]
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2 or not any(map(_is_array, bounds)):
        return None, arrays
    if "mask" not in known:
        raise UsageError(f"Bounds by feature are not for {command}: give two numbers, or 'auto'.")
    low, high = (_tensor(it, "bounds") for it in bounds)
    given["bounds"] = float(low.min()), float(high.max())
    return (low, high), arrays


def _layers(layers: Any, models: Iterable[Any]) -> Any:
    """Modules by their names in the first model that has them; the rest as it is."""
    if isinstance(layers, (list, tuple)):
        return tuple(_layers(it, models) for it in layers)
    if not isinstance(layers, nn.Module):
        return layers
    for model in models:
        for behind in modules_behind(model):
            for name, module in behind.named_modules():
                if module is layers and name:
                    return name
    raise LayerError(f"No model that was given has the module {told(layers)}; name a layer.")


def _is_array(value: Any) -> bool:
    return bool(getattr(value, "ndim", 0))


def _tensor(value: Any, name: str) -> Tensor:
    """(…) float64, or bool, on the CPU."""
    try:
        if isinstance(value, Tensor):
            return value.detach().cpu()
        return torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} must hold numbers; got {told(value)}.") from error


def _boxed(data: Data, box: tuple[Tensor, Tensor]) -> Data:
    """The data with bounds by feature; whether they lie inside is for the budget to say."""
    shape = tuple(data.x.shape[1:])
    try:
        low, high = (it.to(data.x).broadcast_to(shape) for it in box)
    except RuntimeError:
        raise ShapeError(
            f"Bounds by feature must broadcast to one input, {shape}; got {tuple(box[0].shape)} "
            f"and {tuple(box[1].shape)}."
        ) from None
    Budget(0.0, bounds=(low[None], high[None])).check(torch.cat([data.x, data.reference_x]))
    return replace(data, box=(low, high))


def _with_twins(
    config: AttackConfig, data: Data, adversarial: Any, *, whole: bool, eps: bool
) -> AttackConfig:
    """With twins that were made already, and without a stated ε the largest change as ε."""
    found = getattr(adversarial, "x", adversarial)
    found = found[0] if isinstance(found, (tuple, list)) and found else found
    small = str(getattr(found, "dtype", "")).endswith("uint8")  # pixels, as x may be
    anywhere = (-torch.inf, torch.inf)
    found = found.detach().cpu() if isinstance(found, Tensor) else found
    twins, _ = samples_of(found, config.bounds if small else anywhere)
    samples = len(data.rows) + (0 if data.reference_rows is None else len(data.reference_rows))
    if twins.shape != (samples if whole else len(data.x), *data.x.shape[1:]):
        raise ShapeError(
            f"There must be one adversarial twin for each input; got {tuple(twins.shape)} for "
            f"{samples if whole else len(data.x)} inputs of shape {tuple(data.x.shape[1:])}."
        )
    twins = twins[data.rows] if whole else twins
    if not eps:
        largest = float(named_norm(config.norm).size(twins.to(data.x) - data.x).max())
        if not largest:
            raise DataError("The adversarial twins are the inputs themselves; nothing was changed.")
        config = replace(config, eps=f"{largest:.6g}")
    handed = replace(config.handed, attack=MadeTwins(data.x, twins))
    return replace(config, attack=MADE, handed=handed)


def _as_text(command: str, given: Mapping[str, Any]) -> dict[str, object]:
    """Options as a command line would give them: numbers of NumPy plain, one of several alone."""
    known = {it.name: it for it in options_of(config_of(command))}
    read = {}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"{command} has no option {name}.{hint} It has {', '.join(known)}.")
        it = known[name]
        plain = value.item() if getattr(value, "ndim", None) == 0 else value
        if it.option.kind in ("number", "sizes") and isinstance(plain, (int, float)):
            plain = repr(plain)
        if get_args(it.plain)[1:] == (...,) and isinstance(plain, str):
            plain = (plain,)
        read[name] = plain
    return read


def _name_of(attack: Any) -> str:
    """As ``package.module:callable``, of an object by its class."""
    named = attack if hasattr(attack, "__qualname__") else type(attack)
    return f"{named.__module__}:{named.__qualname__}"


def _class_of(model: Any) -> str:
    return str(getattr(model, "__name__", type(model).__name__))


def _device_of(models: Iterable[Any]) -> str | None:
    """Where the first of them computes; None where none says."""
    for model in models:
        if isinstance(model, nn.Module):
            for tensor in (*model.parameters(), *model.buffers()):
                return str(tensor.device)
    return None
