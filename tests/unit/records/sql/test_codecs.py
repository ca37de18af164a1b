from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from kailash_mcp_prod.records.columns import Column
from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.sql.codecs import Codec, Dialect, UnsupportedColumnError, codec_for
from kailash_mcp_prod.records.types import FieldType, Kind, json_encoder
from tests.unit.records.sql.sample_tables import CHOICES, field_of

DECIMALS = field_of(Kind.ARRAY, "decimals", FieldType(Kind.DECIMAL))
INSTANTS = field_of(Kind.OBJECT, "instants", FieldType(Kind.DATETIME))
FIELDS = {**{each.value: field_of(each) for each in Kind}, "decimals": DECIMALS}
FIELDS["instants"] = INSTANTS
MOMENT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SAMPLES: dict[str, list[Any]] = {
    "text": ["", "null", "' -- \u2028 é 😀", "17", "x" * 100_000],
    "integer": [0, -1, 2**31 - 1, -(2**31)],
    "float": [0.0, 0.1, -1.5, 3.25e38, 1e-30],
    "boolean": [True, False],
    "datetime": [
        MOMENT,
        MOMENT.replace(microsecond=1),
        MOMENT.astimezone(timezone(timedelta(hours=-9, minutes=-30))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
    "date": [date(2026, 3, 1), date(1, 1, 1), date(9999, 12, 31)],
    "decimal": [Decimal(each) for each in ("0", "1.50", "-0.000001", "1E+3", "9" * 38)],
    "uuid": [UUID(int=0), UUID("123e4567-e89b-12d3-a456-426614174000")],
    "choice": list(CHOICES),
    "object": [{}, {"a": [1, 0.1, None, "é\u2028", {"b": True}], "": "\\"}, {"n": 2**63 - 1}],
    "array": [[], [None, 1, -2.5, "x", [], {"a": {}}]],
    "bytes": [b"", b"\x00\xff" * 100],
    "decimals": [[], [Decimal("1.50"), None, Decimal("-2")]],
    "instants": [{"a": MOMENT, "b": None}],
}
JSON = {"object", "array", "decimals", "instants"}

TEXTUAL = {"text", "date", "decimal", "uuid", "choice", *JSON}

# The column types by what they can hold.
SQLITE: list[tuple[tuple[str, ...], set[str]]] = [
    (("text", "varchar(20)", "character(20)", "clob", "nvarchar"), {*TEXTUAL, "datetime"}),
    (("integer", "bigint", "int2", "floating point"), {"integer", "boolean"}),
    (("real", "double precision", "float"), {"float"}),
    (
        ("boolean", "timestamp", "datetime", "date", "numeric", "decimal(10,2)", "json", "uuid"),
        {"float", "boolean", "datetime"},
    ),
    (("blob", ""), {"bytes"}),
]
POSTGRESQL: list[tuple[tuple[str, ...], set[str]]] = [
    (("text", "character varying"), TEXTUAL),
    (("smallint", "integer", "bigint"), {"integer"}),
    (("real", "double precision"), {"float"}),
    (("numeric",), {"decimal"}),
    (("boolean",), {"boolean"}),
    (("timestamp without time zone", "timestamp with time zone"), {"datetime"}),
    (("date",), {"date"}),
    (("uuid",), {"uuid"}),
    (("json", "jsonb"), JSON),
    (("bytea",), {"bytes"}),
    (("character", "text[]", "integer[]", "money", "inet", "interval", "my_domain", ""), set()),
]


def each_type(rows: list[tuple[tuple[str, ...], set[str]]]) -> list[tuple[str, set[str]]]:
    return [(declared, names) for group, names in rows for declared in group]


def column_of(declared: str) -> Column:
    return Column("c", declared, nullable=True, has_default=False)


def served(dialect: Dialect, declared: str) -> set[str]:
    """The names of the fields that a column of that type can hold."""
    found = set()
    for name, field in FIELDS.items():
        try:
            codec_for(field, column_of(declared), dialect)
        except UnsupportedColumnError:
            continue
        found.add(name)
    return found


@pytest.mark.parametrize(("declared", "names"), each_type(SQLITE))
def test_what_a_column_of_sqlite_can_hold_comes_back_the_same(
    declared: str, names: set[str]
) -> None:
    assert served("sqlite", declared) == names
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (c {declared})")
        for name in sorted(names):
            codec = codec_for(FIELDS[name], column_of(declared), "sqlite")
            for value in SAMPLES[name]:
                parameter = codec.encode(value) if codec.encode else value
                connection.execute("DELETE FROM t")
                connection.execute("INSERT INTO t VALUES (?)", [parameter])
                [[stored]] = connection.execute("SELECT c FROM t").fetchall()

                assert_same(codec.decode(stored) if codec.decode else stored, value)
                assert_rendered(FIELDS[name], codec, stored, value)


@pytest.mark.parametrize(("declared", "names"), each_type(POSTGRESQL))
def test_what_a_column_of_postgresql_can_hold_is_known(declared: str, names: set[str]) -> None:
    assert served("postgresql", declared) == names


async def test_what_a_column_of_postgresql_can_hold_comes_back_the_same(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        for declared, names in each_type(POSTGRESQL):
            for name in sorted(names):
                codec = codec_for(FIELDS[name], column_of(declared), "postgresql")
                samples = SAMPLES[name] if declared != "smallint" else [0, -1, 2**15 - 1]
                for value in samples:
                    parameter = codec.encode(value) if codec.encode else value
                    stored = await connection.fetchval(f"SELECT $1::{declared}", parameter)

                    assert_same(codec.decode(stored) if codec.decode else stored, value)
                assert_rendered(FIELDS[name], codec, stored, value)
    finally:
        await connection.close()


def assert_same(found: Any, value: Any) -> None:
    assert found == value
    assert isinstance(found, type(value))
    if isinstance(value, datetime):
        assert found.tzinfo is UTC
    if isinstance(value, Decimal):
        assert str(found) == format(value, "f")


def assert_rendered(field: Field, codec: Codec, stored: Any, value: Any) -> None:
    """The short way from a column to JSON ends where the long one does."""
    encode = json_encoder(field.type)

    assert (codec.render(stored) if codec.render else stored) == (
        encode(value) if encode else value
    )


def test_a_column_that_cannot_serve_is_named_with_both_kinds() -> None:
    price = Field("price", FieldType(Kind.DECIMAL), "", required=True)

    with pytest.raises(UnsupportedColumnError) as caught:
        codec_for(price, Column("price", "money", True, False), "postgresql")
    with pytest.raises(UnsupportedColumnError) as unknown:
        codec_for(field_of(Kind.TEXT, "note"), Column("note", "", True, False), "postgresql")

    assert str(caught.value) == "price holds decimal values, and its column is of type money"
    assert str(unknown.value) == "note holds text values, and its column is of type unknown"


def test_a_choice_that_the_application_has_removed_is_still_what_the_row_says() -> None:
    codec = codec_for(field_of(Kind.CHOICE), column_of("text"), "sqlite")

    assert codec.decode is not None
    assert [codec.decode(each) for each in ("on", "10", "gone")] == ["on", 10, "gone"]


@pytest.mark.parametrize(
    ("stored", "instant"),
    [
        ("2026-03-01 09:30:00", MOMENT),
        ("2026-03-01T09:30:00", MOMENT),
        ("2026-03-01 09:30:00.000000", MOMENT),
        ("2026-03-01 11:30:00+02:00", MOMENT),
        ("2026-03-01T09:30:00Z", MOMENT),
        ("2026-03-01 11:30:00.1+0200", MOMENT.replace(microsecond=100_000)),
        ("2026-03-01 11:30+02", MOMENT),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_instants_that_others_wrote_into_sqlite_are_read(stored: str, instant: datetime) -> None:
    codec = codec_for(field_of(Kind.DATETIME), column_of("timestamp"), "sqlite")

    assert codec.decode is not None
    assert codec.decode(stored) == instant
    assert_rendered(field_of(Kind.DATETIME), codec, stored, instant)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Kind.DATETIME, "yesterday"),
        (Kind.DATETIME, 17),
        (Kind.DATETIME, "2026-13-01 00:00:00"),
        (Kind.DATE, "31.12.2026"),
        (Kind.DECIMAL, "a lot"),
        (Kind.UUID, "none"),
        (Kind.OBJECT, "{"),
        (Kind.ARRAY, ""),
    ],
)
def test_what_a_field_cannot_mean_is_an_error(kind: Kind, stored: Any) -> None:
    codec = codec_for(field_of(kind), column_of("text"), "sqlite")

    assert codec.decode is not None
    assert codec.render is not None
    for convert in (codec.decode, codec.render):
        with pytest.raises((ValueError, TypeError)):
            convert(stored)


@pytest.mark.parametrize("stored", ["1.50", "-0.0", "+1", "1e3", "01", ".5", "5.", " 7 ", "1_0", 2])
def test_decimals_that_others_wrote_are_shown_without_an_exponent(stored: Any) -> None:
    codec = codec_for(field_of(Kind.DECIMAL), column_of("text"), "sqlite")

    assert_rendered(field_of(Kind.DECIMAL), codec, stored, Decimal(stored))
