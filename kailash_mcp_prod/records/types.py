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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


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
                return value.astimezone(UTC).replace(tzinfo=None)
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
                return _stored_decimal(stored)
            case Kind.DATETIME:
                return _instant(stored)
            case Kind.CHOICE:
                return self._choice(stored)
            case Kind.BYTES:
                return stored if isinstance(stored, bytes) else base64.b64decode(stored)
            case Kind.OBJECT | Kind.ARRAY:
                decoded = json.loads(stored) if isinstance(stored, str) else stored
                return self.from_json(_with_large_floats(decoded))
            case Kind.TEXT | Kind.INTEGER:
                return stored
            case _:
                return self.from_json(stored)

    def to_json(self, value: Any) -> Any:
        """The value as it stands in a result: instants with an offset, decimals as text."""
        if value is None:
            return None
        match self.kind:
            case Kind.DATETIME | Kind.DATE:
                return value.isoformat()
            case Kind.DECIMAL:
                return format(value, "f")
            case Kind.UUID:
                return str(value)
            case Kind.BYTES:
                return base64.b64encode(value).decode("ascii")
            case Kind.ARRAY if self.item is not None:
                return [self.item.to_json(each) for each in value]
            case Kind.OBJECT if self.item is not None:
                return {key: self.item.to_json(each) for key, each in value.items()}
            case _:
                return value

    def from_json(self, value: Any) -> Any:
        """The Python form of a JSON value that is known to be valid.

        Raises:
            ValueError: The value is not of this type.
        """
        if value is None:
            return None
        match self.kind:
            case Kind.DATETIME:
                return parse_instant(value)
            case Kind.DATE:
                return parse_date(value)
            case Kind.DECIMAL:
                return parse_decimal(value)
            case Kind.FLOAT:
                return float(value)
            case Kind.UUID:
                return parse_uuid(value)
            case Kind.BYTES:
                return parse_base64(value)
            case Kind.ARRAY if self.item is not None:
                return [self.item.from_json(each) for each in value]
            case Kind.OBJECT if self.item is not None:
                return {key: self.item.from_json(each) for key, each in value.items()}
            case _:
                return value

    def _choice(self, stored: Any) -> str | int | bool:
        for choice in self.choices:
            if str(choice) == str(stored):
                return choice
        # A member that the application has since removed is still what the row says.
        return str(stored)


def shortest_float(value: float) -> float:
    """The shortest decimal that names the same 4-byte number, if it is one.

    PostgreSQL columns that DataFlow makes for `float` have 4 bytes, and 0.1 comes back as
    0.10000000149011612; a number with more precision than that is left as it is.
    """
    try:
        narrow = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return value
    if narrow != value:
        return value
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return value


# Python's parser takes any character between date and time, and week dates.
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


def parse_instant(value: Any) -> datetime:
    """An ISO 8601 date and time with an offset, as an instant in UTC.

    Raises:
        ValueError: It is not one, or not between the years 1 and 9999 in UTC.
    """
    try:
        if not _INSTANT.fullmatch(value):
            raise ValueError(value)
        parsed = datetime.fromisoformat(value.upper())
    except (TypeError, ValueError):
        raise ValueError("use ISO 8601 with an offset, such as 2026-03-01T09:30:00+00:00") from None
    if parsed.tzinfo is None:
        raise ValueError("add the offset from UTC, such as Z or +02:00")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant is outside of the years 1 to 9999") from None


def parse_date(value: Any) -> date:
    """A calendar date written YYYY-MM-DD.

    Raises:
        ValueError: It is not one.
    """
    if isinstance(value, str) and len(value) == 10 and value[4] == value[7] == "-":
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("use a calendar date written YYYY-MM-DD, such as 2026-03-01")


MAX_JSON_INTEGER = 2**63 - 1
MAX_DECIMAL_DIGITS = 38

# Python's parser takes spaces, underscores and the digits of all scripts.
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)


def parse_decimal(value: Any) -> Decimal:
    """An exact decimal from text, or from a JSON number that is exact as written.

    Raises:
        ValueError: Not a finite number, longer than 38 digits, or a JSON number with more
            digits than a float keeps.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
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


def _stored_decimal(stored: Any) -> Decimal:
    try:
        return Decimal(stored)
    except ArithmeticError:
        raise ValueError("no decimal number") from None


def _instant(stored: Any) -> datetime:
    parsed = stored if isinstance(stored, datetime) else datetime.fromisoformat(str(stored))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def record_to_json(types: Mapping[str, FieldType], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in Python form as the JSON object of a result, in the order of `types`."""
    return {name: kind.to_json(row[name]) for name, kind in types.items() if name in row}
