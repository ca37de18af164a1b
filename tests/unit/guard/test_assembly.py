from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.guard.breaker import Outcome
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit

ALICE = Principal("alice", frozenset())


def guard_with(**settings: Any) -> Guard:
    return Guard(ServerConfig(enable_auth=False, **settings))


async def entered(limit: ConcurrencyLimit, subject: str, times: int, stack: AsyncExitStack) -> None:
    for _ in range(times):
        await stack.enter_async_context(limit.slot(subject))


def test_rates_are_those_of_the_settings() -> None:
    guard = guard_with(
        rate_limit_per_minute=7, global_rate_limit_per_minute=9, rate_limits={"write": 3}
    )

    assert guard.rates.left(ALICE, "write") == [
        ("to the caller", 7, 7),
        ("to everybody", 9, 9),
        ("of the kind write", 3, 3),
    ]


def test_as_many_calls_run_as_the_settings_say_and_as_many_statements_as_connections() -> None:
    guard = guard_with(
        max_concurrent_requests=5, connection_pool_size=8, connection_pool_max_overflow=4
    )

    assert (guard.concurrency.most, guard.database.most) == (5, 12)


async def test_nobody_takes_the_last_quarter_of_the_connections() -> None:
    guard = guard_with(
        max_concurrent_requests=5, connection_pool_size=8, connection_pool_max_overflow=4
    )
    async with AsyncExitStack() as stack:
        await entered(guard.database, "greedy", 9, stack)
        tenth = asyncio.create_task(guard.database.enter("greedy"))
        await asyncio.sleep(0)
        assert (guard.database.running, guard.database.waiting) == (9, 1)

        await entered(guard.database, "modest", 3, stack)
        tenth.cancel()
        await asyncio.wait({tenth})


async def test_as_many_calls_may_wait_for_a_connection_as_may_run() -> None:
    guard = guard_with(
        max_concurrent_requests=3, connection_pool_size=1, connection_pool_max_overflow=0
    )
    async with guard.database.slot("alice"):
        waiting = [asyncio.create_task(guard.database.enter("bob")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await guard.database.enter("bob")
        assert guard.database.waiting == 3
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_the_wait_for_a_call_ends_before_that_for_a_connection() -> None:
    guard = guard_with(
        max_concurrent_requests=1,
        connection_pool_size=1,
        connection_pool_max_overflow=0,
        request_timeout_seconds=0.05,
    )
    begin = asyncio.get_running_loop().time()
    ends: list[float] = []

    async def wait_for(limit: ConcurrencyLimit) -> None:
        with pytest.raises(OverloadedError):
            await limit.enter("bob")
        ends.append(asyncio.get_running_loop().time() - begin)

    async with guard.concurrency.slot("alice"), guard.database.slot("alice"):
        async with asyncio.timeout(5):
            await asyncio.gather(wait_for(guard.concurrency), wait_for(guard.database))

    assert 0.05 <= ends[0] < ends[1]
    assert ends[1] >= 0.1


def test_circuits_open_as_the_settings_say() -> None:
    guard = guard_with(circuit_breaker_failure_threshold=2, circuit_breaker_recovery_seconds=40)
    guard.breakers.tell("database", 0, Outcome.FAILED)
    assert guard.breakers.seconds_left("database") == 0
    guard.breakers.tell("database", 0, Outcome.FAILED)

    assert 30 < guard.breakers.seconds_left("database") <= 40


async def test_without_redis_there_is_nothing_to_connect_to_and_all_is_well() -> None:
    guard = guard_with()
    await guard.start()
    await guard.stop()

    assert guard.redis is None
    assert guard.components() == {
        "rate_limits": {"status": "healthy", "storage": "memory"},
        "concurrency": {"status": "healthy", "running": 0, "waiting": 0},
        "circuit_breakers": {"status": "healthy", "open": {}},
    }


async def test_without_redis_a_probe_asks_nobody() -> None:
    guard = guard_with()
    guard.breakers.open_from_afar("database", 0)

    with guard.breakers.around("database", "a") as passage:
        assert passage.probes
        await passage.ask()

    assert guard.breakers.unclosed() == {}


async def test_a_redis_that_does_not_answer_is_no_failure() -> None:
    guard = guard_with(redis_url="redis://127.0.0.1:1/0", redis_prefix="shop")
    async with asyncio.timeout(10):
        await guard.start()
        try:
            assert guard.redis is not None
            assert guard.redis.key("a") == "shop:a"
            assert guard.components()["rate_limits"] == {"status": "degraded", "storage": "local"}
            await guard.rates.take(ALICE)
        finally:
            await guard.stop()
