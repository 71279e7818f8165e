"""Records to JSON and back, and their rows to the columns of a table.

A record is a frozen dataclass without tensors. ±∞ are written as ``"Infinity"`` and
``"-Infinity"``, "there is none" as null; NaN has no place in a record and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json as encode
from pydantic_core import to_jsonable_python

from worldline.errors import RunError

__all__ = ["from_json", "from_plain", "schema_of", "to_columns", "to_json", "to_plain", "unit"]

T = TypeVar("T")


def unit(name: str, *, default: Any = MISSING) -> Any:
    """A field of a record with its unit: ``nats``, ``radians``, ``samples``, ``share``, …"""
    return field(default=default, metadata={"unit": name})


def schema_of(kind: type) -> str:
    """The schema version that a record type declares, such as ``worldline.explore/2``."""
    return str(get_args(get_type_hints(kind)["schema"])[0])


def to_json(record: object, *, indent: int | None = 2) -> str:
    """A record as JSON text.

    >>> from dataclasses import dataclass
    >>> from worldline.runs.codec import from_json, to_json
    >>> @dataclass(frozen=True)
    ... class Row:
    ...     value: float | None
    >>> text = to_json(Row(float("-inf")), indent=None)
    >>> text, from_json(Row, text, "here")
    ('{"value":"-Infinity"}', Row(value=-inf))
    """
    _refuse_nan(record)
    return encode(_utf8(to_plain(record)), indent=indent, inf_nan_mode="strings").decode()


def to_plain(record: object) -> Any:
    """A record as dictionaries, lists, text and numbers, as its JSON says it."""
    return to_jsonable_python(record, inf_nan_mode="strings")


def from_json(kind: type[T], text: str, where: str) -> T:
    """The record that a JSON text holds.

    Raises:
        RunError: it is no JSON, of another schema version, or does not fit.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is not JSON ({error}). Make the run again.") from error
    return from_plain(kind, document, where)


def from_plain(kind: type[T], document: object, where: str) -> T:
    """The record that plain data hold; RunError as :func:`from_json`."""
    if not isinstance(document, Mapping):
        raise RunError(f"{where} is not a JSON object. Make the run again.")
    known = get_type_hints(kind)
    if "schema" in known and document.get("schema") != schema_of(kind):
        raise RunError(
            f"{where} has schema {document.get('schema')!r}; this version reads "
            f"{schema_of(kind)!r}. Run the command again: its config.toml says how it was run."
        )
    try:
        return TypeAdapter(kind).validate_json(json.dumps(_utf8(document)))
    except (ValidationError, ValueError, RecursionError) as error:
        raise RunError(f"{where} is damaged: {_first(error)}. Make the run again.") from error


def to_columns(rows: Sequence[object]) -> dict[str, list[Any]]:
    """Rows as columns: parts of parts are ``name_part``, intervals ``name_low``, ``name_high``.

    >>> from worldline.runs.codec import to_columns
    >>> from worldline.statistics import Share
    >>> to_columns([Share(0.5, (0.25, 0.75), 4)])["low"]
    [0.25]
    """
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return {name: [row.get(name) for row in flat] for name in names}


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if is_dataclass(value):
        parts = {it.name: getattr(value, it.name) for it in fields(value)}
    else:
        parts = dict(value)  # type: ignore[call-overload]
    flat: dict[str, object] = {}
    for name, part in parts.items():
        if is_dataclass(part) or isinstance(part, Mapping):
            flat |= _flat(part, f"{prefix}{name}_")
        elif name == "interval" or name.endswith("_interval"):
            stem = f"{prefix}{name.removesuffix('interval')}"
            low, high = part or (None, None)
            flat |= {f"{stem}low": low, f"{stem}high": high}
        else:
            flat[f"{prefix}{name}"] = part
    return flat


def _refuse_nan(record: object) -> None:
    def constant(name: str) -> None:
        if name == "NaN":
            raise ValueError(f"{type(record).__name__} holds NaN, which no record may.")

    json.loads(json.dumps(to_plain(record)), parse_constant=constant)


def _utf8(plain: Any) -> Any:
    """Plain data in which what is no UTF-8, such as half a character of a name, is ``?``."""
    return json.loads(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace"))


def _first(error: Exception) -> str:
    """The first complaint, with its place."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else str(found["msg"])
