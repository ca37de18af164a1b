"""Failures that PostgreSQL itself raises, and what they are to the caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from kailash_mcp_prod.errors import (
    CallTimeoutError,
    ConflictError,
    InternalError,
    InvalidArgumentsError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.records.refusals import ContentionError
from kailash_mcp_prod.records.sql.postgresql_errors import explain
from kailash_mcp_prod.records.sql.postgresql_pool import FAILURES, is_lost
from tests.unit.records.sql.sample_tables import SAMPLE, table_for

TABLE = table_for(SAMPLE, "postgresql")
SECRET = "secret-value"
SCHEMA = f"""
    CREATE TABLE parents (id text PRIMARY KEY);
    CREATE TABLE samples (
        id text CONSTRAINT uq_id PRIMARY KEY,
        text text CONSTRAINT uq_text UNIQUE,
        integer integer CHECK (integer > 0),
        uuid varchar(5) REFERENCES parents (id),
        float real NOT NULL DEFAULT 0,
        amount numeric(4, 2),
        span int4range,
        CONSTRAINT no_overlap EXCLUDE USING gist (span WITH &&)
    );
    INSERT INTO samples (id, text, integer, span) VALUES ('{SECRET}', '{SECRET}', 1, '[1,5)');
"""


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(SCHEMA)
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def other(postgres_url: str, connection: Any) -> AsyncIterator[Any]:
    other = await asyncpg.connect(postgres_url)
    yield other
    await other.close()


async def failure_of(connection: Any, statement: str, *arguments: Any) -> Exception:
    with pytest.raises(FAILURES) as caught:
        await connection.fetch(statement, *arguments)
    return caught.value


def explained(failure: Exception, *, storing: bool = False) -> ServerError:
    """The error, which shows nothing of what PostgreSQL or asyncpg said."""
    error = explain(TABLE, failure, storing=storing)
    shown = str(error.to_dict("r"))
    assert SECRET not in shown
    assert str(failure).partition("\n")[0] not in shown
    for word in ("postgres", "asyncpg", "uq_", "no_overlap", "relation"):
        assert word not in shown.lower()
    return error


@pytest.mark.parametrize(
    ("columns", "field", "unique_key"),
    [
        (f"(id) VALUES ('{SECRET}')", "data.id", ["id"]),
        (f"(id, text) VALUES ('b', '{SECRET}')", "data.text", ["text"]),
        ("(id, span) VALUES ('b', '[2,3)')", None, None),
    ],
)
async def test_a_taken_unique_key_is_a_conflict_that_names_its_fields(
    connection: Any, columns: str, field: str | None, unique_key: list[str] | None
) -> None:
    error = explained(await failure_of(connection, f"INSERT INTO samples {columns}"))

    assert isinstance(error, ConflictError)
    assert error.field == field
    assert (error.details or {}).get("unique_key") == unique_key


@pytest.mark.parametrize(
    ("statement", "arguments", "kind", "field"),
    [
        ("INSERT INTO samples (id, uuid) VALUES ('b', 'x')", [], ConflictError, None),
        ("INSERT INTO samples (id, integer) VALUES ('b', -1)", [], InvalidArgumentsError, "data"),
        (
            "INSERT INTO samples (id, float) VALUES ('b', NULL)",
            [],
            InvalidArgumentsError,
            "data.float",
        ),
        (
            "INSERT INTO samples (id, uuid) VALUES ('b', 'xxxxxx')",
            [],
            InvalidArgumentsError,
            "data",
        ),
        ("INSERT INTO samples (id, amount) VALUES ('b', 100)", [], InvalidArgumentsError, "data"),
        ("UPDATE samples SET integer = $1", [2**31], InvalidArgumentsError, "data"),
        ("UPDATE samples SET integer = $1", [SECRET], InvalidArgumentsError, "data"),
        ("UPDATE samples SET text = $1", ["a\0b"], InvalidArgumentsError, "data"),
        ("UPDATE samples SET text = $1", ["lone \ud800"], InvalidArgumentsError, "data"),
        ("SELECT * FROM nowhere", [], InternalError, None),
        ("SELEC 1", [], InternalError, None),
    ],
)
async def test_a_statement_that_fails_says_whose_fault_it_is(
    connection: Any,
    statement: str,
    arguments: list[Any],
    kind: type[ServerError],
    field: str | None,
) -> None:
    error = explained(await failure_of(connection, statement, *arguments))

    assert isinstance(error, kind)
    assert not error.retryable
    assert error.field == field


async def test_a_text_that_no_index_takes_is_told(connection: Any) -> None:
    # Random digits, because an index compresses what it can.
    statement = (
        "INSERT INTO samples (id, text)"
        " SELECT 'b', string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n"
    )

    error = explained(await failure_of(connection, statement))

    assert isinstance(error, InvalidArgumentsError)
    assert "too long" in error.message


async def test_a_defect_is_logged_with_its_cause(
    connection: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failure = await failure_of(connection, "SELECT * FROM nowhere")
    caplog.clear()

    explain(TABLE, failure)

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is failure


async def test_a_statement_that_was_stopped_is_a_timeout(connection: Any) -> None:
    await connection.execute("SET statement_timeout = 1")

    error = explained(await failure_of(connection, "SELECT pg_sleep(20)"))

    assert isinstance(error, CallTimeoutError)
    assert error.retryable


async def test_a_lock_that_is_not_given_is_contention(connection: Any, other: Any) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE samples SET integer = 2")

    failure = await failure_of(other, "SELECT 1 FROM samples FOR UPDATE NOWAIT")
    await transaction.rollback()

    assert isinstance(explained(failure), ContentionError)


async def test_a_deadlock_is_contention_for_one_of_the_two(connection: Any, other: Any) -> None:
    await connection.execute("INSERT INTO parents VALUES ('a'), ('b'); SET deadlock_timeout = 1")
    await other.execute("SET deadlock_timeout = 1")
    for each, key in ((connection, "a"), (other, "b")):
        await each.execute("BEGIN")
        await each.execute(f"UPDATE parents SET id = id WHERE id = '{key}'")

    outcomes = await asyncio.gather(
        connection.execute("UPDATE parents SET id = id WHERE id = 'b'"),
        other.execute("UPDATE parents SET id = id WHERE id = 'a'"),
        return_exceptions=True,
    )
    for each in (connection, other):
        await each.execute("ROLLBACK")

    [failure] = [each for each in outcomes if isinstance(each, Exception)]
    assert isinstance(explained(failure), ContentionError)


async def test_a_serialization_failure_is_contention(connection: Any, other: Any) -> None:
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await connection.fetch("SELECT * FROM samples")
    await other.execute("UPDATE samples SET integer = 7")

    failure = await failure_of(connection, "UPDATE samples SET integer = 8")
    await connection.execute("ROLLBACK")

    assert isinstance(explained(failure), ContentionError)


async def test_a_server_that_takes_no_writes_is_unavailable(connection: Any) -> None:
    await connection.execute("SET default_transaction_read_only = on")

    error = explained(await failure_of(connection, "DELETE FROM samples"))

    assert isinstance(error, UnavailableError)
    assert error.details is None


async def test_a_server_that_ends_the_connection_is_unavailable(connection: Any) -> None:
    failure = await failure_of(connection, "SELECT pg_terminate_backend(pg_backend_pid())")

    assert isinstance(explained(failure), UnavailableError)


async def test_a_server_without_room_for_a_connection_is_unavailable(
    connection: Any, postgres_url: str
) -> None:
    await connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    try:
        with pytest.raises(FAILURES) as caught:
            await asyncpg.connect(postgres_url, user="crowded")
    finally:
        await connection.execute("DROP ROLE crowded")

    assert isinstance(explained(caught.value), UnavailableError)


async def test_of_a_lost_connection_a_write_may_have_been_stored_and_a_read_changed_nothing(
    connection: Any, other: Any
) -> None:
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    # The first answer may still say why; from then on there is no connection.
    with suppress(*FAILURES):
        await connection.fetch("SELECT 1")

    failure = await failure_of(connection, "SELECT 1")

    assert is_lost(failure)
    assert explained(failure).details is None
    assert explained(failure, storing=True).details == {"outcome": "unknown"}
    for error in (explained(failure), explained(failure, storing=True)):
        assert isinstance(error, UnavailableError)
        assert error.retryable


def test_a_connection_that_ends_just_when_a_statement_begins_is_lost_too() -> None:
    # asyncpg raises this one of several hundred times that the server ends a connection.
    failure = asyncpg.InternalClientError("cannot switch to state 11; another operation is in ...")

    assert isinstance(failure, FAILURES)
    assert is_lost(failure)
    assert isinstance(explained(failure), UnavailableError)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(FAILURES) as caught:
        await asyncpg.connect("postgresql://nobody@127.0.0.1:1/nothing")

    assert is_lost(caught.value)
    assert isinstance(explained(caught.value), UnavailableError)


async def test_without_a_table_a_broken_constraint_is_a_defect(connection: Any) -> None:
    failure = await failure_of(connection, "INSERT INTO samples (id, integer) VALUES ('b', -1)")

    assert isinstance(explain(None, failure), InternalError)
