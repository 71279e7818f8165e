"""Arrays from an ``.npz``, without running anything that it may hold."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from worldline.errors import DataError

__all__ = ["read_arrays"]


def read_arrays(path: Path, *, required: tuple[str, ...], together: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Arrays by name, read with ``allow_pickle=False``.

    Args:
        path: an ``.npz``.
        required: names that must be there.
        together: names that must be there if one of them is.

    Raises:
        DataError: no such file, not an npz of plain arrays, or arrays missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "pairs.npz", a=np.ones((3, 2)), b=np.zeros((3, 2)))
    ...     sorted(read_arrays(Path(folder) / "pairs.npz", required=("a", "b")))
    ['a', 'b']
    """
    if not path.is_file():
        raise DataError(f"There is no data file {str(path)!r}.")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array (.npy)")
            held = archive.files
            arrays = {name: archive[name] for name in (*required, *together) if name in held}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name} cannot be read as an .npz of plain arrays: {error}.") from error
    wanted = {*required, *(together if set(together) & set(arrays) else ())}
    if missing := sorted(wanted - set(arrays)):
        raise DataError(
            f"{path.name} must hold the arrays {' and '.join(required)}; {', '.join(missing)} is missing (it holds {', '.join(held)})."
        )
    return arrays
