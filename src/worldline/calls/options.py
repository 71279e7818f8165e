"""The options of each command as keyword arguments, for type checkers and editors.

A test holds them to the fields of the configurations, where default, limits and help are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from torch import nn

from worldline.attacks import Attack
from worldline.settings import Bounds, FrameName, NormName, Progress, Tokens

__all__ = [
    "CarriersOptions",
    "CompareOptions",
    "ComplexityOptions",
    "DistantOptions",
    "DoctorOptions",
    "EncodeOptions",
    "ExploreOptions",
]


Layers = str | nn.Module | Sequence[str | nn.Module]


class RunOptions(TypedDict, total=False):
    """Of every call: ``out`` is a folder that is kept, ``progress`` is told of every stage."""

    out: str | Path | None
    progress: Progress
    seed: int


class DataOptions(RunOptions, total=False):
    """Of a call on data: ``reference`` is (x, y) that no attack sees."""

    reference: tuple[Any, Any] | None
    class_names: Sequence[str] | None
    image_size: int
    bounds: Bounds | tuple[Any, Any] | Literal["auto"]
    samples: int
    batch_size: int
    device: str
    unsafe_pickle: bool


class NamedOptions(TypedDict, total=False):
    """Of a call on one model: ``name`` is what it is called, by default its class."""

    name: str | None
    weights: str


class BallOptions(DataOptions, total=False):
    """Of a call that attacks; ``attack`` is one by name, or any ``attack(model, x, y)``.

    ``explore``, ``doctor`` and ``distant`` take ``eps``, ``mask`` and ``bounds`` by feature, too:
    arrays with the shape of one input, or one that broadcasts to it.
    """

    eps: Any
    norm: NormName
    attack: str | Attack
    steps: int


class ExploreOptions(BallOptions, NamedOptions, total=False):
    """Of :func:`worldline.explore`."""

    mask: Any
    immutable: str | Sequence[str | int]
    adversarial: Any
    layers: Layers
    frame: FrameName
    tokens: Tokens
    memory: str


class CarriersOptions(BallOptions, NamedOptions, total=False):
    """Of :func:`worldline.carriers`; ``pair`` is ``"true>wrong"``, or several."""

    mask: str
    immutable: str
    adversarial: Any
    layers: str | Sequence[str]
    by: Literal["auto", "channel", "position", "token", "head", "neuron", "pixel"]
    pair: str | Sequence[str]
    exact: bool
    direction: Literal["denoise", "noise"]
    points: int
    memory: str


class DoctorOptions(BallOptions, NamedOptions, total=False):
    """Of :func:`worldline.doctor`."""

    mask: Any
    immutable: str | Sequence[str | int]
    adversarial: Any
    thorough: bool
    attack_selftest: bool


class ComplexityOptions(BallOptions, total=False):
    """Of :func:`worldline.complexity`."""

    adversarial: Any
    sigma: float | str
    layers: Layers
    frame: FrameName


class DistantOptions(DataOptions, NamedOptions, total=False):
    """Of :func:`worldline.distant`."""

    layer: str | nn.Module
    pairs: int
    frame: FrameName
    input_quantile: float
    search: Literal["exact", "approximate"]
    nulls: int
    make: tuple[int, int] | None
    opposite: bool
    mask: Any
    immutable: str | Sequence[str | int]
    eps: Any
    norm: NormName
    steps: int


class CompareOptions(BallOptions, total=False):
    """Of :func:`worldline.compare_models`."""

    zoo: str
    measure: bool
    probed_samples: int
    probes: int


class EncodeOptions(RunOptions, total=False):
    """Of :func:`worldline.encode`."""

    setting: Literal["published", "quick"]
    candidates: int | None
    width: int | None
    depth: int | None
    dimension: int | None
    pairs: int | None
    vectors: int | None
    trials: int | None
    steps: int | None
    rounds: int | None
    speed: float | None
    strength: float | None
    rate: float | None
    target: float | None
    margin: float | None
