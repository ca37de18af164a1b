from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from kailash_mcp_prod.records.sql.aggregate_functions import UNREADABLE, register_aggregates

LARGE = 2**63 - 1


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        register_aggregates(connection)
        connection.execute("CREATE TABLE given (value)")
        yield connection


@pytest.mark.parametrize(
    ("function", "values", "result"),
    [
        ("decimal_sum", ["0.1", "0.20", None, 1], "1.30"),
        ("decimal_avg", ["10.00", "20.00"], "15.00"),
        ("decimal_avg", ["1", "1", None, "0"], "0.666667"),
        ("decimal_min", ["9", "10.5", "-0.00"], "0.00"),
        ("decimal_max", ["9", "10.5", "-0.00"], "10.50"),
        ("whole_sum", [1, None, -3], -2),
        ("whole_sum", [LARGE, LARGE], str(2 * LARGE)),
        ("whole_sum", [-LARGE, -LARGE], str(-2 * LARGE)),
        ("whole_sum", [LARGE, LARGE, -LARGE], LARGE),
        ("whole_avg", [1, 2, None], 1.5),
        ("whole_avg", [LARGE, LARGE], float(LARGE)),
    ],
)
def test_results(
    database: sqlite3.Connection, function: str, values: list[Any], result: Any
) -> None:
    assert asked(database, function, values) == result


@pytest.mark.parametrize("kind", ["decimal", "whole"])
@pytest.mark.parametrize("name", ["sum", "avg", "min", "max"])
def test_of_nulls_there_is_nothing_and_of_other_things_no_number(
    database: sqlite3.Connection, kind: str, name: str
) -> None:
    if (kind, name) in {("whole", "min"), ("whole", "max")}:
        return
    function = f"{kind}_{name}"
    assert asked(database, function, []) is None
    assert asked(database, function, [None, None]) is None
    for odd in ("much", "NaN", b"1", "1e99999999999999999999"):
        assert asked(database, function, ["1", odd, "2"]) == UNREADABLE


def asked(database: sqlite3.Connection, function: str, values: list[Any]) -> Any:
    database.execute("DELETE FROM given")
    database.executemany("INSERT INTO given VALUES (?)", [[value] for value in values])
    return database.execute(f"SELECT mcp_{function}(value) FROM given").fetchone()[0]
