"""The options of each command as keyword arguments, for type checkers and editors.

A test holds them to the fields of the configurations, where default, limits and help are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from worldline.attacks import Attack
from worldline.settings import Bounds, FrameName, NormName, Progress, Tokens

__all__ = [
    "CompareOptions",
    "ComplexityOptions",
    "DistantOptions",
    "DoctorOptions",
    "EncodeOptions",
    "ExploreOptions",
]


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
    bounds: Bounds
    samples: int
    batch_size: int
    device: str
    unsafe_pickle: bool


class NamedOptions(TypedDict, total=False):
    """Of a call on one model: ``name`` is what it is called, by default its class."""

    name: str | None
    weights: str


class BallOptions(DataOptions, total=False):
    """Of a call that attacks; ``attack`` is one by name, or any ``attack(model, x, y)``."""

    eps: float | str
    norm: NormName
    attack: str | Attack
    steps: int


class ExploreOptions(BallOptions, NamedOptions, total=False):
    """Of :func:`worldline.explore`."""

    mask: str
    immutable: str
    adversarial: Any
    layers: str | Sequence[str]
    frame: FrameName
    tokens: Tokens
    memory: str


class DoctorOptions(BallOptions, NamedOptions, total=False):
    """Of :func:`worldline.doctor`."""

    mask: str
    immutable: str
    adversarial: Any
    thorough: bool
    attack_selftest: bool


class ComplexityOptions(BallOptions, total=False):
    """Of :func:`worldline.complexity`."""

    adversarial: Any
    sigma: float | str
    layers: str | Sequence[str]
    frame: FrameName


class DistantOptions(DataOptions, NamedOptions, total=False):
    """Of :func:`worldline.distant`."""

    layer: str
    pairs: int
    frame: FrameName
    input_quantile: float
    search: Literal["exact", "approximate"]
    nulls: int
    make: tuple[int, int] | None
    opposite: bool
    eps: float | str
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
