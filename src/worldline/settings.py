"""What travels through every computation together: bounds, frame, batch, seed, device, progress.

Nothing here needs torch, so that a command line can be read before it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

__all__ = ["DEFAULT", "Bounds", "FrameName", "NormName", "Progress", "Settings", "Tokens", "silent"]

Bounds = tuple[float, float]
FrameName = Literal["raw", "centered", "whitened"]
NormName = Literal["linf", "l2"]
Tokens = Literal["flatten", "cls", "mean", "token"]


@runtime_checkable
class Progress(Protocol):
    """Is told how far a stage is: its name, what is done, of how much."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Hear of it."""


def silent(_stage: str, _done: int, _total: int, /) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a computation is done, whatever it computes.

    Attributes:
        bounds: lowest and highest legal value of an input, in the inputs' own units.
        frame: from where features are seen: ``raw``, ``centered`` or ``whitened``.
        batch_size: inputs in one pass.
        seed: of everything random.
        device: where runs put models and data; a function that is given tensors stays on theirs.
        progress: is told of every stage.

    >>> from worldline.settings import Settings
    >>> Settings(bounds=(0.0, 255.0)).frame
    'centered'
    """

    bounds: Bounds = (0.0, 1.0)
    frame: FrameName = "centered"
    batch_size: int = 256
    seed: int = 0
    device: str = "cpu"
    progress: Progress = silent


DEFAULT = Settings()
