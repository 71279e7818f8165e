"""A run's report, whatever command made it: the page, pictures, text and data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldline.commands import COMMANDS, load
from worldline.commands.base import Command, Result
from worldline.errors import RunError, UsageError
from worldline.files import shorten
from worldline.report.formats import FORMATS, json_document, markdown, pictures
from worldline.report.views import Words
from worldline.runs.codec import to_json
from worldline.runs.store import SUMMARY, RunFolder

__all__ = ["read_run", "render_report", "write_formats", "write_report"]

Runs = Sequence[RunFolder]


def read_run(folder: RunFolder) -> tuple[Command[Any, Any, Any], Result[Any]]:
    """The command that made a finished run, and its result.

    Raises:
        RunError: there is no finished run, it is damaged, or of another version.
    """
    text = folder.read_text(SUMMARY)  # its own errors are sentences already
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{folder.path / SUMMARY} is not JSON. Make the run again.") from error
    schema = str(document.get("schema")) if isinstance(document, dict) else "none"
    name = schema.removeprefix("worldline.").split("/")[0]
    if name not in COMMANDS or not schema.startswith("worldline."):
        raise RunError(
            f"{shorten(str(folder.path))} has schema {shorten(schema)!r}, which no command of this "
            "version wrote. Run its command again: its config.toml says how it was run."
        )
    command = load(name)
    return command, command.read(folder)


def render_report(folder: RunFolder, *, beside: Runs = ()) -> str:
    """The page as text; explorations beside it become further models, other runs sections.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from worldline import commands
    >>> from worldline.commands.rendering import render_report
    >>> config = commands.config_of("explore")(model="linear", samples=50, steps=5)
    >>> with tempfile.TemporaryDirectory() as where:
    ...     run = commands.load("explore")(config, Path(where) / "run")
    ...     render_report(run.folder).startswith("<!doctype html>")
    True
    """
    return _page(*read_run(folder), beside)


def _page(command: Command[Any, Any, Any], result: Result[Any], beside: Runs) -> str:
    if not beside:
        return result.page
    if command.several is None:
        raise RunError(
            f"{result.folder.path} is no run of explore: only its page takes other runs beside it."
        )
    others = [read_run(other) for other in beside]
    models = [result, *(found for kind, found in others if kind is command)]
    attached = [
        kind.attach(found, f"with{place}-")
        for place, (kind, found) in enumerate(others)
        if kind is not command
    ]
    return command.page(models, attached)


def write_report(folder: RunFolder, *, beside: Runs = ()) -> Path:
    """Render the report of a finished run and store it as ``report.html`` in its folder.

    Pictures that are of use alone (``worldline encode``) are stored beside it as PNG.

    Raises:
        RunError: a folder holds no finished run, one of another version, or cannot be written.
    """
    command, result = read_run(folder)
    if not beside:
        return result.report()
    return folder.write_text("report.html", _page(command, result, beside))


def write_formats(folder: RunFolder, formats: Sequence[str], *, beside: Runs = ()) -> list[Path]:
    """Write the report of a finished run in several forms, and say where they are.

    Args:
        folder: of the finished run.
        formats: of ``html`` (``report.html``), ``png`` and ``svg`` (a file for each figure in
            ``figures/``), ``md`` (``report.md``) and ``json`` (``report.json``).
        beside: further runs; pictures are of the first run alone.

    Raises:
        UsageError: an unknown format. RunError: as for :func:`write_report`.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UsageError(
            f"--format takes {', '.join(FORMATS)}, separated by commas; got "
            f"{shorten(', '.join(unknown)) or 'nothing'}."
        )
    command, result = read_run(folder)
    parts = [(command, result), *map(read_run, beside)]
    words = [kind.words(found.record) for kind, found in parts]
    views = {
        f"{prefix}{name}": view
        for (kind, found), said in zip(parts, words, strict=True)
        for prefix in ("" if len(parts) == 1 else f"{said.headline}: ",)
        for name, view in kind.views(found).items()
    }
    whole = Words(
        words[0].headline,
        *(
            tuple(it for said in words for it in getattr(said, kind))
            for kind in ("findings", "notes", "warnings")
        ),
    )
    written = []
    for name in dict.fromkeys(formats):
        if name == "html":
            written.append(write_report(folder, beside=beside))
        elif name in ("png", "svg"):
            drawn = pictures(command.figures(result), name)
            written += [folder.write_bytes(f"figures/{it}", data) for it, data in drawn]
        elif name == "md":
            written.append(folder.write_text("report.md", markdown(whole, views)))
        else:
            text = json_document(whole, views, to_json(result.record))
            written.append(folder.write_text("report.json", text))
    return written
