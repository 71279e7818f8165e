"""A run's folder: records, tables and tensors, each written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldline.errors import RunError
from worldline.files import read_text, real_file, reason_of, replacing, shorten
from worldline.runs.codec import from_json, schema_of, to_columns, to_json

__all__ = ["SUMMARY", "RunFolder", "open_run"]

T = TypeVar("T")
SUMMARY, CONFIG = "summary.json", "config.toml"
READERS = (SafetensorError, pa.ArrowException)
DAMAGE = (OSError, ValueError, MemoryError, KeyError, RuntimeError, *READERS)


class RunFolder:
    """The files of one run: ``config.toml`` (resolved), ``summary.json``, tables, tensors, page."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        """In one line."""
        return f"RunFolder({str(self.path)!r})"

    @property
    def finished(self) -> bool:
        """Whether the results are all there (``summary.json`` is written after the tables)."""
        return self.holds(SUMMARY)

    def holds(self, name: str) -> bool:
        """Whether a file is there; if so, it is whole."""
        try:
            return (self.path / name).is_file()
        except (OSError, ValueError):
            return False

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        return self.write_bytes(name, text.encode("utf-8", "replace"))

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file."""
        with replacing(self.path / name, RunError) as temporary:
            temporary.write_bytes(content)
        return self.path / name

    def read_text(self, name: str) -> str:
        """Read a text file; RunError if it is not there or damaged."""
        return read_text(self.path / name, f"{name} of a run", RunError)

    def write_record(self, record: object, name: str = SUMMARY) -> None:
        """Write a record as JSON."""
        self.write_text(name, to_json(record) + "\n")

    def read_record(self, kind: type[T], name: str = SUMMARY) -> T:
        """Read a record; RunError if it is not there, damaged, or of another version."""
        return from_json(kind, self.read_text(name), shorten(str(self.path / name)))

    def write_rows(self, name: str, rows: Sequence[object], *, schema: str) -> None:
        """Write rows of a record as a Parquet table, nested parts as columns of their own."""
        self.write_table(name, to_columns(rows), schema=schema)

    def write_columns(self, name: str, columns: object) -> None:
        """Write a record of arrays, all of one length, as a Parquet table."""
        content = {it.name: getattr(columns, it.name) for it in fields(columns)}  # type: ignore[arg-type]
        self.write_table(name, content, schema=schema_of(type(columns)))

    def read_columns(self, kind: type[T], name: str) -> T:
        """Read a record of arrays; RunError if a column is missing or the table is damaged."""
        table = self.read_table(name)
        known = {it.name: it for it in fields(kind)}  # type: ignore[arg-type]
        missing = [it for it in known if it not in table.column_names and it != "schema"]
        if missing:
            raise RunError(
                f"{name} in {shorten(str(self.path))} has no {', '.join(missing)}: it is damaged, "
                "or of another version. Make the run again."
            )
        found = {it: table[it].to_numpy() for it in known if it != "schema"}
        return kind(**found)

    def write_table(self, name: str, columns: Mapping[str, Any], *, schema: str) -> None:
        """Write columns as a Parquet table; its metadata hold the schema version."""
        table = pa.table({key: value for key, value in columns.items() if key != "schema"})
        known = {**(table.schema.metadata or {}), b"worldline_schema": schema.encode()}
        sink = pa.BufferOutputStream()  # by its path, a name such as a:b would be read as a place
        pq.write_table(table.replace_schema_metadata(known), sink)
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def read_table(self, name: str) -> pa.Table:
        """Read a Parquet table; RunError if it is not there or damaged."""
        # pyarrow's read_table would load its data sets: half a second
        with self._reading(name) as path, path.open("rb") as stream:
            return pq.ParquetFile(stream).read()

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors as safetensors."""
        content = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        with replacing(self.path / name, RunError) as temporary:
            try:
                save_file(content, temporary)
            except SafetensorError as error:  # it wraps what the system says
                raise OSError(str(error)) from error

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        """Read tensors; RunError if they are not there or damaged."""
        with self._reading(name) as path:
            return load_file(path)

    def kept_tensors(self, name: str) -> dict[str, Tensor] | None:
        """Tensors of an unfinished run; None where missing or damaged: they are made again."""
        try:
            return self.read_tensors(name)
        except RunError:
            return None

    def remove(self, pattern: str) -> None:
        """Delete the files that match, and their folder if it is then empty."""
        with suppress(OSError):
            files = list(self.path.glob(pattern))
            for file in files:
                file.unlink()
            for folder in {file.parent for file in files} - {self.path}:
                if not any(folder.iterdir()):
                    folder.rmdir()

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """The file, whose damage is a sentence."""
        path = real_file(self.path / name, f"{name} of a run", RunError)
        try:
            yield path
        except DAMAGE as error:
            raise RunError(
                f"{shorten(str(path))} is damaged ({reason_of(error)}). Make the run again."
            ) from error


@contextmanager
def open_run(
    path: Path | None, config: str, *, stem: str, resume: bool = False
) -> Iterator[RunFolder]:
    """A folder for this run, with its ``config.toml``, for as long as the block lasts.

    The folder is made in one step, so that two processes cannot take the same; while one works in
    it another that would resume it is refused. A start that fails leaves nothing.

    Args:
        path: the folder, or None for the first free ``runs/<stem>-<number>``.
        config: the resolved configuration as TOML.
        stem: what the run is called.
        resume: continue a run of the very same configuration that is there already.

    Raises:
        RunError: the folder exists and ``resume`` does not apply; nothing in it is touched.
    """
    path, made = _make(path, stem)
    folder = RunFolder(path)
    if not made:
        _check_resumable(folder, config, resume)
    with _held(path):
        try:
            if made:
                folder.write_text(CONFIG, config)
            yield folder
        except BaseException:
            if made:
                _leave_nothing(path)
            raise


def _make(path: Path | None, stem: str) -> tuple[Path, bool]:
    """The folder, and whether it is new."""
    paths = iter([path]) if path else (Path("runs") / f"{stem}-{number}" for number in count(1))
    for each in paths:
        try:
            each.parent.mkdir(parents=True, exist_ok=True)
            each.mkdir()
        except FileExistsError as error:
            if each.parent.exists() and not each.parent.is_dir():
                raise RunError(
                    f"{each.parent} is a file, so that no folder can be made in it."
                ) from error
            if path:
                return each, False
        except (OSError, ValueError) as error:
            raise RunError(
                f"The folder {shorten(str(each))!r} cannot be made: {reason_of(error)}. Choose "
                "another --out."
            ) from error
        else:
            return each, True
    raise AssertionError("count ends never")


def _check_resumable(folder: RunFolder, config: str, resume: bool) -> None:
    shown = shorten(str(folder.path))
    if not folder.path.is_dir():
        raise RunError(f"{shown} is a file; --out names a folder that does not exist yet.")
    if not resume:
        raise RunError(
            f"{shown} exists already and is left as it is. Choose another --out, or add --resume "
            "to continue it."
        )
    if not folder.holds(CONFIG):
        raise RunError(f"{shown} exists and is no run (it has no {CONFIG}). Choose another --out.")
    if folder.read_text(CONFIG) != config:
        raise RunError(
            f"{shown} holds a run of another configuration (see its {CONFIG}). Choose another "
            "--out."
        )


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """A lock on the folder itself, where the system has such: it ends with the process."""
    if sys.platform == "win32":
        yield
        return
    import fcntl  # noqa: PLC0415

    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"{shorten(str(path))} cannot be opened: {reason_of(error)}.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"Another process works in {shorten(str(path))}. Wait for it, or choose another "
                "--out."
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def _leave_nothing(path: Path) -> None:
    """Remove a folder in which nothing was finished but the configuration."""
    with suppress(OSError):
        if {it.name for it in path.iterdir()} <= {CONFIG}:
            (path / CONFIG).unlink(missing_ok=True)
            path.rmdir()
