"""The numbers by sample behind every view of an exploration, for its page and its figures alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from worldline.commands.base import Result
from worldline.commands.explore.record import PAIRS, SAMPLES, Exploration, PairColumns
from worldline.commands.explore.record import SampleColumns as Samples
from worldline.errors import RunError
from worldline.explain import LayerStory, TwinStory
from worldline.geometry import length_contraction
from worldline.statistics import Share, apart, proportion, quantiles
from worldline.trace import COMPARISONS, Comparison

__all__ = [
    "SHOWN",
    "STATES",
    "TWINS",
    "Bands",
    "ClassRow",
    "Explored",
    "Flow",
    "Worldline",
    "read_explored",
]

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
SHOWN: dict[Comparison, str] = {
    "adversarial_clean": "attacked – original",
    "noise_clean": "noise – original",
    "adversarial_true": "attacked – true class",
    "adversarial_wrong": "attacked – wrong class",
}
TWINS: dict[Comparison, str] = {
    "noise_clean": "noise twin",
    "adversarial_clean": "attacked twin",
    "clean_true": "mean of the true class",
    "clean_wrong": "mean of the wrong class",
}
STATES = ("fooled", "held", "wrong by itself")
SAID = ("clean", "noise", "adversarial")
UNKNOWN = -1


@dataclass(frozen=True)
class Bands:
    """Median and quartiles by layer over the fooled samples, (L,) each; ±∞ is a value, NaN none."""

    median: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Worldline:
    """A twin's path in the frame of the clean sample, from the start: L + 1 events.

    From the first layer on where its pair is undefined, all is NaN.

    Attributes:
        place: Σ ρ, how far to the side.
        time: layers passed.
        proper: Σ sin θ, how much of the depth tells the two apart.
    """

    place: Array
    time: Array
    proper: Array


@dataclass(frozen=True)
class ClassRow:
    """Accuracy of one class, and of all others: clean, under noise, under attack."""

    label: int
    name: str
    right: dict[str, Share]
    rest: dict[str, Share]

    def apart(self, twin: str) -> int:
        """−1: worse than the other classes, +1: better, 0: the intervals overlap."""
        return apart(self.right[twin].interval, self.rest[twin].interval)


@dataclass(frozen=True)
class Flow:
    """Fooled samples of one class that became another.

    Attributes:
        by_layer: how many of them are on the wrong side for good there.
        samples: their rows in what was given.
    """

    source: str
    target: str
    count: int
    by_layer: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Explored:
    """One explored model, sample by sample.

    Attributes:
        layers: what the record, or the story, tells of each.
        class_names: by label, or None.
        rapidity, untrained: comparison → (N, L); the second is empty without an untrained network.
        samples: (N,) the row of each in what was given.
        labels: (N,); −1 where it is not known.
        said: clean, noise, adversarial → (N,) predicted class.
        wrong_side_from: (N,) the layer from which a sample is on the wrong side for good, −1:
            never.
        fooled: (N,) right, and wrong after the attack.
    """

    layers: tuple[LayerStory, ...]
    class_names: tuple[str, ...] | None
    rapidity: Mapping[Comparison, Array]
    untrained: Mapping[Comparison, Array]
    samples: Whole
    labels: Whole
    said: Mapping[str, Whole]
    wrong_side_from: Whole
    fooled: npt.NDArray[np.bool_]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def names(self) -> dict[int, str]:
        """Name by label; two classes of one name are numbered."""
        given = self.class_names
        labels = np.unique(np.concatenate([self.labels, *self.said.values()])).tolist()
        names = {
            label: given[label] if given and 0 <= label < len(given) else str(label)
            for label in labels
        }
        known = list(names.values())
        return {
            label: name if known.count(name) == 1 else f"{name} ({label})"
            for label, name in names.items()
        }

    @cached_property
    def states(self) -> Whole:
        """(N,) place in STATES."""
        return np.where(self.fooled, 0, np.where(self.said["clean"] == self.labels, 1, 2))

    def right(self, twin: str) -> Share:
        """How many samples the model gets right."""
        return _right(self.said[twin] == self.labels)

    @cached_property
    def classes(self) -> tuple[ClassRow, ...]:
        """One row for each class that occurs among the labels, in their order."""
        hit = {twin: said == self.labels for twin, said in self.said.items()}
        return tuple(
            ClassRow(
                label,
                self.names[label],
                {twin: _right(it[self.labels == label]) for twin, it in hit.items()},
                {twin: _right(it[self.labels != label]) for twin, it in hit.items()},
            )
            for label in np.unique(self.labels).tolist()
        )

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """From which class to which, the largest flow first."""
        said, layers, found = self.said["adversarial"], range(len(self.layers)), []
        pairs = set(zip(self.labels[self.fooled].tolist(), said[self.fooled].tolist(), strict=True))
        for source, target in sorted(pairs):
            own = self.fooled & (self.labels == source) & (said == target)
            lost = self.wrong_side_from[own]
            by_layer = tuple(int(((lost >= 0) & (lost <= layer)).sum()) for layer in layers)
            samples = tuple(self.samples[own].tolist())
            names = self.names[source], self.names[target]
            found.append(Flow(*names, len(samples), by_layer, samples))
        return tuple(sorted(found, key=lambda flow: -flow.count))

    def bands(self, pair: Comparison, *, untrained: bool = False) -> Bands:
        """Median and quartiles of a comparison by layer; NaN where nothing was fooled."""
        table = (self.untrained if untrained else self.rapidity)[pair][self.fooled]
        if not len(table):
            none = np.full(table.shape[1], np.nan)
            return Bands(none, none, none)
        low, median, high = quantiles(table, (0.25, 0.5, 0.75))
        return Bands(median, low, high)

    @cached_property
    def proper(self) -> dict[Comparison, Array]:
        """Twin of TWINS → (N, L) proper depth up to and with each layer; NaN once undefined."""
        return {
            twin: length_contraction(torch.tensor(self.rapidity[twin])).cumsum(1).numpy()
            for twin in TWINS
        }

    def worldline(self, sample: int, twin: Comparison) -> Worldline:
        """A sample's twin or class mean in the frame of the clean sample."""
        start, place = np.zeros(1), np.tanh(self.rapidity[twin][sample]).cumsum()
        return Worldline(
            place=np.concatenate([start, place]),
            time=np.arange(len(place) + 1.0),
            proper=np.concatenate([start, self.proper[twin][sample]]),
        )

    def typical(self, rows: Whole | None = None) -> int:
        """The fooled sample of median proper depth; where none is known, the first of them all."""
        rows = np.arange(len(self.fooled)) if rows is None else rows
        depth = np.where(self.fooled[rows], self.proper["adversarial_clean"][rows, -1], np.nan)
        if np.isnan(depth).all():
            return int(rows[0])
        return int(rows[np.nanargmin(np.abs(depth - np.nanmedian(depth)))])


def read_explored(source: Result[Exploration] | TwinStory | Explored) -> Explored:
    """The numbers of a finished run of ``explore``, or of a story.

    A story knows the label of a sample only where the model is right; elsewhere the label is −1.

    Raises:
        RunError: the run's tables are damaged.

    >>> import worldline as wl
    >>> from worldline.commands.explore.explored import read_explored
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> read_explored(story).layer_names
    ('input', 'logits')
    """
    if isinstance(source, Explored):
        return source
    return _of_story(source) if isinstance(source, TwinStory) else _of_run(source)


def _of_run(result: Result[Exploration]) -> Explored:
    record, folder = result.record, result.folder
    samples, pairs = (
        folder.read_columns(Samples, SAMPLES),
        folder.read_columns(PairColumns, PAIRS),
    )
    layers = len(record.layers)
    if len(pairs.sample) != layers * len(samples.sample) or len(samples.sample) != record.samples:
        raise RunError(
            f"{PAIRS} in {folder.path} does not have {layers} layers of {record.samples} samples: "
            "it is damaged. Make the run again."
        )
    with_null = record.untrained_proper_depth is not None
    return Explored(
        layers=record.layers,
        class_names=record.class_names,
        rapidity={name: pairs.rapidity(name, layers) for name in COMPARISONS},
        untrained={
            name: pairs.rapidity(name, layers, untrained=True)
            for name in (COMPARISONS if with_null else ())
        },
        samples=samples.sample,
        labels=samples.label,
        said={
            "clean": samples.clean_prediction,
            "noise": samples.noise_prediction,
            "adversarial": samples.adversarial_prediction,
        },
        wrong_side_from=samples.wrong_side_from,
        fooled=samples.fooled.astype(bool),
    )


def _of_story(story: TwinStory) -> Explored:
    said = {twin: it.numpy() for twin, it in story.trace.predictions.items()}
    null = story.untrained_trace
    return Explored(
        layers=story.layers,
        class_names=None,
        rapidity={name: it.numpy() for name, it in story.trace.rapidity.items()},
        untrained={} if null is None else {name: it.numpy() for name, it in null.rapidity.items()},
        samples=story.rows.numpy(),
        labels=np.where(story.misclassified.numpy(), UNKNOWN, said["clean"]),
        said=said,
        wrong_side_from=story.wrong_side_from.numpy(),
        fooled=story.fooled.numpy(),
    )


def _right(hit: npt.NDArray[np.bool_]) -> Share:
    return proportion(int(hit.sum()), len(hit))
