"""Arrays from ``.npz`` and ``.npy``: nothing in them is run, no more is unpacked than fits."""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from worldline.errors import DataError
from worldline.files import (
    available_memory,
    check_zip,
    reading,
    real_file,
    reason_of,
    shorten,
    size_text,
    utf8,
)
from worldline.loading.found import Asked, Found, check_memory, names_in
from worldline.loading.naming import Pair, beside, choose_pairs, partner_of

__all__ = ["CLASSES", "read_array", "read_arrays", "read_npy", "read_npz"]

TABLE = 2
"""Dimensions of (N, D)."""
HEADER_LIMIT = 10_000  # bytes of an array's header: NumPy's own limit, held before it is read


CLASSES = ("class_names", "classes", "label_names", "target_names")
FEATURES = ("feature_names", "columns")


def read_npz(asked: Asked) -> tuple[Found, Found | None]:
    """Inputs and labels from an ``.npz`` under the usual names, names of classes and columns."""
    path, told = asked.path, shorten(asked.path.name)
    held = list(_members(path))
    pair, reference, notes = choose_pairs(held, told, x=asked.x, y=asked.y)
    named = [it for it in CLASSES if it in held and it not in pair][:1]
    columns = [it for it in FEATURES if it in held and it not in pair][:1]
    required = (*pair, *(reference or ()), *named, *columns)
    arrays = read_arrays(path, required=required, limit=asked.limit)
    names, features = (
        _names(arrays[it[0]], f"{it[0]} in {told}", what) if it else None
        for it, what in ((named, "class"), (columns, "column"))
    )
    x = arrays[pair[0]]
    if features and (x.ndim != TABLE or x.shape[1] != len(features)):
        raise DataError(
            f"{columns[0]} in {told} are {len(features):,} names; {pair[0]} has shape {x.shape}. "
            "One name for each column of (N, D) is expected."
        )

    def found(it: Pair) -> Found:
        x, y = it
        told_of = f"{x} in {told}", f"{y} in {told}"
        return Found(arrays[x], arrays[y], *told_of, x, names, notes, feature_names=features)

    return found(pair), found(reference) if reference else None


def read_npy(asked: Asked) -> tuple[Found, Found | None]:
    """Inputs from an ``.npy`` with the labels beside it; of a folder, with the reference too."""
    folder = asked.path if asked.path.is_dir() else asked.path.parent
    names = [it for it in names_in(folder) if it.endswith(".npy")]
    y = asked.y if not asked.y or Path(asked.y).suffix else f"{asked.y}.npy"
    x, reference = asked.x, None
    notes: tuple[str, ...] = ()
    if asked.path.is_dir():
        told = shorten(str(folder))
        (x, y), reference, notes = choose_pairs(names, told, x=x, y=y)
    elif x:
        raise DataError(
            f"--x is for data that hold several arrays; {shorten(asked.path.name)} is one."
        )
    else:
        x, y = asked.path.name, y or partner_of(asked.path.name, names) or ""
    if not y:
        real_file(asked.path, "data file", DataError)
        raise DataError(
            f"Beside {shorten(x)} there are no labels by the usual names (y.npy of x.npy, "
            f"labels.npy of images.npy). Name their file with --y."
        )

    def found(it: Pair, asked: Asked) -> Found:
        x, y = (read_array(beside(folder, name), limit=asked.limit) for name in it)
        return Found(x, y, shorten(it[0]), shorten(it[1]), shorten(it[0]), None, notes)

    samples = found((x, y), asked)
    return samples, found(reference, asked.after(samples)) if reference else None


def _names(array: np.ndarray, told: str, what: str) -> tuple[str, ...]:
    if array.ndim != 1:
        raise DataError(f"{told} must be one name for each {what}; its shape is {array.shape}.")
    names = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
    return tuple(utf8(str(it)) for it in names)


def read_arrays(
    path: Path, *, required: tuple[str, ...], limit: int | None = None
) -> dict[str, np.ndarray]:
    """Arrays by name, read without pickles; every header is checked before anything is unpacked.

    A member's header (shape, dtype) must agree with the size that the archive declares for it,
    objects are refused by their dtype, and all wanted arrays together must fit in the limit,
    counted as float32 beside the stored form. A member over 67 MB that shrank to less than a
    hundredth is taken for a zip bomb.

    Args:
        path: an ``.npz``.
        required: names that must be there.
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
    limit = available_memory() // 2 if limit is None else limit
    name, members = shorten(path.name), _members(path)
    if missing := sorted(set(required) - set(members)):
        held = [shorten(key, 40) for key in list(members)[:12]]
        raise DataError(
            f"{name} must hold the arrays {' and '.join(required)}; {', '.join(missing)} is "
            f"missing (it holds {', '.join(held) or 'nothing'})."
        )
    try:
        with reading(path, "data file", DataError) as file, zipfile.ZipFile(file) as archive:
            needed = 0
            for key in required:
                with archive.open(members[key]) as stream:
                    needed += _declared(stream, members[key].file_size, name, key)
            told = f"The arrays {', '.join(sorted(required))} in {name}"
            check_memory(needed, limit, told, "Save fewer samples.")
            return {key: _read(archive, members[key]) for key in required}
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{name} cannot be read as an .npz of plain arrays: {reason_of(error)}. Save it "
            "again with numpy.savez."
        ) from error


def read_array(path: Path, *, limit: int) -> np.ndarray:
    """The array of an ``.npy``, by the rules of :func:`read_arrays`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.arange(3))
    ...     read_array(Path(folder) / "x.npy", limit=1000)
    array([0, 1, 2])
    """
    name = shorten(path.name)
    try:
        with reading(path, "data file", DataError) as file:
            needed = _declared(file, os.stat(path).st_size, name, name)
            check_memory(needed, limit, f"The numbers in {name}", "Save fewer samples.")
            file.seek(0)
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            return array
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{name} cannot be read as an .npy of plain numbers: {reason_of(error)}. Save it "
            "again with numpy.save."
        ) from error


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name."""
    _check_magic(path)
    found = check_zip(path, "an .npz of plain arrays", DataError)
    return {it.filename.removesuffix(".npy"): it for it in found}


def _check_magic(path: Path) -> None:
    with reading(path, "data file", DataError) as file:
        magic = file.read(6)
    if magic[:2] == b"PK":
        return
    if magic == b"\x93NUMPY":
        what = "a single array; call it .npy, or save it with numpy.savez(path, x=x, y=y)"
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


def _declared(stream: IO[bytes], size: int, name: str, key: str) -> int:
    """Bytes that an array will take, stored and as float32, from its header."""
    what = f"The array {key} in {name}" if key != name else name
    shape, dtype, header = _header(stream, what)
    if dtype.hasobject:
        raise DataError(
            f"{name} cannot be read as plain arrays: {key} holds Python objects ({dtype}), which "
            "are a pickle and are not opened. Save it as numbers, array.astype('float32'), or "
            "names as text, array.astype(str)."
        )
    if not all(
        isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape
    ):
        raise DataError(
            f"{what} declares the impossible shape {shorten(str(shape))}. The file is damaged, or "
            "was made to deceive."
        )
    count = math.prod(shape)
    if count * dtype.itemsize + header != size:
        raise DataError(
            f"{what} declares shape {shorten(str(shape))} of {dtype}, "
            f"{shorten(f'{count * dtype.itemsize:,}', 60)} bytes, but "
            f"{max(size - header, 0):,} are there. The file is damaged, or was made to "
            "deceive."
        )
    return count * (dtype.itemsize + 4)


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], np.dtype, int]:
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"header version {version} is not known")
        form = "<H" if version == (1, 0) else "<I"
        declared = stream.read(struct.calcsize(form))
        (length,) = struct.unpack(form, declared)
        if length > HEADER_LIMIT:
            raise ValueError(f"it is declared as {size_text(length)}")
        header = io.BytesIO(declared + stream.read(length))
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(header)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(header)
    except Exception as error:
        raise DataError(
            f"{what} has no readable npy header: {reason_of(error)}. Save the file again with "
            "numpy.savez."
        ) from error
    return shape, dtype, stream.tell()


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # the end, where the checksum is compared
        return array
