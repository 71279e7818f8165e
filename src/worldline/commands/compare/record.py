# ruff: noqa: RUF009  # units of fields
"""What ``worldline compare`` finds: one frozen record, and a table of model pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worldline.compare import Ensemble, Failure, Judgement, Surrogate
from worldline.compare.models import Kind
from worldline.compare.seeing import Sight
from worldline.runs.codec import unit
from worldline.settings import Bounds, NormName

__all__ = ["MATRICES", "RIVALS", "Comparison", "Intervals", "Matrix", "PairRow"]

Matrix = tuple[tuple[float | None, ...], ...]
Intervals = tuple[tuple[tuple[float, float] | None, ...], ...]
MATRICES = {
    "similarity": "alike to small changes (mean cosine)",
    "predicted": "expected rate",
    "measured": "measured rate",
    "same_mistake": "same mistake as the source, beyond noise",
    "noise_rate": "lost to noise of the same size",
}
"""Matrices of a comparison, by name: a row for each source, a column for each target."""
RIVALS = {
    "gradient_cosine": "input-gradient cosine",
    "feature_cka": "CKA of features",
    "logit_cka": "CKA of logits",
    "agreement": "agreement of predictions",
}
"""What the prediction is judged beside, by name."""


@dataclass(frozen=True)
class PairRow:
    """One ordered pair of models; None where it is unknown or was not measured."""

    source: str
    target: str
    similarity: float | None
    similarity_interval: tuple[float, float] | None
    predicted: float | None = unit("share")
    predicted_interval: tuple[float, float] | None = unit("share")
    measured: float | None = unit("share", default=None)
    measured_interval: tuple[float, float] | None = unit("share", default=None)
    noise_rate: float | None = unit("share", default=None)
    same_mistake: float | None = unit("share", default=None)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several models: what they share, and what attacks carry over.

    Matrices have a row for each source and a column for each target; None is unknown.

    Attributes:
        models, kinds: names, and what each answers: logits, probabilities or labels.
        sights: how each is seen: ``white`` (it gives gradients) or ``black``.
        data, data_split, samples: what they were compared on.
        bounds, epsilon, epsilon_text, norm, seed: of the attack that is predicted.
        probed_samples, probes: what the prediction rests on.
        predicted, predicted_interval: expected rates beyond noise.
        similarity, similarity_interval: mean cosine of input gradients where all models give them,
            of displacements else.
        order, tree: of the models, neighbours share most; (left, right, height) of each join.
        surrogates: target → stand-ins, the best first.
        ensembles: those that share least, by size.
        attack, steps: of the measurement; None without one.
        measured, measured_interval, noise_rate, same_mistake: rates beyond noise, and the noise's.
        accuracy: of each model.
        judge: None without a measurement, or with too few models.
        failures: models that dropped out, and why.
        notes: what a reader must know before believing it.
        versions: what it was made with.
        report: the page's file.
    """

    schema: Literal["worldline.compare/3"] = "worldline.compare/3"
    models: tuple[str, ...]
    kinds: tuple[Kind, ...]
    sights: tuple[Sight, ...]
    data: str
    data_split: str
    samples: int
    bounds: Bounds
    epsilon: float
    epsilon_text: str
    norm: NormName
    seed: int
    probed_samples: int
    probes: int
    predicted: Matrix = unit("share")
    predicted_interval: Intervals = unit("share")
    similarity: Matrix
    similarity_interval: Intervals
    order: tuple[int, ...]
    tree: tuple[tuple[int, int, float], ...]
    surrogates: Mapping[str, tuple[Surrogate, ...]]
    ensembles: tuple[Ensemble, ...]
    attack: str | None = None
    steps: int | None = None
    measured: Matrix | None = unit("share", default=None)
    measured_interval: Intervals | None = unit("share", default=None)
    noise_rate: Matrix | None = unit("share", default=None)
    same_mistake: Matrix | None = unit("share", default=None)
    accuracy: tuple[float | None, ...] | None = unit("share", default=None)
    judge: Judgement | None = None
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    report: str = "report.html"

    @property
    def white(self) -> bool:
        """Whether all models gave gradients."""
        return set(self.sights) == {"white"}

    @property
    def ordered(self) -> tuple[str, ...]:
        """Names in the order of the tree."""
        return tuple(self.models[place] for place in self.order)

    def matrix(self, name: str) -> Matrix | None:
        """One of :data:`MATRICES`, its rows and columns in the order of the tree; None without."""
        table: Matrix | None = getattr(self, name)
        if table is None:
            return None
        return tuple(tuple(table[row][column] for column in self.order) for row in self.order)
