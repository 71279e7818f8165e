"""Features on disk, as a tensor: for searches over more samples than memory holds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from worldline.errors import RunError

__all__ = ["feature_store"]


def feature_store(path: Path, samples: int, width: int) -> Tensor:
    """A float32 tensor (samples, width) that lives in a file and is read and written through memory
    mapping.

    The operating system keeps in memory what is in use and writes the rest back, so N may exceed
    memory. Rows that were never written are zero. The file holds the plain numbers, 4 · samples ·
    width bytes, and stays until it is deleted.

    Args:
        path: a new file, or one made by this function with the same shape, whose content is kept.
        samples, width: N and D.

    Raises:
        RunError: the file cannot be made, or has another size.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from worldline.runs.features import feature_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = feature_store(Path(folder) / "features.f32", 3, 2)
    ...     store[1] = 1.0
    ...     feature_store(Path(folder) / "features.f32", 3, 2)[1]
    tensor([1., 1.])
    """
    size = 4 * samples * width
    if samples < 1 or width < 1:
        raise RunError(
            f"A feature store needs at least one sample and one feature; got {samples} × {width}."
        )
    try:
        if path.exists() and path.stat().st_size != size:
            raise RunError(
                f"{path} holds {path.stat().st_size} bytes, not the {size} of {samples} × {width} "
                f"float32. Delete it, or name another file."
            )
        return torch.from_file(
            str(path), shared=True, size=samples * width, dtype=torch.float32
        ).view(samples, width)
    except (OSError, RuntimeError) as error:
        raise RunError(f"The feature store {path} cannot be opened: {error}.") from error
