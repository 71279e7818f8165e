"""One function for each command; what it computes stands in the command's own folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Unpack

from worldline.calls.calling import call, call_on_data, named_models
from worldline.calls.options import (
    CarriersOptions,
    CompareOptions,
    ComplexityOptions,
    DistantOptions,
    DoctorOptions,
    EncodeOptions,
    ExploreOptions,
)
from worldline.commands.base import Result
from worldline.commands.carriers.record import CarriersReport
from worldline.commands.compare.record import Comparison
from worldline.commands.complexity.record import ComplexityReport
from worldline.commands.distant.record import DistantPairs
from worldline.commands.doctor.record import Diagnosis
from worldline.commands.encode.config import EncodeConfig
from worldline.commands.encode.record import EncoderReport
from worldline.commands.explore.record import Exploration
from worldline.loading import hold_embeddings, hold_picture
from worldline.runs.config import Handed
from worldline.trace import Model

__all__ = ["carriers", "compare_models", "complexity", "distant", "doctor", "encode", "explore"]

Models = Mapping[str, Model | str] | Sequence[Model | str] | Model | str


def explore(
    model: Model | str, x: Any, y: Any = None, **options: Unpack[ExploreOptions]
) -> Result[Exploration]:
    """Attack a model and follow the twins through its layers: ``worldline explore``, in one call.

    Args:
        model: an ``nn.Module`` (or any callable) that maps inputs to logits; it is left as it was,
            where it is. Text is a name as on the command line.
        x, y: inputs (N, …) and labels (N,), tensors or arrays; or x alone: a ``DataLoader`` or
            ``Dataset`` of (x, y), a :class:`worldline.inputs.Data`, or text as for ``--data``.
        options: those of the command, by the same names (``eps``, ``norm``, ``attack`` also as a
            callable, ``steps``, ``layers``, ``bounds``, ``samples``, ``seed``, …, see
            ``worldline explore --help``); and

            * ``adversarial``: twins of x that were made already, a tensor or what an attack
              returned; ε is then their largest change, unless ``eps`` says it;
            * ``reference``: (x, y) that no attack sees; without it every second sample becomes it;
            * ``class_names``, ``name`` (of the model), ``progress``;
            * ``out``: a folder to keep; without it the run's folder goes with the result.

    Returns:
        A result: ``.record`` is the command's record, ``.to_frame()`` its layers (or ``samples``,
        ``pairs``) for pandas, ``.report()`` writes the page, ``.folder`` holds tables and tensors;
        a notebook shows the page.

    Raises:
        UsageError, InputError: what was given cannot be used; before any work.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.explore(model, data.x, data.y, samples=60, steps=5)
    >>> found.record.samples, [layer.name for layer in found.record.layers]
    (60, ['input', 'logits'])
    >>> attacked = wl.attacks.FGSM(epsilon=0.1)(model, data.x, data.y)
    >>> wl.explore(model, data.x, data.y, adversarial=attacked, samples=60).record.epsilon_text
    '0.1'
    """
    return _on_one("explore", model, x, y, options)


def carriers(
    model: Model | str, x: Any, y: Any = None, **options: Unpack[CarriersOptions]
) -> Result[CarriersReport]:
    """Which parts of a model, and of its inputs, carry an attack? ``worldline carriers``.

    Args, returns, raises: as :func:`explore`, with the options of ``worldline carriers --help``;
    ``.to_frame()`` has a row for each layer, ``.to_frame("units")`` one for each of its parts.
    The numbers alone, of twins that are there already: :func:`worldline.explain.carriers`.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("mlp"), wl.zoo.digits()
    >>> found = wl.carriers(model, data.x, data.y, samples=40, steps=5)
    >>> [layer.name for layer in found.record.found.layers][:2]
    ['input', 'relu1']
    """
    return _on_one("carriers", model, x, y, options)


def doctor(
    model: Model | str, x: Any, y: Any = None, **options: Unpack[DoctorOptions]
) -> Result[Diagnosis]:
    """Is the number that an attack on this model gives to be believed? ``worldline doctor``.

    Args, returns, raises: as :func:`explore`, with the options of ``worldline doctor --help``;
    ``.to_frame()`` has a row for each check.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.doctor(model, data.x, data.y, samples=60, attack="fgsm", eps=0.05)
    >>> found.record.clean_accuracy > found.record.adversarial_accuracy
    True
    """
    return _on_one("doctor", model, x, y, options)


def distant(
    model: Model | str, x: Any, y: Any = None, **options: Unpack[DistantOptions]
) -> Result[DistantPairs]:
    """Far-apart inputs of different labels that are one to a model: ``worldline distant``.

    Args, returns, raises: as :func:`explore`, with the options of ``worldline distant --help``;
    ``.to_frame()`` has a row for each pair found.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.distant(model, data.x, data.y, samples=100, pairs=2, nulls=0)
    >>> len(found.record.merged), found.record.layer
    (2, 'input')
    """
    return _on_one("distant", model, x, y, options)


def complexity(
    models: Models, x: Any, y: Any = None, **options: Unpack[ComplexityOptions]
) -> Result[ComplexityReport]:
    """Complexity by layer, and how many answers noise changes: ``worldline complexity``.

    Args:
        models: one, several, or by name: ``{"before": model, "after": other}``.
        x, y, options: as for :func:`explore`, with the options of ``worldline complexity --help``.

    Returns, raises: as :func:`explore`; ``.to_frame()`` has a row for each model and layer.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.complexity({"mine": model}, data.x, data.y, samples=60)
    >>> found.record.models[0].model
    'mine'
    """
    return _on_several("complexity", models, x, y, options)


def compare_models(
    models: Models, x: Any, y: Any = None, **options: Unpack[CompareOptions]
) -> Result[Comparison]:
    """Which attacks carry over from model to model: ``worldline compare``, in one call.

    It is called so as ``wl.compare`` is the room with the parts of it (``predict``, ``measure``).

    Args:
        models: at least two, also black boxes: a list, or by name ``{"mine": model, "cnn": "cnn"}``
            (text is a name as on the command line).
        x, y, options: as for :func:`explore`, with the options of ``worldline compare --help``;
            nothing is attacked without ``measure=True``.

    Returns, raises: as :func:`explore`; ``.to_frame()`` has a row for each ordered pair of models.

    >>> import worldline as wl
    >>> both = {"mine": wl.zoo.load("linear"), "other": wl.zoo.load("mlp")}
    >>> data = wl.zoo.digits()
    >>> wl.compare_models(both, data.x, data.y, probed_samples=20).record.models
    ('mine', 'other')
    """
    return _on_several("compare", models, x, y, options)


def encode(
    experiment: str,
    *,
    data: Any = None,
    image: Any = None,
    receiver: Any = None,
    **options: Unpack[EncodeOptions],
) -> Result[EncoderReport]:
    """The paper's encoder, an experiment by name or ``all``: ``worldline encode``, in one call.

    Args:
        experiment: as for the command.
        data: for ``pairs``: (a, b), (N, D) each, row i of b matching row i of a; or the name of an
            ``.npz`` with them.
        image: the message of ``image``, ``reconcile``, ``uniform`` and ``pictures``: a grey picture
            (H, W) in 0…1 or of bytes; or the name of a file.
        receiver: for ``pictures``: another of the same size, which the receiver holds.
        options: those of ``worldline encode --help``, ``out`` and ``progress``.

    Returns, raises: as :func:`explore`; ``.to_frame()`` holds the numbers of the figure.

    >>> import worldline as wl
    >>> wl.encode("dilation", pairs=5).record.agrees
    True
    """
    pictures = {"image": image, "receiver": receiver}
    files = {"data": data, **pictures}
    named = {key: value for key, value in files.items() if isinstance(value, str)}

    def hand(config: EncodeConfig) -> EncodeConfig:
        pairs = (
            None if data is None or isinstance(data, str) else hold_embeddings(data, config.seed)
        )
        held: dict[str, Any] = {
            key: hold_picture(value)
            for key, value in pictures.items()
            if value is not None and not isinstance(value, str)
        }
        return replace(config, handed=Handed(data=pairs, **held))

    return call("encode", {**options, **named, "name": experiment}, hand)


def _on_one(command: str, model: Any, x: Any, y: Any, options: Mapping[str, Any]) -> Result[Any]:
    given = dict(options)
    model = str(model) if isinstance(model, PathLike) else model
    models = named_models([model], given.pop("name", None))
    return call_on_data(command, models, x, y, {**given, "model": next(iter(models))})


def _on_several(
    command: str, models: Any, x: Any, y: Any, options: Mapping[str, Any]
) -> Result[Any]:
    named = named_models(models)
    return call_on_data(command, named, x, y, {**options, "models": tuple(named)})
