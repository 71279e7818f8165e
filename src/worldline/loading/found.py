"""What a reader is asked for and what it finds: raw, before any check of labels and bounds."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from worldline.errors import DataError
from worldline.files import reason_of, shorten, size_text

__all__ = ["Asked", "Found", "check_memory", "names_in"]


@dataclass(frozen=True)
class Asked:
    """What the user named.

    Attributes:
        spec: the data, as written.
        x, y: the arrays, files or columns that hold inputs and labels; empty for the usual ones.
        image_size: pixels a side that pictures get; 0 leaves them.
        limit: bytes that the samples may take.
    """

    spec: str
    x: str = ""
    y: str = ""
    image_size: int = 0
    limit: int = 2**31

    @property
    def path(self) -> Path:
        """Where it is, if it is a file or a folder."""
        return Path(self.spec)

    def after(self, found: Found) -> Asked:
        """The same, with what is left of the limit: inputs are held as stored and as float32."""
        taken = found.x.nbytes + 4 * math.prod(found.x.shape)
        return replace(self, limit=max(self.limit - taken, 0))


@dataclass(frozen=True)
class Found:
    """Inputs and labels as they were stored.

    Attributes:
        x: (N, …) numbers.
        y: whatever :func:`worldline.inputs.named_labels` takes.
        x_told, y_told: what messages call them: ``x in d.npz``.
        part: of what was given, such as ``test``; empty for all of it.
        class_names: one for each class, or None.
        notes: in sentences, what was chosen.
        pictures: whether x lies in [0, 1], from black to white, to be scaled to the bounds.
    """

    x: np.ndarray | Tensor
    y: object
    x_told: str
    y_told: str
    part: str = ""
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    pictures: bool = False


def check_memory(needed: int, limit: int, what: str, advice: str) -> None:
    """Refuse what needs more than the limit; ``what`` is plural.

    >>> check_memory(10, 20, "The pictures", "Give fewer.")
    """
    if needed > limit:
        raise DataError(
            f"{what} need {shorten(size_text(needed), 40)}, more than the {size_text(limit)} that "
            f"may be used (half of the memory that is available). {advice}"
        )


def names_in(folder: Path) -> list[str]:
    """The names of a folder's files, sorted; hidden ones are passed over.

    >>> "found.py" in names_in(Path(__file__).parent)
    True
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(it.name for it in entries if it.is_file() and it.name[0] != ".")
    except (OSError, ValueError) as error:
        raise DataError(
            f"The folder {shorten(str(folder))!r} cannot be read: {reason_of(error)}."
        ) from error
