"""Tables with a label column: CSV and Parquet by pyarrow, which runs nothing that they hold."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from worldline.errors import DataError
from worldline.files import BOMB_SIZE, LARGEST_RATIO, reading, reason_of, shorten, size_text
from worldline.loading.columns import check_columns, samples_in
from worldline.loading.found import Asked, Found, check_memory, names_in
from worldline.loading.naming import REFERENCE, SAMPLES, words_of

__all__ = ["TABLES", "read_table_file", "read_table_folder"]

TABLES = (".csv", ".tsv", ".parquet", ".pq", ".csv.gz", ".tsv.gz")
GZIP = b"\x1f\x8b"
LONGEST_HEADER = 16 * 2**20  # bytes of a CSV's first line
SPREAD = 8  # bytes that a table may take for one of its CSV: "0," becomes a double, then a float


def read_table_file(asked: Asked) -> tuple[Found, None]:
    """One table: a row for each sample."""
    name = shorten(asked.path.name)
    return samples_in(_read(asked.path, asked.limit), name, asked), None


def read_table_folder(asked: Asked) -> tuple[Found, Found | None]:
    """Tables called by their part, as hubs keep them: ``test.csv``, ``train-00000.parquet``."""
    names = [it for it in names_in(asked.path) if it.lower().endswith(TABLES)]
    parts = [
        (word, [it for it in names if word in words_of(it)]) for word in (*SAMPLES, *REFERENCE)
    ]
    parts = [it for it in parts if it[1]]
    if not parts and len(names) == 1:
        parts = [("", names)]
    if not parts:
        raise DataError(
            f"{shorten(str(asked.path))!r} holds {len(names)} tables; which is to be explained is "
            "not clear. Name one file, or call them test and train."
        )
    reference = [it for it in parts[1:] if it[0] in REFERENCE][:1]
    samples = _part(*parts[0], asked)
    return samples, _part(*reference[0], asked.after(samples)) if reference else None


def _part(part: str, files: list[str], asked: Asked) -> Found:
    """The tables of one part, one after the other."""
    tables, left, name = [], asked.limit, shorten(part or files[0])
    for it in files:
        tables.append(_read(asked.path / it, left))
        left -= tables[-1].nbytes
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise DataError(
            f"The tables of {name} differ: {reason_of(error)}. Save them alike."
        ) from error
    return samples_in(table, name, replace(asked, limit=left), part=part)


def _read(path: Path, limit: int) -> pa.Table:
    kind = "Parquet" if path.suffix.lower() in (".parquet", ".pq") else "CSV"
    read = _read_parquet if kind == "Parquet" else _read_csv
    try:
        return read(path, limit)
    except DataError:
        raise
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        MemoryError,
        UnicodeError,
        OverflowError,
    ) as error:
        raise DataError(
            f"{shorten(path.name)} cannot be read as {kind}: {reason_of(error)}. Save it again."
        ) from error


def _read_csv(path: Path, limit: int) -> pa.Table:
    name = shorten(path.name)
    with reading(path, "table", DataError) as stored:
        file = _unpacked(stored, name, limit)
        first = file.readline(LONGEST_HEADER + 1)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if first[:2] == b"\x1f\x8b" or b"\0" in first[:1000]:
            raise DataError(
                f"{name} is not text (it begins with {first[:8]!r}). Unpack it, or call it by its "
                "kind."
            )
        if len(first) > LONGEST_HEADER:
            raise DataError(
                f"The first line of {name} is longer than {size_text(LONGEST_HEADER)}: no table "
                "of samples has that many columns. Save it as .npy."
            )
        line = first.decode("utf-8-sig")
        delimiter = max("\t,;", key=line.count)
        cells = next(csv.reader([line], delimiter=delimiter), [])
        check_columns(len(cells), name)
        check_memory(SPREAD * size, limit, f"The rows of {name}", "Save it as Parquet or .npy.")
        return pa.csv.read_csv(
            file,
            read_options=pa.csv.ReadOptions(
                use_threads=False,
                block_size=min(max(size, 1024), 2**30),  # a line lies in one block
                autogenerate_column_names=_is_row(cells),
            ),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
        )


def _unpacked(file: BinaryIO, name: str, limit: int) -> BinaryIO:
    """The text of a table that is packed by gzip, no more of it than may be; else as it is."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    packed = file.read(2) == GZIP
    file.seek(0)
    if not packed:
        return file
    most = min(max(LARGEST_RATIO * size, BOMB_SIZE), max(limit // SPREAD, 1))
    try:
        with gzip.open(file) as stream:
            text = stream.read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{name} cannot be unpacked: {reason_of(error)}. Copy it again: it is cut or damaged."
        ) from error
    if len(text) > most:
        raise DataError(
            f"{name} unpacks to more than {size_text(most)}, which is what may be used, or what "
            "data of its size reach. If it is yours, unpack it with gunzip, or save it as Parquet."
        )
    return io.BytesIO(text)


def _is_row(cells: list[str]) -> bool:
    """Whether a first line holds no names: numbers, at most one word, and no count from 0."""
    numbers = [it for it in cells if _number(it)]
    counted = numbers == [str(place) for place in range(len(numbers))]
    return len(cells) > 1 and len(numbers) >= len(cells) - 1 and not counted


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_parquet(path: Path, limit: int) -> pa.Table:
    name = shorten(path.name)
    with reading(path, "table", DataError) as stream:
        file = pq.ParquetFile(stream)
        said = file.metadata
        check_columns(said.num_columns, name)
        groups = [said.row_group(place).total_byte_size for place in range(said.num_row_groups)]
        needed = max(12 * said.num_rows * said.num_columns, 2 * sum(groups))
        if said.num_rows < 0 or min(groups, default=0) < 0:
            raise DataError(f"{name} declares less than nothing. It was made to deceive.")
        advice = "Save fewer rows or columns."
        check_memory(needed, limit, f"The rows of {name}", advice)
        batches, held = [], 0
        for batch in file.iter_batches(use_threads=False):
            held += batch.nbytes
            check_memory(held, limit, f"The rows of {name}", advice)
            batches.append(batch)
        return pa.Table.from_batches(batches, file.schema_arrow)
