# ruff: noqa: RUF009  # units of fields
"""What ``worldline carriers`` finds: one frozen record, and tables by unit and by sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from worldline.explain import ClassPairs, LayerFinding, UnitKind
from worldline.runs.codec import unit
from worldline.settings import Bounds, NormName
from worldline.statistics import Share

__all__ = [
    "SAMPLES",
    "SHOWN",
    "UNITS",
    "CarriersReport",
    "Direction",
    "Entry",
    "Mapped",
    "ModelCarriers",
    "SampleColumns",
    "Shown",
    "UnitColumns",
]

UNITS, SAMPLES, SHOWN = "units.parquet", "samples.parquet", "shown.safetensors"
Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Direction = Literal["denoise", "noise"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A part of an input that is no picture.

    Attributes:
        name: of the column, or its number.
        clean, adversarial: its two values; None where it has several, as a token has.
        effect: of putting it back alone.
    """

    name: str
    clean: float | None
    adversarial: float | None
    effect: float = unit("logits")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One fooled sample, as it is shown.

    Attributes:
        sample: its row in what was given.
        label, wrong: its class, and what the model says of its attacked twin.
        units: of the input's parts, those of largest effect, so many were exchanged: the fewest of
            those tried that change the answer, or else half of them.
        answer: what the model says then.
        entries: the parts of largest effect, where the input is no picture.
    """

    sample: int
    label: int
    wrong: int
    units: int
    answer: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Effects by place at a layer, of the samples shown: a tensor (S, H, W) beside the record.

    Attributes:
        layer, by, grid: where, of what, and how they lie.
        tensor: its name in the file of tensors.
    """

    layer: str
    by: UnitKind
    grid: tuple[int, int]
    tensor: str


@dataclass(frozen=True, kw_only=True)
class ModelCarriers:
    """What carries an attack on one model.

    Attributes:
        samples, fooled, used: how many were attacked, how many of them are right and fooled, and
            how many of these everything here is about.
        direction: ``denoise``: original parts into the attacked run; ``noise``: the reverse.
        exact, points: whether each part was exchanged alone; steps of the path, None without one.
        layers: what was found at each; those of heads come last.
        features: names of the columns of a table, None elsewhere.
        shown, maps: some fooled samples, and where on the picture it sits, by layer, the input's
            own first; none where inputs are no pictures.
        notes: what a reader must know before believing it.
    """

    samples: int
    fooled: int = unit("samples")
    used: int = unit("samples")
    direction: Direction
    exact: bool
    points: int | None
    layers: tuple[LayerFinding, ...]
    features: tuple[str, ...] | None
    shown: tuple[Shown, ...]
    maps: tuple[Mapped, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CarriersReport:
    """The record of a run.

    Attributes:
        model, data, data_split: what was looked at, and how its reference was set apart.
        bounds: lowest and highest legal value of an input.
        epsilon, epsilon_text: radius of the attack in the inputs' units, and as it was written.
        norm, attack, steps: of the attack; no steps where it has none of its own.
        seed: of everything random.
        clean_accuracy, adversarial_accuracy: of all samples.
        found: what carries the attack.
        pairs: what carries one class into another; None where no pair has enough fooled samples.
        class_names: by label; None where nobody named them.
        notes: what must be known of the data.
        versions: of the programs that made it.
    """

    schema: Literal["worldline.carriers/1"] = "worldline.carriers/1"
    model: str
    data: str
    data_split: str
    bounds: Bounds
    epsilon: float
    epsilon_text: str
    norm: NormName
    attack: str
    steps: int | None
    seed: int
    clean_accuracy: Share
    adversarial_accuracy: Share
    found: ModelCarriers
    pairs: ClassPairs | None
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class UnitColumns:
    """One row for each layer and unit.

    Attributes:
        layer, by, number: which.
        effect: mean over the fooled samples; ``effect_size``: mean of its size.
        change: mean |a − a'|.
        first: share of samples in which no other unit has a larger effect.
    """

    schema: Literal["worldline.carriers/1"] = field(default="worldline.carriers/1", init=False)
    layer: npt.NDArray[np.str_]
    by: npt.NDArray[np.str_]
    number: Whole
    effect: Array = unit("logits")
    effect_size: Array = unit("logits")
    change: Array
    first: Array = unit("share")


@dataclass(frozen=True, kw_only=True)
class SampleColumns:
    """One row for each fooled sample.

    Attributes:
        sample: its row in what was given.
        label, wrong: its class, and what the model says of its attacked twin.
        margin_clean, margin_adversarial: logit of the label less that of the wrong class.
    """

    schema: Literal["worldline.carriers/1"] = field(default="worldline.carriers/1", init=False)
    sample: Whole
    label: Whole
    wrong: Whole
    margin_clean: Array = unit("logits")
    margin_adversarial: Array = unit("logits")
