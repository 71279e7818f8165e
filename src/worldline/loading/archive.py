"""Arrays from an ``.npz``: nothing in it is run, and no more is unpacked than fits."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from worldline.errors import DataError
from worldline.files import available_memory, check_zip, real_file, shorten, size_text

__all__ = ["read_arrays"]


def read_arrays(
    path: Path,
    *,
    required: tuple[str, ...],
    together: tuple[str, ...] = (),
    limit: int | None = None,
) -> dict[str, np.ndarray]:
    """Arrays by name, read without pickles; every header is checked before anything is unpacked.

    A member's header (shape, dtype) must agree with the size that the archive declares for it,
    objects are refused by their dtype, and all wanted arrays together must fit in the limit,
    counted as float32 beside the stored form. A member over 67 MB that shrank to less than a
    hundredth is taken for a zip bomb.

    Args:
        path: an ``.npz``.
        required: names that must be there.
        together: names that must be there if one of them is.
        limit: bytes that may be used; default: half of the memory that is available.

    Raises:
        DataError: no such file, not an npz of plain arrays, too large, or arrays missing; each
            names the file and what is wrong.

    Cost: the arrays, and a kilobyte for each header.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "pairs.npz", a=np.ones((3, 2)), b=np.zeros((3, 2)))
    ...     sorted(read_arrays(Path(folder) / "pairs.npz", required=("a", "b")))
    ['a', 'b']
    """
    real_file(path, "data file", DataError)
    limit = available_memory() // 2 if limit is None else limit
    name = shorten(path.name)
    _check_magic(path)
    members = {
        member.filename.removesuffix(".npy"): member
        for member in check_zip(path, "an .npz of plain arrays", DataError)
    }
    held = [shorten(key, 40) for key in list(members)[:12]]
    wanted = {*required, *(together if set(together) & set(members) else ())}
    if missing := sorted(wanted - set(members)):
        raise DataError(
            f"{name} must hold the arrays {' and '.join(required)}; {', '.join(missing)} is "
            f"missing (it holds {', '.join(held) or 'nothing'})."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(_declared(archive, members[key], name, key) for key in wanted)
            if needed > limit:
                raise DataError(
                    f"The arrays {', '.join(sorted(wanted))} in {name} need {size_text(needed)}, "
                    f"more than the {size_text(limit)} that may be used (half of the memory that "
                    "is available). Save fewer samples."
                )
            return {
                key: _read(archive, members[key]) for key in (*required, *together) if key in wanted
            }
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{name} cannot be read as an .npz of plain arrays: {shorten(str(error))}. Save it "
            "again with numpy.savez."
        ) from error


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:2] == b"PK":
        return
    if magic == b"\x93NUMPY":
        what = "a single array (.npy); save it with numpy.savez(path, x=x, y=y)"
    elif magic[:1] == b"\x80":
        what = (
            "a pickle, which can run anything and is not opened; save it with numpy.savez(path, "
            "x=x, y=y)"
        )
    else:
        what = f"empty or something else (it begins with {magic!r})"
    raise DataError(
        f"{shorten(path.name)} cannot be read as an .npz of plain arrays: it is {what}."
    )


def _declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, key: str) -> int:
    """Bytes that an array will take, stored and as float32, from its header."""
    what = f"The array {key} in {name}"
    with archive.open(member) as stream:
        shape, dtype, header = _header(stream, what)
    if dtype.hasobject:
        raise DataError(
            f"{name} cannot be read as an .npz of plain arrays: {key} holds Python objects "
            f"({dtype}), which are a pickle and are not opened. Save it as numbers: "
            f"{key}.astype('float32')."
        )
    if not all(
        isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape
    ):
        raise DataError(
            f"{what} declares the impossible shape {shorten(str(shape))}. The file is damaged, or "
            "was made to deceive."
        )
    count = math.prod(shape)
    if count * dtype.itemsize + header != member.file_size:
        raise DataError(
            f"{what} declares shape {shorten(str(shape))} of {dtype}, "
            f"{shorten(f'{count * dtype.itemsize:,}', 60)} bytes, but "
            f"{max(member.file_size - header, 0):,} are there. The file is damaged, or was made to "
            "deceive."
        )
    return count * (dtype.itemsize + 4)


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], np.dtype, int]:
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"header version {version} is not known")
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    except Exception as error:
        reason = shorten(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise DataError(
            f"{what} has no readable npy header: {reason}. Save the file again with numpy.savez."
        ) from error
    return shape, dtype, stream.tell()


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # the end, where the checksum is compared
        return array
