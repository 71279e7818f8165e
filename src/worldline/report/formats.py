"""A report as pictures, text and data: the words and numbers of the page, without the page."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from warnings import catch_warnings, filterwarnings

from matplotlib import rc_context
from matplotlib.figure import Figure

from worldline.report.views import Table, View, Words

__all__ = ["FORMATS", "json_document", "markdown", "pictures"]

FORMATS = ("html", "png", "svg", "md", "json")
MARKS = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]#!"} | {
    ord(sign): f"&#{ord(sign)};" for sign in "<>&|"
}


def markdown(words: Words, views: Mapping[str, View]) -> str:
    """Headline, sentences, and every view with its table.

    >>> from worldline.report.formats import markdown
    >>> from worldline.report.views import Words
    >>> print(markdown(Words("a_b is fooled", ("On 1 of 2.",)), {}))
    # a\\_b is fooled
    <BLANKLINE>
    - On 1 of 2.
    <BLANKLINE>
    """
    said = [*words.findings, *(f"Warning: {it}" for it in words.warnings)]
    said += [f"Note: {it}" for it in words.notes]
    lines = [f"# {_escaped(words.headline)}", "", *(f"- {_escaped(it)}" for it in said), ""]
    for view in views.values():
        lines += [f"## {_escaped(view.title)}", "", _escaped(view.sentence), ""]
        lines += [f"_{_escaped(view.basis)}_", ""]
        if view.table:
            lines += [*_rows(view.table), ""]
    return "\n".join(lines)


def json_document(words: Words, views: Mapping[str, View], record: str) -> str:
    """Words, views and the record, ``record`` being its JSON, as one JSON document."""
    whole = json.loads(record)
    plain = {
        "schema": "worldline.report/2",
        "run": whole["schema"],
        "title": words.headline,
        "findings": words.findings,
        "notes": words.notes,
        "warnings": words.warnings,
        "views": {name: asdict(view) for name, view in views.items()},
        "summary": whole,
    }
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def pictures(figures: Mapping[str, Figure], form: str) -> Iterator[tuple[str, bytes]]:
    """Names of files and their contents, ``form`` being png or svg.

    The same figure gives the same bytes. A name may hold signs that the font lacks: they are drawn
    as boxes.
    """
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": "worldline"}), catch_warnings():
            filterwarnings("ignore", message="Glyph")
            figure.savefig(buffer, format=form, metadata=metadata)
        yield f"{name}.{form}", buffer.getvalue()


def _rows(table: Table) -> list[str]:
    marks = ["---" if place < table.words else "---:" for place in range(len(table.columns))]
    return [_row([*map(_escaped, table.columns)]), _row(marks)] + [
        _row([*map(_escaped, row)]) for row in table.rows
    ]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no links, no cells of a table."""
    return text.translate(MARKS)
