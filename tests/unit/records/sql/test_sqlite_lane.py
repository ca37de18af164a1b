from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.records.sql.sqlite_errors import was_interrupted
from kailash_mcp_prod.records.sql.sqlite_lane import Lane

ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


def make_file(path: Path, name: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (name TEXT)")
        connection.execute("INSERT INTO t VALUES (?)", [name])
        connection.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "lane.db"
    make_file(made, "first")
    return made


@pytest.fixture
async def lane(path: Path) -> AsyncIterator[Lane]:
    lane = Lane(path, "lane-under-test", reads_only=False)
    yield lane
    await lane.close()


def move(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def listed(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if "lane-to-close" in each.name]


def names(connection: sqlite3.Connection) -> list[str]:
    return [name for [name] in connection.execute("SELECT name FROM t")]


def setting(name: str) -> Any:
    def ask(connection: sqlite3.Connection) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    return ask


async def test_the_connection_is_set_up_for_lasting_writes_beside_readers(lane: Lane) -> None:
    found = {
        name: await lane.run(setting(name))
        for name in ("journal_mode", "synchronous", "foreign_keys", "query_only", "busy_timeout")
    }

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "query_only": 0,
        "busy_timeout": 5000,
    }
    assert await lane.run(lambda each: each.execute("SELECT mcp_lower('É')").fetchone()) == ("é",)


async def test_all_work_runs_on_one_thread_and_connection(lane: Lane) -> None:
    places = await asyncio.gather(
        *(lane.run(lambda each: (threading.get_ident(), id(each))) for _ in range(20))
    )

    assert len(set(places)) == 1
    assert places[0][0] != threading.get_ident()


async def test_what_the_work_raises_is_raised(lane: Lane) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await lane.run(lambda each: each.execute("SELECT * FROM nowhere"))
    assert await lane.run(names) == ["first"]


async def test_a_lane_that_reads_only_refuses_to_write(path: Path) -> None:
    lane = Lane(path, "lane-under-test", reads_only=True)
    try:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await lane.run(lambda each: each.execute("INSERT INTO t VALUES ('x')"))
        assert await lane.run(names) == ["first"]
    finally:
        await lane.close()


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    absent = tmp_path / "absent.db"
    lane = Lane(absent, "lane-under-test", reads_only=False)
    try:
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="unable to open"):
                await lane.run(names)
        assert not absent.exists()
        make_file(absent, "late")
        assert await lane.run(names) == ["late"]
    finally:
        await lane.close()


async def test_a_file_that_was_moved_away_is_missing_until_it_is_back(
    lane: Lane, path: Path
) -> None:
    await lane.run(names)
    away = move(path, "away.db")

    with pytest.raises(sqlite3.OperationalError):
        await lane.run(names)
    assert "lane.db" not in listed(path.parent)
    move(away, "lane.db")

    assert await lane.run(names) == ["first"]


async def test_a_file_that_was_replaced_is_opened_anew(lane: Lane, path: Path) -> None:
    await lane.run(names)
    other = path.with_name("other.db")
    make_file(other, "second")
    other.replace(path)

    assert await lane.run(names) == ["second"]


async def test_a_transaction_goes_on_in_its_own_file_or_not_at_all(lane: Lane, path: Path) -> None:
    await lane.run(lambda each: each.execute("BEGIN IMMEDIATE"))
    move(path, "away.db")

    assert await lane.run(names, anew=False) == ["first"]
    await lane.run(lambda each: each.execute("ROLLBACK"), anew=False)
    with pytest.raises(sqlite3.OperationalError):
        await lane.run(names)
    with pytest.raises(sqlite3.OperationalError, match="closed"):
        await lane.run(names, anew=False)


async def test_an_interrupted_statement_ends_and_the_connection_goes_on(lane: Lane) -> None:
    started = threading.Event()

    def endless(connection: sqlite3.Connection) -> Any:
        connection.set_progress_handler(started.set, 1000)
        try:
            return connection.execute(ENDLESS).fetchall()
        finally:
            connection.set_progress_handler(None, 0)

    running = asyncio.ensure_future(lane.run(endless))
    async with asyncio.timeout(20):
        await asyncio.to_thread(started.wait)
        lane.interrupt()
        with pytest.raises(sqlite3.OperationalError) as caught:
            await running

    assert was_interrupted(caught.value)
    assert await lane.run(names) == ["first"]


async def test_an_interruption_before_the_first_work_does_nothing(lane: Lane) -> None:
    lane.interrupt()

    assert await lane.run(names) == ["first"]


async def test_closing_ends_the_thread_and_gives_the_file_back(path: Path) -> None:
    lane = Lane(path, "lane-to-close", reads_only=False)
    await lane.run(lambda each: each.execute("INSERT INTO t VALUES ('x')").fetchall())
    assert len(threads()) == 1

    await lane.close()

    assert threads() == []
    # The last connection that closes takes the journal with it.
    assert listed(path.parent) == ["lane.db"]


async def test_a_lane_that_never_worked_is_closed_too(tmp_path: Path) -> None:
    await Lane(tmp_path / "never.db", "lane-to-close", reads_only=True).close()

    assert threads() == []
    assert listed(tmp_path) == []
