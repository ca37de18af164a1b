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

from kailash_mcp_prod.records.query import EVERYTHING, Comparison, Sort, like
from kailash_mcp_prod.records.sql.functions import register_functions
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.sql.terms import glob_of
from tests.unit.records.sql.sample_tables import SAMPLE, connected, insert, table_for

characters = st.sampled_from("aabAB%%__*?[]^!-\\ \n.é😀\ue000")
texts = st.text(characters, max_size=8)


@pytest.fixture(scope="module")
def plain() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        register_functions(connection)
        yield connection


@given(texts, texts)
def test_a_glob_selects_what_its_pattern_does(
    plain: sqlite3.Connection, text: str, pattern: str
) -> None:
    [[matched]] = plain.execute("SELECT ? GLOB ?", [text, glob_of(pattern)])

    assert bool(matched) is like(text, pattern)


@given(texts)
def test_a_pattern_of_escaped_characters_selects_the_text_alone(
    plain: sqlite3.Connection, text: str
) -> None:
    pattern = "".join(f"\\{each}" for each in text)
    [[itself, longer]] = plain.execute(
        "SELECT ?1 GLOB ?2, ?1 || 'x' GLOB ?2", [text, glob_of(pattern)]
    )

    assert (itself, longer) == (1, 0)


@pytest.fixture
def table() -> TableSql:
    return table_for(SAMPLE)


@pytest.fixture
def samples(table: TableSql) -> Iterator[sqlite3.Connection]:
    with closing(connected(SAMPLE)) as connection:
        yield connection


def in_order(
    connection: sqlite3.Connection, table: TableSql, name: str, *, descending: bool = False
) -> list[str]:
    """The ids of all records, sorted by a field."""
    sort = (Sort(table.field(name), descending), Sort(table.field("id")))
    text, arguments = table.select(("id",), EVERYTHING, sort=sort)
    return [key for [key] in connection.execute(text, arguments)]


def matching(
    connection: sqlite3.Connection, table: TableSql, name: str, operator: str, value: Any
) -> set[str]:
    condition = Comparison(table.field(name), operator, value)
    return {key for [key] in connection.execute(*table.select(("id",), condition))}


def test_choices_sort_numbers_first_then_texts_also_those_that_are_no_choice_now(
    samples: sqlite3.Connection, table: TableSql
) -> None:
    for choice in ("on", 10, 9, "1 of 2", "gone", "11", None):
        insert(samples, table, id=str(choice), choice=choice)

    order = ["9", "10", "1 of 2", "11", "gone", "on"]
    assert in_order(samples, table, "choice") == [*order, "None"]
    assert in_order(samples, table, "choice", descending=True) == [*reversed(order), "None"]
    for at, text in enumerate(order):
        value = int(text) if text in {"9", "10"} else text
        assert matching(samples, table, "choice", "$gt", value) == set(order[at + 1 :])
        assert matching(samples, table, "choice", "$eq", value) == {text}


def test_decimals_kept_as_text_compare_as_numbers(
    samples: sqlite3.Connection, table: TableSql
) -> None:
    for text in ("10", "9.5", "-3", "1.0", "1.00", "1e0", "nothing"):
        samples.execute("INSERT INTO samples (id, decimal) VALUES (?1, ?1)", [text])

    assert in_order(samples, table, "decimal") == [
        *("-3", "1.0", "1.00", "1e0", "9.5", "10", "nothing")
    ]
    assert matching(samples, table, "decimal", "$in", [Decimal(1)]) == {"1.0", "1.00", "1e0"}
    assert matching(samples, table, "decimal", "$ne", Decimal("1.000")) == {"10", "9.5", "-3"}
    assert matching(samples, table, "decimal", "$lt", Decimal("-2.99")) == {"-3"}


INSTANTS = [
    "2026-03-01 09:00:00",
    "2026-03-01T11:30:00+02:00",
    "2026-03-01 09:30:00.000001",
    "2026-03-01 11:30:00.1+0200",
    "2026-03-01 09:30:00.200000",
    "2026-03-01T09:30:01",
    "2026-03-01 11:30:02+02:00",
]


def test_instants_of_all_forms_compare_as_instants(
    samples: sqlite3.Connection, table: TableSql
) -> None:
    samples.executemany(
        "INSERT INTO samples (id, datetime) VALUES (?1, ?1)", [[each] for each in INSTANTS]
    )
    half_past = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

    assert in_order(samples, table, "datetime") == INSTANTS
    assert in_order(samples, table, "datetime", descending=True) == INSTANTS[::-1]
    assert matching(samples, table, "datetime", "$eq", half_past) == {INSTANTS[1]}
    assert matching(samples, table, "datetime", "$gt", half_past) == set(INSTANTS[2:])


def test_nulls_come_last_in_either_direction(samples: sqlite3.Connection, table: TableSql) -> None:
    insert(samples, table, id="a", integer=None)
    insert(samples, table, id="b", integer=2)
    insert(samples, table, id="c", integer=1)

    assert in_order(samples, table, "integer") == ["c", "b", "a"]
    assert in_order(samples, table, "integer", descending=True) == ["b", "c", "a"]


def test_an_index_serves_filters_and_sorts_of_plain_columns(
    samples: sqlite3.Connection, table: TableSql
) -> None:
    samples.execute("CREATE INDEX ix ON samples (integer)")
    for operator, value in (("$eq", 1), ("$gt", 1), ("$in", [1, 2, 3])):
        text, arguments = table.select(("id",), Comparison(table.field("integer"), operator, value))
        [plan] = samples.execute(f"EXPLAIN QUERY PLAN {text}", arguments)

        assert "USING INDEX ix" in plan[3]
