"""A run's report, whatever kind of run it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from worldline.errors import RunError, UsageError
from worldline.plot.names import tidy
from worldline.report.formats import FORMATS, json_document, markdown, pictures
from worldline.report.kinds import Document
from worldline.report.page import Attached
from worldline.report.views import Words
from worldline.runs import RunFolder

__all__ = ["kind_of", "render_report", "write_formats", "write_report"]

KINDS = {  # schema → package with a render(run)
    "worldline.explore/1": "explore",
    "worldline.compare/1": "compare",
    "worldline.complexity/1": "complexity",
    "worldline.distant/1": "distant",
    "worldline.encode/1": "encode",
    "worldline.doctor/1": "doctor",
}
Beside = tuple[RunFolder, ...]


def write_report(run: RunFolder, *, beside: Beside = ()) -> Path:
    """Render the report of a finished run and store it as ``report.html`` in the run's folder.

    Pictures that the page shows and that are of use alone (``worldline encode``) are stored beside
    it as PNG.

    Args:
        run: the finished run.
        beside: for an exploration: further runs on the same page. Explorations become further
            models, others sections.

    Raises:
        RunError: a folder holds no finished run, one of another version, one that cannot join, or
            cannot be written.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.report.write_report(run).name
    'report.html'
    """
    page, pictures = _render(run, beside)
    for name, picture in pictures.items():
        run.write_bytes(name, picture)
    return run.write_text("report.html", page)


def render_report(run: RunFolder, *, beside: Beside = ()) -> str:
    """The page as a string; results in, markup out.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.report.render_report(run).startswith("<!doctype html>")
    True
    """
    return _render(run, beside)[0]


def kind_of(run: RunFolder) -> Any:
    """The package that draws this kind of run."""
    schema = str(run.read_json("summary.json").get("schema"))
    if schema not in KINDS:
        raise RunError(f"{run.path} has schema {schema!r}; this version reads {', '.join(KINDS)}.")
    return import_module(f"worldline.report.{KINDS[schema]}")  # each loads what it draws with


def _render(run: RunFolder, beside: Beside) -> tuple[str, dict[str, bytes]]:
    """The page, and pictures by the names of their files."""
    package = kind_of(run)
    explore = import_module("worldline.report.explore")
    if not beside:
        page, pictures = package.render(run)
    elif package is not explore:
        raise RunError(
            f"{run.path} is no run of explore: only a page of explore takes other runs beside it."
        )
    else:
        kinds = [(other, kind_of(other)) for other in beside]
        models = tuple(other for other, kind in kinds if kind is explore)
        attached = tuple(
            _attach(other, kind, place)
            for place, (other, kind) in enumerate(kinds)
            if kind is not explore
        )
        page, pictures = package.render(run, models, attached)
    return page, pictures


def _attach(run: RunFolder, package: Any, place: int) -> Attached:
    if not hasattr(package, "attach"):
        raise RunError(
            f"{run.path} has a page of its own that cannot stand beside another run: leave it out."
        )
    attached: Attached = package.attach(run, prefix=f"with{place}-")
    return attached


def write_formats(
    run: RunFolder, formats: Sequence[str], *, beside: tuple[RunFolder, ...] = ()
) -> list[Path]:
    """Write the report of a finished run in several forms, and say where they are.

    Args:
        run: the finished run.
        formats: of ``html`` (``report.html``), ``png`` and ``svg`` (a file for each figure in
            ``figures/``), ``md`` (``report.md``) and ``json`` (``report.json``).
        beside: further runs, as for :func:`write_report`. Pictures are of the first run alone.

    Raises:
        UsageError: an unknown format. RunError: as for :func:`write_report`.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     [path.name for path in wl.report.write_formats(run, ["md", "json"])]
    ['report.md', 'report.json']
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UsageError(
            f"--format takes {', '.join(FORMATS)}, separated by commas; got "
            f"{', '.join(unknown) or 'nothing'}."
        )
    written = []
    for name in dict.fromkeys(formats):
        if name == "html":
            written.append(write_report(run, beside=beside))
        elif name in ("png", "svg"):
            written += _pictures(run, name)
        else:
            document = _describe(run, beside)
            words = Words(document.title, document.findings)
            record = json.dumps(tidy(run.read_json("summary.json")))
            text = (
                markdown(words, document.views)
                if name == "md"
                else json_document(words, document.views, record)
            )
            written.append(run.write_text(f"report.{name}", text))
    return written


def _describe(run: RunFolder, beside: tuple[RunFolder, ...]) -> Document:
    """The document of a run; explorations beside it become further models, other kinds follow with
    their own views.
    """
    package = kind_of(run)
    if not hasattr(package, "describe"):
        raise UsageError(f"A report of this kind exists as html only: {run.path}.")
    models = tuple(other for other in beside if kind_of(other) is package)
    document: Document = package.describe(run, models) if models else package.describe(run)
    for other in beside:
        if other in models:
            continue
        further: Document = kind_of(other).describe(other)
        views = {f"{further.title}: {name}": view for name, view in further.views.items()}
        document = Document(
            document.title, (*document.findings, *further.findings), {**document.views, **views}
        )
    return document


def _pictures(run: RunFolder, form: str) -> list[Path]:
    package = kind_of(run)
    if not hasattr(package, "draw"):
        raise UsageError(f"A report of this kind exists as html only: {run.path}.")
    return [
        run.write_bytes(f"figures/{name}", content)
        for name, content in pictures(package.draw(run), form)
    ]
