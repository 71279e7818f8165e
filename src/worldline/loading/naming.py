"""Which array or file holds the inputs, and which their labels: by the names that people use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from worldline.errors import DataError
from worldline.files import shorten

__all__ = [
    "INPUTS",
    "REFERENCE",
    "SAMPLES",
    "Pair",
    "beside",
    "choose_pairs",
    "partner_of",
    "words_of",
]

INPUTS = ("x", "images", "image", "data", "features", "inputs", "input")
LABELS = ("y", "labels", "label", "target", "targets")
SAMPLES = ("test", "t10k", "val", "valid", "validation")
REFERENCE = ("train", "reference")
NO_PART = re.compile(r"idx\d?|ubyte|gz|npy")  # of a file's name

Pair = tuple[str, str]


def choose_pairs(
    names: Sequence[str], told: str, *, x: str = "", y: str = ""
) -> tuple[Pair, Pair | None, tuple[str, ...]]:
    """The names of inputs and labels, those of the reference if there is one, and what is to say.

    Names are read by their words, in any order and case: ``x``/``y``, ``images``/``labels``,
    ``data``/``target``, ``features``/``labels``, each also with ``test`` (or ``val``), whose
    reference has ``train``, or alone, whose reference has ``reference`` or ``train``.

    Args:
        names: what there is.
        told: what holds them, in messages.
        x, y: names that the user gave.

    Raises:
        DataError: there is no such pair; lists what there is.

    >>> choose_pairs(["x_train", "y_train", "x_test", "y_test"], "d.npz")
    (('x_test', 'y_test'), ('x_train', 'y_train'), ())
    """
    for given, flag in ((x, "--x"), (y, "--y")):
        if given and given not in names:
            raise DataError(f"{flag} {shorten(given, 60)} is not in {told}; {_holds(names)}.")
    pairs = [(it, other) for it in names if (other := partner_of(it, names))]
    pairs = [it for it in pairs if x in ("", it[0]) and y in ("", it[1])]
    if x and not pairs:
        pairs = [(x, y or _only([it for it in names if it != x], LABELS, told, "--y", names))]
    elif y and not pairs:
        pairs = [(_only([it for it in names if it != y], INPUTS, told, "--x", names), y)]
    elif x and y:
        pairs = [(x, y)]
    if not pairs:
        raise DataError(
            f"{told} must hold inputs and labels by one of the usual names: x and y, images and "
            f"labels, data and target, x_test and y_test; {_holds(names)}. Name them with --x and "
            "--y."
        )
    ranked = sorted(pairs, key=_rank)
    first = ranked[0]
    others = [it for it, _ in ranked[1:] if not set(words_of(it)) & set(REFERENCE)]
    said = f"{told} holds {first[0]} and {', '.join(others)}; {first[0]} was taken (--x names one)."
    return first, _reference(first, names), (said,) if others else ()


def partner_of(x: str, names: Sequence[str]) -> str | None:
    """The labels of inputs by name, or None.

    >>> partner_of("t10k-images-idx3-ubyte.gz", ["t10k-labels-idx1-ubyte", "train-labels"])
    't10k-labels-idx1-ubyte'
    """
    words = words_of(x)
    for place, word in enumerate(words):
        for label in LABELS if word in INPUTS else ():
            wanted = (*words[:place], label, *words[place + 1 :])
            found = [it for it in names if words_of(it) == wanted]
            if found:  # beside x.npy.gz rather its like
                return max(found, key=lambda it: (it.endswith(".gz") == x.endswith(".gz"), it))
    return None


def beside(folder: Path, name: str) -> Path:
    """A file that the user named: in the folder of the data, else from here.

    >>> beside(Path("data"), "y.npy").as_posix()
    'y.npy'
    """
    return next((it for it in (folder / name,) if it.is_file()), Path(name))


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, without those of a file's kind.

    >>> words_of("t10k-images.idx3-ubyte.gz")
    ('t10k', 'images')
    """
    words = re.split(r"[^a-z0-9]+", name.lower())
    return tuple(it for it in words if it and not NO_PART.fullmatch(it))


def _rank(pair: Pair) -> tuple[bool, int, int, int]:
    """What is to explain before what is reference, test before val, short before long."""
    words = words_of(pair[0])
    part = min((SAMPLES.index(it) for it in words if it in SAMPLES), default=len(SAMPLES))
    role = min(INPUTS.index(it) for it in words if it in INPUTS) if set(words) & set(INPUTS) else 0
    return bool(set(words) & set(REFERENCE)), part, len(words), role


def _reference(pair: Pair, names: Sequence[str]) -> Pair | None:
    if set(words_of(pair[0])) & set(REFERENCE):
        return None
    wanted = [sorted(it for it in words_of(name) if it not in SAMPLES) for name in pair]
    for part in REFERENCE[::-1]:
        found = [
            [it for it in names if sorted(words_of(it)) == sorted([part, *words])]
            for words in wanted
        ]
        if all(found):
            return found[0][0], found[1][0]
    return None


def _only(
    names: Sequence[str], words: Sequence[str], told: str, flag: str, all_: Sequence[str]
) -> str:
    """The one name that has one of the words."""
    found = [it for it in names if set(words_of(it)) & set(words)]
    if len(found) != 1:
        what = "labels" if flag == "--y" else "inputs"
        raise DataError(
            f"Which of {told} are the {what} is not clear; {_holds(all_)}. Name them with {flag}."
        )
    return found[0]


def _holds(names: Sequence[str]) -> str:
    shown = ", ".join(shorten(it, 40) for it in names[:12])
    return f"it holds {shown or 'nothing'}{', …' if len(names) > 12 else ''}"
