"""Docstrings as Markdown, for the reference: examples, literal blocks, names."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?(?:worldline\.)?([^`]+)`")
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)  # up to an empty line

RAISES = re.compile(r"^Raises:\n(?: {4}.*\n?)+", re.MULTILINE)
GOES_ON = re.compile(r"^ {4}(?! |[A-Z]\w*(?:Error|Warning)\b)", re.MULTILINE)


class AsMarkdown(griffe.Extension):
    """Rewrites the docstring of every object once."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe calls this with each object that it finds."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Examples between fences, ``::`` as a colon, names without their kinds, sentences as one."""
    text = ROLE.sub(r"`\1`", text)
    text = re.sub(r"^([A-Z]\w+): (?=\S)", r"**\1:** ", text, flags=re.MULTILINE)  # no section
    text = RAISES.sub(lambda it: GOES_ON.sub(" " * 8, it[0]), text)
    text = re.sub(r"^( *)::$", "", text, flags=re.MULTILINE)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return EXAMPLE.sub(lambda it: f"{it[1]}```pycon\n{it[0]}\n{it[1]}```", text)
