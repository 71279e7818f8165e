"""What ``worldline encode`` is asked: an experiment, and settings other than the published ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar, Literal, get_args

from worldline.errors import DataError, UsageError
from worldline.files import real_file, reason_of, shorten
from worldline.runs.config import Config, option

__all__ = ["ALL", "NAMES", "EncodeConfig", "Name"]

Name = Literal[
    "dilation",
    "contraction",
    "path3d",
    "hamming",
    "margin",
    "spacetime",
    "normalised",
    "collapse",
    "squash",
    "leading",
    "descent",
    "clusters",
    "flip",
    "labels",
    "onestep",
    "image",
    "pictures",
    "uniform",
    "digit",
    "reconcile",
    "pairs",
    "bell",
    "likelihood",
]
NAMES: tuple[str, ...] = get_args(Name)
ALL = "all"
ENCODERS = ("candidates", "width", "depth", "dimension")
COUNTS = (*ENCODERS, "pairs", "vectors", "trials", "steps", "rounds")
SETTINGS = (*COUNTS, "speed", "strength", "rate", "target", "margin")
FILES = ("data", "image", "receiver")


@dataclass(frozen=True, kw_only=True)
class EncodeConfig(Config):
    """The paper's encoder: an experiment by NAME, beside its exact law and its controls.

    NAME is dilation, contraction, path3d, hamming, margin, spacetime, normalised, collapse, squash,
    leading, descent, clusters, flip, labels, onestep, image, pictures, uniform, digit, reconcile,
    pairs, bell, likelihood, or all. Every setting defaults to the published one, or to a smaller
    one with --setting quick; all takes --seed and --setting alone.

    Attributes:
        name: of an experiment, or ``all``.
        setting: ``published``, or ``quick`` for smaller ones.
        candidates, width, depth, dimension, pairs, vectors, trials, steps, rounds, speed, strength,
            rate, target, margin: None for that of the setting.
        data: an ``.npz`` with a and b, for ``pairs``; empty for features of the zoo.
        image: a grey picture, for ``image``, ``reconcile``, ``uniform`` and ``pictures``; empty for
            the embedded one.
        receiver: another of the same size, the receiver's feature of ``pictures``.

    >>> from worldline.commands.encode.config import EncodeConfig
    >>> EncodeConfig(name="dilation", depth=5).chosen
    {'depth': 5}
    """

    command: ClassVar[str] = "encode"

    name: str = option("", "Of an experiment, or all.", positional=True)
    setting: Literal["published", "quick"] = option(  # a field
        "published", "The published settings, or smaller ones."
    )
    candidates: int | None = option(
        None, "Neurons drawn in each layer; 1000000000000 works.", metavar="N"
    )
    width: int | None = option(None, "Neurons kept.", metavar="K")
    depth: int | None = option(None, "Layers.", metavar="L")
    dimension: int | None = option(None, "Numbers in a feature.", metavar="D")
    pairs: int | None = option(None, "Pairs in the figure (dilation, contraction).", metavar="N")
    vectors: int | None = option(None, "Unseen vectors (collapse, descent).")
    trials: int | None = option(None, "Independent layers for each number (bell, likelihood).")
    steps: int | None = option(None, "Steps of gradient descent (descent).")
    rounds: int | None = option(None, "Times that the layers are applied again (clusters).")
    speed: float | None = option(None, "The free constant c (spacetime, normalised).", metavar="C")
    strength: float | None = option(
        None, "Of the codeword (those that carry a grey message).", metavar="ALPHA"
    )
    rate: float | None = option(None, "η of gradient descent (descent, onestep).", metavar="ETA")
    target: float | None = option(None, "Of gradient descent (descent).", metavar="T")
    margin: float | None = option(None, "Degrees from 90° (margin).", metavar="DEGREES")
    data: str = option("", "An .npz with a and b, (N, D) each, matched row by row (pairs).")
    image: str = option(
        "", "A grey picture, at most 256 pixels a side (the carried message).", metavar="FILE"
    )
    receiver: str = option(
        "", "Another of the same size, the receiver's feature (pictures).", metavar="FILE"
    )

    def __post_init__(self) -> None:
        """Refuse an experiment that there is not."""
        super().__post_init__()
        if self.name in (*NAMES, ALL):
            return
        near = get_close_matches(self.name[:100], [*NAMES, ALL], n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        what = f"There is no experiment {shorten(self.name)!r}.{hint}" if self.name else "Name one."
        raise UsageError(f"{what} There are {', '.join(NAMES)}, and {ALL}.")

    @property
    def stem(self) -> str:
        """What a folder of such a run is called."""
        return f"{self.command}-{self.name}"

    def to_toml(self) -> str:
        """With a sum over each file that it names: a file that changed makes it another run."""
        named = {name: path for name in FILES if (path := getattr(self, name))}
        sums = [f"# {name}: {_sum(path)}" for name, path in named.items()]
        return "\n".join([super().to_toml(), *sums])

    @property
    def files(self) -> dict[str, str]:
        """Those that it names, by their options; FILE for what was handed over."""
        handed = (name for name in FILES if getattr(self.handed, name) is not None)
        named = {name: path for name in FILES if (path := getattr(self, name))}
        return dict.fromkeys(handed, "FILE") | named

    @property
    def chosen(self) -> dict[str, int | float]:
        """Settings other than the published ones, by the experiment's names for them."""
        given = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in given.items() if value is not None}


def _sum(path: str) -> str:
    """Of a file's content."""
    file = real_file(path, "data file", DataError)
    try:
        with file.open("rb") as stream:
            return f"sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        raise DataError(f"{shorten(path)!r} cannot be read: {reason_of(error)}.") from error
