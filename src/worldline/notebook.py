"""A result as a notebook shows it: a sentence and a short table, without style or script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["as_html"]

MOST_ROWS = 30


def as_html(sentence: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markup for ``_repr_html_``: numbers with two decimals, at most 30 rows, all text escaped.

    >>> from worldline.notebook import as_html
    >>> as_html("<b>", ["φ"], [[0.5]])
    '<p>&lt;b&gt;</p><table><tr><th>φ</th></tr><tr><td>0.50</td></tr></table>'
    """
    given = list(rows)
    lines = [_line("th", heads), *(_line("td", row) for row in given[:MOST_ROWS])]
    more = f"<p>{len(given) - MOST_ROWS} more rows.</p>" if len(given) > MOST_ROWS else ""
    return f"<p>{escape(sentence)}</p><table>{''.join(lines)}</table>{more}"


def _line(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(_text(cell))}</{tag}>' for cell in cells)}</tr>"


def _text(cell: object) -> str:
    if cell is None:
        return "–"
    text = f"{cell:.2f}" if isinstance(cell, float) else str(cell)
    return text.encode("utf-8", "replace").decode()[:200]
