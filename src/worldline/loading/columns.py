"""Samples from the columns of an Arrow table: numbers, lists of numbers or pictures, and labels."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from worldline.errors import DataError, LabelError
from worldline.files import reason_of, shorten, utf8
from worldline.loading.found import Asked, Found, check_memory
from worldline.loading.naming import INPUTS
from worldline.loading.pixels import FORMATS, Picture, read_pictures

__all__ = ["check_columns", "samples_in"]

LABELS = ("label", "labels", "target", "targets", "class", "y")
WHOLE = (*INPUTS, "pixel_values", "img", "embedding")  # names of a column of whole inputs
INDEX = ("", "Unnamed: 0", "__index_level_0__")  # what pandas calls the numbers of rows
MOST_COLUMNS = 100_000


def check_columns(count: int, name: str) -> None:
    """Refuse a table of more columns than any has.

    >>> check_columns(10**7, "t.csv")
    Traceback (most recent call last):
    worldline.errors.DataError: t.csv has 10,000,000 columns; at most 100,000 are read. Save it ...
    """
    if count > MOST_COLUMNS:
        raise DataError(
            f"{name} has {count:,} columns; at most {MOST_COLUMNS:,} are read. Save it as .npy."
        )


def samples_in(table: pa.Table, name: str, asked: Asked, *, part: str = "") -> Found:
    """Inputs and labels of a table.

    The label is the column that ``asked.y`` names, else the one called label, target, class or y,
    else the last. The inputs are those that ``asked.x`` names (``a,b,c``), else a column of
    pictures or lists (alone, or called image, x …), else all that are left, each a feature.

    Args:
        table: read already.
        name: of it, in messages.
        asked: names columns, a size for pictures, and what may be used.
        part: as in :class:`Found`.

    Raises:
        DataError: no such column, cells that are empty or no numbers; names the columns.

    >>> table = pa.table({"height": [1.0, 2.0], "kind": ["oak", "elm"]})
    >>> found = samples_in(table, "trees.csv", Asked("trees.csv"))
    >>> found.x.tolist(), found.y, found.notes
    ([[1.0], [2.0]], ['oak', 'elm'], ('The label is the last column of trees.csv, kind.',))
    """
    try:
        table.validate(full=True)
        return _samples(table, name, asked, part)
    except (pa.ArrowException, UnicodeError, OverflowError) as error:
        raise DataError(
            f"{name} is damaged, or was made to deceive: {reason_of(error)}. Save it again."
        ) from error


def _samples(table: pa.Table, name: str, asked: Asked, part: str) -> Found:
    names, count = list(table.column_names), len(table)
    if count == 0 or len(names) < 2:
        raise DataError(
            f"{name} has {count:,} rows and {len(names)} columns; at least one row, a column of "
            "inputs and one of labels are needed."
        )
    label, notes = _label(names, name, asked.y)
    if asked.x:
        places = [_place(names, it.strip(), name, "--x") for it in asked.x.split(",")]
    else:
        index = [it for it, title in enumerate(names) if title in INDEX and it != label]
        places = [it for it in range(len(names)) if it != label and it not in index]
        places = _whole(table, places) or places
        if index:
            notes.append(f"A column of {name} numbers its rows, as pandas does, and is no input.")
    told = f"Column {shorten(names[places[0]], 40)!r} of {name}"
    x_told = told if len(places) == 1 else f"The columns of {name}"
    y_told = f"Column {shorten(names[label], 40)!r} of {name}"
    y_told += "" if asked.y else " (--y names another)"
    y = _labels(table.column(label), y_told)
    only = table.column(places[0])
    pictures = len(places) == 1 and _is_picture(only.type)
    x: Any
    if pictures:
        x = _pictures(only, told, asked)
    elif len(places) == 1 and _is_list(only.type):
        x = _lists(only, told)
    else:
        check_memory(4 * count * len(places), asked.limit, f"The rows of {name}", "Save fewer.")
        x = _features(table, places, name)
    class_names = _class_names(table.schema.metadata, names[label])
    return Found(x, y, x_told, y_told, part, class_names, tuple(notes), pictures)


def _label(names: list[str], name: str, asked: str) -> tuple[int, list[str]]:
    known = [asked] if asked else [it for word in LABELS for it in names if it.lower() == word]
    place = _place(names, (known or names[-1:])[0], name, "--y")
    shown = shorten(names[place], 40)
    return place, [] if known else [f"The label is the last column of {name}, {shown}."]


def _place(names: list[str], wanted: str, name: str, flag: str) -> int:
    if names.count(wanted) == 1:
        return names.index(wanted)
    shown = ", ".join(shorten(it, 40) for it in names[:20]) + ", …" * (len(names) > 20)
    raise DataError(
        f"{flag} must name one column of {name}; {shorten(wanted, 60)!r} is the name of "
        f"{names.count(wanted) or 'none'}. Its columns are {shown}."
    )


def _whole(table: pa.Table, places: list[int]) -> list[int]:
    """The one column that holds whole inputs: of a usual name, or the only one of its kind."""
    for is_whole in (_is_picture, _is_list):
        found = [it for it in places if is_whole(table.schema.field(it).type)]
        usual = [it for it in found if table.schema.field(it).name.lower() in WHOLE]
        if usual or len(found) == 1:
            return (usual or found)[:1]
    return []


def _labels(column: Any, told: str) -> object:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    words = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    empty = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    if words:
        empty = pc.or_(empty, pc.equal(column.fill_null(""), ""))
    if first := _first(empty):
        raise LabelError(
            f"{told} is empty in row {first - 1} (of {_count(empty):,}). Fill or drop it."
        )
    if words:
        return [utf8(it) for it in column.to_pylist()]
    if not _is_number(column.type):
        raise LabelError(
            f"{told} must hold class numbers or names; it holds {column.type}. Name the column "
            "of the labels with --y."
        )
    return column.to_numpy()


def _features(table: pa.Table, places: list[int], name: str) -> np.ndarray:
    columns = [(table.schema.field(it).name, table.column(it)) for it in places]
    others = [it for it, column in columns if not _is_number(column.type)]
    if others:
        numeric = ",".join(it for it, column in columns if _is_number(column.type))
        offer = f", or name the others: --x {numeric if len(numeric) < 200 else 'A,B,…'}"
        kinds = ", ".join(sorted({str(column.type) for it, column in columns if it in others}))
        shown = ", ".join(shorten(it, 40) for it in others[:12]) + ", …" * (len(others) > 12)
        raise DataError(
            f"Inputs are numbers; in {name} these columns hold {shorten(kinds, 60)}: {shown}. Turn "
            f"them into numbers (pandas.get_dummies){offer if numeric else ''}."
        )
    x = np.empty((len(table), len(columns)), np.float32)
    for place, (title, column) in enumerate(columns):
        empty = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
        if first := _first(empty):
            raise DataError(
                f"Column {shorten(title, 40)!r} of {name} has {_count(empty):,} empty cells, the "
                f"first in row {first - 1}. Fill them, or drop those rows or the column."
            )
        with np.errstate(all="ignore"):  # what overflows is not finite, and told as that
            x[:, place] = column.cast(pa.float64(), safe=False).to_numpy()
    return x


def _first(flags: Any) -> int:
    """One more than the place of the first true, 0 if there is none."""
    return int(pc.index(flags, True).as_py()) + 1


def _count(flags: Any) -> int:
    return int(pc.sum(flags).as_py())


def _is_number(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
    )


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_picture(kind: Any) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _lists(column: Any, told: str) -> np.ndarray:
    """(N, …) from lists of lists, all of one length at each depth."""
    shape, values = [len(column)], column.combine_chunks()
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            shown = ", ".join(str(it) for it in lengths[:5])
            raise DataError(
                f"{told} holds lists of several lengths ({shown}); inputs need one shape. Cut or "
                "pad them."
            )
        shape, values = [*shape, lengths[0]], pc.list_flatten(values)
    if not _is_number(values.type) or values.null_count:
        raise DataError(f"{told} must hold lists of numbers; it holds {shorten(str(column.type))}.")
    found: np.ndarray = values.to_numpy(zero_copy_only=False).reshape(shape)
    return found


def _pictures(column: Any, told: str, asked: Asked) -> Any:
    def source(row: int) -> Image.Image:
        content = column[row].as_py() or {}
        if not content.get("bytes"):
            path = content.get("path")
            raise DataError(
                f"{told} has no picture in row {row}"
                + (
                    f", only its name {shorten(str(path), 60)!r}, which is not opened"
                    if path
                    else ""
                )
                + ". Save the data with the pictures in it."
            )
        return Image.open(io.BytesIO(content["bytes"]), formats=sorted(set(FORMATS.values())))

    found = [Picture(f"{told}, row {row},", partial(source, row)) for row in range(len(column))]
    return read_pictures(found, told, image_size=asked.image_size, limit=asked.limit)


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Those that Hugging Face's ``datasets`` wrote for a column, if any."""
    try:
        said = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        names = said["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    good = isinstance(names, list) and names and all(isinstance(it, str) for it in names)
    return tuple(map(utf8, names)) if good else None
