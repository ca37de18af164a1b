"""The connections of `SqlStore` to PostgreSQL: bounded, renewed, and never lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from kailash_mcp_prod.errors import CallTimeoutError, UnavailableError
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.sql import postgresql_pool
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.sql.store import SqlStore
from tests.integration.records.cutting_proxy import CuttingProxy, cutting_proxy
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import (
    ITEM,
    TABLE,
    ids,
    item,
    item_store,
    matching,
    stored_ids,
    view_of_items,
)

SLOW = replace(ITEM, name="Slow", table="slow_items")
OURS = "datname = current_database() AND application_name = 'kailash-mcp-prod'"


@pytest.fixture
def url(postgres_url: str) -> str:
    run_sql(postgres_url, TABLE, view_of_items("slow_items", "pg_sleep(20) IS NOT NULL"))
    return postgres_url


@pytest.fixture
async def observer(url: str) -> AsyncIterator[Any]:
    """A connection beside the store's."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def connections(observer: Any) -> set[int]:
    """The process numbers of the store's connections."""
    rows = await observer.fetch(f"SELECT pid FROM pg_stat_activity WHERE {OURS}")
    return {row["pid"] for row in rows}


async def becomes(observer: Any, count: int) -> None:
    """Waits until the store has so many connections; the server closes them in its own time."""
    async with asyncio.timeout(20):
        while len(await connections(observer)) != count:
            pass


async def end_all(observer: Any) -> None:
    await observer.execute(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {OURS}"
    )


def mixed_call(store: SqlStore, number: int) -> Awaitable[Any]:
    """One of several operations, none of which is refused."""
    key = f"n{number}"
    match number % 5:
        case 0:
            return store.create(ITEM, item(key))
        case 1:
            return store.read(ITEM, "first")
        case 2:
            return store.find(ITEM, matching())
        case 3:
            return store.create_many(ITEM, [item(f"{key}a"), item(f"{key}b")])
        case _:
            return store.update(ITEM, "first", {"label": key}, {})


@pytest.fixture
async def limited_url(url: str, observer: Any) -> AsyncIterator[str]:
    """The database for a role to which the server gives no more than five connections."""
    await observer.execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 5")
    await observer.execute("GRANT ALL ON items TO limited")
    yield url.replace("postgres@", "limited@")
    await observer.execute("DROP OWNED BY limited; DROP ROLE limited")


async def test_200_calls_never_use_more_connections_than_size_and_overflow(
    limited_url: str, observer: Any
) -> None:
    pool = PoolSettings(size=2, overflow=3, overflow_seconds=0.1)
    async with item_store(limited_url, pool=pool) as store:
        await store.create(ITEM, item("first"))
        calls = asyncio.gather(*(mixed_call(store, number) for number in range(200)))
        seen = set()
        while not calls.done():
            seen |= await connections(observer)
        await calls

        # None was given up while it was still needed.
        assert 2 < len(seen) <= 5
        await becomes(observer, 2)
        assert len(await ids(store)) == 1 + 40 + 80
    await becomes(observer, 0)


@pytest.mark.parametrize("overflow_seconds", [0, 0.01, 600])
async def test_loads_that_come_and_go_stay_within_the_bounds(
    limited_url: str, observer: Any, overflow_seconds: float
) -> None:
    pool = PoolSettings(size=1, overflow=4, overflow_seconds=overflow_seconds)
    async with item_store(limited_url, pool=pool) as store:
        for _ in range(10):
            await asyncio.gather(*(ids(store) for _ in range(20)))

        await becomes(observer, 1 if overflow_seconds < 1 else 5)
    await becomes(observer, 0)


async def test_connections_are_opened_when_they_are_needed(url: str, observer: Any) -> None:
    async with item_store(url) as store:
        assert await connections(observer) == set()
        await store.create(ITEM, item("a"))
        first = await connections(observer)
        await store.read(ITEM, "a")

        assert len(first) == 1
        assert await connections(observer) == first


async def test_an_old_connection_is_replaced(url: str, observer: Any) -> None:
    async with item_store(url, pool=PoolSettings(recycle_seconds=0.2)) as store:
        await store.create(ITEM, item("a"))
        [first] = await connections(observer)
        async with asyncio.timeout(20):
            while first in await connections(observer):
                await store.read(ITEM, "a")

        assert await store.read(ITEM, "a")


async def test_every_connection_may_be_too_old(url: str, observer: Any) -> None:
    async with item_store(url, pool=PoolSettings(size=2, recycle_seconds=0)) as store:
        await store.create(ITEM, item("a"))
        [first] = await connections(observer)
        async with asyncio.timeout(20):
            await asyncio.gather(*(store.read(ITEM, "a") for _ in range(20)))

        assert first not in await connections(observer)


async def test_a_slow_statement_is_stopped_and_its_connection_goes_on(
    url: str, observer: Any
) -> None:
    pool = PoolSettings(size=2, overflow=0, statement_seconds=0.2)
    async with item_store(url, ITEM, SLOW, pool=pool) as store:
        await store.create(ITEM, item("a"))
        outcomes = await asyncio.gather(
            *(store.find(SLOW, matching(model=SLOW)) for _ in range(4)), return_exceptions=True
        )
        before = await connections(observer)

        assert [type(each) for each in outcomes] == [CallTimeoutError] * 4
        assert await asyncio.gather(*(ids(store) for _ in range(10))) == [["a"]] * 10
        assert await connections(observer) == before


SLOW_WRITES: list[Callable[[SqlStore], Awaitable[Any]]] = [
    lambda store: store.update(ITEM, "a", {"size": 1}, {}),
    lambda store: store.update(ITEM, "a", {"size": 1}, {"size": 0}),
    lambda store: store.delete(ITEM, "a"),
    lambda store: store.update_many(ITEM, [("a", {"size": 1})]),
    lambda store: store.update_where(ITEM, parse_filter(ITEM, None), {"size": 1}),
    lambda store: store.upsert(ITEM, {"id": "a", "size": 1}, ("id",)),
    lambda store: store.delete_many(ITEM, ["a"]),
]


async def test_a_write_that_waits_too_long_for_a_lock_is_stopped_and_changes_nothing(
    url: str, observer: Any
) -> None:
    async with item_store(url, pool=PoolSettings(statement_seconds=0.2)) as store:
        await store.create(ITEM, item("a"))
        holder = observer.transaction()
        await holder.start()
        await observer.execute("SELECT 1 FROM items FOR UPDATE")
        for write in SLOW_WRITES:
            with pytest.raises(CallTimeoutError):
                await write(store)
        await holder.rollback()

        assert (await store.read(ITEM, "a"))["size"] == 0
        await SLOW_WRITES[1](store)
        assert (await store.read(ITEM, "a"))["size"] == 1


async def test_connections_that_were_ended_while_idle_are_noticed(
    url: str, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_pool, "_PING_AFTER_IDLE_SECONDS", 0)
    async with item_store(url) as store:
        await asyncio.gather(*(store.create(ITEM, item(f"a{number}")) for number in range(10)))
        before = await connections(observer)
        await end_all(observer)

        await asyncio.gather(*(store.create(ITEM, item(f"b{number}")) for number in range(10)))

        assert before
        assert not before & await connections(observer)
        assert len(await ids(store)) == 20


@pytest.fixture
def proxy(url: str) -> Any:
    with cutting_proxy(urlsplit(url).port or 0) as proxy:
        yield proxy


@pytest.fixture
async def through(url: str, proxy: CuttingProxy) -> AsyncIterator[SqlStore]:
    """A store whose connections can be cut, with one record."""
    around = re.sub(r":\d+/", f":{proxy.port}/", url)
    async with item_store(around, pool=PoolSettings(size=1, overflow=0)) as store:
        await store.create(ITEM, item("a"))
        yield store


async def test_a_connection_that_breaks_when_it_is_tried_is_replaced_before_a_write(
    through: SqlStore, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_pool, "_PING_AFTER_IDLE_SECONDS", 0)
    proxy.cut(b"SELECT 1", delivers=False)

    await through.create(ITEM, item("b"))

    assert await ids(through) == ["a", "b"]


async def test_a_read_whose_connection_breaks_is_done_on_another(
    through: SqlStore, proxy: CuttingProxy
) -> None:
    proxy.cut(b"SELECT", delivers=False)

    assert (await through.read(ITEM, "a"))["id"] == "a"


@pytest.mark.parametrize("delivers", [False, True])
async def test_a_write_whose_connection_breaks_has_an_unknown_outcome(
    url: str, through: SqlStore, proxy: CuttingProxy, delivers: bool
) -> None:
    proxy.cut(b"cut here", delivers=delivers)

    with pytest.raises(UnavailableError) as caught:
        await through.create(ITEM, item("b", label="cut here"))

    assert caught.value.retryable
    assert caught.value.details == {"outcome": "unknown"}
    assert stored_ids(url) == (["a", "b"] if delivers else ["a"])
    await through.create(ITEM, item("c"))


async def create_in_a_transaction(store: SqlStore) -> None:
    async with store.transaction() as records:
        await records.create(ITEM, item("b", label="cut here"))
        await records.create_many(ITEM, [item("c"), item("d")])


@pytest.mark.parametrize("delivers", [False, True])
async def test_many_records_whose_connection_breaks_are_stored_together_or_not_at_all(
    url: str, through: SqlStore, proxy: CuttingProxy, delivers: bool
) -> None:
    proxy.cut(b"COPY", delivers=delivers)

    with pytest.raises(UnavailableError) as caught:
        await through.create_many(ITEM, [item("b"), item("c")])

    assert caught.value.details == {"outcome": "unknown"}
    # The rows follow the statement, with it or too late.
    assert stored_ids(url) in ((["a"], ["a", "b", "c"]) if delivers else (["a"],))
    assert await through.create_many(ITEM, [item("d"), item("e")]) == ["d", "e"]


@pytest.mark.parametrize("delivers", [False, True])
async def test_a_commit_whose_connection_breaks_has_an_unknown_outcome(
    url: str, through: SqlStore, proxy: CuttingProxy, delivers: bool
) -> None:
    proxy.cut(b"COMMIT", delivers=delivers)

    with pytest.raises(UnavailableError) as caught:
        await create_in_a_transaction(through)

    assert caught.value.details == {"outcome": "unknown"}
    assert stored_ids(url) == (["a", "b", "c", "d"] if delivers else ["a"])
    assert await ids(through) == stored_ids(url)


@pytest.mark.parametrize("statement", [b"BEGIN", b"cut here", b"COPY"])
async def test_a_transaction_whose_connection_breaks_before_its_end_has_changed_nothing(
    url: str, through: SqlStore, proxy: CuttingProxy, statement: bytes
) -> None:
    proxy.cut(statement, delivers=True)

    with pytest.raises(UnavailableError) as caught:
        await create_in_a_transaction(through)

    assert caught.value.retryable
    assert caught.value.details is None
    assert stored_ids(url) == ["a"]
    assert await ids(through) == ["a"]


def call_named(store: SqlStore, name: str, key: str) -> Awaitable[Any]:
    match name:
        case "create":
            return store.create(ITEM, item(key))
        case "create_many":
            return store.create_many(ITEM, [item(f"{key}x"), item(f"{key}y")])
        case "update":
            return store.update(ITEM, "a", {"label": key}, {"size": 0})
        case "ping":
            return store.ping()
    return store.read(ITEM, "a")


@pytest.mark.parametrize("name", ["read", "create", "create_many", "update", "ping"])
@pytest.mark.parametrize("ping_after", [0, 30])
async def test_a_call_cancelled_at_any_step_gives_its_connection_back(
    url: str, observer: Any, monkeypatch: pytest.MonkeyPatch, name: str, ping_after: float
) -> None:
    monkeypatch.setattr(postgresql_pool, "_PING_AFTER_IDLE_SECONDS", ping_after)
    pool = PoolSettings(size=1, overflow=0)
    async with item_store(url, pool=pool) as store:
        await store.create(ITEM, item("a"))
        for steps in range(25):
            task = asyncio.ensure_future(call_named(store, name, f"n{steps}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        async with asyncio.timeout(20):
            assert (await store.read(ITEM, "a"))["id"] == "a"
            await store.create_many(ITEM, [item("y1"), item("y2")])
            await store.create(ITEM, item("z"))

        await becomes(observer, 1)
    # What the store shows is stored: no transaction was left open.
    assert {"a", "y1", "y2", "z"} <= set(stored_ids(url))


async def test_closing_waits_for_the_calls_that_are_running(url: str, observer: Any) -> None:
    async with item_store(url, pool=PoolSettings(size=2, overflow=1)) as store:
        await store.create(ITEM, item("first"))
        calls = [asyncio.ensure_future(mixed_call(store, number)) for number in range(3)]
        await calls[0]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert all(not isinstance(each, Exception) for each in outcomes)
    await becomes(observer, 0)
