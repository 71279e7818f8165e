"""The numbers behind every view of an explored model, for the page and for Matplotlib alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from worldline.errors import RunError
from worldline.explain import TwinStory
from worldline.plot.classes import ClassRow, Flow, class_flows, class_rows
from worldline.plot.names import tidy
from worldline.runs import RunFolder, layer_documents
from worldline.trace import COMPARISONS

__all__ = ["PAIRS", "STATES", "TWINS", "Bands", "Explored", "Worldline", "read_explored"]

PAIRS = {
    "adversarial_clean": "adversarial – clean",
    "noise_clean": "noise – clean",
    "adversarial_true": "adversarial – true class",
    "adversarial_wrong": "adversarial – wrong class",
}
TWINS = {
    "noise_clean": "noise twin",
    "adversarial_clean": "adversarial twin",
    "clean_true": "mean of the true class",
    "clean_wrong": "mean of the wrong class",
}
STATES = ("fooled", "held", "wrong by itself")
EXPLORED = "worldline.explore/"
UNKNOWN = -1
Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bands:
    """Median and quartiles by layer over the fooled samples, (L,) each; ±∞ is a value, NaN is
    none.
    """

    median: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Worldline:
    """A twin's path in the frame of the clean sample, from the start: L + 1 events.

    Attributes:
        place: Σ ρ, how far to the side; ``time``: layers passed.
        proper: Σ sin θ, how much of the depth the two are told apart.
    """

    place: Array
    time: Array
    proper: Array


@dataclass(frozen=True)
class Explored:
    """One explored model.

    Attributes:
        summary: the summary document with its strings fit to be shown; of a story only what a story
            knows.
        rapidity, untrained: comparison → (N, L), trained and untrained; the second is empty without
            it.
        labels, said, swap: (N,) label; clean, noise, adversarial → predicted class; layer from
            which a sample is lost for good, −1: never.
        fooled: (N,) right, and wrong after the attack.
    """

    summary: dict[str, Any]
    rapidity: dict[str, Array]
    untrained: dict[str, Array]
    labels: Whole
    said: dict[str, Whole]
    swap: Whole
    fooled: npt.NDArray[np.bool_]

    @property
    def layers(self) -> list[str]:
        """Names of the layers."""
        return [layer["name"] for layer in self.summary["layers"]]

    @cached_property
    def names(self) -> dict[int, str]:
        """Name by label; two classes of one name are numbered."""
        given = self.summary["class_names"]
        labels = np.unique(np.concatenate([self.labels, *self.said.values()])).tolist()
        names = {
            label: str(given[label]) if given and 0 <= label < len(given) else str(label)
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

    @cached_property
    def classes(self) -> tuple[ClassRow, ...]:
        """Accuracy by class."""
        return class_rows(self.labels, self.said, self.names)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """From which class to which, the largest flow first."""
        said = self.said["adversarial"]
        return class_flows(self.labels, said, self.swap, self.fooled, len(self.layers), self.names)

    def bands(self, pair: str, *, untrained: bool = False) -> Bands:
        """Median and quartiles of a comparison by layer; NaN where nothing was fooled."""
        table = (self.untrained if untrained else self.rapidity)[pair][self.fooled]
        if not len(table):
            none = np.full(table.shape[1], np.nan)
            return Bands(none, none, none)
        low, median, high = (_quantiles(table, part) for part in (0.25, 0.5, 0.75))
        return Bands(median, low, high)

    def worldline(self, sample: int, twin: str) -> Worldline:
        """A sample's twin or class mean in the frame of the clean sample; a pair without a value
        counts as unrelated.
        """
        rho = np.nan_to_num(np.tanh(self.rapidity[twin][sample]))
        start = np.zeros(1)
        return Worldline(
            place=np.concatenate([start, np.cumsum(rho)]),
            time=np.arange(len(rho) + 1.0),
            proper=np.concatenate([start, np.cumsum(np.sqrt(1 - rho**2))]),
        )

    def typical(self, rows: Whole | None = None) -> int:
        """The fooled sample whose proper depth is nearest to the median; of those without any
        fooled one, the first.
        """
        rows = np.arange(len(self.fooled)) if rows is None else rows
        fooled = rows[self.fooled[rows]]
        if not len(fooled):
            return int(rows[0])
        depth = np.array(
            [self.worldline(int(row), "adversarial_clean").proper[-1] for row in fooled]
        )
        return int(fooled[np.abs(depth - np.median(depth)).argmin()])


def read_explored(source: RunFolder | TwinStory | Explored) -> Explored:
    """The numbers of a finished run of ``explore``, or of a story.

    A story knows the label of a sample only where the model is right; elsewhere the label is −1.

    Raises:
        RunError: the folder holds no finished run of that kind.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> story = wl.explain.twins(model, x, wl.attacks.FGSM(epsilon=0.15)(model, x, y).x, y)
    >>> wl.plot.read_explored(story).layers
    ['input', 'logits']
    """
    if isinstance(source, Explored):
        return source
    return _of_story(source) if isinstance(source, TwinStory) else _of_run(source)


def _of_run(run: RunFolder) -> Explored:
    summary = run.read_json("summary.json")
    if not str(summary.get("schema")).startswith(EXPLORED):
        raise RunError(
            f"{run.path} is no run of explore (its schema is {summary.get('schema')!r}); name one "
            f"that is."
        )
    table, pairs, layers = (
        run.read_table("samples.parquet"),
        run.read_table("pairs.parquet"),
        len(summary["layers"]),
    )
    columns = {name: pairs[name].to_numpy().reshape(-1, layers) for name in pairs.column_names}
    swap = [-1 if layer is None else layer for layer in table["swap_layer"].to_pylist()]
    return Explored(
        summary=tidy(summary),
        rapidity={name: columns[name] for name in COMPARISONS},
        untrained={
            name: columns[f"untrained_{name}"]
            for name in COMPARISONS
            if f"untrained_{name}" in columns
        },
        labels=table["label"].to_numpy(),
        said={
            twin: table[f"{twin}_prediction"].to_numpy()
            for twin in ("clean", "noise", "adversarial")
        },
        swap=np.array(swap, dtype=np.int64),
        fooled=np.array(table["fooled"].to_pylist(), dtype=bool),
    )


def _of_story(story: TwinStory) -> Explored:
    said = {twin: it.numpy() for twin, it in story.trace.predictions.items()}
    null = story.untrained_trace
    return Explored(
        summary=tidy({"model": "the model", "class_names": None, "layers": layer_documents(story)}),
        rapidity={name: story.trace.rapidity[name].numpy() for name in COMPARISONS},
        untrained={}
        if null is None
        else {name: null.rapidity[name].numpy() for name in COMPARISONS},
        labels=np.where(story.misclassified.numpy(), UNKNOWN, said["clean"]),
        said=said,
        swap=story.sample_swap.numpy(),
        fooled=story.fooled.numpy(),
    )


def _quantiles(table: Array, part: float) -> Array:
    """Column quantiles where ±∞ is a value: beyond ±LARGEST no float64 correlation reaches, so that
    stands for it.
    """
    largest = 1e3
    found: Array = np.full(table.shape[1], np.nan)
    known = ~np.isnan(table).all(0)
    found[known] = np.nanquantile(np.clip(table[:, known], -largest, largest), part, axis=0)
    return np.where(np.abs(found) > largest / 2, np.copysign(np.inf, found), found)
