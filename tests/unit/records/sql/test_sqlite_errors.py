"""Failures that SQLite itself raises, and what they are to the caller."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

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
from kailash_mcp_prod.records.sql.sqlite_errors import FAILURES, explain, is_busy, was_interrupted
from tests.unit.records.sql.sample_tables import SAMPLE, connected, table_for

TABLE = table_for(SAMPLE)
SECRET = "secret-value"
Work = Callable[[sqlite3.Connection], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "errors.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connected(SAMPLE, str(path))) as connection:
        connection.executescript(
            """
            CREATE TABLE parents (id TEXT PRIMARY KEY);
            CREATE TABLE strict_ones (id INTEGER PRIMARY KEY, size INTEGER CHECK (size > 0),
                name TEXT NOT NULL DEFAULT 'n', parent TEXT REFERENCES parents (id));
            CREATE UNIQUE INDEX ix_pair ON samples (integer, boolean);
            CREATE UNIQUE INDEX ix_lower ON samples (lower(choice));
            """
        )
        connection.execute(
            "INSERT INTO samples (id, text, integer, boolean, choice)"
            f" VALUES ('{SECRET}', '{SECRET}', 1, 1, '{SECRET}')"
        )
        yield connection


def failure_of(work: Callable[[], Any]) -> Exception:
    with pytest.raises(FAILURES) as caught:
        work()
    return caught.value


def explained(failure: Exception) -> ServerError:
    """The error, which shows nothing of what SQLite or Python said."""
    error = explain(TABLE, failure)
    shown = str(error.to_dict("r"))
    assert SECRET not in shown
    assert str(failure) not in shown
    assert "sqlite" not in shown.lower()
    return error


@pytest.mark.parametrize(
    ("columns", "field", "unique_key"),
    [
        (f"id) VALUES ('{SECRET}'", "data.id", ["id"]),
        (f"id, text) VALUES ('b', '{SECRET}'", "data.text", ["text"]),
        ("id, integer, boolean) VALUES ('b', 1, 1", "data.integer", ["integer", "boolean"]),
        (f"id, choice) VALUES ('b', '{SECRET.upper()}'", None, None),
    ],
)
def test_a_taken_unique_key_is_a_conflict_that_names_its_fields(
    connection: sqlite3.Connection, columns: str, field: str | None, unique_key: list[str] | None
) -> None:
    failure = failure_of(lambda: connection.execute(f"INSERT INTO samples ({columns})"))

    error = explained(failure)

    assert isinstance(error, ConflictError)
    assert error.field == field
    assert (error.details or {}).get("unique_key") == unique_key


INVALID = "INSERT INTO strict_ones "


@pytest.mark.parametrize(
    ("statement", "arguments", "kind"),
    [
        (INVALID + "(parent) VALUES (?)", ["nobody"], ConflictError),
        (INVALID + "(size) VALUES (?)", [-1], InvalidArgumentsError),
        (INVALID + "(name) VALUES (?)", [None], InvalidArgumentsError),
        (INVALID + "(id) VALUES (?)", ["text"], InvalidArgumentsError),
        (INVALID + "(size) VALUES (?)", [2**63], InvalidArgumentsError),
        (INVALID + "(name) VALUES (?)", ["x" * 1001], InvalidArgumentsError),
        ("INSERT INTO nowhere VALUES (?)", [SECRET], InternalError),
        ("SELEC ?", [SECRET], InternalError),
        ("SELECT ?", [], InternalError),
        ("SELECT ?", [object()], InternalError),
    ],
)
def test_a_statement_that_fails_says_whose_fault_it_is(
    connection: sqlite3.Connection, statement: str, arguments: list[Any], kind: type[ServerError]
) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)

    error = explained(failure_of(lambda: connection.execute(statement, arguments)))

    assert isinstance(error, kind)
    assert not error.retryable


def test_a_defect_is_logged_with_its_cause(
    connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    failure = failure_of(lambda: connection.execute("SELECT * FROM nowhere"))

    explain(TABLE, failure)

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is failure


def test_what_a_call_can_mend_is_not_logged(
    connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    explain(TABLE, failure_of(lambda: connection.execute(INVALID + "(size) VALUES (-1)")))

    assert caplog.records == []


def test_another_writer_is_unavailable_and_was_waited_for_already(
    connection: sqlite3.Connection, path: Path
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with closing(sqlite3.connect(path, timeout=0)) as other:
        failure = failure_of(lambda: other.execute("INSERT INTO parents VALUES ('p')"))

    error = explained(failure)

    assert is_busy(failure)
    assert isinstance(error, UnavailableError)
    # To try at once again would only wait as long once more.
    assert not isinstance(error, ContentionError)
    assert (error.retryable, error.retry_after_seconds) == (True, 1)


def test_a_table_that_a_statement_of_the_same_connection_uses_is_unavailable(
    connection: sqlite3.Connection,
) -> None:
    reading = connection.execute("SELECT id FROM samples UNION ALL SELECT 'x'")
    reading.fetchone()
    failure = failure_of(lambda: connection.execute("DROP TABLE samples"))

    assert isinstance(explained(failure), UnavailableError)
    assert not is_busy(failure)


def test_an_interrupted_statement_is_a_timeout(connection: sqlite3.Connection) -> None:
    connection.set_progress_handler(lambda: 1, 1)
    failure = failure_of(lambda: connection.execute("SELECT count(*) FROM samples").fetchall())

    error = explained(failure)

    assert was_interrupted(failure)
    assert isinstance(error, CallTimeoutError)
    assert error.retryable


def full(connection: sqlite3.Connection) -> Any:
    connection.execute("PRAGMA max_page_count = 1")
    return connection.execute("INSERT INTO parents VALUES (?)", ["x" * 10**6])


def read_only(connection: sqlite3.Connection) -> Any:
    connection.execute("PRAGMA query_only = ON")
    return connection.execute("DELETE FROM samples")


@pytest.mark.parametrize("work", [full, read_only])
def test_a_disk_that_takes_nothing_is_unavailable(
    connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture, work: Work
) -> None:
    error = explained(failure_of(lambda: work(connection)))

    assert isinstance(error, UnavailableError)
    assert not isinstance(error, ContentionError)
    assert error.retryable
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_file_that_is_no_database_or_not_there_is_unavailable(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database at all" * 100)
    with closing(sqlite3.connect(garbage)) as connection:
        damaged = failure_of(lambda: connection.execute("SELECT * FROM samples"))
    absent = failure_of(lambda: sqlite3.connect(f"file:{tmp_path}/no.db?mode=rw", uri=True))

    for failure in (damaged, absent):
        assert isinstance(explained(failure), UnavailableError)


def test_a_damaged_page_is_unavailable(connection: sqlite3.Connection, path: Path) -> None:
    connection.executemany("INSERT INTO parents VALUES (?)", [[f"{at}" * 500] for at in range(100)])
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    with closing(sqlite3.connect(path)) as other:
        failure = failure_of(lambda: other.execute("SELECT * FROM parents").fetchall())

    assert isinstance(explained(failure), UnavailableError)


def test_without_a_table_a_broken_constraint_is_a_defect(connection: sqlite3.Connection) -> None:
    failure = failure_of(lambda: connection.execute(INVALID + "(size) VALUES (-1)"))

    assert isinstance(explain(None, failure), InternalError)


def test_what_is_no_failure_of_sqlite_is_neither_busy_nor_interrupted() -> None:
    for failure in (None, OverflowError("x"), sqlite3.ProgrammingError("x")):
        assert not is_busy(failure)
    assert not was_interrupted(ValueError("x"))
