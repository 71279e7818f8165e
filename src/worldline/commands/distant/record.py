# units of fields
"""What ``worldline distant`` finds: one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worldline.explain import DistantStory
from worldline.runs.codec import unit
from worldline.settings import Bounds, NormName

__all__ = ["INPUTS", "DistantPairs", "MadePair"]

INPUTS = "inputs.safetensors"


@dataclass(frozen=True, kw_only=True)
class MadePair:
    """A sample that was moved until it met another at the layer, or became its opposite.

    Attributes:
        samples, labels: the one that was moved and the one to meet.
        sign: +1 to meet, −1 to become its opposite.
        epsilon, epsilon_text: how far it might go, and as it was written; None: anywhere inside the
            bounds.
        success: closer to what was aimed at than nine tenths of pairs of one class.
        rapidity_before, rapidity: φ to the one to meet; None without a direction.
        distance_before, distance: at the layer, to what was aimed at.
        same_class_closer, random_closer: share of reference pairs that are closer than that.
        input_distance: Euclidean, to the one to meet; ``input_closer``: share of random pairs that
            are closer.
        change: size of the move in the norm.
        nearest_data, usual_nearest: Euclidean distance to the nearest reference input, and what is
            usual among those.
        predictions: before, after, and of the one to meet; None without logits.
        best_step: the one that was kept.
        path_rapidity, path_distance: step by step.
        same_class_distance: 10 %, 50 % and 90 % of pairs of one class at the layer.
        shown_steps: those whose inputs are kept.
    """

    samples: tuple[int, int]
    labels: tuple[int, int]
    sign: int
    epsilon: float | None
    epsilon_text: str | None
    norm: NormName
    success: bool
    rapidity_before: float | None = unit("nats")
    rapidity: float | None = unit("nats")
    distance_before: float
    distance: float
    same_class_closer: float = unit("share")
    random_closer: float = unit("share")
    input_distance: float
    input_closer: float = unit("share")
    change: float
    nearest_data: float
    usual_nearest: float
    predictions: tuple[int | None, int | None, int | None]
    best_step: int
    path_rapidity: tuple[float | None, ...] = unit("nats")
    path_distance: tuple[float, ...]
    same_class_distance: tuple[float, float, float]
    shown_steps: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Searched:
    """What was searched, before what was found.

    Attributes:
        model, data, data_split: the model, the samples, and how their reference was set apart.
        bounds: lowest and highest legal value of an input.
        class_names: by label; None where nobody named them.
        seed: of everything random.
    """

    schema: Literal["worldline.distant/2"] = "worldline.distant/2"
    model: str
    data: str
    data_split: str
    bounds: Bounds
    class_names: tuple[str, ...] | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class DistantPairs(DistantStory, _Searched):
    """One model, searched at one layer: what :class:`worldline.explain.DistantStory` tells.

    Samples are called by their rows in what was given.

    Attributes:
        made: a pair made to order; None unless asked for.
        versions: what it was made with.
        report: the page's file.
    """

    made: MadePair | None
    versions: dict[str, str]
    report: str = "report.html"

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together, as those of a damaged file."""
        pairs, size = (*self.merged, *self.opposed), len(self.layers)
        rows = [*self.far, self.same_class, *(it.worldline for it in pairs)]
        rows += [it.untrained_worldline for it in pairs if it.untrained_worldline is not None]
        if self.classes is not None:
            rows += [cell for row in self.classes.median for cell in row]
        if any(len(row) != size for row in rows):
            raise ValueError(f"not every row of numbers is of the {size} layers")
        places = [self.layer_index, *(it.meets for it in pairs if it.meets is not None)]
        if not all(0 <= place < size for place in places):
            raise ValueError(f"a layer is named that is none of the {size}")
        if self.classes is not None:
            K = len(self.classes.labels)
            square = [self.classes.median, self.classes.count]
            if any([len(row) for row in table] != [K] * K for table in square):
                raise ValueError(f"the class map is not one of {K} classes")
        if self.made is not None and len(self.made.path_distance) != len(self.made.path_rapidity):
            raise ValueError("the way of the made pair has two lengths")
