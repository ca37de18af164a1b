"""PostgreSQL ends in the middle of a load, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import groupby

import pytest

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.sql.store import SqlStore
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import ITEM, TABLE, item, item_store, stored_ids
from tests.integration.records.sql_load import BULK, Load
from tests.postgres import DURABLE, PostgresServer, running_postgres

CREATING, COUNTING, READING = 14, 6, 4


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with running_postgres(DURABLE) as server:
        yield server


async def until(condition: Callable[[], bool], load: Load) -> None:
    """Waits until the load has brought a condition about."""
    async with asyncio.timeout(20):
        async with load.news:
            await load.news.wait_for(lambda: load.failures or condition())
    assert load.failures == []


async def test_a_crash_in_a_load_loses_no_acknowledged_write_and_the_store_recovers(
    server: PostgresServer,
) -> None:
    url = server.url("postgres")
    run_sql(url, TABLE)
    async with item_store(url, pool=PoolSettings(size=5, overflow=5)) as store:
        await store.create_many(ITEM, [item(f"counter{writer}") for writer in range(COUNTING)])
        load = Load(store)
        async with asyncio.TaskGroup() as running:
            for writer in range(CREATING):
                running.create_task(load.create(writer))
            for writer in range(COUNTING):
                running.create_task(load.count_up(writer))
            for _ in range(READING):
                running.create_task(load.read())
            for _ in range(2):
                acknowledged = len(load.stored)
                await until(lambda before=acknowledged: len(load.stored) > before + 300, load)
                await asyncio.to_thread(server.crash)
                refused = load.refused
                await until(lambda before=refused: load.refused > before + 100, load)
                await ping_is_refused(store)
                await asyncio.to_thread(server.start_again)
            acknowledged = len(load.stored)
            await until(lambda: len(load.stored) > acknowledged + 300, load)
            await store.ping()
            load.stopped = True

    found = set(stored_ids(url))
    assert load.stored <= found
    assert not load.absent & found
    assert found - load.stored - set(load.counters) <= load.unknown
    assert_whole(load.unknown & found)
    sizes = dict(run_sql(url, "SELECT id, size FROM items WHERE id LIKE 'counter%'"))
    assert len(sizes) == COUNTING
    for key, (acknowledged, tried) in load.counters.items():
        assert acknowledged <= sizes[key] <= tried


async def ping_is_refused(store: SqlStore) -> None:
    """A pool that is full counts as well for as long as its last answer is fresh."""
    while True:
        try:
            await store.ping()
        except UnavailableError:
            return


def assert_whole(keys: set[str]) -> None:
    """Of records that were created together, all are there or none."""
    for call, members in groupby(sorted(keys), key=lambda key: key.rpartition("-")[0]):
        number = int(call.rpartition("-")[2])
        assert len(list(members)) == (BULK if number % 2 else 1), call


async def test_a_store_can_be_made_while_the_server_is_down(server: PostgresServer) -> None:
    url = server.url("postgres")
    run_sql(url, TABLE)
    async with item_store(url) as store:
        await asyncio.to_thread(server.crash)
        for _ in range(3):
            with pytest.raises(UnavailableError) as caught:
                await store.create(ITEM, item("early"))
            assert caught.value.retryable
            assert caught.value.details is None
        await asyncio.to_thread(server.start_again)

        await store.create(ITEM, item("late"))

    assert stored_ids(url) == ["late"]
