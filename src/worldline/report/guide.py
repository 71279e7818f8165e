"""The guide to the report, carried inside the page."""

from __future__ import annotations

import re
from importlib import resources
from itertools import pairwise

from markdown_it import MarkdownIt
from markupsafe import Markup

__all__ = ["guide"]


def guide() -> Markup:
    """``guide.md`` as markup; its headings, one level deeper, have the ids ``guide-<words>``."""
    text = resources.files("worldline.report").joinpath("guide.md").read_text("utf-8")
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token, inline in pairwise(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"
        if token.type == "heading_open":
            token.attrSet(
                "id", "guide-" + re.sub(r"[^a-z]+", "-", inline.content.lower()).strip("-")
            )
    return Markup(parser.renderer.render(tokens, parser.options, {}))
