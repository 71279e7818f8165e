"""The page of the encoder's experiments, from their stored results."""

from __future__ import annotations

import base64
from typing import Any

from worldline.report.encode.figures import draw
from worldline.report.page import render_page
from worldline.runs import RunFolder

__all__ = ["render"]


def render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page, and the figure of each experiment as PNG by the name of its file; the page holds them too."""
    summary = run.read_json("summary.json")
    documents = summary.get("experiments") or [summary]
    pictures = {it["figure"]: draw(it, run.read_table(it["table"]).to_pydict()) for it in documents}
    page = render_page(
        "encode/page.html.j2",
        scripts=[],
        summary=summary,
        documents=documents,
        pictures={name: base64.b64encode(picture).decode() for name, picture in pictures.items()},
        headline=_headline(documents),
    )
    return page, pictures


def _headline(documents: list[dict[str, Any]]) -> str:
    if len(documents) == 1:
        it = documents[0]
        return f"{it['title']}: {'as the law says' if it['agrees'] else 'not as the law says'}"
    agreeing = sum(it["agrees"] for it in documents)
    return f"The selecting encoder: {agreeing} of {len(documents)} experiments come out as the exact law says"
