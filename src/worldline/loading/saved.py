"""What Hugging Face's ``datasets`` saved on disk (``save_to_disk``), read with pyarrow alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pyarrow as pa

from worldline.errors import DataError
from worldline.files import read_text, real_file, reason_of, shorten
from worldline.loading.columns import check_columns, samples_in
from worldline.loading.found import Asked, Found, check_memory
from worldline.loading.naming import SAMPLES

__all__ = ["MARKS", "read_saved"]

MARKS = ("dataset_dict.json", "state.json")
LONGEST = 2**24  # bytes of a description


def read_saved(asked: Asked) -> tuple[Found, Found | None]:
    """A ``Dataset``, or a ``DatasetDict`` whose test (or validation) is explained beside its train.

    Pictures are decoded by Pillow, from the bytes that lie in the files; names of other files are
    not followed. The names of a ``ClassLabel`` are the classes'.
    """
    folder = asked.path
    if not (folder / MARKS[0]).exists():
        return _split(folder, asked, ""), None
    splits = _described(folder, MARKS[0], "splits")
    known = [it for it in splits if isinstance(it, str) and Path(it).name == it and it != ".."]
    samples = [it for it in (*SAMPLES, *known) if it in known]
    if not samples:
        raise DataError(f"{shorten(str(folder))!r} names no splits. Save the data again.")
    found = _split(folder / samples[0], asked, samples[0])
    if "train" not in known or samples[0] == "train":
        return found, None
    return found, _split(folder / "train", asked.after(found), "train")


def _described(folder: Path, file: str, key: str) -> list[object]:
    text = read_text(folder / file, "description", DataError, limit=LONGEST)
    try:
        found = json.loads(text)[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise DataError(
            f"{file} in {shorten(str(folder))!r} is no description by datasets: it has no list "
            f"{key!r}. Save the data again with save_to_disk."
        )
    return found


def _split(folder: Path, asked: Asked, part: str) -> Found:
    name, tables, held = shorten(part or folder.resolve().name), [], 0
    for entry in _described(folder, MARKS[1], "_data_files"):
        file = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(file, str) or Path(file).name != file:
            raise DataError(
                f"state.json in {name} names a file outside it. It was made to deceive."
            )
        path = real_file(folder / file, "data file", DataError, inside=asked.path)
        held += path.stat().st_size
        check_memory(3 * held, asked.limit, f"The rows of {name}", "Save fewer rows.")
        tables.append(_table(path))
    if not tables:
        raise DataError(f"{name} names no data files. Save it again with save_to_disk.")
    try:
        table = pa.concat_tables(tables)
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"The files of {name} differ: {reason_of(error)}.") from error
    return samples_in(table, name, asked, part=part)


def _table(path: Path) -> pa.Table:
    """A stream of Arrow's IPC, mapped into memory; packed buffers are left packed."""
    name = shorten(path.name)
    try:
        with pa.memory_map(str(path)) as source:
            for message in pa.ipc.MessageReader.open_stream(source):
                if _is_packed(message.metadata.to_pybytes()):
                    raise DataError(
                        f"{name} holds packed buffers, which datasets does not write; they are not "
                        "opened. Save the data again with save_to_disk."
                    )
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source)
            check_columns(len(reader.schema), name)
            return reader.read_all()
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, IndexError, struct.error) as error:
        raise DataError(
            f"{name} cannot be read as Arrow: {reason_of(error)}. Save the data again with "
            "save_to_disk."
        ) from error


def _is_packed(message: bytes) -> bool:
    """Whether a message of a batch names a compression, from its flat buffer."""

    def field(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", message, table)[0]
        size, place = struct.unpack_from("<H", message, vtable)[0], 4 + 2 * number
        inside = struct.unpack_from("<H", message, vtable + place)[0] if place < size else 0
        return table + inside if inside else 0

    def follow(place: int) -> int:
        return int(place + struct.unpack_from("<I", message, place)[0])

    root = follow(0)
    kind, header = field(root, 1), field(root, 2)
    if not (kind and header and message[kind] in (2, 3)):  # of a dictionary, of a record
        return False
    batch = follow(header)
    return bool(field(follow(field(batch, 1)) if message[kind] == 2 else batch, 3))
