"""Rate limits that replicas share through Redis, and what they do without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import RateLimitedError
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.redis_windows import RedisWindows
from tests.redis_server import RedisServer

ALICE = Principal("alice", frozenset())
BOB = Principal("bob", frozenset())


class Replica:
    """The limits of one process."""

    def __init__(self, url: str, per_minute: int, **limits: object) -> None:
        self.redis = RedisConnection(url, "app", operation_seconds=5, probe_seconds=0.02)
        self.rates = RateLimit(
            per_minute,
            shared=RedisWindows(self.redis),
            **limits,  # type: ignore[arg-type]
        )
        self.turned = asyncio.Event()
        self.redis.on_change(lambda _: self.turned.set())

    async def until_up(self, up: bool) -> None:
        async with asyncio.timeout(10):
            while self.redis.is_up is not up:
                self.turned.clear()
                await self.turned.wait()

    async def allowed(self, principal: Principal, calls: int, kind: str | None = None) -> int:
        """How many of these calls, made at once, are allowed."""

        async def call() -> bool:
            try:
                await self.rates.take(principal, kind)
            except RateLimitedError:
                return False
            return True

        return sum(await asyncio.gather(*(call() for _ in range(calls))))


@asynccontextmanager
async def replicas(
    server: RedisServer, number: int, per_minute: int, **limits: object
) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        made = [Replica(server.url, per_minute, **limits) for _ in range(number)]
        for each in made:
            await each.redis.start()
            stack.push_async_callback(each.redis.stop)
        yield made


async def test_replicas_count_together(redis_server: RedisServer) -> None:
    async with replicas(redis_server, 3, 50, everybody=70, kinds={"bulk": 10}) as all_of_them:
        shares = await asyncio.gather(*(each.allowed(ALICE, 40) for each in all_of_them))
        assert sum(shares) == 50

        bulk = await asyncio.gather(*(each.allowed(BOB, 10, "bulk") for each in all_of_them))
        assert sum(bulk) == 10
        # What was refused has counted against nobody, so the rest of all is left.
        rest = await asyncio.gather(*(each.allowed(BOB, 10) for each in all_of_them))
        assert sum(rest) == 10
        assert all(each.rates.health()["storage"] == "redis" for each in all_of_them)


async def test_a_refusal_names_the_time_and_a_call_takes_one_round_trip(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server, 2, 1, everybody=50, kinds={"read": 5}) as (one, other):
        await one.rates.take(ALICE, "read")
        before = await one.redis.run(lambda client: client.info("commandstats"))

        with pytest.raises(RateLimitedError) as refused:
            await other.rates.take(ALICE, "read")

        after = await one.redis.run(lambda client: client.info("commandstats"))
        assert refused.value.retry_after_seconds == 60
        calls = [each["cmdstat_evalsha"]["calls"] for each in (before, after)]
        assert calls[1] - calls[0] == 1
        assert after["cmdstat_eval"]["calls"] == before["cmdstat_eval"]["calls"]

        # Who is over the limit by what this process has seen is no matter for Redis.
        with pytest.raises(RateLimitedError):
            await one.rates.take(ALICE, "read")
        last = await one.redis.run(lambda client: client.info("commandstats"))
        assert last["cmdstat_evalsha"]["calls"] == after["cmdstat_evalsha"]["calls"]


async def test_a_refusal_names_the_limit_that_redis_found_used_up(
    redis_server: RedisServer,
) -> None:
    limits = {"everybody": 4, "kinds": {"bulk": 1}}
    async with replicas(redis_server, 2, 3, **limits) as (one, other):
        await one.rates.take(ALICE, "bulk")
        with pytest.raises(RateLimitedError, match="1 calls of the kind bulk"):
            await other.rates.take(ALICE, "bulk")
        assert await one.allowed(ALICE, 2) == 2
        with pytest.raises(RateLimitedError, match=r"^More than 3 calls in a minute"):
            await other.rates.take(ALICE)
        await one.rates.take(BOB)
        with pytest.raises(RateLimitedError, match="All clients together made more than 4 calls"):
            await other.rates.take(BOB)


async def test_redis_keeps_everybody_and_every_kind_apart(redis_server: RedisServer) -> None:
    async with replicas(redis_server, 2, 3, kinds={"bulk": 1, "write": 1}) as (one, other):
        for subject in ("alice", "a-not-alice", "e", "bulk", "everybody"):
            principal = Principal(subject, frozenset())
            assert await one.allowed(principal, 1, "bulk") == 1
            assert await other.allowed(principal, 1, "bulk") == 0
            assert await other.allowed(principal, 1, "write") == 1
            assert await one.allowed(principal, 1) == 1
            assert await other.allowed(principal, 1) == 0


async def test_the_window_in_redis_moves_and_is_gone_when_it_is_over(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server, 1, 3) as [replica]:
        await replica.allowed(ALICE, 2)
        [name] = await replica.redis.run(lambda client: client.keys("app:rate:*"))
        seconds, micros = await replica.redis.run(lambda client: client.time())
        now = seconds * 1_000_000 + micros
        times = [now - 61_000_000, now - 60_500_000, now - 59_000_000, now - 1_000_000]

        async def replace(client: object) -> None:
            await client.delete(name)  # type: ignore[attr-defined]
            await client.rpush(name, *times)  # type: ignore[attr-defined]

        await replica.redis.run(replace)
        fresh = Replica(redis_server.url, 3)
        await fresh.redis.start()
        try:
            assert await fresh.allowed(ALICE, 5) == 1
            with pytest.raises(RateLimitedError) as refused:
                await fresh.rates.take(ALICE)
            assert refused.value.retry_after_seconds == 1
            assert await fresh.redis.run(lambda client: client.llen(name)) == 3
            left = await fresh.redis.run(lambda client: client.pttl(name))
            assert 59_000 < left <= 60_000
        finally:
            await fresh.redis.stop()


async def test_names_in_redis_do_not_say_who_somebody_is(redis_server: RedisServer) -> None:
    async with replicas(redis_server, 1, 3) as [replica]:
        await replica.rates.take(Principal("alice@example.com" * 100, frozenset()))
        [name] = await replica.redis.run(lambda client: client.keys("app:rate:*"))

        assert b"alice" not in name
        assert len(name) < 64


async def test_without_redis_the_limit_is_as_large_and_what_was_counted_stays_counted(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server, 1, 10) as [replica]:
        assert await replica.allowed(ALICE, 4) == 4
        redis_server.stop()

        # The first call finds out, and is counted here like all others.
        assert await replica.allowed(ALICE, 20) == 6
        assert replica.rates.health() == {"status": "degraded", "storage": "local"}
        assert await replica.allowed(BOB, 20) == 10

        redis_server.start()
        await replica.until_up(True)
        assert await replica.allowed(ALICE, 5) == 0
        assert await replica.allowed(Principal("carol", frozenset()), 20) == 10
        assert replica.rates.health() == {"status": "healthy", "storage": "redis"}


async def test_a_script_that_redis_has_forgotten_is_sent_again(redis_server: RedisServer) -> None:
    async with replicas(redis_server, 1, 10) as [replica]:
        await replica.allowed(ALICE, 1)
        await replica.redis.run(lambda client: client.script_flush())

        assert await replica.allowed(ALICE, 20) == 9
        assert replica.redis.is_up
