"""What a command is: a configuration, a run that makes a record, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from matplotlib.figure import Figure

from worldline.commands import load
from worldline.notebook import as_html
from worldline.plot.names import tidy
from worldline.report.page import Attached
from worldline.report.views import Table, View, Words
from worldline.runs.codec import from_plain, to_plain
from worldline.runs.config import Config
from worldline.runs.store import RunFolder, open_run
from worldline.settings import Progress, silent

__all__ = ["Command", "Record", "Result"]


class Record(Protocol):
    """What every record says."""

    @property
    def schema(self) -> str:
        """Its version, such as ``worldline.explore/2``."""


C = TypeVar("C", bound=Config)
G = TypeVar("G")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, repr=False)
class Result(Generic[R]):
    """A record and the folder that holds it with its tables and tensors."""

    record: R
    folder: RunFolder

    def __repr__(self) -> str:
        """In one line: where it is, and what was found."""
        return f"{self.folder.path}: {self._command.words(self.record).headline}"

    def _repr_html_(self) -> str:
        """For notebooks: what was found, and the first table."""
        words, table = self._command.words(self.record), self._command.tables(self.record)[0]
        return as_html(words.headline, table.columns, table.rows)

    @cached_property
    def pictures(self) -> Mapping[str, bytes]:
        """Files that stand beside the page, by name; drawn once."""
        return self._command.pictures(self)

    @property
    def _command(self) -> Command[Any, Any, R]:
        return load(self.record.schema.removeprefix("worldline.").split("/")[0])


@dataclass(frozen=True, kw_only=True)
class Command(Generic[C, G, R]):
    """One command.

    Attributes:
        name: of the command, its folder and its TOML table.
        config, record: the types of what goes in and what comes out.
        prepare: opens and checks all that the configuration names, before any folder is made.
        run: does the work, keeps tables and tensors in the folder, and returns the record.
        words, tables: what the terminal says.
        views: words and tables by view, as on the page, for Markdown and JSON.
        page: the page of one run, or of several where the command can, with other kinds attached.
        attach: its sections for another command's page; ids start with the prefix.
        figures: for papers, by name.
        pictures: files that stand beside the page, by name.
    """

    name: str
    config: type[C]
    record: type[R]
    prepare: Callable[[C, Progress], G]
    run: Callable[[C, G, RunFolder, Progress], R]
    words: Callable[[R], Words]
    tables: Callable[[R], tuple[Table, ...]]
    views: Callable[[Result[R]], dict[str, View]]
    page: Callable[[Sequence[Result[R]], Sequence[Attached]], str]
    attach: Callable[[Result[R], str], Attached]
    figures: Callable[[Result[R]], Mapping[str, Figure]]
    pictures: Callable[[Result[R]], Mapping[str, bytes]] = lambda _result: {}

    def __call__(
        self,
        config: C,
        out: Path | None = None,
        *,
        resume: bool = False,
        progress: Progress = silent,
    ) -> Result[R]:
        """Do all of it and keep it.

        Args:
            config: the whole configuration.
            out: the run's folder; default: the first free ``runs/<stem>-<number>``.
            resume: continue a stopped run of the same configuration; a finished one is returned.
            progress: is told of every stage.

        Raises:
            UsageError, InputError: what was given cannot be used; nothing that existed is
                overwritten, and a start that fails leaves no folder.
        """
        given = self.prepare(config, progress)
        with open_run(out, config.to_toml(), stem=config.stem, resume=resume) as folder:
            if not folder.finished:
                folder.write_record(self.run(config, given, folder, progress))
        return self.read(folder)

    def read(self, folder: RunFolder) -> Result[R]:
        """A finished run, its names made fit to be shown."""
        return Result(self.shown(folder.read_record(self.record)), folder)

    def shown(self, record: R) -> R:
        """The record with every name from outside in one line and without hidden signs."""
        plain: Any = tidy(to_plain(record))
        return from_plain(self.record, plain, "The record")
