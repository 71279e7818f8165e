"""The guide in the page is the guide in the docs."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from worldline.report.guide import guide

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.law
def test_the_page_carries_the_docs_word_for_word() -> None:
    carried = resources.files("worldline.report").joinpath("guide.md").read_text("utf-8")
    assert carried == (DOCS / "report.md").read_text("utf-8"), (
        "docs/report.md and report/guide.md are one text: copy the newer"
    )
    markup = str(guide())
    ids = re.findall(r'<h\d id="([^"]+)"', markup)
    assert len(ids) == len(set(ids)) == carried.count("\n#") + 1
    assert markup.count("<table>") == 2
