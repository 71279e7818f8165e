"""What a command is: a configuration, a run that makes a record, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from matplotlib.figure import Figure

from worldline.attacks import told_elsewhere
from worldline.commands import load
from worldline.errors import InputError, UsageError
from worldline.notebook import as_html, inline
from worldline.plot.names import tidy
from worldline.report.formats import pictures
from worldline.report.page import Attached, fill_template, render_page
from worldline.report.views import Table, View, Words
from worldline.runs.codec import from_plain, to_plain
from worldline.runs.config import Config
from worldline.runs.store import RunFolder, open_run
from worldline.settings import Progress, silent

if TYPE_CHECKING:
    import pandas

__all__ = ["Command", "Record", "Result"]


class Record(Protocol):
    """What every record says."""

    @property
    def schema(self) -> str:
        """Its version, such as ``worldline.explore/2``."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What it was made with."""


C = TypeVar("C", bound=Config)
G = TypeVar("G")
R = TypeVar("R", bound=Record)
LONGEST_INLINE = 2_000_000
"""Characters of a page that a notebook carries whole."""


@dataclass(frozen=True, repr=False)
class Result(Generic[R]):
    """A record and the folder that holds it with its tables and tensors."""

    record: R
    folder: RunFolder

    def __repr__(self) -> str:
        """In one line: where it is, and what was found."""
        return f"{self.folder.path}: {self._command.words(self.record).headline}"

    def _repr_html_(self) -> str:
        """For notebooks: the whole page, or where it is too large what was found, as a table."""
        headline = self._command.words(self.record).headline
        if len(self.page) <= LONGEST_INLINE:
            return inline(headline, self.page)
        table = self._command.tables(self.record)[0]
        return as_html(headline, table.columns, table.rows)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page, one HTML file that works offline, and say where it is.

        Args:
            path: of the file; default: ``report.html`` in the run's folder.
        """
        place = self.folder if path is None else RunFolder(Path(path).absolute().parent)
        for name, picture in self.pictures.items():
            place.write_bytes(name, picture)
        return place.write_text("report.html" if path is None else Path(path).name, self.page)

    def to_frame(self, table: str = "") -> pandas.DataFrame:
        """A table of the run as a pandas data frame.

        Args:
            table: the name of a Parquet file in the run's folder, such as ``samples``; default: the
                command's main one: layers, pairs of inputs or models, checks, or the numbers of the
                one experiment.

        Raises:
            UsageError: there is no such table. InputError: pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise InputError(
                "to_frame() needs the package pandas: pip install 'worldline[pandas]'."
            )
        there = sorted(file.stem for file in self.folder.path.glob("*.parquet"))
        name = table or self._command.rows or (there[0] if len(there) == 1 else "")
        if name not in there:
            raise UsageError(f"Name one of the run's tables: {', '.join(there)}; got {name!r}.")
        return self.folder.read_table(f"{name}.parquet").to_pandas()

    @cached_property
    def page(self) -> str:
        """The whole page; made once."""
        return self._command.page([self])

    @cached_property
    def pictures(self) -> Mapping[str, bytes]:
        """Files that stand beside the page, by name; drawn once."""
        command = self._command
        return dict(pictures(command.figures(self), "png")) if command.beside else {}

    @property
    def _command(self) -> Command[Any, Any, R]:
        return load(self.record.schema.removeprefix("worldline.").split("/")[0])


@dataclass(frozen=True, kw_only=True)
class Command(Generic[C, G, R]):
    """One command.

    Its page is ``page.html.j2`` in its folder, and on the page of another command
    ``sections.html.j2``, whose ids start with a prefix.

    Attributes:
        config, record: the types of what goes in and what comes out.
        prepare: opens and checks all that the configuration names, before any folder is made.
        run: does the work, keeps tables and tensors in the folder, and returns the record.
        words, tables: what the terminal says.
        rows: the Parquet table that its data frame is.
        views: words and tables by view, as on the page, for Markdown and JSON.
        figures: for papers, by name.
        context: what its templates show beside ``record``, ``words`` and ``prefix``.
        several: the page of one run or several, with other kinds attached, where one page can.
        beside: whether the figures stand beside the page as PNG.
    """

    config: type[C]
    record: type[R]
    prepare: Callable[[C, Progress], G]
    run: Callable[[C, G, RunFolder, Progress], R]
    words: Callable[[R], Words]
    tables: Callable[[R], tuple[Table, ...]]
    views: Callable[[Result[R]], dict[str, View]]
    figures: Callable[[Result[R]], Mapping[str, Figure]]
    context: Callable[[Result[R], str], Mapping[str, object]] = lambda _result, _prefix: {}
    several: Callable[[Sequence[Result[R]], Sequence[Attached]], str] | None = None
    beside: bool = False
    rows: str = ""

    @property
    def name(self) -> str:
        """Of the command, its folder and its TOML table."""
        return self.config.command

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
                with told_elsewhere():
                    found = self.run(config, given, folder, progress)
                folder.write_record(found)
        return self.read(folder)

    def read(self, folder: RunFolder) -> Result[R]:
        """A finished run, its names made fit to be shown."""
        return Result(self.shown(folder.read_record(self.record)), folder)

    def shown(self, record: R) -> R:
        """The record with every name from outside in one line and without hidden signs."""
        plain: Any = tidy(to_plain(record))
        return from_plain(self.record, plain, "The record")

    def page(self, results: Sequence[Result[R]], attached: Sequence[Attached] = ()) -> str:
        """The page of a run; of several, and with other kinds attached, where the command can."""
        if self.several:
            return self.several(results, attached)
        return render_page(
            f"{self.name}/page.html.j2",
            versions=results[0].record.versions,
            **self._filling(results[0], ""),
        )

    def attach(self, result: Result[R], prefix: str) -> Attached:
        """Its sections for another command's page; ids start with the prefix."""
        filling = self._filling(result, prefix)
        sections = fill_template(f"{self.name}/sections.html.j2", **filling)
        return Attached(self.words(result.record).headline, sections)

    def _filling(self, result: Result[R], prefix: str) -> Mapping[str, Any]:
        record = result.record
        always = {"record": record, "words": self.words(record), "prefix": prefix}
        return {**always, **self.context(result, prefix)}
