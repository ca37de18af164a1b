from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.records.types import (
    COMPARABLE_KINDS,
    ORDERED_KINDS,
    FieldType,
    Kind,
    parse_base64,
    parse_date,
    parse_decimal,
    parse_instant,
    parse_uuid,
    shortest_float,
)

TOKEN = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

# The type, a value in its JSON form, in its Python form, and in its column.
FORMS: list[tuple[FieldType, Any, Any, Any]] = [
    (FieldType(Kind.TEXT), "select from -- x", "select from -- x", "select from -- x"),
    (FieldType(Kind.INTEGER), 5, 5, 5),
    (FieldType(Kind.FLOAT), 0.5, 0.5, 0.5),
    (FieldType(Kind.BOOLEAN), True, True, True),
    (
        FieldType(Kind.DATETIME),
        "2026-03-01T09:30:00+00:00",
        datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        datetime(2026, 3, 1, 9, 30),  # noqa: DTZ001 - DataFlow's columns hold UTC without offset
    ),
    (FieldType(Kind.DATE), "2026-03-01", date(2026, 3, 1), "2026-03-01"),
    (FieldType(Kind.DECIMAL), "1.50", Decimal("1.50"), "1.50"),
    (FieldType(Kind.UUID), TOKEN, UUID(TOKEN), TOKEN),
    (FieldType(Kind.CHOICE, choices=("a", "b")), "a", "a", "a"),
    (FieldType(Kind.CHOICE, choices=(1, 10)), 10, 10, "10"),
    (FieldType(Kind.CHOICE, choices=(True, False)), False, False, "False"),
    (FieldType(Kind.OBJECT), {"a": [1]}, {"a": [1]}, {"a": [1]}),
    (FieldType(Kind.ARRAY), [1, "x", None], [1, "x", None], [1, "x", None]),
    (
        FieldType(Kind.ARRAY, item=FieldType(Kind.DECIMAL)),
        ["1.50"],
        [Decimal("1.50")],
        ["1.50"],
    ),
    (
        FieldType(Kind.OBJECT, item=FieldType(Kind.DATE, nullable=True)),
        {"a": "2026-03-01", "b": None},
        {"a": date(2026, 3, 1), "b": None},
        {"a": "2026-03-01", "b": None},
    ),
    (FieldType(Kind.BYTES), "AP8=", b"\x00\xff", b"\x00\xff"),
]


@pytest.mark.parametrize(("field_type", "as_json", "value", "column"), FORMS)
def test_a_value_has_three_forms_and_keeps_its_meaning_in_each(
    field_type: FieldType, as_json: Any, value: Any, column: Any
) -> None:
    assert field_type.from_json(as_json) == value
    assert field_type.to_json(value) == as_json
    assert field_type.to_column(value) == column
    assert field_type.from_column(column) == value


@pytest.mark.parametrize("kind", Kind)
def test_null_is_null_in_every_form(kind: Kind) -> None:
    field_type = FieldType(kind, nullable=True)

    assert field_type.to_column(None) is None
    assert field_type.from_column(None) is None
    assert field_type.to_json(None) is None
    assert field_type.from_json(None) is None


def test_what_sqlite_stores_is_read_in_its_meaning() -> None:
    assert FieldType(Kind.BOOLEAN).from_column(1) is True
    assert FieldType(Kind.BOOLEAN).from_column(0) is False
    assert FieldType(Kind.OBJECT).from_column('{"a": 1}') == {"a": 1}
    assert FieldType(Kind.ARRAY).from_column("[1]") == [1]
    assert FieldType(Kind.BYTES).from_column("AP8=") == b"\x00\xff"
    moment = FieldType(Kind.DATETIME)
    assert moment.from_column("2026-03-01 09:30:00") == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert moment.from_column("2026-03-01 11:30:00+02:00") == moment.from_column(
        "2026-03-01 09:30:00"
    )


def test_a_float_as_postgresql_writes_it_into_json_is_a_float_again() -> None:
    assert FieldType(Kind.OBJECT).from_column({"a": [10**300]}) == {"a": [1e300]}
    assert isinstance(FieldType(Kind.ARRAY).from_column([10**20])[0], float)
    assert FieldType(Kind.ARRAY).from_column([2**63 - 1, True]) == [2**63 - 1, True]
    assert isinstance(FieldType(Kind.ARRAY, item=FieldType(Kind.FLOAT)).from_column([5])[0], float)


def test_a_lost_member_of_an_enumeration_is_read_as_text() -> None:
    assert FieldType(Kind.CHOICE, choices=("a",)).from_column("old") == "old"
    assert FieldType(Kind.CHOICE, choices=(1, 2)).from_column("7") == "7"


@pytest.mark.parametrize(
    ("field_type", "stored"),
    [
        (FieldType(Kind.DECIMAL), "a lot"),
        (FieldType(Kind.DATE), "31.12.2026"),
        (FieldType(Kind.UUID), "x"),
        (FieldType(Kind.DATETIME), "yesterday"),
        (FieldType(Kind.OBJECT), "{"),
        (FieldType(Kind.FLOAT), "x"),
        (FieldType(Kind.ARRAY, item=FieldType(Kind.DATE)), ["x"]),
    ],
)
def test_a_stored_value_that_a_type_can_not_mean_is_an_error(
    field_type: FieldType, stored: Any
) -> None:
    with pytest.raises(ValueError, match=r"."):
        field_type.from_column(stored)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_float_names_the_same_4_byte_number(value: float) -> None:
    short = shortest_float(value)

    assert struct.pack("f", short) == struct.pack("f", value)
    assert len(repr(short)) <= len(repr(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_of_more_than_4_bytes_is_left_as_it_is(value: float) -> None:
    try:
        narrow = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        narrow = math.inf
    if narrow != value:
        assert shortest_float(value) == value


@pytest.mark.parametrize("value", [0.1, 0.2, 1e-7, 99.9, 16777216.0, -1.5, 3.4028235e38])
def test_a_short_decimal_comes_back_from_4_bytes_as_it_was(value: float) -> None:
    assert shortest_float(struct.unpack("f", struct.pack("f", value))[0]) == value


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    st.datetimes(
        min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the strategy adds the offset
        max_value=datetime(9999, 12, 29),  # noqa: DTZ001
        timezones=OFFSETS,
    )
)
def test_any_instant_survives_every_form(moment: datetime) -> None:
    field_type = FieldType(Kind.DATETIME)
    parsed = field_type.from_json(moment.isoformat())

    assert parsed == moment
    assert parsed.tzinfo is UTC
    assert field_type.from_json(field_type.to_json(parsed)) == moment
    assert field_type.from_column(field_type.to_column(parsed)) == moment
    assert field_type.from_column(str(field_type.to_column(parsed))) == moment


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T09:30:00Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01t09:30:00z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01 09:30Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01T11:30:00+0200", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01T11:30:00+02", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01T09:30:00.5Z", datetime(2026, 3, 1, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T09:30:00,123456789Z", datetime(2026, 3, 1, 9, 30, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_iso_8601_with_an_offset(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("2026-03-01T09:30:00", "offset"),
        ("2026-03-01", "ISO 8601"),
        ("2026-W09-7T09:30:00Z", "ISO 8601"),
        ("20260301T093000Z", "ISO 8601"),
        ("2026-03-01_09:30:00Z", "ISO 8601"),
        ("\uff12026-03-01T09:30:00Z", "ISO 8601"),
        ("0001-01-01T00:00:00+01:00", "years"),
        (None, "ISO 8601"),
        (5, "ISO 8601"),
    ],
)
def test_another_instant_is_refused_with_the_fix(text: Any, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        parse_instant(text)


@given(st.dates())
def test_any_date_is_read_back(day: date) -> None:
    assert parse_date(day.isoformat()) == day


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18, places=9
    )
)
def test_a_decimal_keeps_its_digits(number: Decimal) -> None:
    text = format(number, "f")
    field_type = FieldType(Kind.DECIMAL)

    assert field_type.to_json(field_type.from_json(text)) == text
    assert field_type.from_column(field_type.to_column(number)) == number


@given(st.text(max_size=12))
def test_any_other_text_is_no_decimal(text: str) -> None:
    try:
        number = parse_decimal(text)
    except ValueError:
        return
    assert set(text) <= set("+-0123456789.eE")
    assert number == Decimal(text)


@pytest.mark.parametrize("value", ["1" * 38, "-0." + "0" * 36 + "1", 10**37, 0.1, 123456789.5])
def test_a_decimal_of_38_digits_is_taken(value: Any) -> None:
    assert parse_decimal(value) == Decimal(repr(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    "value", ["1" * 39, 10**38, "1e38", "1e-39", "1e9999", 0.12345678901234567, "١", "1 000", None]
)
def test_a_number_that_is_no_exact_decimal_of_38_digits_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"decimal|digits|finite"):
        parse_decimal(value)


@pytest.mark.parametrize("value", ["x", "", 5, None, TOKEN + "0", "{" + TOKEN + "}", "1-" * 16])
def test_another_text_is_no_uuid(value: Any) -> None:
    with pytest.raises(ValueError, match="UUID"):
        parse_uuid(value)


@given(st.binary(max_size=50))
def test_any_bytes_survive_base64(data: bytes) -> None:
    field_type = FieldType(Kind.BYTES)

    assert parse_base64(field_type.to_json(data)) == data


@pytest.mark.parametrize(
    "value", ["A", "AB", "AA=", "AA==\n", "A A=", "ä", "_-==", "AB==", 5, None]
)
def test_another_text_is_no_base64(value: Any) -> None:
    with pytest.raises(ValueError, match="base64"):
        parse_base64(value)


def test_only_values_that_have_an_order_can_be_compared() -> None:
    assert ORDERED_KINDS < COMPARABLE_KINDS
    assert set(Kind) - COMPARABLE_KINDS == {Kind.OBJECT, Kind.ARRAY, Kind.BYTES}
