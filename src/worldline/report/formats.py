"""A report as pictures, text and data: the words and numbers of the page, without the page."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from warnings import catch_warnings, filterwarnings

from matplotlib import rc_context

from worldline.errors import UsageError
from worldline.plot.names import tidy
from worldline.report.kinds import Document
from worldline.report.render import kind_of, write_report
from worldline.report.views import Table
from worldline.runs import RunFolder

__all__ = ["FORMATS", "write_formats"]

MARKS = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]#!"} | {
    ord(sign): f"&#{ord(sign)};" for sign in "<>&|"
}
FORMATS = ("html", "png", "svg", "md", "json")


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
            text = _markdown(document) if name == "md" else _json(document, run)
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
    written = []
    with (
        rc_context({"svg.hashsalt": "worldline"}),
        catch_warnings(),
    ):  # the same run gives the same file
        filterwarnings(
            "ignore", message="Glyph"
        )  # a name may hold signs that the font lacks: they are drawn as boxes
        for name, figure in package.draw(run).items():
            buffer = io.BytesIO()
            figure.savefig(
                buffer,
                format=form,
                metadata={"Date": None} if form == "svg" else {"Software": None},
            )
            written.append(run.write_bytes(f"figures/{name}.{form}", buffer.getvalue()))
    return written


def _json(document: Document, run: RunFolder) -> str:
    summary = run.read_json("summary.json")
    plain = {
        "schema": "worldline.report/1",
        "run": summary["schema"],
        "title": document.title,
        "findings": list(document.findings),
        "views": {name: asdict(view) for name, view in document.views.items()},
        "summary": tidy(summary),
    }
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _markdown(document: Document) -> str:
    lines = [
        f"# {_escaped(document.title)}",
        "",
        *(f"- {_escaped(sentence)}" for sentence in document.findings),
        "",
    ]
    for view in document.views.values():
        lines += [
            f"## {_escaped(view.title)}",
            "",
            _escaped(view.sentence),
            "",
            f"_{_escaped(view.basis)}_",
            "",
        ]
        if view.table:
            lines += [*_rows(view.table), ""]
    return "\n".join(lines)


def _rows(table: Table) -> list[str]:
    marks = ["---" if place < table.words else "---:" for place in range(len(table.columns))]
    return [
        "| " + " | ".join(map(_escaped, row)) + " |" for row in (table.columns, marks, *table.rows)
    ]


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no links, no cells of a table."""
    if set(text) <= {"-", ":"}:
        return text
    return text.translate(MARKS)
