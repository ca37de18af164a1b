"""How a field's values are written into its real column, and read back.

DataFlow keeps decimals, dates and UUIDs as text, and a database that it did not make has real
types for them. A codec goes by the column that is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import msgspec

from kailash_mcp_prod.records.columns import Column
from kailash_mcp_prod.records.instants import (
    instant_text,
    instant_to_json,
    time_to_json,
    with_zone,
    without_zone,
)
from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.types import (
    FieldType,
    Kind,
    json_encoder,
    plain_decimal,
    shortest_float,
    stored_decimal,
    stored_json,
)

Dialect = Literal["sqlite", "postgresql"]
Conversion = Callable[[Any], Any]


class UnsupportedColumnError(Exception):
    """A field can't be kept in the column that is there; the message says why."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Conversions of values other than null; `None` stands for none.

    `encode` makes the driver's parameter of a value in Python form, `decode` is its inverse.
    `render` makes the JSON form of what the driver returns, without the way through the Python
    form. `as_text` says that the column holds a text although the field's kind is another one.
    """

    encode: Conversion | None = None
    decode: Conversion | None = None
    render: Conversion | None = None
    as_text: bool = False


def codec_for(field: Field, column: Column, dialect: Dialect) -> Codec:
    """The codec of a field in a column.

    Raises:
        UnsupportedColumnError: The column's type can't hold the field's values faithfully.
    """
    storage = _affinity(column.type) if dialect == "sqlite" else _STORAGE.get(column.type, "")
    codec = _codec(field.type, storage, dialect)
    if codec is None:
        raise UnsupportedColumnError(
            f"{field.name} holds {field.type.kind} values, and its column is of type "
            f"{column.type or 'unknown'}"
        )
    return codec if codec.render else replace(codec, render=_rendering(field.type, codec.decode))


def _rendering(field_type: FieldType, decode: Conversion | None) -> Conversion | None:
    encode = json_encoder(field_type)
    if decode is None or encode is None:
        return decode or encode
    return lambda stored: encode(decode(stored))


_STORAGE = {
    "text": "text",
    "character varying": "text",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "real": "real",
    "double precision": "double",
    "numeric": "numeric",
    "boolean": "boolean",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "date": "date",
    "uuid": "uuid",
    "json": "json",
    "jsonb": "json",
    "bytea": "bytes",
}


def _affinity(declared: str) -> str:
    """What SQLite makes of a declared type (https://sqlite.org/datatype3.html, section 3.1)."""
    for fragments, affinity in (
        (("int",), "integer"),
        (("char", "clob", "text"), "text"),
        (("blob",), "bytes"),
        (("real", "floa", "doub"), "double"),
    ):
        if any(fragment in declared for fragment in fragments):
            return affinity
    return "any" if declared else "bytes"


def _codec(field_type: FieldType, storage: str, dialect: Dialect) -> Codec | None:
    match field_type.kind, storage:
        case (Kind.TEXT, "text") | (Kind.INTEGER, "integer") | (Kind.FLOAT, "double"):
            return Codec()
        case (Kind.BOOLEAN, "boolean") | (Kind.DATE, "date") | (Kind.UUID, "uuid"):
            return Codec()
        case (Kind.DECIMAL, "numeric") | (Kind.BYTES, "bytes"):
            return Codec()
        case Kind.FLOAT, "real":
            return Codec(decode=shortest_float)
        case Kind.FLOAT, "any":
            return Codec(decode=float)
        case Kind.BOOLEAN, "integer" | "any" if dialect == "sqlite":
            return Codec(decode=bool)
        case Kind.DATETIME, "timestamptz":
            return Codec(decode=_with_zone_in_any_case)
        case Kind.DATETIME, "timestamp":
            return Codec(encode=without_zone, decode=with_zone, render=time_to_json)
        case _:
            return _text_codec(field_type, storage, dialect)


def _text_codec(field_type: FieldType, storage: str, dialect: Dialect) -> Codec | None:
    match field_type.kind, storage:
        case Kind.DATETIME, "text" | "any" if dialect == "sqlite":
            read = _instant_reader(field_type)
            return Codec(instant_text, read, render=_instant_renderer(read), as_text=True)
        case Kind.DECIMAL, "text":
            return Codec(plain_decimal, stored_decimal, render=_decimal_text, as_text=True)
        case Kind.CHOICE, "text":
            return Codec(encode=str, decode=_choice_reader(field_type), as_text=True)
        case Kind.DATE | Kind.UUID, "text":
            return Codec(encode=field_type.to_column, decode=field_type.from_column, as_text=True)
        case Kind.OBJECT | Kind.ARRAY, "json" | "text":
            if field_type.item is None:
                return Codec(_json_writer(field_type), stored_json, render=stored_json)
            return Codec(_json_writer(field_type), field_type.from_column)
    return None


def _with_zone_in_any_case(value: datetime) -> datetime:
    # asyncpg gives the first and the last instant, which stand for infinity, without a zone.
    return value if value.tzinfo is not None else with_zone(value)


def _instant_reader(field_type: FieldType) -> Conversion:
    def read(stored: Any) -> datetime:
        if _is_usual(stored):
            try:
                return datetime.fromisoformat(stored + "+00:00")
            except ValueError:
                pass
        instant: datetime = field_type.from_column(stored)
        return instant

    return read


def _instant_renderer(read: Conversion) -> Conversion:
    def render(stored: Any) -> str:
        instant = read(stored)
        if _is_usual(stored):
            return f"{stored[:10]}T{stored[11:]}+00:00"
        return instant_to_json(instant)

    return render


def _is_usual(stored: Any) -> bool:
    """Whether an instant is written as DataFlow and we do; others may write an offset."""
    return isinstance(stored, str) and len(stored) == _SECONDS_ONLY and stored[16] == ":"


_SECONDS_ONLY = len("2026-03-01 09:30:00")
# What we write, and what a Decimal would make of it again.
_PLAIN_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


def _decimal_text(stored: Any) -> str:
    if isinstance(stored, str) and _PLAIN_DECIMAL.fullmatch(stored):
        return stored
    return plain_decimal(stored_decimal(stored))


def _choice_reader(field_type: FieldType) -> Conversion:
    choices = {str(each): each for each in field_type.choices}

    def read(stored: Any) -> Any:
        # A member that the application has since removed is still what the row says.
        return choices.get(stored, stored)

    return read


def _json_writer(field_type: FieldType) -> Conversion:
    form = json_encoder(field_type)

    def write(value: Any) -> str:
        return msgspec.json.encode(value if form is None else form(value)).decode()

    return write
