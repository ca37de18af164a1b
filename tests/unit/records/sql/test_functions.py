from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.records.instants import instant_text
from kailash_mcp_prod.records.sql.functions import decimal_key, register_functions

numbers = st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(digits), exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.integers(-40, 40),
)


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        register_functions(connection)
        yield connection


def asked(database: sqlite3.Connection, function: str, value: Any) -> Any:
    return database.execute(f"SELECT {function}(?)", [value]).fetchone()[0]


@given(numbers, numbers)
def test_keys_compare_as_their_numbers_do(one: Decimal, other: Decimal) -> None:
    assert (decimal_key(one) < decimal_key(other)) is (one < other)
    assert (decimal_key(one) == decimal_key(other)) is (one == other)


@given(numbers, st.integers(0, 9))
def test_a_number_written_with_more_digits_has_the_same_key(number: Decimal, zeros: int) -> None:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, (0, *digits, *[0] * zeros), exponent - zeros))

    assert decimal_key(longer) == decimal_key(number)


def test_keys_of_all_ways_to_write_a_number_are_equal() -> None:
    for alike in (["1", "1.0", "1.00", "1e0", "0.1e1", "+1"], ["0", "-0", "0.00", "-0e5"]):
        assert len({decimal_key(Decimal(each)) for each in alike}) == 1


def test_keys_sort_negative_and_long_numbers() -> None:
    texts = (
        "-1e30 -100 -99.999 -10 -9 -1.55 -1.5 -1 -0.1 -0.01 0 1e-30 0.1 1 1.5 9 10 10.01 99 1e30"
    )
    in_order = [Decimal(each) for each in texts.split()]

    assert sorted(set(in_order), key=decimal_key) == in_order


@pytest.mark.parametrize("stored", ["1.50", "1.5", "15e-1", 1.5])
def test_a_stored_number_of_any_form_has_its_key(database: sqlite3.Connection, stored: Any) -> None:
    assert asked(database, "mcp_decimal", stored) == decimal_key(Decimal("1.5"))


@pytest.mark.parametrize("stored", [None, "", "a lot", "NaN", "-Infinity", "sNaN", b"1"])
def test_what_is_no_number_compares_with_none(database: sqlite3.Connection, stored: Any) -> None:
    assert asked(database, "mcp_decimal", stored) is None


@pytest.mark.parametrize(
    "stored",
    [
        "2026-03-01 09:30:00",
        "2026-03-01 09:30:00.000000",
        "2026-03-01T09:30:00Z",
        "2026-03-01T11:30+02:00",
        "2026-02-28 23:30:00-10:00",
    ],
)
def test_an_instant_of_any_form_is_the_text_that_we_write(
    database: sqlite3.Connection, stored: str
) -> None:
    written = instant_text(datetime(2026, 3, 1, 9, 30, tzinfo=UTC))

    assert asked(database, "mcp_instant", stored) == written == "2026-03-01 09:30:00"


@pytest.mark.parametrize("stored", [None, "", "yesterday", 17, "0001-01-01T00:00:00+10:00", b""])
def test_what_is_no_instant_compares_with_none(database: sqlite3.Connection, stored: Any) -> None:
    assert asked(database, "mcp_instant", stored) is None


@given(st.datetimes(), st.datetimes())
def test_texts_of_instants_sort_as_they_do(one: datetime, other: datetime) -> None:
    one, other = one.replace(tzinfo=UTC), other.replace(tzinfo=UTC)

    assert (instant_text(one) < instant_text(other)) is (one < other)


def test_lower_case_knows_letters_beyond_ascii_and_leaves_other_values(
    database: sqlite3.Connection,
) -> None:
    assert asked(database, "mcp_lower", "ÄÉЖ A") == "äéж a"
    assert [asked(database, "mcp_lower", each) for each in (7, None, b"A")] == [7, None, b"A"]
