"""What every experiment is: settings with the published ones as defaults, words, and a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from worldline.encoder.checking import check_count
from worldline.encoder.experiments.record import Outcome
from worldline.encoder.experiments.walks import Trial
from worldline.encoder.machine import Encoder
from worldline.encoder.seeds import make_generator
from worldline.encoder.selection import Rule
from worldline.errors import UsageError

__all__ = [
    "ANSWERS",
    "CARRYING",
    "ENTANGLED",
    "FLIPPING",
    "LIKELY",
    "MERGING",
    "UNSEEN",
    "Experiment",
    "Layered",
    "Needs",
    "check_dimension",
]

Needs = Literal["", "embeddings", "picture", "two pictures", "digits"]

# what the paper claims, in the order of its story
MERGING = "Features merge, however far apart they begin"
UNSEEN = "Unseen samples fit too: zero loss without labels"
FLIPPING = "Labels flip without a gradient, and with one"
CARRYING = "Noise becomes a message"
ANSWERS = "Pairs that belong together are recognised"
ENTANGLED = "Correlations resemble quantum entanglement"
LIKELY = "The weights are those of greatest likelihood"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Settings of one experiment; the defaults of each are those that the paper published.

    Attributes:
        seed: of features and layers.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    claim: ClassVar[str]  # what the paper says, in our words
    law: ClassVar[str]  # what is exact
    shown: ClassVar[str]  # what its figure shows
    group: ClassVar[str]  # the claim of the paper that it belongs to
    needs: ClassVar[Needs] = ""  # what run() must be given
    features: ClassVar[str] = "Gaussian features"  # what is sent, where nothing is given
    replicate: ClassVar[str] = "independent encoder"  # of what there are several
    quick: ClassVar[Mapping[str, int | float]] = {}  # settings in place of the published ones
    table: ClassVar[type]  # of the rows behind its figure

    seed: int = 0

    def run(self, *args: Any, **kwargs: Any) -> Outcome:
        """Measure."""
        raise NotImplementedError

    def settings(self) -> dict[str, int | float]:
        """Every setting by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Layered(Experiment):
    """An experiment with one encoder setting.

    Attributes:
        candidates, width, depth: n, k and L.
    """

    rule: ClassVar[Rule] = "largest"

    candidates: int = 10
    width: int = 2
    depth: int = 20

    def __post_init__(self) -> None:
        """Refuse settings that no encoder could have, or that leave nothing to measure."""
        self.encoder  # noqa: B018  checks n, k and L
        if self.width == 1:
            raise UsageError(
                "With width 1 every pair is parallel after one layer: nothing to measure. Use "
                "width ≥ 2."
            )
        for name, value in self.settings().items():
            if isinstance(value, int) and name != "seed":
                check_count(name, value)
        check_dimension(self.settings().get("dimension", 2))

    def trial(self, inputs: int) -> Trial:
        """Its encoders, for features of so many numbers."""
        return Trial(self.encoder, inputs, make_generator(self.seed))

    @property
    def encoder(self) -> Encoder:
        """The encoder of these settings."""
        return Encoder(
            candidates=self.candidates, width=self.width, depth=self.depth, rule=self.rule
        )


def check_dimension(dimension: float) -> None:
    """Refuse features of one number."""
    if dimension == 1:
        raise UsageError(
            "With dimension 1 every pair is parallel before the first layer: nothing to measure. "
            "Use dimension ≥ 2."
        )
