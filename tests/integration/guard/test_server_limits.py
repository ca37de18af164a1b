"""The limits of a whole server, with many principals, slow work and clients that never read."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio.lowlevel
import asyncpg
import pytest

from kailash_mcp_prod.errors import CallTimeoutError, UnavailableError
from tests.integration.guard.limited_server import call, component, outcome, serving, tool, until
from tests.redis_server import RedisServer


@pytest.mark.parametrize("with_redis", [False, True])
async def test_500_principals_at_once_get_exactly_their_shares(
    sqlite_url: str, redis_server: RedisServer, with_redis: bool
) -> None:
    settings: dict[str, Any] = {"redis_url": redis_server.url} if with_redis else {}
    settings |= {"rate_limit_per_minute": 3, "rate_limits": {"write": 1}}
    async with serving(sqlite_url, **settings) as server:
        server.registry.add([tool("quick", read_only=True), tool("scribble", read_only=False)])

        async def agent(number: int) -> Counter[str]:
            seen: Counter[str] = Counter()
            for name in ("quick", "scribble", "scribble", "quick", "quick", "quick"):
                code = await outcome(call(server, name, f"agent-{number}"))
                seen[f"{name} {code}"] += 1
            return seen

        shares = await asyncio.gather(*(agent(number) for number in range(500)))

    # The second write is refused by its own limit, and so takes nothing of the three.
    share = {"quick done": 2, "scribble done": 1, "scribble rate_limited": 1}
    assert all(each == {**share, "quick rate_limited": 2} for each in shares)


async def test_a_call_that_takes_too_long_is_ended_in_postgresql(postgres_url: str) -> None:
    observer = await asyncpg.connect(postgres_url)
    try:
        async with serving(
            postgres_url, request_timeout_seconds=1.5, max_concurrent_requests=1
        ) as server:
            await call(server, "Company_list")
            async with observer.transaction():
                await observer.execute("LOCK TABLE companies")
                for name, arguments in (
                    ("Company_list", {}),
                    ("Company_create", {"data": {"name": "a"}}),
                ):
                    with pytest.raises(CallTimeoutError):
                        await call(server, name, **arguments)
                    await nothing_waits(observer)
                    assert (await component(server, "concurrency"))["running"] == 0
            assert (await call(server, "Company_list"))["records"] == []
    finally:
        await observer.close()


async def nothing_waits(observer: Any) -> None:
    """Waits until no statement of the server is left; PostgreSQL ends it in its own time."""
    async with asyncio.timeout(5):
        while await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
            "AND datname = current_database() AND pid <> pg_backend_pid()"
        ):
            pass


async def test_a_call_that_takes_too_long_is_ended_in_sqlite(
    sqlite_url: str, tmp_path: Path
) -> None:
    """A join that would take hours, as a view in the place of the table."""
    async with serving(
        sqlite_url, request_timeout_seconds=1.5, max_concurrent_requests=1
    ) as server:
        await call(server, "Company_create", data={"name": "a"})
        with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
            connection.executescript(
                "ALTER TABLE companies RENAME TO kept; CREATE VIEW companies AS "
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                "SELECT kept.* FROM kept, n WHERE n.i < 0;"
            )

        with pytest.raises(CallTimeoutError):
            await call(server, "Company_list")

        assert (await component(server, "concurrency"))["running"] == 0
        with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
            # It would be refused while a statement still reads.
            connection.executescript("DROP VIEW companies; ALTER TABLE kept RENAME TO companies;")
        assert (await call(server, "Company_list"))["count"] == 1


async def test_slow_calls_of_one_do_not_keep_the_others_from_the_database(
    postgres_url: str,
) -> None:
    observer = await asyncpg.connect(postgres_url)
    try:
        async with serving(
            postgres_url, "Note", connection_pool_size=4, connection_pool_max_overflow=0
        ) as server:
            await call(server, "Note_create", data={"id": "n1", "name": "a"})
            async with observer.transaction():
                await observer.execute("LOCK TABLE companies")
                slow = [
                    asyncio.create_task(outcome(call(server, "Company_list", "greedy")))
                    for _ in range(60)
                ]
                async with asyncio.timeout(10):
                    for number in range(20):
                        await call(server, "Note_read", f"modest-{number % 3}", id="n1")
            assert Counter(await asyncio.gather(*slow)) == {"done": 60}
    finally:
        await observer.close()


async def test_a_client_that_never_reads_keeps_no_place(sqlite_url: str) -> None:
    async with serving(sqlite_url, max_concurrent_requests=1) as server:
        server.registry.add([tool("quick", read_only=True)])
        assert server.rest_url is not None
        port = int(server.rest_url.rpartition(":")[2])
        request = (
            f"POST /tools/Company_list HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
            "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )
        writers = []
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(request.encode())
            writers.append(writer)
        try:
            for number in range(50):
                while await outcome(call(server, "quick", f"agent-{number}")) == "overloaded":
                    # The refusal comes at once, and the others need their turn.
                    await anyio.lowlevel.checkpoint()
        finally:
            for writer in writers:
                writer.close()
                await writer.wait_closed()


async def test_while_draining_new_calls_are_refused_and_running_ones_finish(
    postgres_url: str,
) -> None:
    observer = await asyncpg.connect(postgres_url)
    try:
        async with serving(postgres_url) as server:
            lock = observer.transaction()
            await lock.start()
            await observer.execute("LOCK TABLE companies")
            running = asyncio.create_task(call(server, "Company_list"))
            concurrency = server._guard.concurrency
            await until(lambda: concurrency.health()["running"] == 1)
            stopping = asyncio.create_task(server.stop())
            await until(lambda: server.service.is_draining)

            assert (await server._health.report())["health_status"] == "draining"
            with pytest.raises(UnavailableError, match="shutting down"):
                await call(server, "Company_list")
            await lock.rollback()

            assert (await running)["records"] == []
            await stopping
    finally:
        await observer.close()
