"""Dates and instants: parsed strictly, and converted by the fast ways that Python has for it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = datetime(1970, 1, 1)  # noqa: DTZ001 - what columns without a zone hold


def with_zone(value: datetime) -> datetime:
    """A time in UTC that has no zone, as an instant.

    By subtraction, because `datetime.replace` takes ten times as long.
    """
    return _EPOCH + (value - _EPOCH_WITHOUT_ZONE)


def without_zone(value: datetime) -> datetime:
    """An instant as the time in UTC, without its zone; the inverse of `with_zone`."""
    return _EPOCH_WITHOUT_ZONE + (value - _EPOCH)


# Python's parser takes any character between date and time, and week dates.
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


_OFFSET_AT = len("2026-03-01T09:30:00")
_NO_OFFSET = frozenset({"Z", "+00:00"})


def _is_usual(value: Any) -> bool:
    """Whether it is written as most are, if it is an instant at all: nothing else looks alike."""
    return (
        isinstance(value, str)
        and value[_OFFSET_AT:] in _NO_OFFSET
        and value.isascii()
        and value[4] == value[7] == "-"
        and value[10] == "T"
        and value[13] == value[16] == ":"
    )


def parse_instant(value: Any) -> datetime:
    """An ISO 8601 date and time with an offset, as an instant in UTC.

    Raises:
        ValueError: It is not one, or not between the years 1 and 9999 in UTC.
    """
    try:
        if _is_usual(value):
            return datetime.fromisoformat(value)
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


def stored_instant(stored: Any) -> datetime:
    """The instant that a table holds as a time or as a text; without a zone it is in UTC.

    Raises:
        ValueError: The text is none.
    """
    parsed = stored if isinstance(stored, datetime) else datetime.fromisoformat(str(stored))
    return with_zone(parsed) if parsed.tzinfo is None else parsed.astimezone(UTC)


def instant_to_json(value: datetime) -> str:
    """An instant in ISO 8601 with the offset +00:00, as `datetime.isoformat` writes it in UTC."""
    return time_to_json(without_zone(value))


def time_to_json(value: datetime) -> str:
    """A time in UTC that has no zone, as `instant_to_json` writes it."""
    return _written(value) + "+00:00"


def instant_text(value: datetime) -> str:
    """An instant as text that sorts as the instant does, as DataFlow stores it in SQLite."""
    return _written(without_zone(value)).replace("T", " ")


def _written(value: datetime) -> str:
    written: str = msgspec.to_builtins(value)
    return written
