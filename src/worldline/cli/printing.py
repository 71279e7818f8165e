"""The one place that writes to the terminal: control characters are shown as text, never obeyed."""

from __future__ import annotations

import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, TextIO

import click

from worldline.settings import Progress

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from worldline.report.views import Table

__all__ = ["only_plain", "plain", "print_table", "progress_bars", "say"]

LONGEST_CELL = 28


def plain(text: str) -> str:
    """Text whose control characters, lone surrogates and changes of direction are written out.

    >>> from worldline.cli.printing import plain
    >>> plain("a\\x1b]0;title\\x07b")
    'a\\\\x1b]0;title\\\\x07b'
    """
    return "".join(
        letter.encode("unicode_escape").decode() if _hidden(letter) else letter for letter in text
    )


def _hidden(letter: str) -> bool:
    kind = unicodedata.category(letter)
    if kind == "Cf":  # soft signs are harmless, but those that turn the direction are not
        return unicodedata.bidirectional(letter) not in ("BN", "")
    return kind in ("Cc", "Cs", "Zl", "Zp") and letter not in "\n\t"


class _Plain(io.BufferedIOBase):
    """Bytes for a stream of text, which gets them as :func:`plain` text."""

    name = "<stderr>"

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, data: ReadableBuffer) -> int:
        """All of it; what is no UTF-8 is written out."""
        content = bytes(data)
        self.stream.write(plain(content.decode("utf-8", "backslashreplace")))
        return len(content)

    def flush(self) -> None:
        """Hand over what waits."""
        self.stream.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Of the stream, for what asks the system for it."""
        return self.stream.fileno()


@contextmanager
def only_plain() -> Iterator[None]:
    """Whatever is printed or warned of goes to standard error, and is shown, never obeyed.

    So loaded code can neither talk to the terminal nor spoil the one document of ``--json``.
    """
    shown = io.TextIOWrapper(
        _Plain(sys.stderr), "utf-8", "backslashreplace", newline="", write_through=True
    )
    with redirect_stdout(shown), redirect_stderr(shown):
        yield


def say(text: str, *, error: bool = False) -> None:
    """A line on standard output, or on standard error.

    Raises:
        BrokenPipeError: the reader of standard output has gone, which ends the program quietly.
    """
    stream = sys.stderr if error else sys.stdout
    coding = stream.encoding or "utf-8"
    with _reader_may_go(stream):
        click.echo(plain(text).encode(coding, "replace").decode(coding), file=stream)


@contextmanager
def _reader_may_go(stream: TextIO) -> Iterator[None]:
    """Nothing more is written to a stream whose reader has gone; standard output's ends it all."""
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout:
            raise


def print_table(table: Table) -> None:
    """A table on standard output, as wide as the terminal; words stand left, numbers right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        title=Text(plain(table.title)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    cells = [[plain(cell) for cell in row] for row in table.rows]
    for place, head in enumerate(table.columns):
        longest = max((len(row[place]) for row in cells), default=0)
        drawn.add_column(  # heads give way, so that names and numbers stay in one piece
            Text(plain(head)),
            justify="left" if place < table.words else "right",
            min_width=min(longest, LONGEST_CELL),
            overflow="fold",
        )
    for row in cells:
        drawn.add_row(*map(Text, row))
    with _reader_may_go(sys.stdout):
        Console(file=sys.stdout, highlight=False).print(drawn)


@contextmanager
def progress_bars(*, hidden: bool) -> Iterator[Progress]:
    """A bar for each stage, on standard error and only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(file=sys.stderr)  # itself, whatever stands for it while the bars are there
    label = TextColumn("{task.description:32}", markup=False)
    columns = (label, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, disable=hidden or not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int, /) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(plain(stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield progress
