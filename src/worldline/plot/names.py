"""Names from outside (classes, layers, files) made fit to be shown, nothing hidden or endless."""

from __future__ import annotations

import unicodedata
from typing import Any

__all__ = ["LONGEST_NAME", "tidy", "tidy_name"]

LONGEST_NAME = 60
LONGEST_TEXT = 1200
ISOLATE, END_ISOLATE = "\u2068", "\u2069"
NAMES = ("model", "data", "name", "layer", "class_names", "models")
DIRECTIONAL = ("R", "AL", "RLE", "RLO", "LRE", "LRO", "RLI", "LRI", "FSI", "PDF", "PDI")


def tidy_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name in one line, without hidden signs.

    Control characters and lone surrogates become �, the middle of a long name becomes ….
    Names that run from right to left, or that change the direction, are isolated, so that they
    cannot turn the text around them.

    >>> from worldline.plot.names import tidy_name
    >>> tidy_name("relu\\x00one")
    'relu�one'
    """
    half = (longest - 1) // 2
    if len(name) > longest:
        name = f"{name[:half]}…{name[-half:]}"
    if name.isascii() and name.isprintable():  # nearly every name
        return name
    directed = any(unicodedata.bidirectional(letter) in DIRECTIONAL for letter in name)
    shown = "".join("\ufffd" if _unfit(letter, directed=directed) else letter for letter in name)
    return f"{ISOLATE}{shown}{END_ISOLATE}" if directed else shown


def tidy(document: Any, key: str = "") -> Any:
    """A document with all of its strings, keys too, fit to be shown.

    What stands under the key of a name is kept short.

    >>> from worldline.plot import tidy
    >>> tidy({"model": "a\\x00b", "epsilon": 0.1})
    {'model': 'a�b', 'epsilon': 0.1}
    """
    if isinstance(document, dict):
        return {tidy_name(str(name)): tidy(value, str(name)) for name, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [tidy(value, key) for value in document]
    if isinstance(document, str):
        return tidy_name(document, LONGEST_NAME if key in NAMES else LONGEST_TEXT)
    return document


def _unfit(letter: str, *, directed: bool) -> bool:
    """Control characters, surrogates, and what could end the isolation of an isolated name."""
    kind = unicodedata.category(letter)
    return kind in ("Cc", "Cs", "Zl", "Zp") or (
        directed and unicodedata.bidirectional(letter) in DIRECTIONAL[2:]
    )
