"""A whole server whose database or Redis is slow, goes and comes, or is shared with another."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kailash_mcp_prod import ProductionMCPServer
from kailash_mcp_prod.errors import CircuitOpenError, UnavailableError
from kailash_mcp_prod.tools.spec import ToolCall
from tests.integration.guard.limited_server import call, component, outcome, serving, tool, until
from tests.postgres import DURABLE, running_postgres
from tests.redis_server import RedisServer


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
