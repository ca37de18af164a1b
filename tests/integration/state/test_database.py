from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, String, Table, func, insert, select
from sqlalchemy.exc import IntegrityError

from kailash_mcp_prod.errors import DatabaseStartupError, UnavailableError
from kailash_mcp_prod.state.database import METADATA, StateDatabase
from kailash_mcp_prod.state.opening import State

notes = Table(
    "mcp_test_notes",
    METADATA,
    Column("id", String(20), primary_key=True),
    Column("number", Integer, nullable=False),
)


@pytest.fixture
async def state(database_url: str) -> AsyncIterator[StateDatabase]:
    database = StateDatabase(database_url)
    yield database
    await database.close()


async def count(state: StateDatabase) -> int:
    async with state.read() as connection:
        return (await connection.scalar(select(func.count()).select_from(notes))) or 0


async def test_tables_are_made_once_by_however_many_processes(database_url: str) -> None:
    databases = [StateDatabase(database_url) for _ in range(3)]
    assert not await databases[0].has([notes])
    await asyncio.gather(*(each.prepare([notes]) for each in databases))

    assert await databases[0].has([notes])
    await databases[1].prepare([notes], create=False)
    for each in databases:
        await each.close()


async def test_what_may_not_be_made_is_named(state: StateDatabase) -> None:
    with pytest.raises(DatabaseStartupError, match="mcp_test_notes"):
        await state.prepare([notes], create=False)


async def test_a_transaction_is_stored_as_a_whole_or_not_at_all(state: StateDatabase) -> None:
    await state.prepare([notes])
    async with state.begin() as connection:
        await connection.execute(insert(notes), [{"id": "a", "number": 1}])

    async def write(*rows: dict[str, object], failure: type[Exception] | None = None) -> None:
        async with state.begin() as connection:
            for row in rows:
                await connection.execute(insert(notes), [row])
            if failure is not None:
                raise failure

    with pytest.raises(IntegrityError):
        await write({"id": "b", "number": 1}, {"id": "a", "number": 2})
    with pytest.raises(RuntimeError):
        await write({"id": "c", "number": 1}, failure=RuntimeError)

    assert await count(state) == 1


async def test_writers_wait_for_each_other_and_none_finds_the_database_locked(
    state: StateDatabase, database_url: str
) -> None:
    await state.prepare([notes])
    other = StateDatabase(database_url)

    async def write(database: StateDatabase, name: str) -> None:
        async with database.begin() as connection:
            seen = await connection.scalar(select(func.count()).select_from(notes))
            await connection.execute(insert(notes), [{"id": name, "number": seen}])

    await asyncio.gather(
        *(write(state, f"a{number}") for number in range(40)),
        *(write(other, f"b{number}") for number in range(40)),
        *(count(state) for _ in range(40)),
    )
    assert await count(state) == 80
    await other.close()


async def test_a_cancelled_transaction_is_undone_and_leaves_the_way_free(
    state: StateDatabase,
) -> None:
    await state.prepare([notes])
    inserted = asyncio.Event()

    async def hang() -> None:
        async with state.begin() as connection:
            await connection.execute(insert(notes), [{"id": "a", "number": 1}])
            inserted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inserted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await count(state) == 0
    async with state.begin() as connection:
        await connection.execute(insert(notes), [{"id": "a", "number": 2}])


async def test_another_process_may_write_meanwhile(sqlite_url: str, tmp_path: Path) -> None:
    state = StateDatabase(sqlite_url)
    await state.prepare([notes])
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        assert await count(state) == 0

        async def write() -> None:
            async with state.begin() as connection:
                await connection.execute(insert(notes), [{"id": "a", "number": 1}])

        waiting = asyncio.create_task(write())
        await count(state)
        foreign.execute("INSERT INTO mcp_test_notes VALUES ('b', 2)")
        foreign.execute("COMMIT")
        await waiting
    assert await count(state) == 2
    await state.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody:hunter2@127.0.0.1:1/none",
        "sqlite:////nowhere/at/all.db",
    ],
)
async def test_a_database_that_does_not_answer_is_unavailable_without_a_word_of_its_address(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = StateDatabase(url)
    for transaction in (state.begin, state.read):
        with pytest.raises(UnavailableError) as unavailable:
            async with transaction():
                pass
        assert "hunter2" not in str(unavailable.value)
    assert "hunter2" not in caplog.text
    await state.close()


async def test_the_state_is_opened_when_it_is_needed_and_again_after_its_end(
    sqlite_url: str,
) -> None:
    known: list[str] = []
    state = State(lambda: known[0] if known else None)
    with pytest.raises(UnavailableError):
        await state.database()
    known.append(sqlite_url)

    first, same = await asyncio.gather(state.database(), state.database())
    assert first is same
    await first.prepare([notes])
    await state.close()
    await state.close()

    assert await (await state.database()).has([notes])
    await state.close()


async def test_a_connection_that_is_given_up_in_a_query_holds_no_lock(
    state: StateDatabase, database_url: str
) -> None:
    """As when a call is cancelled: then the traceback still has the cursor of the query."""
    await state.prepare([notes])
    async with state.begin() as connection:
        rows = [{"id": str(number), "number": number} for number in range(10)]
        await connection.execute(insert(notes), rows)

    unread = []

    async def give_up() -> None:
        async with state.begin() as connection:
            unread.append(await connection.stream(select(notes)))
            await connection.invalidate()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await give_up()
    other = StateDatabase(database_url)
    async with other.begin() as connection:
        await connection.execute(insert(notes), [{"id": "later", "number": 1}])
    await other.close()
    assert await count(state) == 11
    assert unread
