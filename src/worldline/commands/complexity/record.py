"""What ``worldline complexity`` finds: one model after the other, and how they rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from worldline.explain import Complexity, Fragility
from worldline.settings import Bounds, NormName
from worldline.statistics import Share

__all__ = ["SAMPLES", "ComplexityReport", "ModelComplexity", "SampleColumns"]

SAMPLES = "samples.parquet"


@dataclass(frozen=True, kw_only=True)
class ModelComplexity(Complexity):
    """One model: its complexity, and how many of its answers noise changes.

    Attributes:
        model: as it was named.
        clean_accuracy: of a clean forward pass.
        adversarial_accuracy: on the adversarial twins; None where none were made.
        fragility: by the noise probe, which ranks models.
        aimed: by the aimed probe, which ranks samples; None under 20 samples.
    """

    model: str
    clean_accuracy: Share
    adversarial_accuracy: Share | None
    fragility: Fragility
    aimed: Fragility | None


@dataclass(frozen=True, kw_only=True)
class ComplexityReport:
    """The record of a run.

    Attributes:
        data, data_split, bounds: what it was measured on, and its legal range.
        epsilon_text, attack, norm, steps: of the adversarial twins; None where none were made.
        seed: of everything random.
        models: in the order in which they were given.
        ranking: their places by the share of answers that noise changes, the largest first.
        notes: what must be known of the data; each model has notes of its own.
        versions: of the programs that made it.
    """

    schema: Literal["worldline.complexity/2"] = "worldline.complexity/2"
    data: str
    data_split: str
    bounds: Bounds
    epsilon_text: str | None
    attack: str | None
    norm: NormName | None
    steps: int | None
    seed: int
    models: tuple[ModelComplexity, ...]
    ranking: tuple[int, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]

    @property
    def ranked(self) -> tuple[ModelComplexity, ...]:
        """The models in the order of ``ranking``."""
        return tuple(self.models[place] for place in self.ranking)


@dataclass(frozen=True, kw_only=True)
class SampleColumns:
    """One row for each model and sample; the smallest radii are the most fragile.

    Attributes:
        model, sample: which; a sample by its row in what was given.
        prediction: the model's answer (under 20 samples that of the mean of both noisy outputs);
            −1 where an output is not finite.
        radius_linf, radius_l2: estimated, in the units of the input; NaN where there is none.
    """

    schema: Literal["worldline.complexity/2"] = "worldline.complexity/2"
    model: npt.NDArray[np.str_]
    sample: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.int64]
    radius_linf: npt.NDArray[np.float64]
    radius_l2: npt.NDArray[np.float64]
