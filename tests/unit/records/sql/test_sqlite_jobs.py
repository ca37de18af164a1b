from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.records.sql.sqlite_jobs import Deliveries, Job, store_together

SCHEMA = """
    CREATE TABLE parents (id TEXT PRIMARY KEY);
    CREATE TABLE items (
        id TEXT PRIMARY KEY,
        size INTEGER CHECK (size > 0),
        parent TEXT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED
    );
    CREATE TABLE effects (item TEXT);
    INSERT INTO parents VALUES ('p');
"""
INSERT = "INSERT INTO items (id, size, parent) VALUES (?, ?, ?) RETURNING id"
NewJob = Callable[..., Job]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(SCHEMA)
        yield connection


@pytest.fixture
async def job() -> NewJob:
    loop = asyncio.get_running_loop()

    def new(key: str, size: int = 1, parent: str | None = None) -> Job:
        def work(connection: sqlite3.Connection) -> str:
            [[made]] = connection.execute(INSERT, (key, size, parent)).fetchall()
            return str(made)

        return Job(work, loop.create_future())

    return new


def stored(path: Path) -> list[str]:
    """What another connection sees."""
    with closing(sqlite3.connect(path)) as other:
        return [key for [key] in other.execute("SELECT id FROM items ORDER BY id")]


def outcomes(jobs: Sequence[Job]) -> list[Any]:
    """The id that each job stored, or the class of its failure."""
    return [each.given if each.failure is None else type(each.failure) for each in jobs]


async def test_jobs_are_stored_together_with_their_rows(
    connection: sqlite3.Connection, path: Path, job: NewJob
) -> None:
    jobs = [job("a"), job("b"), job("c", parent="p")]

    store_together(connection, jobs)

    assert outcomes(jobs) == ["a", "b", "c"]
    assert stored(path) == ["a", "b", "c"]
    assert not connection.in_transaction


async def test_no_jobs_are_no_transaction(connection: sqlite3.Connection) -> None:
    store_together(connection, [])

    assert not connection.in_transaction


async def test_a_job_that_fails_leaves_the_others_stored(
    connection: sqlite3.Connection, path: Path, job: NewJob
) -> None:
    jobs = [job("a"), job("a"), job("b", size=-1), job("c")]

    store_together(connection, jobs)

    assert outcomes(jobs) == ["a", sqlite3.IntegrityError, sqlite3.IntegrityError, "c"]
    assert stored(path) == ["a", "c"]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("others", [0, 2])
async def test_a_foreign_key_that_is_checked_in_the_end_fails_its_own_job_alone(
    connection: sqlite3.Connection, path: Path, job: NewJob, bad: int, others: int
) -> None:
    jobs = [job(f"j{number}", parent="p") for number in range(others)]
    alone = job("bad", parent="nobody")
    jobs.insert(bad, alone)

    store_together(connection, jobs)

    assert [each.failure is not None for each in jobs] == [each is alone for each in jobs]
    assert stored(path) == [f"j{number}" for number in range(others)]
    assert not connection.in_transaction


def trigger(connection: sqlite3.Connection, action: str) -> None:
    """Whenever `bad` is inserted, that happens after the row was written."""
    connection.execute(
        "CREATE TRIGGER t AFTER INSERT ON items WHEN NEW.id = 'bad' BEGIN "
        f"INSERT INTO effects VALUES (NEW.id); SELECT RAISE({action}, 'no'); END"
    )


@pytest.mark.parametrize("action", ["ROLLBACK", "ABORT", "FAIL"])
@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_trigger_that_refuses_a_job_leaves_nothing_of_it_and_all_of_the_others(
    connection: sqlite3.Connection, path: Path, job: NewJob, action: str, position: int
) -> None:
    trigger(connection, action)
    jobs = [job("a"), job("b")]
    jobs.insert(position, job("bad"))

    store_together(connection, jobs)

    assert outcomes(jobs)[position] is sqlite3.IntegrityError
    assert stored(path) == ["a", "b"]
    assert connection.execute("SELECT * FROM effects").fetchall() == []
    assert not connection.in_transaction


@pytest.mark.parametrize("action", ["ROLLBACK", "ABORT", "FAIL"])
async def test_a_job_alone_that_a_trigger_refuses_leaves_nothing(
    connection: sqlite3.Connection, path: Path, job: NewJob, action: str
) -> None:
    trigger(connection, action)
    alone = job("bad")

    store_together(connection, [alone])

    assert outcomes([alone]) == [sqlite3.IntegrityError]
    assert stored(path) == []
    assert connection.execute("SELECT * FROM effects").fetchall() == []


async def test_a_locked_file_fails_every_job_and_stores_none(
    connection: sqlite3.Connection, path: Path, job: NewJob
) -> None:
    jobs = [job("a"), job("b")]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store_together(connection, jobs)

    assert [each.failure.sqlite_errorcode for each in jobs if each.failure] == [5, 5]  # type: ignore[attr-defined]
    assert stored(path) == []


async def test_a_lock_that_comes_between_jobs_is_waited_for_once(
    connection: sqlite3.Connection, path: Path, job: NewJob
) -> None:
    tries = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def watch(statement: str) -> None:
            nonlocal tries
            tries += statement.startswith("BEGIN")
            if statement == "ROLLBACK":
                # From here on each job is tried alone, and another process is faster.
                connection.set_trace_callback(count)

        def count(statement: str) -> None:
            nonlocal tries
            if statement.startswith("BEGIN"):
                tries += 1
                if not other.in_transaction:
                    other.execute("BEGIN IMMEDIATE")

        connection.set_trace_callback(watch)
        jobs = [job("bad", parent="nobody"), *(job(f"j{number}") for number in range(10))]
        store_together(connection, jobs)

    assert tries == 2
    assert all(each.failure is not None for each in jobs)
    assert stored(path) == []


async def test_a_full_file_stores_what_fits_and_says_what_does_not(
    connection: sqlite3.Connection, path: Path, job: NewJob
) -> None:
    [[pages]] = connection.execute("PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    jobs = [job("a"), job("x" * 100_000), job("b")]

    store_together(connection, jobs)

    assert outcomes(jobs) == ["a", sqlite3.OperationalError, "b"]
    assert stored(path) == ["a", "b"]


async def test_a_connection_that_is_gone_fails_every_job(job: NewJob) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.close()
    jobs = [job("a"), job("b")]

    with pytest.raises(sqlite3.ProgrammingError):
        store_together(connection, jobs)

    assert outcomes(jobs) == [sqlite3.ProgrammingError] * 2


async def test_jobs_done_on_threads_settle_their_calls(job: NewJob) -> None:
    deliveries = Deliveries(asyncio.get_running_loop())
    jobs = [job(f"j{number}") for number in range(200)]

    def work(first: int) -> None:
        for number in range(first, 200, 4):
            jobs[number].given = number
            if number == 7:
                jobs[number].failure = sqlite3.OperationalError("no")
            deliveries.add(jobs[number])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(20):
        results = await asyncio.gather(*(each.future for each in jobs), return_exceptions=True)
    for thread in threads:
        thread.join()

    assert [type(each) for each in results].count(sqlite3.OperationalError) == 1
    assert results[8:] == list(range(8, 200))


async def test_a_call_that_nobody_waits_for_any_more_is_settled_quietly(job: NewJob) -> None:
    gone = job("a")
    gone.future.cancel()

    gone.settle()

    assert gone.future.cancelled()
