# ruff: noqa: RUF009  # units of fields
"""What ``worldline explore`` finds: one frozen record, and two tables by sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from worldline.checks import Check, Curve
from worldline.commands.carriers.record import ModelCarriers
from worldline.commands.complexity.record import ModelComplexity
from worldline.explain import LayerStory, ProperDepths, SwapLayer
from worldline.runs.codec import unit
from worldline.settings import Bounds, FrameName, NormName, Tokens
from worldline.trace import Comparison

__all__ = ["CARRIERS", "PAIRS", "SAMPLES", "TWINS", "Exploration", "PairColumns", "SampleColumns"]

SAMPLES, PAIRS, TWINS = "samples.parquet", "pairs.parquet", "twins.safetensors"
CARRIERS = "carriers.safetensors"
Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """One model, attacked and followed.

    Attributes:
        model, data, data_split: what was explored, and how its reference was set apart.
        bounds: lowest and highest legal value of an input.
        epsilon, epsilon_text: radius of the attack in the inputs' units, and as it was written.
        norm, attack, steps: of the attack; no steps where it has none of its own.
        frame, tokens, memory, batch_size, seed: how it was traced; no memory for no limit.
        samples, fooled, misclassified: how many there are, are right and fooled, are wrong by
            themselves.
        clean_accuracy, adversarial_accuracy, noise_accuracy: shares of the samples.
        swap_layer: None where there is none; then nobody may name one.
        layers: what happens at each, over the fooled samples.
        proper_depth, untrained_proper_depth: of both twins to the clean one; the second is None
            without an untrained network.
        curve, checks, trustworthy: of the evaluation; trustworthy where no check warns.
        carriers, carriers_status: what carries the attack on some fooled samples, at the input and
            a few stages; where it is None, why, else ``measured``.
        complexity: of the first samples; None where it was left out, and a note says why.
        notes: what a reader must know before believing it.
        class_names: by label; None where nobody named them.
        versions: what it was made with.
        report: the page's file.
    """

    schema: Literal["worldline.explore/3"] = "worldline.explore/3"
    model: str
    data: str
    data_split: str
    bounds: Bounds
    epsilon: float
    epsilon_text: str
    norm: NormName
    attack: str
    steps: int | None
    frame: FrameName
    tokens: Tokens
    memory: str | None
    batch_size: int = unit("samples")
    seed: int
    samples: int
    fooled: int = unit("samples")
    misclassified: int = unit("samples")
    clean_accuracy: float = unit("share")
    adversarial_accuracy: float = unit("share")
    noise_accuracy: float = unit("share")
    swap_layer: SwapLayer | None
    layers: tuple[LayerStory, ...]
    proper_depth: ProperDepths = unit("layers")
    untrained_proper_depth: ProperDepths | None = unit("layers")
    curve: Curve
    checks: tuple[Check, ...]
    trustworthy: bool
    carriers: ModelCarriers | None
    carriers_status: str
    complexity: ModelComplexity | None
    notes: tuple[str, ...]
    class_names: tuple[str, ...] | None
    versions: dict[str, str]
    report: str = "report.html"


@dataclass(frozen=True, kw_only=True)
class SampleColumns:
    """One row a sample.

    Attributes:
        sample: its row in what was given; ``label``: its class.
        clean_prediction, noise_prediction, adversarial_prediction: what the model says.
        wrong_class: the class whose mean stands for the wrong side.
        fooled: right, and wrong under the attack.
        adversarial_linf, adversarial_l2, noise_linf, noise_l2: sizes of the changes.
        wrong_side_from: the layer from which this sample's twin is on the wrong side for good; −1:
            never. A sample's own, and no swap layer: the clean sample may stand there too.
        proper_depth_adversarial_clean, proper_depth_noise_clean: Σ sin θ over the layers; NaN where
            a layer's pair has no direction.
    """

    schema: Literal["worldline.explore/3"] = field(default="worldline.explore/3", init=False)
    sample: Whole
    label: Whole
    clean_prediction: Whole
    noise_prediction: Whole
    adversarial_prediction: Whole
    wrong_class: Whole
    fooled: Flags
    adversarial_linf: Array
    adversarial_l2: Array
    noise_linf: Array
    noise_l2: Array
    wrong_side_from: Whole
    proper_depth_adversarial_clean: Array = unit("layers")
    proper_depth_noise_clean: Array = unit("layers")


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """One row for each sample (by its row in what was given) and layer: every φ in nats.

    ±∞ is a value, NaN is none; the untrained columns are NaN throughout without such a network.
    """

    schema: Literal["worldline.explore/3"] = field(default="worldline.explore/3", init=False)
    sample: Whole
    layer: Whole
    adversarial_clean: Array = unit("nats")
    noise_clean: Array = unit("nats")
    adversarial_true: Array = unit("nats")
    adversarial_wrong: Array = unit("nats")
    noise_true: Array = unit("nats")
    noise_wrong: Array = unit("nats")
    clean_true: Array = unit("nats")
    clean_wrong: Array = unit("nats")
    clean_rival: Array = unit("nats")
    untrained_adversarial_clean: Array = unit("nats")
    untrained_noise_clean: Array = unit("nats")
    untrained_adversarial_true: Array = unit("nats")
    untrained_adversarial_wrong: Array = unit("nats")
    untrained_noise_true: Array = unit("nats")
    untrained_noise_wrong: Array = unit("nats")
    untrained_clean_true: Array = unit("nats")
    untrained_clean_wrong: Array = unit("nats")
    untrained_clean_rival: Array = unit("nats")

    def rapidity(self, comparison: Comparison, layers: int, *, untrained: bool = False) -> Array:
        """(N, L) φ of one comparison."""
        column: Array = getattr(self, f"untrained_{comparison}" if untrained else comparison)
        return column.reshape(-1, layers)
