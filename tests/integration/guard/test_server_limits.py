"""The limits of a whole server, with many principals, slow work and backends that come and go."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.lowlevel
import asyncpg
import pytest
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import (
    CallTimeoutError,
    CircuitOpenError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec
from tests.postgres import DURABLE, running_postgres
from tests.redis_server import RedisServer


def model(name: str) -> type:
    return type(name, (), {"__annotations__": {"id": str, "name": str}, "__doc__": "One."})


@asynccontextmanager
async def serving(url: str, *others: str, **settings: Any) -> AsyncIterator[ProductionMCPServer]:
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    for name in ("Company", *others):
        db.model(model(name))
    config = ServerConfig(**{"port": 0, "enable_auth": False, **settings})
    async with ProductionMCPServer(config, dataflow=db) as server:
        yield server


async def call(
    server: ProductionMCPServer, tool: str, subject: str = "one", **arguments: Any
) -> Any:
    principal = Principal(subject, frozenset({"*"}))
    return await server.mcp_server.call_tool(tool, arguments, principal=principal)


async def outcome(work: Any) -> str:
    try:
        await work
    except ServerError as error:
        return error.code
    return "done"


async def component(server: ProductionMCPServer, name: str) -> dict[str, Any]:
    report = await server._health.report()
    found: dict[str, Any] = report["components"][name]
    return found


async def until(condition: Callable[[], bool]) -> None:
    """What others notice in their own time comes with no event to wait for."""
    for _ in range(4_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


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


def tool(name: str, *, read_only: bool) -> ToolSpec:
    async def handle(_call: ToolCall) -> dict[str, Any]:
        return {}

    return ToolSpec(
        name=name,
        title=name,
        description=name,
        input_schema={"type": "object"},
        output_schema={"type": "object"},
        hints=Hints(read_only=read_only, destructive=False, idempotent=True),
        permissions=(),
        group="sample",
        handler=handle,
    )


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


async def test_a_postgresql_that_stops_is_left_alone_and_found_again() -> None:
    # One that keeps its table over the crash.
    with running_postgres(DURABLE) as postgres, postgres.database() as url:
        async with serving(
            url,
            circuit_breaker_failure_threshold=3,
            circuit_breaker_recovery_seconds=0.3,
            request_timeout_seconds=5,
        ) as server:
            await call(server, "Company_create", data={"name": "a"})
            await asyncio.to_thread(postgres.crash)

            codes = [await outcome(call(server, "Company_list")) for _ in range(3)]
            assert codes == ["unavailable"] * 3
            begin = time.monotonic()
            refused = await asyncio.gather(
                *(outcome(call(server, "Company_list", f"agent-{n}")) for n in range(200))
            )
            assert set(refused) == {"circuit_open"} or time.monotonic() - begin > 0.3
            assert "database" in (await component(server, "circuit_breakers"))["open"]

            await asyncio.to_thread(postgres.start_again)
            async with asyncio.timeout(20):
                while await outcome(call(server, "Company_list")) != "done":
                    pass
            assert await component(server, "circuit_breakers") == {"status": "healthy", "open": {}}


async def test_a_slow_postgresql_opens_the_circuit_instead_of_piling_calls_up() -> None:
    with running_postgres() as postgres, postgres.database() as url:
        async with serving(
            url,
            circuit_breaker_failure_threshold=4,
            circuit_breaker_recovery_seconds=60,
            request_timeout_seconds=0.3,
            max_concurrent_requests=4,
        ) as server:
            await call(server, "Company_list")
            breakers = server._guard.breakers
            with postgres.held_up():
                codes = await storm(server)
                assert codes["timeout"] >= 4
                assert set(codes) <= {"timeout", "circuit_open", "overloaded"}
                await until(lambda: breakers.seconds_left("database") > 0)
                for _ in range(100):
                    with pytest.raises(CircuitOpenError) as refused:
                        await call(server, "Company_list")
                assert 50 <= (refused.value.retry_after_seconds or 0) <= 60
                assert (await component(server, "concurrency"))["running"] == 0
                assert (await server._health.report())["health_status"] == "unhealthy"


async def test_nobody_closes_the_database_to_others_by_asking_for_too_much(
    postgres_url: str,
) -> None:
    """Many calls at once that take too long, at an hour when nobody else calls."""
    observer = await asyncpg.connect(postgres_url)
    try:
        async with serving(
            postgres_url,
            circuit_breaker_failure_threshold=2,
            request_timeout_seconds=0.3,
            max_concurrent_requests=4,
        ) as server:
            async with observer.transaction():
                await observer.execute("LOCK TABLE companies")
                assert (await storm(server))["timeout"] >= 4
                breakers = server._guard.breakers
                await until(lambda: not breakers._asking)
            assert (await call(server, "Company_list", "somebody else"))["count"] == 0
            assert await component(server, "circuit_breakers") == {"status": "healthy", "open": {}}
    finally:
        await observer.close()


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


async def storm(server: ProductionMCPServer) -> Counter[str]:
    calls = (outcome(call(server, "Company_list", f"agent-{n}")) for n in range(8))
    return Counter(await asyncio.gather(*calls))


async def test_a_key_where_none_can_be_kept_closes_nothing(sqlite_url: str) -> None:
    async with serving(sqlite_url) as first:
        await call(first, "Company_create", data={"name": "a"})
    async with serving(sqlite_url, auto_migrate=False) as server:
        for number in range(10):
            with pytest.raises(UnavailableError) as refused:
                await call(
                    server, "Company_create", data={"name": "b"}, _idempotency_key=f"k{number}"
                )
            assert refused.value.retry_after_seconds == 60
        assert (await call(server, "Company_list"))["count"] == 1


async def test_a_redis_that_stops_hangs_and_returns_changes_no_answer(
    sqlite_url: str, redis_server: RedisServer
) -> None:
    async with serving(sqlite_url, redis_url=redis_server.url, rate_limit_per_minute=40) as server:
        redis = server._guard.redis
        assert redis is not None

        async def burst(subject: str, calls: int) -> Counter[str]:
            calling = (outcome(call(server, "Company_list", subject)) for _ in range(calls))
            return Counter(await asyncio.gather(*calling))

        assert await burst("one", 50) == {"done": 40, "rate_limited": 10}
        redis_server.hold_up()
        begin = time.monotonic()
        assert await burst("two", 50) == {"done": 40, "rate_limited": 10}
        assert time.monotonic() - begin < 5
        report = await server._health.report()
        assert report["health_status"] == "degraded"
        assert report["components"]["redis"]["status"] == "unhealthy"
        assert report["components"]["rate_limits"]["storage"] == "local"
        redis_server.let_go()
        await until(lambda: redis.is_up)

        redis_server.stop()
        assert await burst("three", 50) == {"done": 40, "rate_limited": 10}
        redis_server.start()
        await until(lambda: redis.is_up)
        assert await burst("four", 50) == {"done": 40, "rate_limited": 10}
        assert await burst("three", 5) == {"rate_limited": 5}


async def test_two_servers_on_one_redis_send_one_probe(
    sqlite_url: str, redis_server: RedisServer
) -> None:
    settings: dict[str, Any] = {
        "redis_url": redis_server.url,
        "circuit_breaker_failure_threshold": 1,
        "circuit_breaker_recovery_seconds": 0.3,
    }
    came, answer = 0, asyncio.Event()

    async def handle(_call: ToolCall) -> dict[str, Any]:
        nonlocal came
        came += 1
        if came == 1:
            raise UnavailableError("Away.")
        await answer.wait()
        return {}

    remote = replace(tool("remote", read_only=True), backend="elsewhere", handler=handle)
    async with serving(sqlite_url, **settings) as one, serving(sqlite_url, **settings) as other:
        both = one, other
        for each in both:
            each.registry.add([remote])
        assert await outcome(call(one, "remote")) == "unavailable"
        await until(lambda: all(each._guard.breakers.unclosed() for each in both))

        calls: list[asyncio.Task[str]] = []

        def all_but_probes_are_done() -> bool:
            return sum(each.done() for each in calls) >= len(calls) - (came > 1)

        while came == 1:
            calls = [asyncio.create_task(outcome(call(each, "remote"))) for each in 5 * both]
            await until(all_but_probes_are_done)
        assert came == 2
        answer.set()
        await until(lambda: not any(each._guard.breakers.unclosed() for each in both))
        codes = Counter(await asyncio.gather(*calls))
        assert codes == {"done": 1, "circuit_open": 9}


async def test_two_servers_on_one_redis_share_what_they_have_read(
    sqlite_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "redis_url": redis_server.url,
        "enable_caching": True,
        "cache_backend": "redis",
        "cursor_secret": "0123456789abcdef0123456789abcdef",
    }
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    async with (
        serving(sqlite_url, **settings) as one,
        serving(sqlite_url, **settings) as other,
        serving(elsewhere, **settings) as stranger,
    ):
        created = await call(one, "Company_create", data={"name": "first"})
        await call(one, "Company_list")
        assert (await call(other, "Company_list"))["records"] == [created]
        assert fetched(other) == 1
        assert (await call(stranger, "Company_list"))["records"] == []
        assert fetched(stranger) == 0
        for number, (writer, reader) in enumerate(2 * [(one, other), (other, one)]):
            changed = await call(
                writer, "Company_update", id=created["id"], data={"name": f"name-{number}"}
            )
            for each in (reader, writer):
                assert (await call(each, "Company_list"))["records"] == [changed]
        assert fetched(one) + fetched(other) == 5
        health = {"status": "healthy", "state": "caching", "backend": "redis", "entries": 1}
        assert await component(other, "cache") == health

        redis = other._guard.redis
        assert redis is not None
        redis_server.stop()
        assert (await call(other, "Company_list"))["records"] == [changed]
        found = await component(other, "cache")
        assert (found["status"], found["state"]) == ("degraded", "bypassed: Redis does not answer")
        redis_server.start()
        await until(lambda: redis.is_up)
        assert (await call(other, "Company_list"))["records"] == [changed]
        assert (await component(other, "cache"))["status"] == "healthy"


def fetched(server: ProductionMCPServer) -> int:
    assert server.reads is not None
    return server.reads.cache.snapshot().fetched


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
