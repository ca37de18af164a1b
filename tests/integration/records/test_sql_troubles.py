"""What an operator's PostgreSQL does to a pool, and what may become of the calls meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from kailash_mcp_prod.errors import ConflictError, UnavailableError
from kailash_mcp_prod.records.columns import reflect_tables
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.sql.postgresql import PostgresqlDatabase
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.sql.table import TableSql
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import ITEM, TABLE, ids, item, item_store


@pytest.fixture
def url(postgres_url: str) -> str:
    run_sql(postgres_url, TABLE)
    return postgres_url


def as_role(url: str, role: str) -> str:
    return url.replace(f"//{urlsplit(url).username}@", f"//{role}@")


class Relay:
    """A network before the database, whose connections so far can be made to vanish."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._age = 0
        self.first_packets: list[bytes] = []

    def vanish(self) -> None:
        """Answers nothing any more on the connections that there are."""
        self._age += 1

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        age = self._age
        answers, database = await asyncio.open_connection("127.0.0.1", self._port)

        async def pass_on(
            source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: list[bytes]
        ) -> None:
            while data := await source.read(65536):
                seen.append(data)
                if age == self._age:
                    target.write(data)

        both = [
            asyncio.create_task(pass_on(reader, database, self.first_packets)),
            asyncio.create_task(pass_on(answers, writer, [])),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
            database.close()
            writer.close()


@asynccontextmanager
async def through_a_network(url: str, pool: PoolSettings) -> AsyncIterator[tuple[SqlStore, Relay]]:
    port = urlsplit(url).port
    assert port is not None
    relay = Relay(port)
    server = await asyncio.start_server(relay.relay, "127.0.0.1", 0)
    through = url.replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/")
    store = SqlStore(PostgresqlDatabase(through, pool))
    store.add(TableSql(ITEM, (await reflect_tables(url, ["items"]))["items"], "postgresql"))
    try:
        yield store, relay
    finally:
        await store.close()
        server.close()


async def test_connections_into_nowhere_are_given_up_and_replaced(url: str) -> None:
    async with through_a_network(url, PoolSettings(size=4, overflow=0)) as (store, relay):
        await store.create(ITEM, item("a"))
        await asyncio.gather(*(store.read(ITEM, "a") for _ in range(4)))
        relay.vanish()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.read(ITEM, "a")
        # The first one that is given up makes the pool forget the others too.
        async with asyncio.timeout(10):
            while True:
                try:
                    async with asyncio.timeout(0.5):
                        await store.create(ITEM, item("b"))
                        break
                except TimeoutError:
                    continue
        await store.ping()
        assert (await store.read(ITEM, "a"))["id"] == "a"


async def test_the_start_of_a_session_carries_nothing_that_pgbouncer_refuses(url: str) -> None:
    async with through_a_network(url, PoolSettings(statement_seconds=7)) as (store, relay):
        await store.create(ITEM, item("a"))

        start = next(packet for packet in relay.first_packets if b"application_name" in packet)
        assert b"timeout" not in start
        async with store.transaction() as records:
            session = records._runner._connection  # type: ignore[attr-defined]
            assert await session.fetchval("SHOW statement_timeout") == "7s"
            assert await session.fetchval("SHOW timezone") == "UTC"


async def test_calls_wait_for_a_connection_where_the_server_allows_few(url: str) -> None:
    run_sql(url, "CREATE ROLE few LOGIN CONNECTION LIMIT 3", "GRANT ALL ON items TO few")
    try:
        async with item_store(as_role(url, "few")) as store:
            await store.create(ITEM, item("a"))
            for _ in range(3):
                rows = await asyncio.gather(*(store.read(ITEM, "a") for _ in range(40)))
                assert [row["id"] for row in rows] == ["a"] * 40
    finally:
        run_sql(url, "REVOKE ALL ON items FROM few", "DROP ROLE few")


async def test_a_server_that_only_reads_is_left_for_one_that_writes(url: str) -> None:
    database = urlsplit(url).path[1:]
    async with item_store(url, pool=PoolSettings(size=3, overflow=0)) as store:
        run_sql(url, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        outcomes = await asyncio.gather(
            *(store.create(ITEM, item(f"early{n}")) for n in range(3)), return_exceptions=True
        )
        assert all(isinstance(each, UnavailableError) for each in outcomes)
        administrator = await asyncpg.connect(
            url, server_settings={"default_transaction_read_only": "off"}
        )
        await administrator.execute(
            f"ALTER DATABASE {database} RESET default_transaction_read_only"
        )
        await administrator.close()

        for n in range(4):
            await store.create(ITEM, item(f"late{n}"))


async def test_many_records_are_created_in_a_table_with_row_level_security(url: str) -> None:
    run_sql(
        url,
        "CREATE ROLE guarded LOGIN",
        "GRANT ALL ON items TO guarded",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY short ON items USING (true) WITH CHECK (size < 10)",
    )
    try:
        async with item_store(as_role(url, "guarded")) as store:
            await store.create_many(ITEM, [item("a"), item("b")])
            async with store.transaction() as records:
                await records.create_many(ITEM, [item("c"), item("d")])
            assert sorted(await ids(store)) == ["a", "b", "c", "d"]
    finally:
        run_sql(
            url,
            "DROP POLICY short ON items",
            "REVOKE ALL ON items FROM guarded",
            "DROP ROLE guarded",
        )


async def test_a_table_may_change_while_the_store_is_open(url: str) -> None:
    async with item_store(url, pool=PoolSettings(size=1, overflow=0)) as store:
        await store.create(ITEM, item("a", label="one"))
        assert await store.update(ITEM, "a", {"label": "two"}, {"label": "one"})
        run_sql(url, "ALTER TABLE items ALTER COLUMN label TYPE VARCHAR(200)")

        changed = await store.update(ITEM, "a", {"label": "three"}, {"label": "two"})
        assert changed["label"] == "three"


async def test_the_first_failure_of_a_transaction_is_told_and_nothing_follows_it(
    database_url: str,
) -> None:
    run_sql(database_url, TABLE)
    async with item_store(database_url) as store:
        await store.create(ITEM, item("a"))

        async def fail_twice() -> None:
            async with store.transaction() as records:
                for key in ("a", "b"):
                    with pytest.raises(ConflictError):
                        await records.create(ITEM, item(key))

        with pytest.raises(ConflictError):
            await fail_twice()
        assert await ids(store) == ["a"]


async def test_a_pool_that_is_merely_busy_is_well(url: str) -> None:
    async with item_store(url, pool=PoolSettings(size=2, overflow=0)) as store:
        await store.create(ITEM, item("a"))
        async with store.transaction(), store.transaction():
            async with asyncio.timeout(5):
                await store.ping()


async def test_a_closed_store_is_unavailable_to_everybody(database_url: str) -> None:
    run_sql(database_url, TABLE)
    async with item_store(database_url, pool=PoolSettings(size=1, overflow=0)) as store:
        await store.create(ITEM, item("a"))
    for call in (
        store.read(ITEM, "a"),
        store.create(ITEM, item("b")),
        store.create_many(ITEM, [item("c")]),
        store.update(ITEM, "a", {"label": "x"}, {"label": "new"}),
    ):
        async with asyncio.timeout(5):
            with pytest.raises(UnavailableError):
                await call
    await store.close()
