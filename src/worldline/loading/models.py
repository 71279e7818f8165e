"""Models from a name: the zoo's, a factory with weights, or a file that holds a whole model."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from worldline import zoo
from worldline.errors import ModelError
from worldline.files import shorten
from worldline.loading.exported import load_exported
from worldline.loading.huggingface import load_huggingface
from worldline.loading.imports import ARGUMENTS, import_object, user_code
from worldline.loading.onnx_model import load_onnx
from worldline.loading.pickled import load_pickled
from worldline.loading.weights import read_weights
from worldline.settings import Progress, silent

__all__ = ["check_model_name", "load_model"]


def load_model(
    spec: str,
    weights: str | Path | None = None,
    *,
    unsafe_pickle: bool = False,
    bounds: tuple[float, float] = (0.0, 1.0),
    sample: tuple[int, ...] | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """A model by name, in eval mode.

    Args:
        spec: one of

            * a name of the zoo: ``cnn``, or ``cnn@1`` for the one of another seed;
            * ``package.module:factory`` or ``file.py:factory`` (``file.py:factory@w.safetensors``
              with weights). A factory is **code, and is run**, without arguments, and returns an
              ``nn.Module``; a module instance under that name is taken as it is;
            * ``model.pt2``, checked, written anew and tried in a child process first
              (:func:`worldline.loading.exported.load_exported`);
            * ``model.onnx``, with the extra ``[onnx]``
              (:func:`worldline.loading.onnx_model.load_onnx`); what torch cannot do of it is run
              as a black box with the extra ``[onnxruntime]``;
            * ``hf:FOLDER``, an image or text classifier, with the extra ``[hf]``; text models take
              embeddings (:func:`worldline.loading.huggingface.load_huggingface`);
            * a whole module as ``torch.save(model)`` or TorchScript has written it (``.pt``,
              ``.pth``, ``.pkl``), which **can run any code** when it is opened, and is refused
              unless ``unsafe_pickle``.
        weights: a state dict as ``.safetensors``, or as ``.pt``/``.pth`` (read with
            ``weights_only=True``, which refuses anything but tensors and plain containers). For a
            factory.
        unsafe_pickle: whether whole pickled modules may be opened.
        bounds: lowest and highest value of a pixel, for ``hf:`` models of images, whose
            preprocessing starts from black and white.
        sample: shape of one sample of the data: a file whose sizes are free is tried at this one.
        progress: is told of epochs, where a zoo model is trained first.

    Raises:
        ModelError: no such model or file, it is refused or does not fit; says which and what to do.

    >>> import worldline as wl
    >>> type(wl.loading.load_model("linear")).__name__
    'Sequential'
    """
    source, extra = check_model_name(spec)
    kind = _kind(spec)
    if weights is not None and kind in ("file", "hf"):
        raise ModelError(f"{shorten(spec)!r} brings its own weights; leave --weights out.")
    if kind == "hf":
        return load_huggingface(Path(spec.removeprefix("hf:")), bounds=bounds)
    if kind == "file":
        reader = READERS.get(Path(spec).suffix)
        if reader is None:
            return load_pickled(Path(spec), unsafe_pickle=unsafe_pickle)
        return reader(Path(spec), sample)
    if kind == "factory":
        weights = weights or extra or None
        model = _made_by(source, copied=weights is not None)
    else:
        model = zoo.load(source, seed=int(extra or 0), progress=progress)
    if weights is not None:
        _fill(model, Path(weights))
    return model.eval()


READERS: dict[str, Callable[[Path, tuple[int, ...] | None], nn.Module]] = {
    ".pt2": load_exported,
    ".onnx": load_onnx,
}
FILES = (*READERS, ".pt", ".pth", ".pkl", ".pickle")


def _kind(spec: str) -> str:
    if spec.startswith("hf:"):
        return "hf"
    if Path(spec).suffix in FILES and ":" not in Path(spec).name:
        return "file"
    return "factory" if ":" in spec else "zoo"


def check_model_name(spec: str) -> tuple[str, str]:
    """Split what comes after ``@`` from a specification, and refuse one that names nothing.

    Raises:
        ModelError: no such model of the zoo, or a seed that is no number. Factories are not looked
            for.

    >>> from worldline.loading.models import check_model_name
    >>> check_model_name("cnn@1"), check_model_name("nets.py:build@w.pt")
    (('cnn', '1'), ('nets.py:build', 'w.pt'))
    """
    kind = _kind(spec)
    if kind in ("hf", "file"):
        return spec, ""
    if kind == "factory":
        file, _, factory = spec.partition(":")
        name, _, weights = factory.partition("@")
        return f"{file}:{name}", weights
    name, _, seed = spec.partition("@")
    if name not in zoo.names():
        if Path(spec).suffix in (".safetensors", ".ckpt", ".bin"):
            raise ModelError(
                f"{shorten(spec)!r} holds weights, not a model: give the function that builds it, "
                "file.py:factory, and these as --weights (of several models, file.py:factory@them)."
            )
        near = difflib.get_close_matches(name, zoo.names(), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ModelError(
            f"There is no model {shorten(spec)!r}.{hint} The zoo has {', '.join(zoo.names())}; "
            "your own model is named as 'package.module:factory', 'file.py:factory', model.pt2, "
            "model.onnx or hf:FOLDER."
        )
    if seed and not seed.isdecimal():
        raise ModelError(f"After {name}@ comes a seed such as {name}@1; got {seed!r}.")
    return name, seed


def _made_by(spec: str, *, copied: bool) -> nn.Module:
    factory = import_object(spec)
    if isinstance(factory, nn.Module):  # its file is run once: weights would fill all that is named
        return copy.deepcopy(factory) if copied else factory
    if not callable(factory):
        raise ModelError(
            f"{spec} is a {type(factory).__name__}, not a factory that returns an nn.Module."
        )
    advice = "It is called without arguments."
    with user_code(f"The factory {spec}", advice, fits=ARGUMENTS):
        model = factory()
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"The factory {spec} must return an nn.Module; it returned {type(model).__name__}."
        )
    return model


def _as_named(state: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """Without what wrappers put before every name (``module.``, ``model.``), where names then fit.

    >>> _as_named({"module.weight": 1, "module.bias": 2}, {"weight", "bias"})
    {'weight': 1, 'bias': 2}
    """
    inner = state
    while inner and set(inner) != names:
        first = {name.partition(".")[0] for name in inner}
        if len(first) != 1 or not all("." in name for name in inner):
            return state
        inner = {name.partition(".")[2]: value for name, value in inner.items()}
    return inner


def _fill(model: nn.Module, path: Path) -> None:
    state = _as_named(read_weights(path), set(model.state_dict()))
    try:
        model.load_state_dict(state)
    except Exception as error:  # hooks of the model are called too
        lines = str(error).splitlines()
        reason = "; ".join(line.strip() for line in lines[1:4] or lines or [type(error).__name__])
        raise ModelError(
            f"The weights in {path.name} do not fit the model: {shorten(reason, 400)}"
        ) from error
