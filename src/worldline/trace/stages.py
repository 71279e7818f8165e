"""Which of very many layers are traced where none is named: by stage, from coarse to fine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

__all__ = ["MOST", "by_stage"]

MOST = 20
"""So many layers are traced at most where none is named."""
Stage = tuple[str, tuple[int, ...]]
"""The dotted name of a module, and the shape of its value."""


def by_stage(layers: Sequence[Stage], *, read: Sequence[int], always: Sequence[int]) -> set[int]:
    """At most :data:`MOST` places, those that are ``always`` there among them.

    Of the places that are ``read`` there are taken, as long as they fit: the last of each top-level
    module, then of the modules in these, and so on inwards; at each step first the last of those
    neighbours whose values have one shape. Of the first step that does not fit there are as many as
    do, evenly, unless half of the room is taken already.

    >>> from worldline.trace.stages import by_stage
    >>> blocks = [("input", (3,)), *((f"blocks.{i}.act", (8,)) for i in range(30)), ("head", (2,))]
    >>> sorted(by_stage(blocks, read=range(1, 31), always=[0, 31]))
    [0, 1, 3, 5, 6, 8, 10, 12, 13, 15, 17, 18, 20, 22, 24, 25, 27, 29, 30, 31]
    """
    chosen = set(always)
    for level in _levels(layers, list(read)):
        left = [place for place in level if place not in chosen]
        room = min(len(left), MOST - len(chosen))
        if room < len(left) and len(chosen) >= MOST // 2:
            break
        chosen |= {left[(2 * it + 1) * len(left) // (2 * room)] for it in range(room)}
    return chosen


def _levels(layers: Sequence[Stage], read: list[int]) -> Iterator[list[int]]:
    """Ends of stages, from coarse to fine; each level holds the one before it."""
    names = {place: layers[place][0].split(".") for place in read}
    for depth in range(1, max(map(len, names.values()), default=0) + 1):
        ends = _ends(read, [names[place][:depth] for place in read])
        yield _ends(ends, [(names[place][: depth - 1], layers[place][1]) for place in ends])
        yield ends
    yield read


def _ends(places: list[int], keys: Sequence[object]) -> list[int]:
    """The last place of each run of one key."""
    changes = [key != after for key, after in pairwise(keys)]
    return [place for place, last in zip(places, [*changes, True], strict=False) if last]
