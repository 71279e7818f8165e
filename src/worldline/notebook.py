"""A result as a notebook shows it: a sentence and a short table, or a whole page in a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["as_html", "inline"]

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


def inline(sentence: str, page: str) -> str:
    """A whole page in a frame of the notebook's own, under a sentence that stays without frames.

    >>> from worldline.notebook import inline
    >>> inline("fooled", '<p title="a">&lt;</p>')[-54:]
    'srcdoc="<p title=&quot;a&quot;>&amp;lt;</p>"></iframe>'
    """
    held = page.replace("&", "&amp;").replace('"', "&quot;")
    look = "width:100%;height:80vh;border:1px solid #8888"
    return f'<p>{escape(sentence)}</p><iframe style="{look}" srcdoc="{held}"></iframe>'


def _line(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(_text(cell))}</{tag}>' for cell in cells)}</tr>"


def _text(cell: object) -> str:
    if cell is None:
        return "–"
    text = f"{cell:.2f}" if isinstance(cell, float) else str(cell)
    return text.encode("utf-8", "replace").decode()[:200]
