"""A run's folder: every file is written beside its name, flushed, then renamed, so that a kill
leaves whole files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldline.errors import RunError
from worldline.notebook import as_html

__all__ = ["RunFolder", "open_run"]


class RunFolder:
    """The files of one run: ``config.toml`` (resolved), ``summary.json``, tables, pictures,
    tensors, ``report.html``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def _repr_html_(self) -> str:
        """A short table for notebooks: what the run is of, and its whole numbers and shares."""
        if not self.finished:
            return as_html(f"{self.path}: not finished", (), ())
        summary = self.read_json("summary.json")
        shown = [
            (name, value) for name, value in summary.items() if isinstance(value, (str, int, float))
        ]
        return as_html(f"Run {self.path}", ("", ""), shown)

    @property
    def finished(self) -> bool:
        """Whether the results are all there (``summary.json`` is written after the tables)."""
        return self.holds("summary.json")

    def holds(self, name: str) -> bool:
        """Whether a file is there; if so, it is whole."""
        return (self.path / name).is_file()

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file."""
        with self._replacing(name) as temporary:
            temporary.write_bytes(content)
        return self.path / name

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """Write a JSON document; NaN and infinity are refused."""
        self.write_text(
            name, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        )

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON document; RunError if it is not there or broken."""
        try:
            document = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path} holds no readable {name}: it is not a finished run ({error})."
            ) from error
        if not isinstance(document, dict):
            raise RunError(f"{name} in {self.path} is not a JSON object.")
        return document

    def write_table(self, name: str, columns: dict[str, Any], *, schema: str) -> None:
        """Write a Parquet table; its metadata holds the schema version, such as
        ``worldline.explore/1``.
        """
        table = pa.table(columns)
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), b"worldline_schema": schema.encode()}
        )
        with self._replacing(name) as temporary:
            pq.write_table(table, temporary)

    def read_table(self, name: str) -> pa.Table:
        """Read a Parquet table; RunError if it is not there or broken."""
        try:
            return pq.ParquetFile(
                self.path / name
            ).read()  # read_table would load pyarrow's data sets: half a second
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{self.path} holds no readable {name} ({error}).") from error

    def write_tensors(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write tensors as safetensors."""
        with self._replacing(name) as temporary:
            save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, temporary)

    def read_tensors(self, name: str) -> dict[str, Tensor] | None:
        """Read tensors; None if they are not there or broken."""
        try:
            return load_file(self.path / name)
        except (OSError, SafetensorError):
            return None

    def remove(self, pattern: str) -> None:
        """Delete the files that match, and their folder if it is then empty."""
        folders = set()
        for file in self.path.glob(pattern):
            folders.add(file.parent)
            file.unlink()
        for folder in folders - {self.path}:
            if not any(folder.iterdir()):
                folder.rmdir()

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        target = self.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}.") from error
        finally:
            temporary.unlink(missing_ok=True)


def open_run(path: Path | None, config: str, *, stem: str, resume: bool = False) -> RunFolder:
    """A folder for this run, with its ``config.toml``.

    Args:
        path: the folder, or None for the first free ``runs/<stem>-<number>``.
        config: the resolved configuration as TOML.
        stem: what the run is called.
        resume: continue a run of the very same configuration that is there already.

    Raises:
        RunError: the folder exists and ``resume`` does not apply; nothing in it is touched.
    """
    path = path or _free_path(stem)
    if "\0" in str(path):
        raise RunError(f"{str(path)!r} cannot be the name of a folder. Choose another --out.")
    folder = RunFolder(path)
    if path.exists():
        if not path.is_dir():
            raise RunError(f"{path} is a file; --out names a folder that does not exist yet.")
        stored = path / "config.toml"
        if not resume:
            raise RunError(
                f"{path} exists already and is left as it is. Choose another --out, or add "
                f"--resume to continue it."
            )
        if not stored.is_file():
            raise RunError(
                f"{path} exists and is no run (it has no config.toml). Choose another --out."
            )
        if stored.read_text("utf-8") != config:
            raise RunError(
                f"{path} holds a run of another configuration (see its config.toml). Choose "
                f"another --out."
            )
    else:
        folder.write_text("config.toml", config)
    return folder


def _free_path(stem: str) -> Path:
    paths = (Path("runs") / f"{stem}-{number}" for number in count(1))
    return next(path for path in paths if not path.exists())
