from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import NotFoundError, UnavailableError
from kailash_mcp_prod.records.query import EVERYTHING
from kailash_mcp_prod.records.sql.sqlite import SqliteDatabase
from kailash_mcp_prod.records.sql.store import SqlStore
from tests.unit.records.sql.sample_tables import COUNTED, SAMPLE
from tests.unit.records.sqlite_store import running_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with running_store(tmp_path / "store.db", SAMPLE, COUNTED) as store:
        yield store


async def test_the_store_knows_its_dialect_and_answers(store: SqlStore) -> None:
    assert store.dialect == "sqlite"
    await store.ping()


async def test_a_store_without_its_file_is_unavailable_and_makes_none(tmp_path: Path) -> None:
    store = SqlStore(SqliteDatabase(tmp_path / "absent.db"))
    try:
        with pytest.raises(UnavailableError):
            await store.ping()
    finally:
        await store.close()

    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []


async def test_a_transaction_reaches_all_models_and_reads_what_it_wrote(store: SqlStore) -> None:
    async with store.transaction() as records:
        await records.create(SAMPLE, SAMPLE.complete({"id": "a", "text": "t"}))
        made = await records.create(COUNTED, COUNTED.complete({"text": "c"}))
        assert (await records.read(SAMPLE, "a", fields=("text",)))["text"] == "t"

    assert (await store.read(COUNTED, made["id"]))["text"] == "c"


async def test_a_transaction_that_fails_leaves_nothing(store: SqlStore) -> None:
    async def work() -> None:
        async with store.transaction() as records:
            await records.create(SAMPLE, SAMPLE.complete({"id": "a"}))
            await records.read(SAMPLE, "nope")

    with pytest.raises(NotFoundError):
        await work()

    assert await store.count(SAMPLE, EVERYTHING) == 0


async def test_transactions_and_single_writes_take_their_turns(store: SqlStore) -> None:
    async def transact(number: int) -> None:
        async with store.transaction() as records:
            await records.create(COUNTED, COUNTED.complete({"integer": number}))
            await asyncio.sleep(0)
            await records.create(COUNTED, COUNTED.complete({"integer": number}))

    await asyncio.gather(
        *(transact(number) for number in range(10)),
        *(store.create(SAMPLE, SAMPLE.complete({"id": f"k{n}"})) for n in range(50)),
    )

    assert await store.count(COUNTED, EVERYTHING) == 20
    assert await store.count(SAMPLE, EVERYTHING) == 50
