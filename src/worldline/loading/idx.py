"""IDX files, the format of MNIST: big-endian arrays behind a header of a few bytes, also packed."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from worldline.errors import DataError, ShapeError
from worldline.files import (
    BOMB_SIZE,
    LARGEST_RATIO,
    reading,
    real_file,
    reason_of,
    shorten,
    size_text,
)
from worldline.loading.found import Asked, Found, check_memory, names_in
from worldline.loading.naming import Pair, beside, choose_pairs, partner_of

__all__ = ["first_bytes", "is_idx", "read_idx", "read_idx_file", "read_idx_folder"]

DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
GZIP = b"\x1f\x8b"


def read_idx_file(asked: Asked) -> tuple[Found, None]:
    """Pictures with the labels that lie beside them."""
    path = asked.path
    names = names_in(path.parent)
    if asked.x:
        raise DataError(
            f"--x is for data that hold several arrays; {shorten(path.name)} is one. Leave it out."
        )
    labels = asked.y or partner_of(path.name, names)
    if labels is None:
        real_file(path, "data file", DataError)
        raise DataError(
            f"Beside {shorten(path.name)} there are no labels by the usual names, such as "
            "t10k-labels-idx1-ubyte(.gz) of t10k-images-idx3-ubyte(.gz). Give the file of the "
            "images, and name that of the labels with --y."
        )
    return _pair(path, beside(path.parent, labels), asked.limit), None


def read_idx_folder(asked: Asked) -> tuple[Found, Found | None]:
    """The four usual files: t10k (or test) to explain, train as the reference."""
    pair, reference, notes = choose_pairs(
        [it for it in names_in(asked.path) if is_idx(first_bytes(asked.path / it))],
        shorten(str(asked.path)),
        x=asked.x,
        y=asked.y,
    )

    def read(it: Pair, asked: Asked) -> Found:
        return _pair(asked.path / it[0], asked.path / it[1], asked.limit, notes)

    samples = read(pair, asked)
    return samples, read(reference, asked.after(samples)) if reference else None


def _pair(images: Path, labels: Path, limit: int, notes: tuple[str, ...] = ()) -> Found:
    x, y = read_idx(images, limit), read_idx(labels, limit)
    if x.ndim < 2:
        raise ShapeError(
            f"{shorten(images.name)} holds {x.shape}, one number a sample, as labels do; give the "
            "file of the images (-images-idx3-ubyte)."
        )
    if x.ndim == 3:
        x = x[:, None]  # (N, 1, H, W)
        shape = tuple(x.shape[1:])
        notes = (*notes, f"Grey pictures of IDX have one channel: inputs have the shape {shape}.")
    return Found(
        x, y, shorten(images.name), shorten(labels.name), shorten(images.name), None, notes
    )


def is_idx(head: bytes) -> bool:
    """Whether a file that begins so is IDX.

    >>> is_idx(bytes([0, 0, 8, 3, 0, 0, 39, 16])), is_idx(b"PK")
    (True, False)
    """
    return len(head) >= 8 and head[:2] == b"\0\0" and head[2] in DTYPES and 1 <= head[3] <= 8


def first_bytes(path: Path, count: int = 16) -> bytes:
    """The first bytes of a file, of what is packed in a gzip; empty if that is damaged."""
    try:
        with _unpacked(path) as stream:
            return stream.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with reading(path, "data file", DataError) as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        if packed:
            with gzip.open(file) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield file


def read_idx(path: Path, limit: int) -> np.ndarray:
    """An array from an IDX file, packed with gzip or not.

    The size that its header declares is compared with the file's, or, of a packed one, with what
    that many bytes could hold, before anything is unpacked, and never more is.

    Args:
        path: the file.
        limit: bytes that the array may take, counted as float32 beside the stored form.

    Raises:
        DataError: no such file, no IDX, cut, deceiving or too large.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     content = bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9])
    ...     _ = (Path(folder) / "x").write_bytes(content)
    ...     read_idx(Path(folder) / "x", 1000)
    array([[7, 8, 9]], dtype=uint8)
    """
    name = shorten(path.name)
    try:
        with _unpacked(path) as stream:
            head = stream.read(4)
            if len(head) < 4 or not is_idx(head + bytes(4)):
                raise DataError(
                    f"{name} cannot be read as IDX (MNIST's format): it begins with {head!r}."
                )
            sides = stream.read(4 * head[3])
            if len(sides) < 4 * head[3]:
                raise DataError(f"{name} cannot be read as IDX: it ends in its header.")
            shape, dtype = struct.unpack(f">{head[3]}I", sides), np.dtype(DTYPES[head[2]])
            size = math.prod(shape) * dtype.itemsize
            _check_size(path, name, shape, size, 4 + len(sides))
            check_memory(
                size + 4 * math.prod(shape), limit, f"The numbers in {name}", "Cut the file."
            )
            content = stream.read(size)
            if len(content) < size or stream.read(1):
                there = f"only {len(content):,}" if len(content) < size else "more"
                raise DataError(
                    f"{name} declares the shape {shape}, {size:,} bytes, but {there} are there. "
                    "Copy it again: it is damaged, or was made to deceive."
                )
    except (EOFError, zlib.error, gzip.BadGzipFile, MemoryError) as error:
        raise DataError(
            f"{name} cannot be unpacked: {reason_of(error)}. Copy it again: it is cut or damaged."
        ) from error
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _check_size(path: Path, name: str, shape: tuple[int, ...], size: int, header: int) -> None:
    stored = path.stat().st_size
    with reading(path, "data file", DataError) as file:
        packed = file.read(2) == GZIP
    if packed and size > BOMB_SIZE and size > LARGEST_RATIO * stored:
        raise DataError(
            f"{name} declares the shape {shape}, {size_text(size)} in {size_text(stored)}; data do "
            "not shrink that much, so it is taken for a bomb and left packed. If it is yours, "
            "unpack it with gunzip."
        )
    if not packed and size + header != stored:
        raise DataError(
            f"{name} declares the shape {shape}, {shorten(f'{size:,}', 40)} bytes, but "
            f"{stored - header:,} are there. Copy it again: it is damaged, or was made to deceive."
        )
