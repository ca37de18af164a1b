"""Field types: what a model field may hold, and its three forms.

A value has a *JSON* form (arguments and results), a *Python* form (what stores, filters and
comparisons work on) and a *column* form (what DataFlow's column holds). `FieldType` converts
between them, so that a Decimal stays exact and a datetime stays an instant on every database.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from kailash_mcp_prod.records.instants import (
    instant_to_json,
    parse_date,
    parse_instant,
    stored_instant,
    without_zone,
)


class Kind(StrEnum):
    """The kinds of values that the record tools support."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    DATE = "date"
    DECIMAL = "decimal"
    UUID = "uuid"
    CHOICE = "choice"
    OBJECT = "object"
    ARRAY = "array"
    BYTES = "bytes"


COMPARABLE_KINDS = frozenset(Kind) - {Kind.OBJECT, Kind.ARRAY, Kind.BYTES}
ORDERED_KINDS = frozenset(
    {Kind.TEXT, Kind.INTEGER, Kind.FLOAT, Kind.DATETIME, Kind.DATE, Kind.DECIMAL}
)


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field.

    `choices` are the allowed values of a CHOICE, in order. `item` is the type of the elements
    of an ARRAY or of the values of an OBJECT; `None` stands for any JSON value.
    """

    kind: Kind
    nullable: bool = False
    choices: tuple[str | int | bool, ...] = ()
    item: FieldType | None = None

    def to_column(self, value: Any) -> Any:
        """The value as the column of DataFlow's table takes it."""
        if value is None:
            return None
        match self.kind:
            case Kind.DATETIME:
                return without_zone(value)
            case Kind.DECIMAL | Kind.UUID | Kind.DATE:
                return self.to_json(value)
            case Kind.CHOICE:
                return str(value)
            case Kind.OBJECT | Kind.ARRAY:
                return self.to_json(value)
            case _:
                return value

    def from_column(self, stored: Any, *, narrow_floats: bool = False) -> Any:
        """The Python form of what the table holds; the inverse of `to_column`.

        The limits of arguments don't apply: what is stored can be read.

        Args:
            stored: What the database returned.
            narrow_floats: Whether the column of a float has 4 bytes, as on PostgreSQL.

        Raises:
            ValueError: The column holds something that this type can't mean.
        """
        if stored is None:
            return None
        match self.kind:
            case Kind.BOOLEAN:
                return bool(stored)
            case Kind.FLOAT:
                return shortest_float(float(stored)) if narrow_floats else float(stored)
            case Kind.DECIMAL:
                return stored_decimal(stored)
            case Kind.DATETIME:
                return stored_instant(stored)
            case Kind.CHOICE:
                return self._choice(stored)
            case Kind.BYTES:
                return stored if isinstance(stored, bytes) else base64.b64decode(stored)
            case Kind.OBJECT | Kind.ARRAY:
                return self.from_json(stored_json(stored))
            case Kind.TEXT | Kind.INTEGER:
                return stored
            case _:
                return self.from_json(stored)

    def to_json(self, value: Any) -> Any:
        """The value as it stands in a result: instants with an offset, decimals as text."""
        encode = json_encoder(self)
        return value if value is None or encode is None else encode(value)

    @property
    def parser(self) -> Callable[[Any], Any]:
        """What `from_json` does with values that are not null, with no way to it."""
        return _PARSERS.get(self.kind, self.from_json)

    def from_json(self, value: Any) -> Any:
        """The Python form of a JSON value that is known to be valid.

        Raises:
            ValueError: The value is not of this type.
        """
        if value is None:
            return None
        parse = _PARSERS.get(self.kind)
        if parse is not None:
            return parse(value)
        if self.item is None:
            return value
        if self.kind is Kind.ARRAY:
            return [self.item.from_json(each) for each in value]
        return {key: self.item.from_json(each) for key, each in value.items()}

    def _choice(self, stored: Any) -> str | int | bool:
        for choice in self.choices:
            if str(choice) == str(stored):
                return choice
        # A member that the application has since removed is still what the row says.
        return str(stored)


Encoder = Callable[[Any], Any]


@lru_cache(maxsize=1024)
def json_encoder(field_type: FieldType) -> Encoder | None:
    """What makes the JSON form of a value that is not null; `None` where it is the value itself."""
    inner = None if field_type.item is None else json_encoder(field_type.item)
    match field_type.kind:
        case Kind.DATETIME:
            return instant_to_json
        case Kind.DATE:
            return date.isoformat
        case Kind.DECIMAL:
            return plain_decimal
        case Kind.UUID:
            return str
        case Kind.BYTES:
            return _base64_text
        case Kind.ARRAY if inner is not None:
            return lambda values: [None if each is None else inner(each) for each in values]
        case Kind.OBJECT if inner is not None:
            return lambda members: {
                key: None if each is None else inner(each) for key, each in members.items()
            }
        case _:
            return None


def plain_decimal(value: Decimal) -> str:
    """A decimal as text without an exponent."""
    text = str(value)
    return format(value, "f") if "E" in text else text


def _base64_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_FOUR_BYTES = struct.Struct("f")
# Six digits and what may stand around them.
_SHORT_FLOAT = 8


def shortest_float(value: float) -> float:
    """The shortest decimal that names the same 4-byte number, if it is one.

    PostgreSQL columns that DataFlow makes for `float` have 4 bytes, and 0.1 comes back as
    0.10000000149011612; a number with more precision than that is left as it is.
    """
    if len(repr(value)) <= _SHORT_FLOAT:
        return value
    try:
        if _narrow(value) != value:
            return value
    except OverflowError:
        return value
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if _narrow(short) == value:
            return short
    return value


def _narrow(value: float) -> float:
    narrow: float = _FOUR_BYTES.unpack(_FOUR_BYTES.pack(value))[0]
    return narrow


MAX_JSON_INTEGER = 2**63 - 1
MAX_DECIMAL_DIGITS = 38

# Python's parser takes spaces, underscores and the digits of all scripts.
_PLAIN_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)


def parse_decimal(value: Any) -> Decimal:
    """An exact decimal from text, or from a JSON number that is exact as written.

    Raises:
        ValueError: Not a finite number, longer than 38 digits, or a JSON number with more
            digits than a float keeps.
    """
    if isinstance(value, str) and len(value) <= MAX_DECIMAL_DIGITS:
        if _PLAIN_DECIMAL.fullmatch(value):
            return Decimal(value)
    elif isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("use a decimal number as text, such as '19.90'")
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError("use a decimal number as text, such as '19.90'")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (ArithmeticError, ValueError):
        raise ValueError("use a decimal number as text, such as '19.90'") from None
    if not number.is_finite():
        raise ValueError("the number must be finite")
    if isinstance(value, float) and len(number.as_tuple().digits) > 15:
        raise ValueError("send a decimal of more than 15 digits as text, so that it stays exact")
    if abs(number.adjusted()) < MAX_DECIMAL_DIGITS:
        # Written out, because that is what the column holds: 1e37 has 38 digits there.
        plain = Decimal(format(number, "f"))
        if len(plain.as_tuple().digits) <= MAX_DECIMAL_DIGITS:
            return plain
    raise ValueError(f"the number has more than {MAX_DECIMAL_DIGITS} digits")


# Python's parser takes signs, spaces, underscores and hyphens anywhere.
_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}(?:\1[0-9a-f]{4}){2}\1[0-9a-f]{12}", re.I | re.A)


def parse_uuid(value: Any) -> UUID:
    """A UUID from its text.

    Raises:
        ValueError: It is not one.
    """
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise ValueError("use a UUID, such as 123e4567-e89b-12d3-a456-426614174000")


def parse_base64(value: Any) -> bytes:
    """Bytes from standard base64 text.

    Raises:
        ValueError: It is not base64.
    """
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("use standard base64 text") from None
    if base64.b64encode(decoded).decode() != value:
        raise ValueError("use standard base64 text, with no bits left over")
    return decoded


_PARSERS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.DATETIME: parse_instant,
    Kind.DATE: parse_date,
    Kind.DECIMAL: parse_decimal,
    Kind.FLOAT: float,
    Kind.UUID: parse_uuid,
    Kind.BYTES: parse_base64,
}


# A number of more than 64 bits has at least so many digits.
_LONG_NUMBER = re.compile(r"[0-9]{19}")


def stored_json(stored: Any) -> Any:
    """The JSON value that a text in a table stands for; what is decoded already stays.

    Raises:
        ValueError: It is no JSON.
    """
    if not isinstance(stored, str):
        return _with_large_floats(stored)
    try:
        decoded = msgspec.json.decode(stored)
    except msgspec.MsgspecError:
        # Python's own parser takes what Python's own writer may have written, such as NaN.
        decoded = json.loads(stored)
    return _with_large_floats(decoded) if _LONG_NUMBER.search(stored) else decoded


def _with_large_floats(value: Any) -> Any:
    """A JSON value in which integers of more than 64 bits are floats again.

    PostgreSQL writes the digits of a large float in full; the strict layer lets no such integer in.
    """
    match value:
        case dict():
            return {key: _with_large_floats(each) for key, each in value.items()}
        case list():
            return [_with_large_floats(each) for each in value]
        case int() if abs(value) > MAX_JSON_INTEGER:
            return float(value)
    return value


def stored_decimal(stored: Any) -> Decimal:
    """The number that a text in a table stands for.

    Raises:
        ValueError: It is none.
    """
    try:
        return Decimal(stored)
    except ArithmeticError:
        raise ValueError("no decimal number") from None
